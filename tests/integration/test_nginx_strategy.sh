#!/usr/bin/env bash
# Strategies pushed into a running nginx from the command line, good ones and wrong ones, under load: all workers follow,
# or all go on with what they have, and no request fails.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

# begin [SED-EXPRESSION]...
begin() {
    local i
    for ((i = 1; i <= 5; i++)); do echo "http://192.0.2.$i:3128"; done >"$DIR/proxies.txt"
    nginx_start "$ROOT/tests/nginx/pick.conf" 's/strategy = "round-robin"/watch = true/' "$@"
}

# strategy NAME SELECT: a file in $DIR
strategy() { echo "return { name = '$1', select = function(self, view, request) $2 end }" >"$DIR/$1.lua"; }

# push STRATEGY: to everybody on the segment
push() {
    gyre pool use "$segment" "$1"
    exits 0
}

# picks N: how many different proxies N requests get
picks() {
    local i
    for ((i = 0; i < $1; i++)); do get /pick; done | sort -u | wc -l
}
picks_are() { [ "$(picks 8)" = "$1" ]; }

# under_load SECONDS COMMAND...: no request fails meanwhile
under_load() {
    local said seconds=$1
    shift
    "$@" &
    said=$(timeout 60 wrk -t2 -c16 -d "$seconds" -s "$ROOT/tests/nginx/load.lua" "http://127.0.0.1:$port/pick" | grep '^requests')
    wait $! || fail "$*"
    [[ $said == requests\ [1-9]*\ status\ 0\ connect\ 0\ read\ 0\ write\ 0\ timeout\ 0\ * ]] || fail "failed requests: $said"
}

test_a_good_one_reaches_all_workers() {
    begin
    strategy first 'return view[1]'
    same "before" 5 "$(picks 10)"
    under_load 2 push_good
    same "its choice in all workers" 1 "$(picks 40)"
    nginx_reload
    same "also after a reload" 1 "$(picks 20)"
    push round-robin
    wait_for 5 picks_are 5
    nginx_books_balance
}
push_good() {
    sleep 0.5
    push "$DIR/first.lua"
}

test_wrong_ones_fail_no_request() {
    begin
    echo 'return { name = "syntax", select = ' >"$DIR/syntax.lua"
    strategy raises 'error "http://u:hunter2@h is what it says"'
    strategy stranger 'return { id = 17 }'
    strategy loops 'while true do end'
    strategy secret 'return view[1]'
    under_load 7 push_wrong
    on_segment '
        assert(pool:stats().failed == 0 and pool:stats().aborted == 0)
        for _, name in ipairs { "raises", "stranger", "loops" } do
            assert(pool:counter("fallback " .. name):get() > 0, name)
        end' || fail "what failed was not counted"
    contains "$DIR/error.log" "strategy 'raises'" "strategy 'stranger'" "rests for"
    grep -q hunter2 "$DIR/error.log" && fail "a credential in the log"
    [ "$(id -u)" != 0 ] || contains "$DIR/error.log" "not used"
    same "in the end" 5 "$(picks 10)"
    nginx_books_balance
}
push_wrong() {
    sleep 0.5
    gyre pool use "$segment" "$DIR/syntax.lua"
    [ "$code" != 0 ] || fail "a file with a syntax error was pushed"
    local name
    for name in raises stranger loops; do
        push "$DIR/$name.lua"
        sleep 1
    done
    # Workers of a root's nginx are nobody and cannot read it: they keep what they have.
    push round-robin
    sleep 0.5
    chmod 600 "$DIR/secret.lua"
    push "$DIR/secret.lua"
    sleep 0.5
    # Others ask meanwhile, so that these are random ones: all five are met in 60 but for once in 100,000 times.
    [ "$(id -u)" != 0 ] || same "workers that cannot read it" 5 "$(picks 60)"
    push round-robin
}

# One worker: another that served nothing since the push would first read the file when it is broken.
test_an_edited_file() {
    begin 's/worker_processes 4/worker_processes 1/'
    strategy edited 'return view[1]'
    push "$DIR/edited.lua"
    wait_for 5 picks_are 1
    echo 'return { name = "edited", select = 17 }' >"$DIR/edited.lua"
    under_load 2 true
    same "the old one goes on" 1 "$(picks 20)"
    contains "$DIR/error.log" "changed, and not used"
    strategy edited 'return view:round_robin()'
    wait_for 5 picks_are 5
    nginx_books_balance
}

harness_begin
nginx_begin
harness_run "$@"
