#!/usr/bin/env bash
# Every example under examples/openresty does what its first lines say, in a real nginx with four workers.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

EXAMPLES=$ROOT/examples/openresty

# requests NAME: how many the fixture with that name has been sent
requests() { wc -l <"$PEERS_DIR/$1/access.log" 2>/dev/null || echo 0; }

test_outbound() {
    printf '%s\n' "http://127.0.0.1:$PROXY_A#country=de" "http://127.0.0.1:$PROXY_B#country=fr" "$DEAD#country=de" \
        >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/outbound/nginx.conf"
    local i first url="/fetch?url=http://127.0.0.1:$ORIGIN/echo"
    for ((i = 0; i < 12; i++)); do
        same "an answer, the dead one of three notwithstanding" 200 "$(get "$url" -o /dev/null -w '%{http_code}')"
    done
    first=$(get "$url" -o /dev/null -D - -H 'X-Session: cart-17' | grep -i '^x-proxy')
    for ((i = 0; i < 8; i++)); do
        same "the session's proxy" "$first" "$(get "$url" -o /dev/null -D - -H 'X-Session: cart-17' | grep -i '^x-proxy')"
    done
    : >"$PEERS_DIR/b/access.log"
    for ((i = 0; i < 6; i++)); do get "$url" -o /dev/null -H 'X-Country: fr'; done
    same "France" 6 "$(requests b)"
    same "no URL" 400 "$(get /fetch -o /dev/null -w '%{http_code}')"
    same "a target that is not there" 502 "$(get '/fetch?url=http://127.0.0.1:1/' -o /dev/null -w '%{http_code}')"
    nginx_books_balance
}

test_failover() {
    printf '%s\n' "http://127.0.0.1:$PROXY_A" "$DEAD" "http://127.0.0.2:1" "http://127.0.0.1:$PROXY_B" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/failover/nginx.conf" "s/shop.example/127.0.0.1:$ORIGIN/"
    local i
    for ((i = 0; i < 20; i++)); do
        same "an answer, two dead ones of four notwithstanding" 200 "$(get /echo -o /dev/null -w '%{http_code}')"
    done
    # Each attempt counts for the proxy that made it: as many failures as were met, and twenty successes.
    on_segment "
        local failed, good = 0, 0
        for proxy in pool:each() do
            if proxy.port == 1 then failed = failed + proxy.failed; assert(proxy.succeeded == 0)
            else good = good + proxy.succeeded; assert(proxy.failed == 0) end
        end
        assert(good == 20, good); assert(failed >= 2, failed)" || fail "the books"
    nginx_books_balance
}

test_failover_when_nobody_is_left() {
    printf '%s\n' "$DEAD" "http://127.0.0.2:1" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/failover/nginx.conf" "s/shop.example/127.0.0.1:$ORIGIN/"
    same "two tries, then nobody" 502 "$(get /echo -o /dev/null -w '%{http_code}')"
    on_segment 'for proxy in pool:each() do assert(proxy.failed == 1, proxy.failed) end' || fail "one failure each"
    nginx_books_balance
}

# The client's session and country choose; credentials reach their proxy, and only that.
test_gateway() {
    printf '%s\n' "http://anna:s3cret@127.0.0.1:$PROXY_AUTH#country=de" "http://eve:other@127.0.0.1:$PROXY_ECHO#country=de" \
        "http://127.0.0.1:$PROXY_ECHO#country=fr" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/gateway/nginx.conf"
    local i body
    for ((i = 0; i < 6; i++)); do
        http_proxy="http://127.0.0.1:$port" curl -s -H 'X-Country: de' "http://127.0.0.1:$ORIGIN/echo?$i" >"$DIR/$i" || fail "curl"
        grep -qi 'x-country' "$DIR/$i" && fail "the client's header goes on: $(cat "$DIR/$i")"
    done
    # anna's proxy took its credentials, or the answer would be its 407; eve's is an origin that shows what it was sent.
    body=$(cat "$DIR"/[0-5])
    grep -q 'Proxy-Authorization: Basic ZXZlOm90aGVy' <<<"$body" || fail "eve's credentials do not arrive"
    grep -q 'YW5uYTpzM2NyZXQ' <<<"$body" && fail "anna's credentials went to another proxy"
    same "none for a proxy without" 0 "$(http_proxy="http://127.0.0.1:$port" curl -s -H 'X-Country: fr' \
        http://shop.test/echo | grep -ci proxy-authorization)"
    grep -qE 's3cret|YW5uYT' "$DIR/error.log" && fail "credentials in the log"
    nginx_books_balance
}

