#!/usr/bin/env bash
# gyre pool on a live segment: a job holds the pool open and goes on while it is changed from outside.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20
SIZES='max_proxies = 64, max_sessions = 64, max_leases = 64, max_bans = 64'

# make NAME: a pool $POOL with three proxies, two of them at one address, and some history
make() {
    POOL=$DIR/$1
    cat >"$DIR/make.lua" <<END
local pool = assert(require "gyre".open { shared = arg[1], $SIZES, proxies = {
  { url = "http://192.0.2.7:3128", country = "de", tags = "home,fast" },
  "http://anna:verysecret@192.0.2.8:8080", "http://ben:verysecret@192.0.2.8:8080" } })
for i = 1, 9 do
  local lease = assert(pool:acquire { session = i < 3 and "cart-" .. i or nil, host = "Shop.example" })
  if i == 5 then lease:complete { verdict = "banned", ms = 3, retry_after = 600 } elseif i > 6 then lease:fail("proxy_bad", 3) else lease:ok(i * 10.5) end
end
END
    gyre run "$DIR/make.lua" "$POOL"
    exits 0
}

# pool VERB ARGUMENT...: gyre pool VERB $POOL ARGUMENT...; no output ever holds a password
pool() {
    local verb=$1
    shift
    gyre pool "$verb" "$POOL" "$@"
    ! grep -q verysecret "$OUT" "$ERR" || fail "a password is shown: $(cat "$OUT" "$ERR")"
}

# field NAME: of each proxy, one a line
field() { pool ls --json && jsonl "$OUT" "$1"; }

test_ls() {
    make pool
    pool ls
    exits 0
    same "lines" 4 "$(wc -l <"$OUT")"
    contains "$OUT" "ID  STATE" http://192.0.2.7:3128 home,fast DE
    same "started" "9" "$(field started | awk '{ s += $1 } END { print s }')"
    pool ls --country de
    same "lines of one country" 2 "$(wc -l <"$OUT")"
    pool ls --state draining
    same "lines of nobody" 1 "$(wc -l <"$OUT")"
    pool ls --json --sort failed
    same "order" "$(jsonl "$OUT" failed)" "$(jsonl "$OUT" failed | sort -rn)"
}

test_add_by_file_stdin_and_argument() {
    make pool
    printf '192.0.2.20:1\n# comment\nhttp://dora:verysecret@192.0.2.21:1\n' >"$DIR/more.txt"
    pool add "$DIR/more.txt"
    exits 0
    contains "$ERR" "loaded 2"
    echo "192.0.2.22:1" | timeout 10 "$GYRE" pool add "$POOL" - 2>"$ERR" || fail "stdin: $(cat "$ERR")"
    pool add http://emil:verysecret@192.0.2.23:1 192.0.2.20:1
    exits 0
    contains "$ERR" "1 known already"
    same "proxies" 7 "$(field id | wc -l)"
    pool add ftp://192.0.2.24
    exits 2
    contains "$ERR" "line 1"
    printf '192.0.2.24:1\nnonsense\n' >"$DIR/half.txt"
    pool add "$DIR/half.txt"
    exits 1
    contains "$ERR" "line 2"
}

# What is neither there nor a proxy was meant as a file.
test_add_of_a_file_that_is_not_there() {
    local name
    make pool
    for name in nofile.txt nonsense "$DIR/nofile.txt" ./a:b/list; do
        pool add 192.0.2.20:1 "$name"
        exits 2
        same "words" "gyre pool: $name: No such file or directory; a proxy is a URL or host:port" "$(cat "$ERR")"
    done
    pool add anna:verysecret@192.0.2.24 # no port
    exits 2
    contains "$ERR" "line 1: no port"
    same "proxies" 3 "$(field id | wc -l)"
}

test_rm_by_url_and_id() {
    make pool
    pool rm http://192.0.2.7:3128
    exits 0
    same "proxies" 2 "$(field id | wc -l)"
    pool rm http://192.0.2.8:8080 # of two users
    exits 2
    contains "$ERR" "2 proxies have the address" "choose by id"
    same "proxies" 2 "$(field id | wc -l)"
    pool rm "$(field id | head -n 1)"
    exits 0
    pool rm http://192.0.2.8:8080
    exits 0
    same "proxies" 0 "$(field id | wc -l)"
    pool rm 99
    exits 2
    contains "$ERR" 99
}

