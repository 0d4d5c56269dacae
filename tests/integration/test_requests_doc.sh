#!/usr/bin/env bash
# docs/requests.md does what it says: every example in it is run, in order, against a fixture.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

DOC=$ROOT/docs/requests.md

start() {
    peers_fixture origin || exit 1
    SITE=http://a.test:$peer_port
    local name
    for name in one two three; do
        peers_fixture "$name" || exit 1
        echo "http://127.0.0.1:$peer_port"
    done >"$PEERS_DIR/proxies.txt"
}

# example N WANT: the Nth block of Lua, run with a list of proxies and a site, prints this
example() {
    awk -v n="$1" '$0 == "```" { inside = 0 } inside { print } $0 == "```lua" { inside = ++seen == n }' "$DOC" >"$DIR/example.lua"
    gyre run "$DIR/example.lua" "$PEERS_DIR/proxies.txt" "$SITE"
    exits 0
    same "output of example $1" "$2" "$(cat "$OUT")"
}

test_get() { example 1 $'404\tok\t1\nnil\tprotocol\tproxy\tproxy_bad'; }
test_map() { example 2 20; }
test_stopping() { example 3 ''; }
test_judges() { example 4 $'ok\ntarget_bad\nok'; }
test_session() { example 5 $'true\ttrue\nnil'; }
test_templates() {
    local session
    session=$(LUA_PATH="$ROOT/lua/?.lua;;" luajit -e 'io.write(require("gyre.template").hash("cart-17", "hex", 8))')
    example 6 "http://customer-X:secret@192.0.2.1:7000
http://customer-X-cc-de-sessid-$session:secret@192.0.2.1:7000"
}

test_job() {
    example 7 "$(printf '{"links":0,"title":"fixture","url":"%s"}\n' "$SITE"/page/{1..3})"
    contains "$ERR" "3 requests, 0 errors, 3 attempts" latency
}

test_every_example_is_tested() { same "examples" 7 "$(grep -c '^```lua' "$DOC")"; }

# What the tables name exists: each option of a request, each judge.
test_options_are_those_of_the_code() {
    local option options
    mapfile -t options < <(sed -n '/^local TYPES = {/,/^}/s/^  \([a-z0-9_]*\) = ".*/\1/p' "$ROOT/lua/gyre/request.lua")
    [ ${#options[@]} -gt 15 ] || fail "only ${#options[@]} options were found in request.lua"
    for option in "${options[@]}"; do
        grep -q "\`$option\`" "$DOC" || fail "$option is not in the manual"
    done
}

# The benchmark that docs/performance.md has its figures from, in small.
test_benchmark_of_requests() {
    REQUESTS=300 ROUNDS=1 timeout 60 "$ROOT/tests/bench/net/run.sh" 100 tls >"$OUT" 2>"$ERR" || fail "$(cat "$OUT" "$ERR")"
    same "lines without an error" 3 "$(grep -c 'errors 0 ' "$OUT")"
}

harness_begin
start
harness_run "$@"
