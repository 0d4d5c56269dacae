#!/usr/bin/env bash
# A segment through nginx's life: reloads, workers that die, a second master, another user, a stop and a start.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

RELOADS=20

# begin [SED-EXPRESSION]...: an nginx with ten proxies and four workers
begin() {
    local i
    for ((i = 1; i <= 10; i++)); do echo "http://192.0.2.$i:3128"; done >"$DIR/proxies.txt"
    nginx_start "$ROOT/tests/nginx/run.conf" 's/worker_processes 1/worker_processes 4/' '/trusted_certificate/d' "$@"
}

# run LUA [CURL-OPTION]...: inside a worker
run() {
    local chunk=$1
    shift
    get /run --data-binary "local gyre, pool = ... $chunk" "$@"
}

mappings() { grep -c "$segment" "/proc/$1/maps"; }
all_mappings() { wc -l <"/proc/$1/maps"; }

test_reloads_leave_nothing_behind() {
    begin
    run 'assert(pool:acquire()):ok(5)'
    local i pid all
    nginx_reload
    all=$(all_mappings "$master")
    for ((i = 0; i < RELOADS; i++)); do nginx_reload; done
    same "mappings of the segment in the master" 1 "$(mappings "$master")"
    for pid in $(nginx_workers); do same "mappings in a worker" 1 "$(mappings "$pid")"; done
    [ "$(all_mappings "$master")" -le $((all + 8)) ] || fail "from $all mappings to $(all_mappings "$master")"
    on_segment 'local s = pool:stats() assert(s.succeeded == 1 and s.proxies == 10)' || fail "the pool began anew"
    grep -qE '\[(emerg|alert|crit|error)\]' "$DIR/error.log" && fail "$(tail "$DIR/error.log")"
    nginx_books_balance
}

# They have the same ngx.worker.id() and one turn.
test_old_and_new_workers() {
    begin 's/worker_processes 4/worker_processes 1/'
    run 'gyre.acquire() ngx.sleep(2) ngx.say(ngx.worker.id(), " ", ngx.worker.pid())' >"$DIR/old" &
    local waiting=$! worker
    wait_for 5 has_active 1
    worker=$(nginx_workers)
    kill -HUP "$master"
    wait_for 10 is_answered_by_another "$worker"
    has_active 1 || fail "the old worker's lease is gone"
    wait "$waiting"
    same "worker ids" "$(cut -d ' ' -f 1 "$DIR/old")" "$(cut -d ' ' -f 1 "$DIR/new")"
    [ "$(cut -d ' ' -f 2 "$DIR/old")" != "$(cut -d ' ' -f 2 "$DIR/new")" ] || fail "one worker"
    wait_for 5 has_active 0
    on_segment 'local s = pool:stats() assert(s.succeeded == 1 and s.aborted == 0)' || fail "the old one's lease"
    nginx_books_balance
}
has_active() { on_segment "assert(pool:stats().active == $1)"; }
# For a moment both accept; the answer in $DIR/new is the other one's.
is_answered_by_another() {
    run 'ngx.say(ngx.worker.id(), " ", ngx.worker.pid())' >"$DIR/new" && [ -s "$DIR/new" ] &&
        [ "$(cut -d ' ' -f 2 "$DIR/new")" != "$1" ]
}

# No log phase, no exit_worker: another worker notices.
test_a_killed_worker() {
    begin
    run 'gyre.acquire() gyre.acquire() ngx.print(ngx.worker.pid()) ngx.flush(true) ngx.sleep(60)' -N >"$DIR/pid" &
    wait_for 5 has_active 2
    wait_for 5 test -s "$DIR/pid"
    kill -KILL "$(cat "$DIR/pid")"
    sleep 1.2
    run 'assert(pool:acquire()):ok(1)'
    run 'local s = pool:stats() ngx.print(s.active, " ", s.aborted, " ", s.succeeded)' >"$DIR/stats"
    same "active, aborted, succeeded" "0 2 1" "$(cat "$DIR/stats")"
    wait_for 5 has_four_workers
    nginx_books_balance
}
has_four_workers() { [ "$(nginx_workers | wc -l)" = 4 ]; }

# Orphans go on serving; a new master cannot bind, but has run init_by_lua by then.
test_a_killed_master_and_a_second_one() {
    begin
    local orphans pid
    run 'assert(pool:acquire()):ok(5)'
    orphans=$(nginx_workers)
    kill -KILL "$master"
    run 'assert(pool:acquire()):ok(5)'
    run 'gyre.acquire() ngx.sleep(6)' &
    wait_for 5 has_active 1
    timeout 20 nginx -p "$DIR" -c "$DIR/nginx.conf" -e "$DIR/second.log" && fail "the second master could bind"
    contains "$DIR/second.log" "Address already in use"
    has_active 1 || fail "the second master ended what is not its own"
    same "an answer" 10 "$(run 'ngx.print(#pool)')"
    for pid in $orphans; do kill -QUIT "$pid"; done
    wait
    for pid in $orphans; do wait_for 10 is_gone "$pid"; done
    on_segment 'local s = pool:stats() assert(s.succeeded == 3, s.succeeded) assert(s.aborted == 0)' || fail "the counters"
    nginx_books_balance
}
is_gone() { ! peers_alive "$1"; }