test_rm_with_credentials_and_from_stdin() {
    make pool
    pool rm http://ben:verysecret@192.0.2.8:8080
    exits 0
    field id | timeout 10 "$GYRE" pool rm "$POOL" - 2>"$ERR" || fail "$(cat "$ERR")"
    same "proxies" 0 "$(field id | wc -l)"
}

test_states() {
    make pool
    pool drain http://192.0.2.7:3128
    exits 0
    same "draining" 1 "$(field state | grep -c '^draining$')"
    pool disable http://192.0.2.7:3128
    same "disabled" 1 "$(field state | grep -c '^disabled$')"
    pool enable http://192.0.2.7:3128
    same "in use" 3 "$(field state | grep -c '^closed$')"
}

test_update() {
    make pool
    pool update http://192.0.2.7:3128 --tags slow --weight 0.5 --max-active 3 --rate 40/10s --country fr
    exits 0
    pool ls --json --country fr
    same "labels" $'0.5\t3\t40/10s' "$(jsonl "$OUT" weight max_active rate)"
    pool update http://192.0.2.7:3128
    exits 2
    contains "$ERR" "nothing to change"
    pool update http://192.0.2.7:3128 --weight heavy
    exits 2
    contains "$ERR" --weight
    pool update http://192.0.2.7:3128 --weight -1
    exits 2
}

# What stays keeps its history; a list without a usable proxy changes nothing.
test_reload() {
    local list
    make pool
    printf 'http://192.0.2.7:3128#country=at\n192.0.2.30:1\n' >"$DIR/list.txt"
    pool reload "$DIR/list.txt"
    exits 0
    contains "$ERR" "loaded 1" "1 known already" "removed 2"
    same "proxies" 2 "$(field id | wc -l)"
    pool ls --json --country at
    [ "$(jsonl "$OUT" started)" -gt 0 ] || fail "the counters of one that stayed are gone"
    : >"$DIR/list.txt"
    pool reload "$DIR/list.txt"
    exits 2
    same "proxies" 2 "$(field id | wc -l)"
    for list in http://a:verysecret@192.0.2.50:1 192.0.2.50:3128 "$DIR/nofile.txt"; do
        pool reload "$list"
        exits 2
        contains "$ERR" "o such file"
        same "proxies" 2 "$(field id | wc -l)"
    done
    echo 192.0.2.30:1 | timeout 10 "$GYRE" pool reload "$POOL" - 2>"$ERR" || fail "stdin: $(cat "$ERR")"
    same "proxies" 1 "$(field id | wc -l)"
}

# An add, a drain and a removal are in force for a job that is running.
test_running_job_sees_changes() {
    POOL=$DIR/pool
    cat >"$DIR/job.lua" <<END
local gyre = require "gyre"
local pool = assert(gyre.open { shared = arg[1], $SIZES, proxies = { "192.0.2.1:1" } })
io.stdout:setvbuf "no"
repeat
  local lease = assert(pool:acquire())
  print(lease.proxy.host)
  lease:ok(1)
  gyre.sleep(0.01)
until lease.proxy.host == "192.0.2.3"
END
    "$GYRE" run "$DIR/job.lua" "$POOL" >"$DIR/job.out" 2>&1 &
    pid=$!
    wait_for 10 grep -q 192.0.2.1 "$DIR/job.out"
    pool add 192.0.2.2:1
    wait_for 5 grep -q 192.0.2.2 "$DIR/job.out"
    pool drain http://192.0.2.1:1
    pool add 192.0.2.3:1
    pool rm http://192.0.2.2:1
    gyre_end 5
    exits 0
    same "last" 192.0.2.3 "$(tail -n 1 "$DIR/job.out")"
}

test_sessions_and_bans() {
    make pool
    pool sessions --json
    same "sessions" $'cart-1\ncart-2' "$(jsonl "$OUT" id | sort)"
    pool sessions
    contains "$OUT" cart-1 "EXPIRES IN"
    pool sessions --close cart-1
    pool sessions --stats
    same "left" 1 "$(jsonl "$OUT" count)"
    pool sessions --close cart-1
    exits 2
    pool sessions --close-all
    pool sessions
    same "lines" 1 "$(wc -l <"$OUT")"
    pool bans --json
    same "bans" $'shop.example\t1' "$(jsonl "$OUT" host strikes)"
    pool bans
    contains "$OUT" shop.example verdict
    pool bans --lift all --host other.example
    contains "$ERR" "lifted 0"
    pool bans --lift all
    contains "$ERR" "lifted 1"
    pool bans
    same "lines" 1 "$(wc -l <"$OUT")"
}

