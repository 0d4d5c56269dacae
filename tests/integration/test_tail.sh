#!/usr/bin/env bash
# gyre tail, on a pool that other processes use.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

# A pool of three, and a job that takes COUNT leases from it: with and without session, by the segment's strategy and
# by one in Lua, and one that nobody can have.
make_pool() {
    printf '%s\n' http://anna:secret@192.0.2.7:3128 http://ben:secret@192.0.2.7:3128 192.0.2.8:3128 >"$DIR/list"
    gyre pool create "$DIR/pool" "$DIR/list" --max-proxies 1000
    exits 0
    cat >"$DIR/take.lua" <<'END'
local pool = assert(require("gyre").open { shared = arg[1] })
local lua = { name = "in-lua", select = function(_, view) return view:random() end }
local request = ({ plain = {}, session = { session = "cart-17" }, lua = { strategy = lua },
  lua_session = { strategy = lua, session = "cart-18" }, nobody = { country = "AQ" } })[arg[3]]
for _ = 1, tonumber(arg[2]) do
  local lease = pool:acquire(request)
  if lease then lease:ok(100) end
end
END
}

# take COUNT KIND
take() { "$GYRE" run "$DIR/take.lua" "$DIR/pool" "$1" "$2" || fail "the job"; }

test_off_by_default() {
    make_pool
    take 3 plain
    gyre tail --pool "$DIR/pool"
    exits 0
    same "its output" "" "$(cat "$OUT")"
    contains "$ERR" "is off"
}

test_what_it_says() {
    local kind
    make_pool
    gyre tail --pool "$DIR/pool" --sample 1
    exits 0
    for kind in plain session session lua lua_session nobody; do take 1 "$kind"; done
    gyre tail --pool "$DIR/pool" --json
    exits 0
    same "strategies" "round-robin round-robin round-robin in-lua in-lua round-robin" "$(jsonl "$OUT" strategy | xargs)"
    same "reasons" "picked,session new,session hit,picked,session new,no_proxy" "$(jsonl "$OUT" reason | paste -sd ,)"
    same "candidates" "3 3 3 3 3 nil" "$(jsonl "$OUT" candidates | xargs)"
    same "proxies" 5 "$(jsonl "$OUT" url | grep -c 192.0.2)"
    # The same session shows as the same, another as another; nothing tells the id.
    same "sessions" "2 1" "$(jsonl "$OUT" session | grep -v nil | sort | uniq -c | awk '{ print $1 }' | sort -r | xargs)"
    gyre tail --pool "$DIR/pool"
    same "lines" 6 "$(wc -l <"$OUT")"
    contains "$OUT" "  in-lua/" "of 3  session hit  session " "nobody  no_proxy"
    ! grep -qE 'secret|cart' "$OUT" "$ERR" || fail "a secret is shown"
    gyre tail --pool "$DIR/pool" -n 2
    same "the last" "session new,no_proxy" "$(awk -F '  ' '{ print $NF ~ /^session/ ? $(NF - 1) : $NF }' "$OUT" | paste -sd ,)"
}

seen() { [ "$(wc -l <"$OUT")" = "$1" ]; }

test_follow_until_interrupted() {
    make_pool
    gyre_begin tail --pool "$DIR/pool" --follow --sample 1 --json
    sleep 0.5
    take 5 plain
    wait_for 10 seen 5
    take 2 session
    wait_for 10 seen 7
    kill -INT "$pid"
    gyre_end 10
    exits 0
    # It switched on what was off: off again.
    take 3 plain
    gyre tail --pool "$DIR/pool" -n 4095
    same "entries" 7 "$(wc -l <"$OUT")"
}

# It is stopped while twice as much as fits is written.
test_says_what_was_lost() {
    make_pool
    gyre tail --pool "$DIR/pool" --sample 1
    gyre_begin tail --pool "$DIR/pool" --follow --json
    take 10 plain
    wait_for 10 seen 10
    kill -STOP "$pid"
    take 10000 plain
    kill -CONT "$pid"
    wait_for 20 seen 4105
    kill -INT "$pid"
    gyre_end 10
    contains "$ERR" "5905 decisions are lost"
    same "in the entry" 5905 "$(jsonl "$OUT" lost | sed -n 11p)"
    same "all" 10010 "$(jsonl "$OUT" lost | awk '{ n += $1 } END { print n + NR }')"
}

test_sample() {
    local n
    make_pool
    gyre tail --pool "$DIR/pool" --sample 0.1
    take 4000 plain
    gyre tail --pool "$DIR/pool" -n 4095
    n=$(wc -l <"$OUT")
    # 400 +- 19; 5 sigma
    if [ "$n" -lt 305 ] || [ "$n" -gt 495 ]; then fail "$n of 4000 at 0.1"; fi
    gyre tail --pool "$DIR/pool" --sample 0
    take 10 plain
    gyre tail --pool "$DIR/pool" -n 4095
    same "entries after it was switched off" "$n" "$(wc -l <"$OUT")"
}

test_what_cannot_be() {
    gyre tail
    exits 2
    gyre tail --pool "$DIR/none"
    exits 2
    contains "$ERR" "no pool"
    make_pool
    gyre tail --pool "$DIR/pool" --sample 2
    exits 2
    contains "$ERR" "from 0 to 1"
    gyre tail --pool "$DIR/pool" -n x
    exits 2
    contains "$ERR" "option '-n': 'x' is not a whole number from 0 to"
}

harness_begin
harness_run "$@"
