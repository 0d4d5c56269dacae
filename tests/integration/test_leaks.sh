#!/usr/bin/env bash
# Nothing of one identity is seen with another: connections, TLS sessions, cookies. The witness is the log of a TLS origin,
# one line a request: connection, whether its TLS session was resumed ("r" or "."), cookie, whose request. The requests
# are made by jobs/leaks.lua.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

# Two HTTP proxies, two users of one of them, and one that speaks SOCKS: each with two sessions is an identity.
start() {
    peers_attempt origin start_origin || exit 1
    CERT=$PEERS_DIR/origin/cert.pem LOG=$PEERS_DIR/origin/access.log
    peers_fixture one || exit 1
    local one=$peer_port
    peers_fixture two || exit 1
    PROXIES=("http://anna:x@127.0.0.1:$one" "http://ben:x@127.0.0.1:$one" "http://127.0.0.1:$peer_port"
        "socks5h://anna:x@127.0.0.1:$one" "socks5h://127.0.0.1:$peer_port")
}

start_origin() {
    local dir=$PEERS_DIR/origin
    peers_pick_port || return 1
    TARGET=https://127.0.0.1:$peer_port
    mkdir -p "$dir/tmp"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null || return 1
    cat >"$dir/nginx.conf" <<END
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
worker_processes 1;
events { worker_connections 1024; }
http {
    log_format witness '\$connection \$ssl_session_reused \$who "\$http_cookie" \$server_protocol';
    access_log $dir/access.log witness;
    client_body_temp_path $dir/tmp; proxy_temp_path $dir/tmp; fastcgi_temp_path $dir/tmp;
    uwsgi_temp_path $dir/tmp; scgi_temp_path $dir/tmp;
    keepalive_requests 100000;
    ssl_session_cache shared:sessions:1m;
    server {
        listen 127.0.0.1:$peer_port ssl http2;
        ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;
        location ~ ^/page/(?<who>.*)\$ { add_header Set-Cookie "who=\$who; Path=/"; return 200 "hello"; }
    }
}
END
    peers_launch origin "$peer_port" -- nginx -p "$dir" -c nginx.conf -e "$dir/error.log"
}

leaks() {
    : >"$LOG"
    gyre run "$ROOT/tests/integration/jobs/leaks.lua" "$1" "$TARGET" "$CERT" "${PROXIES[@]}"
    exits 0
}

# How many connections were used by more than one identity, identities whose very first connection resumed a TLS
# session, requests with another's cookie.
crossed() {
    awk '{
        if ($1 in owner && owner[$1] != $3) shared[$1]
        owner[$1] = $3
        if (!($3 in seen) && $2 == "r") resumed++
        seen[$3]
        if ($4 != "\"-\"" && $4 != "\"who=" $3 "\"") foreign++
    } END { print length(shared), resumed + 0, foreign + 0 }' "$LOG"
}
identities() { awk '{ seen[$3] } END { print length(seen) }' "$LOG"; }
connections() { awk '{ seen[$1] } END { print length(seen) }' "$LOG"; }

test_connections_are_kept_apart() {
    local step
    for step in turns turns_http1; do
        leaks "$step"
        same "$step: connections shared, TLS sessions and cookies of others" "0 0 0" "$(crossed)"
        same "$step: requests" 30 "$(wc -l <"$LOG")"
        same "$step: identities" 10 "$(identities)"
        same "$step: one connection each, used again" 10 "$(connections)"
        same "$step: requests with their own cookie" 20 "$(grep -c 'who=' "$LOG")"
    done
    grep -q 'HTTP/2' "$LOG" && fail "HTTP/2 although it was not to be offered"
    return 0
}

test_tls_sessions_are_kept_apart() {
    leaks reconnect
    same "connections shared, TLS sessions and cookies of others" "0 0 0" "$(crossed)"
    same "connections" 30 "$(connections)"
    same "sessions resumed by who got them" 20 "$(awk '$2 == "r"' "$LOG" | wc -l)"
}

test_http2_is_kept_apart() {
    leaks multiplex
    same "connections shared, TLS sessions of others" "0 0" "$(crossed | cut -d ' ' -f 1,2)"
    same "requests" 45 "$(grep -c 'HTTP/2' "$LOG")"
    same "one connection for all that a proxy carried at once" 5 "$(connections)"
}

# That the log would tell, and that the option does what it says.
test_isolation_can_be_turned_off() {
    leaks mixed
    local shared resumed foreign
    read -r shared resumed foreign < <(crossed)
    [ "$shared" -ge 1 ] || fail "no connection was shared"
    [ "$foreign" -ge 1 ] || fail "no cookie crossed"
    [ "$resumed" -ge 1 ] || fail "no TLS session was resumed by another"
}

test_sessions_of_a_pool() {
    leaks sessions
    same "connections shared, TLS sessions and cookies of others" "0 0 0" "$(crossed)"
    same "cookies" '"-" "who=one" "who=one"' "$(awk '$3 == "one" { print $4 }' "$LOG" | xargs -d '\n')"
    same "cookies without a session" '"-" "-" "-"' "$(awk '$3 == "none" { print $4 }' "$LOG" | xargs -d '\n')"
    same "cookies after close" '"-"' "$(awk '$3 == "again" { print $4 }' "$LOG")"
}

# 600 identities leave a connection each; there are descriptors for a third of them. TLS, so that nginx keeps them open.
test_idle_connections_give_way() {
    (
        ulimit -n 400
        leaks many
    ) || exit 1
    same "requests" 600 "$(wc -l <"$LOG")"
    same "connections" 600 "$(connections)"
}

harness_begin
start
harness_run "$@"