test_stats_check_repair_reset() {
    make pool
    pool stats --json
    same "sums" $'3\t9\t4\t2' "$(jsonl "$OUT" proxies started failed sessions)"
    pool stats
    contains "$OUT" "started" "ban_refused" "ban_blamed"
    pool check
    exits 0
    # A rate that cannot be, put there by a process that keeps the segment open: opening it alone would mend it.
    printf "%s\n" 'local gyre, ffi, C = require "gyre", require "ffi", require "gyre.clib"' 'local pool = gyre.open { shared = arg[1] }' \
        'ffi.cast("struct gyre_slot *", C.gyre_pool_slots(pool.handle))[0].success_rate = 7' \
        'io.open(arg[2], "w"):close()' 'gyre.sleep(15)' >"$DIR/damage.lua"
    gyre_begin run "$DIR/damage.lua" "$POOL" "$DIR/done"
    wait_for 10 test -e "$DIR/done"
    pool check
    exits 1
    contains "$ERR" "findings"
    pool repair
    exits 0
    contains "$ERR" "before: " "after: sound"
    kill "$pid"
    gyre_end 5
    pool check
    exits 0
    pool reset
    pool stats --json
    same "started" 0 "$(jsonl "$OUT" started)"
}

test_create() {
    gyre pool create "$DIR/new" --max-proxies 64 --mode 0640
    exits 0
    same "mode" 640 "$(stat -c %a "$DIR/new")"
    gyre pool create "$DIR/new"
    exits 2
    contains "$ERR" "exists already"
    echo 192.0.2.1:1 | timeout 10 "$GYRE" pool create "$DIR/filled" - --max-proxies 64 2>"$ERR" || fail "$(cat "$ERR")"
    POOL=$DIR/filled
    same "proxies" 1 "$(field id | wc -l)"
    gyre pool create "$DIR/third" "$DIR/not-there.txt"
    exits 2
    [ ! -e "$DIR/third" ] || fail "made without its list"
    gyre pool create "$DIR/picky" --max-proxies 64 --strategy nonsense
    exits 2
    [ ! -e "$DIR/picky" ] || fail "made without its strategy"
    gyre pool create "$DIR/picky" --max-proxies 64 --strategy random
    gyre pool use "$DIR/picky"
    contains "$OUT" random
    gyre pool create "$DIR/fourth" --mode rw
    exits 2
    contains "$ERR" --mode
    gyre pool create "$DIR/fifth" --max-proxies many
    exits 2
    contains "$ERR" --max-proxies
}

# Into a pool that is made by it, then into one that is there; the file is nobody else's to read.
test_save_and_load() {
    make pool
    pool ls --json
    jsonl "$OUT" started succeeded failed ema_ms success_rate >"$DIR/before"
    pool save "$DIR/state.json"
    exits 0
    same "mode" 600 "$(stat -c %a "$DIR/state.json")"
    POOL=$DIR/copy
    pool load "$DIR/state.json"
    exits 0
    contains "$ERR" "loaded 3 proxies, 2 sessions, 1 bans"
    pool ls --json
    jsonl "$OUT" started succeeded failed ema_ms success_rate >"$DIR/after"
    cmp "$DIR/before" "$DIR/after" || fail "the books differ"
    pool sessions --json
    same "sessions" 2 "$(wc -l <"$OUT")"
    pool rm http://192.0.2.7:3128
    pool load "$DIR/state.json"
    same "proxies" 3 "$(field id | wc -l)"
    pool check
    exits 0
    pool save - --no-credentials
    contains "$OUT" '"hidden":true'
    script -qec "$GYRE pool save $POOL -" /dev/null >"$DIR/terminal" </dev/null && fail "credentials go to a terminal"
    contains "$DIR/terminal" "stdout is a terminal"
    echo "[1]" >"$DIR/other.json"
    pool load "$DIR/other.json"
    exits 2
    contains "$ERR" other.json "no saved state"
}

# A list that is larger than a pool is by default; the size can still be said.
test_create_for_a_large_list() {
    seq 1 65537 | awk '{ printf "10.%d.%d.1:3128\n", $1 / 256, $1 % 256 }' >"$DIR/large.txt"
    POOL=$DIR/large
    pool create "$DIR/large.txt"
    exits 0
    contains "$ERR" "loaded 65537"
    pool add http://192.0.2.1:80
    exits 0
    POOL=$DIR/small
    pool create "$DIR/large.txt" --max-proxies 65536
    exits 2
    contains "$ERR" "max_proxies"
    [ ! -e "$DIR/small" ] || fail "a pool was made"
}

