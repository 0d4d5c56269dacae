#!/usr/bin/env bash
# Bad input: each a clear error with the right exit code, in bounded time.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture good || exit 1
    echo "http://127.0.0.1:$peer_port" >"$PEERS_DIR/good.txt"
    GOOD=$PEERS_DIR/good.txt
    echo "socks5h://127.0.0.1:$peer_port" >"$PEERS_DIR/tunnel.txt"
    TUNNEL=$PEERS_DIR/tunnel.txt
}

crawl() { gyre run "$ROOT/examples/jobs/crawl_docs.lua" --start "$ORIGIN/" --out "$DIR/pages.jsonl" "$@"; }
get() { gyre run "$ROOT/tests/integration/jobs/get.lua" "$@"; }

# answered FIELD...: the first fields of the line that get.lua prints
answered() {
    local want
    want=$(printf '%s\t' "$@")
    case "$(head -n 1 "$OUT")"$'\t' in
    "$want"*) ;;
    *) fail "want '$*', got '$(head -n 1 "$OUT")', stderr: $(tail -c 600 "$ERR")" ;;
    esac
}

test_empty_list() {
    printf '# nothing but a comment\n\n' >"$DIR/empty.txt"
    crawl --proxies "$DIR/empty.txt"
    exits 2
    contains "$ERR" empty.txt
}

test_unreadable_list() {
    crawl --proxies "$DIR/not-there.txt"
    exits 2
    contains "$ERR" not-there.txt "No such file"
    crawl --proxies "$DIR" # a directory
    exits 2
}

# The good ones are used, the bad ones counted and named by line; what stands in them is not repeated.
test_invalid_line() {
    { cat "$GOOD" && echo "http://dora:verysecret@127.0.0.1:99999" && echo "gopher://127.0.0.1:70"; } >"$DIR/list.txt"
    crawl --proxies "$DIR/list.txt"
    exits 0
    contains "$ERR" "2 invalid" "line 2" "line 3"
    grep -rq verysecret "$OUT" "$ERR" && fail "a password of an invalid line is shown"
    same "pages" 1 "$(wc -l <"$DIR/pages.jsonl")"
}

test_script_with_a_syntax_error() {
    printf 'local x = = 1\n' >"$DIR/broken.lua"
    gyre run "$DIR/broken.lua"
    exits 2
    contains "$ERR" "broken.lua:1:" "unexpected symbol"
}

test_script_that_raises() {
    printf 'local function inner() error("on purpose") end\ninner()\n' >"$DIR/raises.lua"
    gyre run "$DIR/raises.lua"
    exits 2
    contains "$ERR" "raises.lua:1: on purpose" "raises.lua:2"
}

test_script_that_is_not_there() {
    gyre run "$DIR/no-such.lua"
    exits 2
    contains "$ERR" no-such.lua
}

# Waiting for input is waiting: other tasks go on. A file is always ready, and so is the end of a pipe.
test_waiting_for_input() {
    rm -f "$OUT"
    # shellcheck disable=SC2094 # what it has said decides when it is told
    (wait_for 10 grep -q false "$OUT"; sleep 0.3; echo line) | timeout 20 "$GYRE" run "$ROOT/tests/integration/jobs/readable.lua" >"$OUT" || fail "it fails"
    same "of a pipe" $'false\ntrue\tline\ttrue\ntrue\tnil' "$(cat "$OUT")"
    printf 'one\ntwo\n' >"$DIR/input"
    timeout 20 "$GYRE" run "$ROOT/tests/integration/jobs/readable.lua" <"$DIR/input" >"$OUT" || fail "it fails"
    same "of a file" $'true\ntrue\tone\tfalse\ntrue\ttwo' "$(cat "$OUT")"
}

test_usage() {
    gyre
    exits 2
    gyre frobnicate
    exits 2
    contains "$ERR" frobnicate
    gyre run
    exits 2
    crawl --proxies "$GOOD" --no-such-option
    exits 2
    contains "$ERR" no-such-option
    gyre --version
    exits 0
    contains "$OUT" "gyre 0."
    gyre help
    exits 0
    contains "$OUT" run
}

