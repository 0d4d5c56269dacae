#!/usr/bin/env bash
# What a request sends, how often, and what is made of the answer: against an origin that says what it got, through SOCKS, so
# that connections to the origin live on, and through a proxy of HTTP. The requests are made by jobs/requests.lua.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture proxy || exit 1
    SOCKS=socks5h://127.0.0.1:$peer_port
    HTTP=http://127.0.0.1:$peer_port
}

step() {
    gyre run "$ROOT/tests/integration/jobs/requests.lua" "$1" "$ORIGIN" "${@:2}"
    exits 0
}

requests() { grep -c "$1" "$PEERS_DIR/origin/access.log"; }

test_methods_of_redirects() { step redirects "$SOCKS" && step redirects "$HTTP"; }
test_methods() {
    step methods "$SOCKS"
    same "requests with a bad method" 0 "$(requests bad-method)"
}
test_urls() {
    step urls "$SOCKS"
    same "requests of a bad URL" 0 "$(requests 'bad.url')"
    same "what the proxy was asked for" 0 "$(grep -c "bad" "$PEERS_DIR/proxy/access.log")"
}
test_headers() { step headers "$SOCKS" && step headers "$HTTP"; }
test_cookies() { step cookies "$SOCKS" && step cookies "$HTTP"; }
test_trailers_are_no_headers() { step trailers "$SOCKS"; }

# What is not idempotent reaches the target once, whatever libcurl would do.
test_sent_once() {
    step once "$SOCKS"
    same "POST" 2 "$(requests '^POST /die')"
    same "PATCH" 1 "$(requests '^PATCH /die')"
}

test_sent_once_and_moved() {
    step moved "$SOCKS" "$HTTP"
    same "POST" 1 "$(requests '^POST /redirect/303/.*/status/403')"
}

start_short_lived() {
    local dir=$PEERS_DIR/short
    peers_pick_port || return 1
    ORIGIN=https://127.0.0.1:$peer_port
    mkdir -p "$dir/tmp"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" \
        2>/dev/null || return 1
    cat >"$dir/nginx.conf" <<END
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $dir/tmp; proxy_temp_path $dir/tmp; fastcgi_temp_path $dir/tmp;
    uwsgi_temp_path $dir/tmp; scgi_temp_path $dir/tmp;
    http2_max_concurrent_streams 5;
    keepalive_requests 10;
    server {
        listen 127.0.0.1:$peer_port ssl http2;
        ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;
        location / { return 200 "hello"; }
    }
}
END
    peers_launch short "$peer_port" -- nginx -p "$dir" -c nginx.conf -e "$dir/error.log"
}

test_http2_that_ends() {
    peers_attempt short start_short_lived || fail "no origin"
    step goaway "$HTTP"
}

test_connections_that_end() { step closing "$SOCKS"; }
test_memory_stays() { step memory "$SOCKS"; }

test_refused_by_a_proxy() {
    FIXTURE_AUTH=anna:secret peers_fixture auth || fail "no proxy"
    step refused "$HTTP" "http://127.0.0.1:$peer_port"
    same "requests" 4 "$(requests refused)"
}

harness_begin
start
harness_run "$@"
