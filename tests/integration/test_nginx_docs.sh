#!/usr/bin/env bash
# docs/openresty.md: its blocks, put together, are the configuration of one nginx that does what the page says.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

PAGE=$ROOT/docs/openresty.md
NOBODY="no eligible proxy"

# blocks INFO: all of that kind
blocks() {
    awk -v fence='```'"$1" '$0 == fence { inside = 1; next } $0 == "```" { inside = 0 } inside' "$PAGE"
}

# The blocks for http{} and server{} in one file. The target of the page becomes the fixture.
configuration() {
    cat <<END_OF_HEAD
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
worker_processes 2;
events {}
http {
    include common.conf;
    $(blocks 'nginx http')
    server {
        listen 127.0.0.1:8080;
        location /run {
            content_by_lua_block {
                ngx.req.read_body()
                assert(loadstring(ngx.req.get_body_data()))(require "resty.gyre", require("resty.gyre").pool())
            }
        }
        $(blocks 'nginx server')
    }
}
END_OF_HEAD
}

# begin [SED-EXPRESSION]...: an nginx of the page's blocks, changed by these first
begin() {
    echo "http://127.0.0.1:$PROXY" >"$DIR/proxies.txt"
    configuration >"$DIR/page.conf"
    nginx_start "$DIR/page.conf" "$@" "s,\"/dev/shm/gyre\",\"/dev/shm/gyre-page\"," "s,/etc/gyre/proxies.txt,$DIR/proxies.txt," \
        "s,shop\.example,127.0.0.1:$ORIGIN,"
}
run() { get /run --data-binary "local gyre, pool = ... $1"; }
status_of() { get "$@" -o /dev/null -w '%{http_code}'; }

test_the_configuration() {
    begin
    get /fetch?path=/echo >"$DIR/body"
    contains "$DIR/body" "GET /echo HTTP/1.1"
    same "an answer of the target" 404 "$(status_of '/fetch?path=/status/404')"
    same "by hand" 200 "$(get /by-hand)"
    same "nobody in that country" 503 "$(status_of /by-hand -H 'X-Country: XX')"
    same "through the upstream" 200 "$(http_proxy="http://127.0.0.1:$port" curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$ORIGIN/echo")"
    get /metrics >"$DIR/metrics"
    contains "$DIR/metrics" "gyre_leases_started_total 4" 'gyre_leases_completed_total{result="succeeded"} 4'
    get /gyre/status >"$DIR/status"
    contains "$DIR/status" '"active":0'
    nginx_books_balance
}

# only URL: the pool has this proxy and no other
only() { on_segment "for proxy in pool:each() do pool:remove(proxy.id) end assert(pool:add '$1')"; }

# A lease ends by what became of the request, after the time that it took.
test_by_hand_what_came_of_it() {
    begin
    only "http://127.0.0.1:$CLOSES"
    same "a proxy that accepts and closes" 502 "$(status_of /by-hand)"
    on_segment 'local p = pool:each()(pool) assert(p.failed == 1 and p.succeeded == 0, p.failed)' || fail "it is taken for healthy"
    contains "$DIR/error.log" "protocol (proxy): closed"
    only "$DEAD"
    same "one that does not answer" 502 "$(status_of /by-hand)"
    on_segment 'local p = pool:each()(pool) assert(p.failed == 1 and p.succeeded == 0, p.failed)' || fail "it is taken for healthy"
    only "http://127.0.0.1:$PROXY_AUTH"
    same "one that wants a password" 502 "$(status_of /by-hand)"
    contains "$DIR/error.log" "proxy_auth (proxy): user or password refused"
    nginx_books_balance
}

test_by_hand_how_long_it_took() {
    begin "s,http://shop.example/\",http://shop.example/slow/300\","
    same "an answer" 200 "$(get /by-hand)"
    on_segment 'local ema = pool:each()(pool).ema_ms assert(ema >= 290 and ema < 10000, ema)' || fail "the time"
    nginx_books_balance
}

