#!/usr/bin/env bash
# Verdicts: who decides, whom they are about, and what they do to proxies and hosts. The steps are in jobs/verdicts.lua.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

start() {
    local name
    PROXIES=()
    peers_fixture origin || exit 1
    PORT=$peer_port
    for name in one two three; do
        peers_fixture "$name" || exit 1
        PROXIES+=("http://127.0.0.1:$peer_port")
    done
}

step() {
    gyre run "$ROOT/tests/integration/jobs/verdicts.lua" "$1" "$PORT" "${PROXIES[@]}"
    exits 0
}

test_throttles_are_the_hosts() { step throttle; }
test_a_ban_is_of_one_proxy_by_one_host() { step ban; }
test_a_redirect_is_judged_by_who_answered() { step redirect; }
test_precedence_of_judges() { step precedence; }
test_errors_are_judged_too() { step errors; }

test_retries() {
    step retry
    same "requests" "3 GET /reset/get 1 POST /reset/post" "$(grep /reset/ "$PEERS_DIR/origin/access.log" | sort | uniq -c | xargs)"
}

test_a_wrong_rule_benches_nobody() {
    step blame
    same "warnings" 1 "$(grep -c '^gyre: a.test refused most of the pool' "$ERR")"
    same "lines of the summary" 1 "$(grep -c '^a.test refused most of the pool at once' "$ERR")"
}

harness_begin
start
harness_run "$@"
