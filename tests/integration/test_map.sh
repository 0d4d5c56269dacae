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

harness_begin
harness_run "$@"
