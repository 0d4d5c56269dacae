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

# Options that one request says are not the next one's, though they are remembered where many say the same.
test_options_are_of_one_request() {
    peers_fixture origin || fail "no fixture"
    local origin=http://a.test:$peer_port
    peers_fixture one || fail "no fixture"
    cat >"$DIR/own.lua" <<'END'
local gyre = require "gyre"
local pool = gyre.open { proxies = { arg[1] } }
local function get(options)
  local response, err = pool:get(arg[2], options)
  return response and response.status or err.kind
end
for _ = 1, 2 do
  print(get(), get { max_body = 10 }, get {}, get { timeout = 5 }, get { max_body = 10, timeout = 5 }, get { method = "HEAD" },
    get { body = "x", method = "POST", max_body = 10 }, get())
end
END
    gyre run "$DIR/own.lua" "http://127.0.0.1:$peer_port" "$origin/page/1"
    exits 0
    same "outcomes" 2 "$(grep -c $'^200\ttoo_large\t200\t200\ttoo_large\t200\ttoo_large\t200$' "$OUT")"
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
    misuse 'pool:get("http://x/", { exclude = 5 })' "exclude must be a list of ids"
    misuse 'pool:map({ "http://x/" }, { country = 5 })' "country must be text or a list of texts"
    misuse 'gyre.session("a", { pool = pool, tags = 5 })' "tags must be text or a list of texts"
    misuse 'pool:map({ "http://x/" }, 5)' "options are a table, not a number"
    misuse 'pool:map({ "http://x/" }, { tris = 1 })' "unknown option 'tris'"
    misuse 'gyre.fetch("http://x/", { proxy = "direct", country = "de" })' "unknown option 'country'"
    misuse 'gyre.fetch("http://x/", { proxy = "direct", tries = 2 })' "option 'tries' needs a pool"
    misuse 'gyre.fetch("http://x/", { proxy = "direct", wait = 2 })' "option 'wait' needs a pool"
    misuse 'gyre.fetch("http://x/", { proxy = "direct", exclude = { 1 } })' "unknown option 'exclude'"
    misuse 'pool:get("http://x/", { method = "GET\0" })' "option 'method' holds a NUL"
    misuse 'gyre.session("a", { pool = "proxies.txt" })' "gyre.session: pool must be one that gyre.open has returned, not a string"
    misuse 'gyre.session("a", { pool = pool, timeot = 5 })' "unknown option 'timeot'"
}

harness_begin
harness_run "$@"