# What could not be loaded leaves no empty pool behind, and one that was there before in its place.
test_load_that_fails() {
    make pool
    pool save "$DIR/hidden.json" --no-credentials
    POOL=$DIR/new
    pool load "$DIR/hidden.json"
    exits 2
    contains "$ERR" "saved without credentials, and not in the pool"
    [ ! -e "$DIR/new" ] || fail "an empty pool was made"
    pool create
    pool load "$DIR/hidden.json"
    exits 2
    [ -e "$DIR/new" ] || fail "the pool is gone"
}

# Nobody waits for the other end of a pipe that can be no pool.
test_no_pool_but_a_pipe() {
    POOL=$DIR/pipe
    mkfifo "$POOL"
    local verb
    for verb in ls check "rm 1"; do
        # shellcheck disable=SC2086 # words
        pool $verb
        exits 2
        contains "$ERR" "is no regular file"
    done
    pool create
    exits 2
    contains "$ERR" "exists already"
}

# What is no regular file is written to and stays what it is; of a link the file behind it is replaced.
test_save_to_other_places() {
    make pool
    mkfifo "$DIR/pipe"
    (timeout 10 cat "$DIR/pipe" >"$DIR/read") &
    pool save "$DIR/pipe"
    exits 0
    wait $!
    contains "$DIR/read" '"proxies":['
    [ -p "$DIR/pipe" ] || fail "the pipe is gone"
    echo old >"$DIR/file"
    ln -s file "$DIR/link"
    pool save "$DIR/link"
    exits 0
    [ -L "$DIR/link" ] || fail "the link is gone"
    contains "$DIR/file" '"proxies":['
    same "mode of the file behind it" 600 "$(stat -c %a "$DIR/file")"
    pool save "$DIR"
    exits 2
    contains "$ERR" "$DIR: Is a directory"
}

# A strategy whose file is gone, or that a new proxy lacks something for, is no reason not to look after the pool.
test_strategy_that_cannot_be_loaded() {
    make pool
    echo 'return { name = "gone", select = function(_, view) return view:random() end }' >"$DIR/gone.lua"
    pool use "$DIR/gone.lua"
    mv "$DIR/gone.lua" "$DIR/away.lua"
    local command
    for command in ls stats sessions check repair "drain http://192.0.2.7:3128" "enable http://192.0.2.7:3128" "save $DIR/state.json"; do
        # shellcheck disable=SC2086 # words
        pool $command
        exits 0
        contains "$ERR" "the segment's strategy: $DIR/gone.lua: No such file"
    done
    pool use
    same "what it says" "$DIR/gone.lua, generation 1" "$(cat "$OUT")"
    pool use --reload
    exits 2
    gyre top --pool "$POOL" --plain -n 1 -i 0.1
    contains "$OUT" "strategy $DIR/gone.lua, generation 1"
    gyre tail --pool "$POOL"
    exits 0
    gyre get --pool "$POOL" http://127.0.0.1:1/
    exits 2
    mv "$DIR/away.lua" "$DIR/gone.lua"
    pool use --reload
    exits 0
    same "it is back" "gone, generation 2" "$(cat "$OUT")"
    rm "$DIR/gone.lua"
    pool use random
    exits 0
    pool ls
    same "of the new one" "" "$(cat "$ERR")"
    echo 'return { name = "needs", requires = { "country" }, select = function(_, view) return view:random() end }' >"$DIR/needs.lua"
    POOL=$DIR/other
    echo "192.0.2.1:1#country=de" >"$DIR/list.txt"
    pool create "$DIR/list.txt" --strategy "$DIR/needs.lua"
    exits 0
    pool add 192.0.2.2:1
    pool ls
    exits 0
    contains "$ERR" "needs country: 1 of 2 proxies have none"
    pool update 192.0.2.2:1 --country fr
    pool ls
    same "mended" "" "$(cat "$ERR")"
}