# told TARGET HOST [HEADER]: the request line and the Host that a proxy gets for a request with that target
told() {
    printf '%s\r\n' "GET $1 HTTP/1.1" "Host: $2" ${3:+"$3"} "Connection: close" "" |
        timeout 20 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; cat >&3; cat <&3" | tr -d '\r' >"$DIR/told"
    grep -aE '^(GET|Host:)' "$DIR/told" | sed 's,HTTP/1.[01]$,,' | xargs
}

# A gateway has no opinion on targets: escapes, slashes and the rest are the site's to read.
test_gateway_passes_the_target_on() {
    local target odd='/a%2Fb%20c//d%3Fe/../f;g=%41%C3%A4?x=1%2F2&y=%20?z' i
    echo "http://127.0.0.1:$PROXY_ECHO" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/gateway/nginx.conf"
    for target in "http://shop.test$odd" http://shop.test:8000/ http://shop.test 'http://shop.test?x=%2F' HTTP://Shop.Test/A; do
        same "as it came" "GET $target Host: $(cut -d / -f 3 <<<"$target" | cut -d '?' -f 1)" "$(told "$target" other.test)"
    done
    same "a path, for the host in the header" "GET http://shop.test:81$odd Host: shop.test:81" "$(told "$odd" shop.test:81)"
    same "no host at all" 400 "$(get / -o /dev/null -w '%{http_code}' --http1.0 -H 'Host:')"
    curl -s --path-as-is -x "http://127.0.0.1:$port" "http://127.0.0.1:$ORIGIN$odd" >"$DIR/body" || fail "curl"
    contains "$DIR/body" "GET http://127.0.0.1:$ORIGIN$odd HTTP/1."
    # The same when a proxy does not answer, and with the credentials of the next one.
    on_segment "for proxy in pool:each() do pool:remove(proxy.id) end
        pool:add 'http://anna:s3cret@127.0.0.1:1' pool:add 'http://eve:other@127.0.0.1:$PROXY_ECHO'"
    for ((i = 0; i < 4; i++)); do
        same "by the second proxy" "GET http://shop.test$odd Host: shop.test" "$(told "http://shop.test$odd" shop.test)"
        contains "$DIR/told" "Proxy-Authorization: Basic ZXZlOm90aGVy"
    done
    nginx_books_balance
}

test_failover_passes_the_path_on() {
    local odd='/a%2Fb%20c//d%3Fe/../f?x=1%2F2'
    printf '%s\n' "$DEAD" "http://127.0.0.1:$PROXY_ECHO" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/failover/nginx.conf"
    for _ in 1 2 3; do
        same "as it came" "GET http://shop.example$odd Host: shop.example" "$(told "$odd" shop.test)"
    done
    nginx_books_balance
}

# On a retry the request is written anew, with the credentials of the next proxy.
test_gateway_retry() {
    printf '%s\n' "http://anna:s3cret@127.0.0.1:1" "http://eve:other@127.0.0.1:$PROXY_ECHO" >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/gateway/nginx.conf"
    local i
    for ((i = 0; i < 6; i++)); do
        http_proxy="http://127.0.0.1:$port" curl -s http://shop.test/echo >"$DIR/body" || fail "curl"
        contains "$DIR/body" "Proxy-Authorization: Basic ZXZlOm90aGVy"
        grep -q YW5uYT "$DIR/body" && fail "anna's credentials went to eve's proxy"
    done
    on_segment 'local failed = 0 for proxy in pool:each() do failed = failed + proxy.failed end
        assert(failed >= 2, failed)' || fail "no failure was met"
    nginx_books_balance
}

