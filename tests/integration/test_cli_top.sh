#!/usr/bin/env bash
# gyre top: tables in a file, a whole screen on a terminal (a pty, by script of util-linux).
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20

# A pool with a dead proxy among ten, and somebody who uses it until the test ends.
start() {
    POOL=$PEERS_DIR/pool
    cat >"$PEERS_DIR/load.lua" <<'END'
local gyre = require "gyre"
local proxies = {}
for i = 1, 10 do proxies[i] = ("http://anna:verysecret@192.0.2.%d:3128"):format(i) end
local pool = assert(gyre.open { shared = arg[1], proxies = proxies, max_proxies = 64, max_sessions = 64, seed = 1,
  breaker = { base = 600 } })
local held = assert(pool:acquire { session = "cart-1" })
repeat
  for _ = 1, 10 do
    local lease = pool:acquire()
    if lease.proxy.host == "192.0.2.7" then lease:fail("proxy_bad", 5) else lease:ok(100) end
  end
until not gyre.sleep(0.02)
held:ok(1)
END
    mkdir "$PEERS_DIR/load"
    peers_launch load -- "$GYRE" run "$PEERS_DIR/load.lua" "$POOL" || exit 1
    DIR=$PEERS_DIR ERR=/dev/null
    wait_for 10 test -e "$POOL"
    sleep 0.5
}

# screen KEYS COLUMNS ROWS [OPTION]...: top on a terminal that gets the keys a second apart; what it wrote goes to $OUT
# A Ctrl-C is for top alone: some shells end by it themselves, others when it comes at a bad moment.
screen() {
    local keys=$1 columns=$2 rows=$3
    shift 3
    { for key in $keys; do sleep 0.7 && printf '%b' "$key"; done && sleep 0.5; } |
        timeout 20 script -qefc "trap : INT; stty cols $columns rows $rows; stty -g >$DIR/before; $GYRE top --pool $POOL -i 0.3 $*; echo left with \$?; stty -g >$DIR/after" \
            "$OUT" >/dev/null || fail "it fails: $(tail -c 300 "$OUT")"
    ! grep -q verysecret "$OUT" || fail "a password is shown"
}

test_tables() {
    gyre top --pool "$POOL" -n 2 -i 0.3
    exits 0
    same "tables" 2 "$(grep -c '^     ID  STATE' "$OUT")"
    same "rows" 20 "$(grep -c 'http://192.0.2' "$OUT")"
    contains "$OUT" "10 proxies: 9 eligible, 1 benched" "1 in flight" "1 sessions" "strategy round-robin, generation"
    ! grep -q verysecret "$OUT" || fail "a password is shown"
    ! grep -q $'\033' "$OUT" || fail "an escape sequence in a file"
    same "stderr" "" "$(cat "$ERR")"
}

# The strategy is the one that others put there meanwhile: top itself never takes a lease, with which a handle follows.
test_strategy_as_it_changes() {
    "$GYRE" pool create "$DIR/changes" --max-proxies 64 --max-sessions 64 2>"$ERR" || fail "no pool"
    "$GYRE" top --pool "$DIR/changes" -i 0.2 -n 50 >"$OUT" 2>"$ERR" &
    local pid=$!
    wait_for 10 grep -q "strategy round-robin, generation 0" "$OUT"
    "$GYRE" pool use "$DIR/changes" least-used >"$DIR/said" || fail "no use"
    wait_for 10 grep -q "strategy least-used, generation 1" "$OUT"
    kill -TERM "$pid"
    wait "$pid"
    return 0
}