test_by_hand_a_host_that_asks_for_patience() {
    begin "s,http://shop.example/\",http://shop.example/retry/60\","
    same "its answer" 429 "$(get /by-hand)"
    same "the next one" 429 "$(status_of /by-hand)"
    contains "$DIR/error.log" "is throttled for another"
    on_segment 'assert(pool:stats().started == 1)' || fail "it is asked again at once"
    nginx_books_balance
}

# nginx's own level is `error`: what a script says at a lower one is not seen.
test_reasons_are_logged() {
    begin
    on_segment "pool:disable(pool:each()(pool).id)"
    local path
    for path in /fetch /by-hand /page; do
        : >"$DIR/error.log"
        [[ $(status_of "$path") == 50[23] ]] || fail "an answer to $path"
        contains "$DIR/error.log" "$NOBODY"
    done
}

test_the_gateway_passes_targets_on() {
    begin
    local target="http://127.0.0.1:$ORIGIN/a%2Fb%20c//d%3Fe?x=1%2F2"
    same "an answer" 200 "$(curl -s --path-as-is -o /dev/null -w '%{http_code}' -x "http://127.0.0.1:$port" "$target")"
    contains "$PEERS_DIR/proxy/access.log" "GET $target"
}

test_what_it_says_of_metrics() {
    begin
    local name
    get /metrics >"$DIR/metrics"
    for name in $(grep -o '`gyre_[a-z_]*' "$PAGE" | tr -d '`' | sort -u); do contains "$DIR/metrics" "# TYPE $name "; done
}

test_the_lua_block() {
    segment=$NGINX_SHM/shared
    LUA_PATH="$ROOT/lua/?.lua;$ROOT/lua/?/init.lua;;" GYRE_LIB=$BUILD/libgyre.so luajit -e "local gyre = require 'gyre'
        $(blocks lua | sed "s,/dev/shm/gyre-shared,$segment,; s/nogroup/$(id -gn)/; s/^gyre/assert(gyre/; s/^}/})/")" ||
        fail "it raises"
    same mode 660 "$(stat -c %a "$segment")"
}

test_the_shell_blocks() {
    begin
    blocks sh | grep -v '^apt-get' | sed "s,^gyre,$GYRE,; s,/dev/shm/gyre,$segment," >"$DIR/blocks.sh"
    same "commands" 3 "$(wc -l <"$DIR/blocks.sh")"
    bash -eu "$DIR/blocks.sh" >"$OUT" 2>&1 || fail "$(cat "$OUT")"
    same "in a worker" "2 least-used" "$(run 'pool:acquire():ok() ngx.print(#pool, " ", pool.strategy)')"
    # shellcheck source=tests/support/packages.sh
    . "$ROOT/tests/support/packages.sh"
    local package
    for package in $(blocks sh | sed -n 's/^apt-get install //p'); do
        [[ " ${PACKAGES_PEERS[*]} ${PACKAGES_TESTS[*]} " == *" $package "* ]] || fail "$package is not what the tests use"
    done
}

test_every_block_is_one_of_these() {
    local open closed
    open=$(grep -c '^```[a-z]' "$PAGE") closed=$(grep -c '^```$' "$PAGE")
    same "fences" "$open" "$closed"
    same "kinds" "lua nginx http nginx server sh" "$(grep -o '^```[a-z].*' "$PAGE" | tr -d '`' | sort -u | xargs)"
}

test_every_path_exists() {
    local path
    for path in $(grep -oE '\]\([^)]*\)' "$PAGE" | tr -d '[]()'); do
        [ -e "$ROOT/docs/${path%%#*}" ] || fail "$path does not exist"
    done
}

harness_begin
nginx_begin
peers_fixture origin || exit 1
ORIGIN=$peer_port
peers_fixture proxy || exit 1
PROXY=$peer_port
peers_fixture closes --fault close || exit 1
CLOSES=$peer_port
FIXTURE_AUTH=anna:s3cret peers_fixture auth || exit 1
PROXY_AUTH=$peer_port
harness_run "$@"