# proxies_of USER...: how many proxies each had
proxies_of() {
    local user
    for user in "$@"; do awk -v user="$user" '$1 == user { print $3 }' "$DIR/seen" | sort -u | wc -l; done | xargs
}

test_sessions() {
    local i pids
    for ((i = 1; i <= 10; i++)); do echo "http://192.0.2.$i:3128"; done >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/sessions/nginx.conf"
    for ((i = 0; i < 160; i++)); do get / -b "sid=user-$((i % 4))" | sed "s/^/$((i % 4)) /"; done >"$DIR/seen"
    same "proxies a session" "1 1 1 1" "$(proxies_of 0 1 2 3)"
    pids=$(cut -d ' ' -f 2 "$DIR/seen" | sort -u | wc -l)
    [ "$pids" -ge 2 ] || fail "all requests came to one worker"
    nginx_reload
    same "after a reload" "$(awk '$1 == 0 { print $3; exit }' "$DIR/seen")" "$(get / -b sid=user-0 | cut -d ' ' -f 2)"
    nginx_books_balance
}

# said N: what N requests are told, once each
said() {
    local i
    for ((i = 0; i < $1; i++)); do get /; done | sort -u | xargs
}
says() { [ "$(said 8)" = "$*" ]; }

# By the commands that examples/openresty/README.md has, in its order.
test_reload() {
    printf '%s\n' "http://192.0.2.1:3128" "http://192.0.2.2:3128" >"$DIR/proxies.txt"
    echo 'return { name = "mine", select = function(self, view) return view[1] end }' >"$DIR/my-strategy.lua"
    nginx_start "$EXAMPLES/reload/nginx.conf"
    local workers command
    workers=$(nginx_workers | sort | xargs)
    same "two in turn" "http://192.0.2.1:3128 http://192.0.2.2:3128" "$(said 6)"
    grep /dev/shm/gyre-reload "$EXAMPLES/README.md" | sed "s,/dev/shm/gyre-reload,$segment,; s,^gyre ,$GYRE ," >"$DIR/commands"
    same "commands" 3 "$(wc -l <"$DIR/commands")"
    while read -r command; do
        (cd "$DIR" && bash -c "$command" >"$OUT" 2>&1) || fail "$command: $(cat "$OUT")"
        case $command in
        *" add "*) same "three in turn" "http://192.0.2.1:3128 http://192.0.2.2:3128 http://192.0.2.9:3128" "$(said 9)" ;;
        *" rm "*) same "the first is out" "http://192.0.2.2:3128 http://192.0.2.9:3128" "$(said 6)" ;;
        *" use "*) same "the strategy's choice" 1 "$(said 12 | wc -w)" ;;
        esac
    done <"$DIR/commands"
    echo 'return { name = "mine", select = function(self, view) return view:round_robin() end }' >"$DIR/my-strategy.lua"
    wait_for 10 says "http://192.0.2.2:3128 http://192.0.2.9:3128"
    same "no worker was replaced" "$workers" "$(nginx_workers | sort | xargs)"
    nginx_books_balance
}