# In force for a job that runs; one that cannot be loaded leaves the old one.
test_use() {
    local i
    POOL=$DIR/pool
    cat >"$DIR/job.lua" <<END
local gyre = require "gyre"
local pool = assert(gyre.open { shared = arg[1], $SIZES, proxies = { "192.0.2.1:1", "192.0.2.2:1" } })
io.stdout:setvbuf "no"
for _ = 1, 2000 do
  local lease = assert(pool:acquire())
  print(lease.proxy.host)
  lease:ok(1)
  gyre.sleep(0.01)
end
END
    printf '%s\n' 'return { name = "only", options = { which = 1 }, select = function(self, view) return view[self.which] end,' \
        '  configure = function(self, options) self.which = assert(tonumber(options.which)) end }' >"$DIR/only.lua"
    "$GYRE" run "$DIR/job.lua" "$POOL" >"$DIR/job.out" 2>"$DIR/job.err" &
    pid=$!
    wait_for 10 grep -q 192.0.2.2 "$DIR/job.out"
    pool use "$DIR/only.lua" -o which=2
    exits 0
    contains "$OUT" "only, generation 1"
    sleep 0.3
    : >"$DIR/job.out"
    sleep 0.3
    same "picked" 192.0.2.2 "$(tr -d '\0' <"$DIR/job.out" | sort -u | xargs)"
    pool use "$DIR/only.lua" -o which=none
    exits 2
    contains "$ERR" only.lua
    pool use "$DIR/only.lua" -o unknown=1
    exits 2
    pool use "$DIR/only.lua" -o which
    exits 2
    contains "$ERR" --option
    pool use nonsense
    exits 2
    pool use -o which=1
    exits 2
    contains "$ERR" "option '--option' needs the STRATEGY"
    for i in random "-o which=1"; do
        # shellcheck disable=SC2086 # words
        pool use $i --reload
        exits 2
        contains "$ERR" "option '--reload' reads the file of the one in use"
    done
    pool use
    contains "$OUT" "only, generation 1"
    sed -i 's/self.which\] end/1] end/' "$DIR/only.lua"
    pool use --reload
    exits 0
    sleep 0.3
    : >"$DIR/job.out"
    sleep 0.3
    same "picked" 192.0.2.1 "$(tr -d '\0' <"$DIR/job.out" | sort -u | xargs)"
    kill -TERM "$pid"
    gyre_end 5
    pool stats --json
    same "strategy" only "$(jsonl "$OUT" strategy)"
}

test_no_pool_there() {
    POOL=$DIR/nowhere
    local verb
    for verb in ls stats check repair reset sessions bans; do
        pool "$verb"
        exits 2
        contains "$ERR" nowhere "No such file"
    done
    [ ! -e "$POOL" ] || fail "looking at a pool has made it"
    POOL=$DIR/other
    head -c 100000 /dev/zero >"$POOL"
    pool ls
    exits 2
}

test_usage_of_commands() {
    gyre pool
    exits 2
    gyre pool ls
    exits 2
    contains "$ERR" path "Usage: gyre pool ls"
    gyre pool frobnicate x
    exits 2
    contains "$ERR" frobnicate
    gyre help pool update
    exits 0
    contains "$OUT" --max-active
    gyre pool update --help
    exits 0
    contains "$OUT" --max-active
    gyre help pool nothing
    exits 2
}

# What may be a secret is gone from the process's command line as soon as Lua runs.
test_arguments_are_hidden() {
    printf '%s\n' 'local file = io.open "/proc/self/cmdline"' 'print((file:read "*a":gsub("%z", " ")))' 'print(arg[1])' >"$DIR/ps.lua"
    gyre run "$DIR/ps.lua" http://anna:verysecret@192.0.2.1:1 192.0.2.1:1:anna:verysecret anna:verysecret@192.0.2.1:1 \
        anna:verysecret:192.0.2.1:1 192.0.2.1:1@anna:verysecret 192.0.2.1:1@verysecret:22 \
        "-HCookie: verysecret" "Authorization: verysecret" -b verysecret -bverysecret --cookie sid=verysecret \
        --cookie=sid=verysecret 192.0.2.1:1:anna@home:verysecret "anna:12:verysecret@192.0.2.1:1" \
        192.0.2.1:1@anna:very@verysecret http://192.0.2.1:8080:anna:verysecret -sb verysecret -sbverysecret
    exits 0
    ! head -n 1 "$OUT" | grep -q verysecret || fail "still there: $(head -n 1 "$OUT")"
    same "what the script gets" http://anna:verysecret@192.0.2.1:1 "$(tail -n 1 "$OUT")"
}

# An option that cannot be is named as it was typed.
test_create_names_its_options() {
    local value
    for value in 0 1.5 1e12 many -1; do
        gyre pool create "$DIR/pool" --max-proxies "$value"
        exits 2
        contains "$ERR" "gyre pool: option '--max-proxies'"
        [ ! -e "$DIR/pool" ] || fail "a pool was made"
    done
    gyre pool create "$DIR/pool" --session-ttl 0
    exits 2
    contains "$ERR" "option '--session-ttl'"
}

harness_begin
harness_run "$@"