test_only_dead_proxies_is_exit_3() {
    echo "$DEAD" >"$DIR/dead.txt"
    crawl --proxies "$DIR/dead.txt"
    exits 3
}

# Nothing gets through by another way when the proxy does not work: the origin sees nothing.
test_never_direct() {
    echo "$DEAD" >"$DIR/dead.txt"
    local before
    before=$(wc -l <"$PEERS_DIR/origin/access.log")
    get "$DIR/dead.txt" "$ORIGIN/"
    exits 1
    answered error connect proxy
    same "requests at the origin" "$before" "$(wc -l <"$PEERS_DIR/origin/access.log")"
}

# fault KIND WANT...: what pool:get says of a proxy that misbehaves so, for http:// and through a tunnel
fault() {
    local kind=$1
    shift
    peers_fixture "fault-$kind" --fault "$kind" || fail "no fixture"
    echo "http://127.0.0.1:$peer_port" >"$DIR/$kind.txt"
    get "$DIR/$kind.txt" "$ORIGIN/" timeout=1 tries=1
    exits 1
    answered error "$@"
    get "$DIR/$kind.txt" "https${ORIGIN#http}/" timeout=1 tries=1
    exits 1
    answered error "$@"
}

test_proxy_answers_garbage() { fault garbage protocol proxy; }
test_proxy_hangs() { fault hang timeout proxy; }
test_proxy_resets() { fault reset protocol proxy; }
test_proxy_closes() { fault close protocol proxy; }
test_proxy_wants_credentials() { fault 407 proxy_auth proxy; }
test_proxy_sends_headers_without_end() { fault endless too_large proxy; }

# What a target does to a request that came through a tunnel is the target's fault. Through a plain HTTP proxy
# nobody can tell, and the proxy is blamed.
target_fault() {
    get "$TUNNEL" "$ORIGIN/$1" timeout=1 tries=1
    exits 1
    answered error "$2" target 1
    get "$GOOD" "$ORIGIN/$1" timeout=1 tries=1
    exits 1
    answered error "$2" proxy 1
}

test_target_never_answers() { target_fault hang timeout; }
test_target_drips() { target_fault drip/1000 timeout; }
test_target_ends_in_mid_body() { target_fault eof protocol; }
test_target_resets() { target_fault reset protocol; }
test_target_sends_headers_without_end() { target_fault endless too_large; }

test_body_over_the_limit() {
    get "$GOOD" "$ORIGIN/bytes/2000" max_body=2000
    exits 0
    answered response 200 2000 1
    get "$GOOD" "$ORIGIN/bytes/2001" max_body=2000
    exits 1
    answered error too_large target 1
}

test_default_limit_is_32_mib() {
    get "$GOOD" "$ORIGIN/bytes/33554432"
    exits 0
    answered response 200 33554432 1
    get "$GOOD" "$ORIGIN/bytes/33554433"
    exits 1
    answered error too_large target 1
}

# A gzip bomb: the limit is on what it unpacks to, and memory stays below it.
test_gzip_bomb() {
    get "$GOOD" "$ORIGIN/bomb" timeout=10
    exits 1
    answered error too_large target 1
}

test_status_codes_are_answers() {
    get "$GOOD" "$ORIGIN/status/404"
    exits 0
    answered response 404 0 1
}

test_body_with_nul_bytes() {
    get "$GOOD" "$ORIGIN/nul"
    exits 0
    answered response 200 4 1
}

# No lease is left over, whatever happened.
test_nothing_stays_in_flight() {
    local path
    for path in status/500 eof reset hang "bytes/40000000"; do
        get "$GOOD" "$ORIGIN/$path" timeout=1 tries=1
        same "leases in flight after /$path" 0 "$(awk -F '\t' '$1 == "proxy" { n += $7 } END { print n + 0 }' "$OUT")"
        same "leases after /$path" 1 "$(awk -F '\t' '$1 == "proxy" { n += $3 } END { print n + 0 }' "$OUT")"
    done
}

harness_begin
start
harness_run "$@"