test_metrics() {
    local i
    for ((i = 1; i <= 120; i++)); do echo "http://user$i:hunter2@192.0.2.$i:3128"; done >"$DIR/proxies.txt"
    nginx_start "$EXAMPLES/metrics/nginx.conf"
    for ((i = 0; i < 7; i++)); do get /use -o /dev/null; done
    get /metrics -D "$DIR/head" >"$DIR/metrics"
    contains "$DIR/head" "text/plain; version=0.0.4"
    luajit "$ROOT/tests/nginx/prometheus.lua" "$DIR/metrics" >"$DIR/samples" || fail "not the text format: $(cat "$DIR/samples")"
    contains "$DIR/samples" "gyre_leases_started_total 7" 'gyre_leases_completed_total{result="succeeded"} 7' \
        "gyre_leases_active 0" "gyre_proxies_unlisted 20" 'gyre_proxies{state="closed"} 120'
    same "series of proxies are capped" 100 "$(grep -c '^gyre_proxy_up{' "$DIR/samples")"
    grep -qE 'hunter2|192\.0\.2' "$DIR/metrics" && fail "a URL in the metrics"
    get /gyre/status >"$DIR/status"
    luajit -e "local s = require('cjson').decode(io.read '*a')
        assert(s.strategy == 'round-robin' and s.stats.started == 7 and #s.proxies == 100 and s.unlisted == 20)
        assert(s.proxies[1].url:find '^http://192%.0%.2%.%d+:3128$')" <"$DIR/status" || fail "$(cat "$DIR/status")"
    grep -q hunter2 "$DIR/status" && fail "a password in the status"
    nginx_books_balance
}

# Whoever gets a 5xx finds the reason at the level that nginx logs by itself.
test_reasons_are_logged() {
    local name status paths="outbound:/fetch?url=http://shop.test/ failover:/ gateway:/ sessions:/ reload:/ metrics:/use"
    for name in $paths; do
        DIR=$PEERS_DIR/reasons-${name%%:*}
        mkdir "$DIR"
        echo "$DEAD" >"$DIR/proxies.txt"
        nginx_start "$EXAMPLES/${name%%:*}/nginx.conf"
        on_segment "pool:disable(pool:each()(pool).id)"
        status=$(get "${name#*:}" -o /dev/null -w '%{http_code}')
        [[ $status == 50[23] ]] || fail "$name answers $status"
        contains "$DIR/error.log" "no eligible proxy"
    done
    same examples "$(basename -a "$EXAMPLES"/*/ | sort | xargs)" "$(tr ' ' '\n' <<<"$paths" | cut -d : -f 1 | sort | xargs)"
}

# run.sh in a tree of its own, on a port that is free.
test_run_sh_shows_reasons() {
    local tree=$DIR/tree
    peers_pick_port || fail "no port"
    mkdir -p "$tree/examples" "$tree/build"
    ln -s "$ROOT/lua" "$tree/lua"
    ln -s "$BUILD" "$tree/build/release"
    cp -r "$EXAMPLES" "$tree/examples/openresty"
    sed -i "s/127.0.0.1:8080/127.0.0.1:$peer_port/; s,/dev/shm/gyre-[a-z]*,$NGINX_SHM/run-sh," \
        "$tree/examples/openresty/outbound/nginx.conf"
    echo "$DEAD#country=de" >"$DIR/proxies.txt"
    peers_launch "$(basename "$DIR")" "$peer_port" -- env -u GYRE_LIB "$tree/examples/openresty/run.sh" outbound "$DIR/proxies.txt" ||
        fail "it does not run"
    same "nobody in that country" 502 "$(port=$peer_port get '/fetch?url=http://shop.test/' -o /dev/null -w '%{http_code}' \
        -H 'X-Country: zz')"
    peers_stop "$(basename "$DIR")"
    contains "$DIR/output.log" "no eligible proxy"
}

test_run_sh() {
    "$EXAMPLES/run.sh" 2>"$ERR" && fail "it runs without arguments"
    contains "$ERR" "run.sh EXAMPLE PROXIES"
    for conf in "$EXAMPLES"/*/nginx.conf; do
        contains "$EXAMPLES/README.md" "$(basename "$(dirname "$conf")")/"
        grep -q '^test_'"$(basename "$(dirname "$conf")")" "$0" || fail "no test of $conf"
    done
}

harness_begin
nginx_begin
mkdir "$PEERS_DIR/echo"
DIR=$PEERS_DIR/echo
nginx_start "$ROOT/tests/nginx/echo.conf"
PROXY_ECHO=$port
peers_fixture origin || exit 1
ORIGIN=$peer_port
peers_fixture a || exit 1
PROXY_A=$peer_port
peers_fixture b || exit 1
PROXY_B=$peer_port
FIXTURE_AUTH=anna:s3cret peers_fixture auth || exit 1
PROXY_AUTH=$peer_port
harness_run "$@"
