#!/usr/bin/env bash
# Every fault of a proxy and of a target is recognised as what it is, takes no longer than its limit, and leaves no lease: the
# table is in jobs/faults.lua. Then the schemes that the other tests do not use, through real proxies.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

start() {
    local fault
    PORTS=(dead=1)
    add_fixture origin
    add_fixture good
    for fault in full hang noconnect close half reset cut garbage endless; do add_fixture "$fault" --fault "$fault"; done
    for fault in 403 407 502 503 504; do add_fixture "s$fault" --fault "$fault"; done
    export FIXTURE_AUTH=anna:secret
    add_fixture auth
    unset FIXTURE_AUTH
}

add_fixture() {
    peers_fixture "$@" || exit 1
    PORTS+=("$1=$peer_port")
}

test_fault_matrix() {
    gyre run "$ROOT/tests/integration/jobs/faults.lua" "${PORTS[@]}"
    [ "$code" = 0 ] || fail "$(cat "$OUT" "$ERR")"
}

# get PROXY URL [OPTION]...: one request, answered
get() {
    echo "$1" >"$DIR/list.txt"
    gyre run "$ROOT/tests/integration/jobs/get.lua" "$DIR/list.txt" "${@:2}" tries=1
    exits 0
}

# Dante speaks SOCKS4 and no SOCKS4a: it cannot be asked for a name, nor for an address as if it were one.
test_socks4_and_socks5_through_dante() {
    local scheme
    peers_dante dante || fail "no dante"
    local dante=$peer_port
    echo "hello" >"$DIR/index.html"
    peers_nginx site "$DIR" || fail "no site"
    get "socks4://127.0.0.1:$dante" "http://127.0.0.1:$peer_port/index.html" local_dns=true
    for scheme in socks5 socks5h; do
        get "$scheme://127.0.0.1:$dante" "http://127.0.0.1:$peer_port/index.html"
    done
    get "socks5h://127.0.0.1:$dante" "http://localhost:$peer_port/index.html"
    same "requests by dante's address" 4 "$(grep -c "^$peer_address " "$PEERS_DIR/site/access.log")"
}

# TLS to the proxy, and TLS in it to the target; the proxy's certificate is checked as the target's is.
test_https_proxy() {
    echo "hello" >"$DIR/index.html"
    peers_nginx plain "$DIR" || fail "no site"
    local plain=http://127.0.0.1:$peer_port/index.html
    peers_nginx tls "$DIR" tls || fail "no site"
    local tls=https://127.0.0.1:$peer_port/index.html cert=$PEERS_DIR/tls/cert.pem
    SQUID_TLS=$PEERS_DIR/tls peers_squid secure 1 || fail "no squid"
    local proxy=https://127.0.0.1:${peer_ports[0]}
    get "$proxy" "$plain" cacert="$cert"
    get "$proxy" "$tls" cacert="$cert"
    get "$proxy" "$plain" verify_proxy=false
    echo "$proxy" >"$DIR/list.txt"
    gyre run "$ROOT/tests/integration/jobs/get.lua" "$DIR/list.txt" "$plain" tries=1
    exits 1
    contains "$OUT" "error	tls	proxy	1"
}

harness_begin
start
harness_run "$@"
