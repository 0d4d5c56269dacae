#!/usr/bin/env bash
# pool:map as it is promised: see jobs/map.lua.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

test_map() {
    peers_fixture origin || fail "no fixture"
    local origin=http://a.test:$peer_port
    peers_fixture one || fail "no fixture"
    local one=$peer_port
    peers_fixture two || fail "no fixture"
    gyre run "$ROOT/tests/integration/jobs/map.lua" "$origin" "http://127.0.0.1:$one" "http://127.0.0.1:$peer_port"
    exits 0
}

# misuse LUA MESSAGE: raised at the caller's line
misuse() {
    printf '%s\n' 'local gyre = require "gyre"' 'local pool = gyre.open { proxies = { "http://127.0.0.1:1" } }' "$1" >"$DIR/wrong.lua"
    gyre run "$DIR/wrong.lua"
    exits 2
    contains "$ERR" "wrong.lua:3: $2"
}

test_misuse_is_told_at_the_caller() {
    misuse 'pool:get("http://x/", { tris = 1 })' "unknown option 'tris'"
    misuse 'pool:get("http://x/", { tries = 0.5 })' "option 'tries' must be a whole number"
    misuse 'pool:map({ "http://x/" }, 5)' "options are a table, not a number"
    misuse 'pool:map({ "http://x/" }, { tris = 1 })' "unknown option 'tris'"
    misuse 'gyre.fetch("http://x/", { proxy = "direct", country = "de" })' "unknown option 'country'"
    misuse 'gyre.session("a", { pool = "proxies.txt" })' "gyre.session: pool must be one that gyre.open has returned, not a string"
    misuse 'gyre.session("a", { pool = pool, timeot = 5 })' "unknown option 'timeot'"
}

harness_begin
harness_run "$@"