# The handler raises; the log phase ends what the request holds all the same.
test_a_wrong_verdict_loses_no_lease() {
    begin
    run 'assert(gyre.acquire()) local ok, err = pcall(gyre.finish, "typo")
        ngx.say(ok, " ", err) assert(gyre.acquire()) gyre.finish "typo"' >"$DIR/answer"
    wait_for 5 has_active 0
    on_segment 'local s = pool:stats() assert(s.started == 2, s.started)' || fail "$(cat "$DIR/answer")"
    nginx_books_balance
}

test_stop_and_start() {
    begin
    run 'assert(pool:acquire { session = "cart-17" }):ok(120) ngx.print(pool:session("cart-17").proxy.id)' >"$DIR/id"
    peers_stop "$(basename "$DIR")" QUIT
    begin
    same "the session's proxy" "$(cat "$DIR/id")" "$(run 'ngx.print(pool:session("cart-17").proxy.id)')"
    same "its average" 120 "$(run 'ngx.print(pool:session("cart-17").proxy.ema_ms)')"
}

test_checking_the_configuration_makes_nothing() {
    begin
    peers_stop "$(basename "$DIR")"
    rm "$segment"
    nginx -t -q -p "$DIR" -c "$DIR/nginx.conf" -e "$DIR/check.log" || fail "$(cat "$DIR/check.log")"
    [ ! -e "$segment" ] || fail "nginx -t made a segment"
}

# Workers of a root's nginx are nobody. What they inherited they may use, by path too; for others there are mode and group.
test_users() {
    begin
    same "by default nobody else may" 600 "$(stat -c %a "$segment")"
    same "a worker attaches by path" "10 true" "$(run "
        local other = assert(require('gyre').open { shared = '$segment' })
        local lease = assert(other:acquire())
        assert(lease:ok(1))
        ngx.print(#other, ' ', pool:stats().succeeded == 1)
        other:close()")"
    same "mappings in all workers" "1 1 1 1" "$(for pid in $(nginx_workers); do mappings "$pid"; done | xargs)"
    [ "$(id -u)" = 0 ] || return 0
    as_nobody && fail "nobody may attach"
    contains "$DIR/nobody" "Permission denied"
    peers_stop "$(basename "$DIR")"
    rm "$segment"
    begin "s/max_proxies = 1024/max_proxies = 1024, mode = \"0660\", group = \"nogroup\"/"
    same "mode and group" "660 nogroup" "$(stat -c '%a %G' "$segment")"
    as_nobody || fail "nobody may not attach: $(cat "$DIR/nobody")"
}
# The library and Lua are copied: nobody need not be able to read the source tree.
as_nobody() {
    cp -rn "$ROOT/lua" "$ROOT/strategies" "$NGINX_SHM"
    cp -n "$BUILD/libgyre.so" "$NGINX_SHM"
    LUA_PATH="$NGINX_SHM/lua/?.lua;$NGINX_SHM/lua/?/init.lua;;" GYRE_LIB=$NGINX_SHM/libgyre.so setpriv --reuid=65534 --regid=65534 \
        --clear-groups luajit -e "assert(#assert(require('gyre').open { shared = '$segment' }) == 10)" >"$DIR/nobody" 2>&1
}

# Native picks draw from a generator of each thread, views in Lua from one of each Lua state: none is inherited.
test_workers_draw_for_themselves() {
    begin
    local i
    for ((i = 0; i < 40; i++)); do
        run 'local drawn = { ngx.worker.pid() }
            if drawn_before then return end
            drawn_before = true
            local by_weight = { name = "w", select = function(_, view) return view:weighted "weight" end }
            for i = 1, 20 do
                local lease = pool:acquire { strategy = by_weight }
                drawn[#drawn + 1] = lease.proxy.host:match "%d+$"
                lease:ok()
                lease = pool:acquire { strategy = "random" }
                drawn[#drawn + 1] = lease.proxy.host:match "%d+$"
                lease:ok()
            end
            ngx.say(table.concat(drawn, " "))'
    done | grep . >"$DIR/drawn"
    same "workers" "$(cut -d ' ' -f 1 "$DIR/drawn" | sort -u | wc -l)" "$(cut -d ' ' -f 2- "$DIR/drawn" | sort -u | wc -l)"
    [ "$(wc -l <"$DIR/drawn")" -ge 2 ] || fail "one worker did it all"
}

# No threads of ours in what nginx loads, and nothing beyond libc.
test_what_is_loaded() {
    begin
    local pid
    run 'assert(pool:acquire()):ok()'
    for pid in $(nginx_workers); do
        same "threads" 1 "$(find "/proc/$pid/task" -maxdepth 1 -mindepth 1 | wc -l)"
        grep -qE 'libuv|libcurl|libgyre-host' "/proc/$pid/maps" && fail "an event loop of ours in a worker"
    done
    same "what libgyre needs" "libc.so.6 libm.so.6" "$(readelf -d "$BUILD/libgyre.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
        grep -v '^ld-linux' | sort | xargs)"
}

harness_begin
nginx_begin
harness_run "$@"