# What ends it is said after the screen has gone, or nobody could read it.
test_last_words() {
    "$GYRE" pool create "$DIR/short" --max-proxies 64 --max-sessions 64 2>"$ERR" || fail "no pool"
    (sleep 1 && rm "$DIR/short") &
    timeout 20 script -qefc "$GYRE top --pool $DIR/short -i 0.2; echo left with \$?" "$OUT" >/dev/null < <(sleep 5) ||
        fail "it fails: $(tail -c 300 "$OUT")"
    wait
    grep -q "left with 2" "$OUT" || fail "it ends otherwise: $(tail -c 300 "$OUT")"
    tr -d '\n' <"$OUT" | grep -q $'\033\\[?1049l.*has been removed' || fail "not after the screen: $(tail -c 300 "$OUT" | cat -v)"
}

# Rates are of the interval: about 500 requests/s, none of them by the one that is benched.
test_rates() {
    gyre top --pool "$POOL" -n 1 -i 1
    awk '/requests\/s/ { exit !($1 > 50 && $1 < 2000) }' "$OUT" || fail "$(grep requests/s "$OUT")"
    grep -q '  open [0-9].*  0\.0   0\.0% .*192.0.2.7:3128' "$OUT" || fail "$(grep 192.0.2.7: "$OUT")"
    awk '/http:/ { sum += $4 == "0.0%" ? 0 : $4 } /open/ { sum -= 0 } END { exit !(sum > 95 && sum < 105) }' "$OUT" ||
        fail "shares do not sum up to all: $(cat "$OUT")"
}

test_sort_and_rows() {
    gyre top --pool "$POOL" -n 1 -i 0.3 --sort failed --rows 1
    same "rows" 1 "$(grep -c 'http://' "$OUT")"
    contains "$OUT" 192.0.2.7
    gyre top --pool "$POOL" -n 1 -i 0.3 --sort id --rows 1
    contains "$OUT" 192.0.2.1:
    gyre top --pool "$POOL" --sort nonsense
    exits 2
    contains "$ERR" --sort
}

test_a_signal_ends_it() {
    gyre_begin top --pool "$POOL" -i 0.2
    sleep 0.7
    kill -INT "$pid"
    gyre_end 5
    exits 0
}

test_screen() {
    screen "q" 100 20
    contains "$OUT" $'\033[?1049h' $'\033[?25l' "10 proxies" "q quit" $'\033[31m' $'\033[?1049l' "left with 0"
    cmp -s "$DIR/before" "$DIR/after" || fail "the terminal is left in another state"
}

# Keys sort; the first row after the head is then another one.
test_keys() {
    screen "f R q" 100 20
    tr '\033' '\n' <"$OUT" | grep -a 'http://192.0.2' >"$DIR/rows"
    grep -q '192.0.2.7:' "$DIR/rows" || fail "the failing one is not shown"
    screen "f q" 100 7 # room for two rows: only one of ten is the failing one
    contains "$OUT" 192.0.2.7:
    screen 'i \033[B\033[B\033[B\033[B\033[B\033[B q' 100 7 # down six times
    contains "$OUT" 192.0.2.7:
}

test_small_screens() {
    local size
    for size in "20 5" "1 1" "300 3"; do
        # shellcheck disable=SC2086 # two words
        screen "r q" $size
        contains "$OUT" "left with 0"
    done
}

test_no_color() {
    NO_COLOR=1 screen "q" 100 20
    ! grep -q $'\033\[31m' "$OUT" || fail "colours"
}

# Ctrl-C is a signal as ever, and the terminal is given back.
test_interrupt_on_a_terminal() {
    screen '\003' 100 20
    contains "$OUT" $'\033[?1049l' "left with 0"
    cmp -s "$DIR/before" "$DIR/after" || fail "the terminal is left in another state"
}

test_plain_on_a_terminal() {
    screen "" 100 20 --plain -n 1
    contains "$OUT" "ID  STATE"
    ! grep -q $'\033\[?1049h' "$OUT" || fail "a screen"
}

test_no_pool() {
    gyre top
    exits 2
    contains "$ERR" --pool
    gyre top --pool "$DIR/none"
    exits 2
    [ ! -e "$DIR/none" ] || fail "a pool was made"
}

harness_begin
start
harness_run "$@"
