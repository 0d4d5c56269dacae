#!/usr/bin/env bash
# Requests from inside nginx through a lease: cosockets in absolute form, by CONNECT and by SOCKS5, with credentials; whose
# fault a failure is; connections of two identities stay apart; and what becomes of a lease that nobody completes.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

# begin PROXY...: an nginx whose pool has these
begin() {
    printf '%s\n' "$@" >"$DIR/proxies.txt"
    cp "$CERTIFICATES" "$DIR/certificates.pem"
    nginx_start "$ROOT/tests/nginx/run.conf"
}

# run LUA: inside nginx, its output to stdout; an error fails the test
run() {
    local status
    status=$(get /run -o "$OUT" -w '%{http_code}' --data-binary "local gyre, pool = ...
        local function only() for proxy in pool:each() do return proxy end end
        $1")
    [ "$status" = 200 ] || fail "status $status: $(cat "$OUT") $(tail -n 3 "$DIR/error.log")"
    cat "$OUT"
}

# fetched URL [OPTIONS]: "STATUS VERDICT ATTEMPTS" or "KIND WHERE"
fetched() {
    run "local response, err = gyre.fetch('$1', { ${2:-} })
        ngx.say(response and response.status .. ' ' .. response.verdict .. ' ' .. response.attempts or
            err.kind .. ' ' .. tostring(err.where))"
}

test_ways_through_a_proxy() {
    local scheme url
    begin "$DEAD"
    for scheme in http socks5 socks5h; do
        for url in "http://127.0.0.1:$ORIGIN" "https://127.0.0.1:$TLS"; do
            on_segment "for proxy in pool:each() do pool:remove(proxy.id) end
                pool:add '$scheme://127.0.0.1:$PROXY'"
            same "$scheme $url" "200 ok 1" "$(fetched "$url/index.html")"
            on_segment "for proxy in pool:each() do pool:remove(proxy.id) end
                pool:add '$scheme://anna:p%40ss:word@127.0.0.1:$PROXY_AUTH'"
            same "$scheme with credentials $url" "200 ok 1" "$(fetched "$url/index.html")"
            on_segment "for proxy in pool:each() do pool:remove(proxy.id) end
                pool:add '$scheme://anna:wrong@127.0.0.1:$PROXY_AUTH'"
            same "$scheme with a wrong password $url" "proxy_auth proxy" "$(fetched "$url/index.html")"
        done
    done
    contains "$PEERS_DIR/proxy/access.log" "CONNECT 127.0.0.1:$TLS" "SOCKS5 127.0.0.1:$TLS" "GET http://127.0.0.1:$ORIGIN/"
    grep -q 'p@ss\|wrong' "$DIR/error.log" && fail "a password in the log"
    nginx_books_balance
}

# The name goes to the proxy: only the fixture knows names in .test.
test_names_are_the_proxys_to_look_up() {
    begin "socks5://127.0.0.1:$PROXY"
    same socks5 "200 ok 1" "$(fetched "http://shop.test:$ORIGIN/")"
    on_segment "for proxy in pool:each() do pool:remove(proxy.id) end pool:add 'http://127.0.0.1:$PROXY'"
    same "absolute form" "200 ok 1" "$(fetched "http://shop.test:$ORIGIN/")"
    same "CONNECT, and a certificate of another name" "tls target" "$(fetched "https://shop.test:$TLS/")"
    same "which may be accepted" "200 ok 1" "$(fetched "https://shop.test:$TLS/index.html" "verify = false")"
    nginx_books_balance
}

test_tls_to_the_proxy() {
    begin "https://anna:x@127.0.0.1:$PROXY_TLS"
    run "local response = assert(gyre.fetch 'http://shop.test/') ngx.say(response.body)" >"$DIR/body"
    contains "$DIR/body" "GET http://shop.test/ HTTP/1.1" "Proxy-Authorization: Basic YW5uYTp4"
    same "no TLS within TLS" "invalid local" "$(fetched https://shop.test/)"
    nginx_books_balance
}

test_whose_fault() {
    begin "http://127.0.0.1:$PROXY"
    same "a 404 is an answer" "404 ok 1" "$(fetched "http://127.0.0.1:$ORIGIN/status/404")"
    same "so is a 500" "500 target_bad 1" "$(fetched "http://127.0.0.1:$ORIGIN/status/500")"
    same "a body cut off, in absolute form" "protocol proxy" "$(fetched "http://127.0.0.1:$ORIGIN/eof" "tries = 1")"
    same "heads without end" "too_large proxy" "$(fetched "http://127.0.0.1:$ORIGIN/endless" "tries = 1")"
    same "too large a body" "too_large target" "$(fetched "http://127.0.0.1:$ORIGIN/bytes/5000" "max_body = 4999")"
    same "not too large a body" "200 ok 1" "$(fetched "http://127.0.0.1:$ORIGIN/bytes/5000" "max_body = 5000")"
    same "too slow" "timeout proxy" "$(fetched "http://127.0.0.1:$ORIGIN/hang" "timeout = 0.3, tries = 1")"
    same "a target that refuses, behind SOCKS5" "connect target" "$(
        on_segment "for proxy in pool:each() do pool:remove(proxy.id) end pool:add 'socks5://127.0.0.1:$PROXY'"
        fetched http://127.0.0.1:1/)"
    same "cut off behind a tunnel" "protocol target" "$(fetched "http://127.0.0.1:$ORIGIN/eof")"
    same "no proxy at all" "no_proxy nil" "$(fetched http://127.0.0.1:1/ 'request = { country = "XX" }')"
    same "no URL" "invalid local" "$(fetched ftp://h/)"
    same "no credentials in URLs" "invalid local" "$(fetched http://u:p@h/)"
    nginx_books_balance
}

test_judge_and_throttle() {
    begin "http://127.0.0.1:$PROXY" "$DEAD"
    on_segment "pool:disable(pool:find('$DEAD').id)"
    same "the judge's word" "200 banned 1" "$(fetched "http://shop.test:$ORIGIN/" \
        "tries = 1, judge = function(response) return response.status == 200 and 'banned' or nil end")"
    same "banned by this host" "no_proxy nil" "$(fetched "http://shop.test:$ORIGIN/")"
    same "by no other" "200 ok 1" "$(fetched "http://other.test:$ORIGIN/")"
    same "throttled" "429 throttled 1" "$(fetched "http://other.test:$ORIGIN/status/429")"
    same "so not now" "busy nil" "$(fetched "http://other.test:$ORIGIN/")"
    nginx_books_balance
}

test_another_proxy_tries() {
    begin "$DEAD" "http://127.0.0.2:1" "http://127.0.0.1:$PROXY"
    local i
    for ((i = 0; i < 6; i++)); do [[ $(fetched "http://127.0.0.1:$ORIGIN/") == "200 ok "* ]] || fail "no answer"; done
    on_segment "for proxy in pool:each() do if proxy.port == 1 then pool:disable(proxy.id) end end"
    : >"$PEERS_DIR/origin/access.log"
    same "what was sent is not sent again" "protocol proxy" "$(fetched "http://127.0.0.1:$ORIGIN/eof" "method = 'POST', body = 'x'")"
    same "requests of the target" 1 "$(wc -l <"$PEERS_DIR/origin/access.log")"
    nginx_books_balance
}

# One failed request is no reason to move it; that its proxy is out is one.
test_a_session_stays_with_its_proxy() {
    begin "$DEAD" "http://127.0.0.1:$PROXY"
    on_segment "pool:disable(pool:find('http://127.0.0.1:$PROXY').id) assert(pool:acquire { session = 's' }):fail 'aborted'
        pool:enable(pool:find('http://127.0.0.1:$PROXY').id)"
    same "fetch" "connect proxy" "$(fetched "http://127.0.0.1:$ORIGIN/" "tries = 2, request = { session = 's' }")"
    get "/balance?target=127.0.0.1:$ORIGIN&path=/&tries=2&session=s" -o /dev/null
    on_segment "local dead = pool:find '$DEAD'
        assert(pool:session('s').proxy.id == dead.id and dead.failed == 4 and pool:stats().failed == 4)
        assert(pool:session_stats().moved == 0)" || fail "the session moved, or was not tried again"
    on_segment "pool:disable(pool:find('$DEAD').id)"
    same "with another" "200 ok 1" "$(fetched "http://127.0.0.1:$ORIGIN/" "request = { session = 's' }")"
    on_segment "assert(pool:session_stats().moved == 1)" || fail "not moved"
    nginx_books_balance
}

# connection OPTIONS: the number of the connection at the proxy that answers itself
connection() { run "local r = assert(gyre.fetch('${2:-http://shop.test/}', { $1 })) ngx.print(r.headers['x-connection'])"; }

test_identities_share_no_connection() {
    begin "http://anna:x@127.0.0.1:$PROXY_ECHO"
    local anna
    anna=$(connection "")
    same "kept and used again" "$anna" "$(connection "")"
    same "and again" "$anna" "$(connection "")"
    [ "$anna" != "$(connection "session = 's1'")" ] || fail "a session uses the connection of none"
    same "the session's own" "$(connection "session = 's1'")" "$(connection "session = 's1'")"
    [ "$(connection "session = 's2'")" != "$(connection "session = 's1'")" ] || fail "two sessions share"
    [ "$anna" != "$(connection "" http://other.test/)" ] || fail "two targets share"
    [ "$anna" != "$(connection "verify = false")" ] || fail "an unverified one is taken for a verified one"
    same "after all that" "$anna" "$(connection "")"
    same "a lease's connections are its session's" "true" "$(run "
        local function ask(session)
            local lease = assert(gyre.acquire { session = session })
            local conn = assert(lease:connect 'http://by-hand.test/')
            local number = assert(conn:request()).headers['x-connection']
            conn:finish()
            return number
        end
        local a, b, none = ask 'a', ask 'b'
        none = ask()
        ngx.print(tostring(a ~= b and a ~= none and b ~= none and ask 'a' == a and ask 'b' == b and ask() == none))")"
    on_segment "for proxy in pool:each() do pool:remove(proxy.id) end pool:add 'http://eve:x@127.0.0.1:$PROXY_ECHO'"
    [ "$anna" != "$(connection "")" ] || fail "eve uses anna's connection"
    [ "$(connection "idle_timeout = 0, session = 'n'")" != "$(connection "idle_timeout = 0, session = 'n'")" ] || fail "kept though idle_timeout is 0"
    nginx_books_balance
}

# users LUA: the users that the proxy saw, of what that fetches by ask(REQUEST)
users() {
    run "local function ask(request)
            local r = assert(gyre.fetch('http://shop.test/', { request = request }))
            ngx.say(ngx.decode_base64(r.body:match 'Authorization: Basic (%S+)'), ' ', r.headers['x-connection'])
        end
        $1"
}

# The proxy is told what lease.url says, and what differs in it is another identity.
test_templates_are_filled_in() {
    begin "http://c{-cc-%country:lower}{-s-%session:num4}:x@127.0.0.1:$PROXY_ECHO#country=*"
    local number
    number=$(run "local lease = assert(gyre.acquire { session = 'a' }) ngx.print(lease.url:match '%-s%-(%d+):')")
    users "ask() ask { country = 'DE' } ask { country = 'AT' } ask { session = 'a', country = 'AT' } ask()" >"$DIR/users"
    same "users" "c:x c-cc-de:x c-cc-at:x c-cc-at-s-$number:x c:x" "$(cut -d' ' -f1 "$DIR/users" | xargs)"
    same "connections" 4 "$(cut -d' ' -f2 "$DIR/users" | sort -u | wc -l)"
    on_segment "for proxy in pool:each() do pool:remove(proxy.id) end
        pool:add 'http://an{x%country}na:p%40ss:word@127.0.0.1:$PROXY_AUTH'
        pool:add 'socks5://an{x%country}na:p%40ss:word@127.0.0.1:$PROXY_AUTH'"
    same "CONNECT or SOCKS5" "200 ok 1" "$(fetched "https://127.0.0.1:$TLS/index.html")"
    same "the other" "200 ok 1" "$(fetched "https://127.0.0.1:$TLS/index.html")"
    same proxy_opts "anna:p@ss:word" "$(run "local options
        repeat options = assert(gyre.acquire()):proxy_opts() until options
        ngx.print(ngx.decode_base64(options.http_proxy_authorization:sub(7)))")"
    nginx_books_balance
}

# One that was closed while it was idle is replaced, and costs no attempt.
test_stale_connections() {
    begin "socks5://127.0.0.1:$PROXY"
    same first "200 ok 1" "$(fetched "http://127.0.0.1:$PROXY_ECHO/")"
    kill -HUP "$echo_master" # closes what is idle there
    sleep 0.3
    same second "200 ok 1" "$(fetched "http://127.0.0.1:$PROXY_ECHO/")"
    on_segment 'local s = pool:stats() assert(s.failed == 0 and s.started == 2)' || fail "a failure was counted"
}

test_chunked() {
    begin "http://127.0.0.1:$PROXY_ECHO"
    same "a body in chunks, with the connection good for more" "ab1234567890cd 1" "$(run "
        local function once()
            return assert(gyre.fetch('http://shop.test/chunked'))
        end
        local a, b = once(), once()
        ngx.print(a.body, ' ', a.headers['x-connection'] == b.headers['x-connection'] and 1 or 0)")"
    same HEAD "200 0" "$(run "local r = assert(gyre.fetch('http://shop.test/', { method = 'HEAD' })) ngx.print(r.status, ' ', #r.body)")"
    same "headers" "yes nil" "$(run "
        local r = assert(gyre.fetch('http://shop.test/', { headers = { ['X-A'] = 'yes', Host = 'evil' } }))
        ngx.print(r.body:match 'X%-A: (%a+)', ' ', tostring(r.body:match 'evil'))")"
    same "no header smuggles another" "invalid local" "$(fetched http://shop.test/ 'headers = { a = "b\r\nc: d" }')"
}

# nginx says "unknown error" of errors that are no text.
test_reasons_are_shown() {
    echo http://192.0.2.1:80 >"$DIR/proxies.txt"
    (nginx_start "$ROOT/tests/nginx/run.conf" '/trusted_certificate/d' 's/max_proxies = 1024/strategy = "no-such"/') >"$OUT" 2>&1 &&
        fail "nginx starts without its pool"
    contains "$OUT" "no strategy 'no-such'"
    GYRE_LIB=/nonexistent/libgyre.so nginx -p "$DIR" -c "$DIR/nginx.conf" -e stderr >"$OUT" 2>&1 && fail "nginx starts without gyre"
    contains "$OUT" "libgyre not found" "GYRE_LIB=/nonexistent/libgyre.so"
}

test_lease_methods() {
    begin "http://anna:x@127.0.0.1:3128" "http://localhost:3129" "http://[::1]:3130" "socks5://127.0.0.1:3131" \
        "http://no-such-name.invalid:80"
    contains "$DIR/error.log" "no address of the proxy host no-such-name.invalid"
    run "
        local peers, addresses = {}, {}
        for _ = 1, #pool do
            local lease = assert(pool:acquire())
            local address, port = lease:peer()
            peers[lease.proxy.port], addresses[lease.proxy.port] = port, address
            lease:ok(1)
        end
        assert(addresses[3128] == '127.0.0.1' and peers[3128] == 3128)
        assert(addresses[3129] == '127.0.0.1' or addresses[3129] == '[::1]', addresses[3129])
        assert(addresses[3130] == '[::1]')
        assert(not addresses[80] and peers[80].kind == 'invalid' and peers[80].id)"
    run "
        local opts = {}
        for _ = 1, #pool do
            local lease = assert(pool:acquire())
            local made, err = lease:proxy_opts()
            opts[lease.proxy.port] = made or err.kind
            lease:ok(1)
        end
        local anna = opts[3128]
        assert(anna.http_proxy == 'http://127.0.0.1:3128' and anna.https_proxy == anna.http_proxy)
        assert(anna.http_proxy_authorization == 'Basic ' .. ngx.encode_base64 'anna:x')
        assert(anna.https_proxy_authorization == anna.http_proxy_authorization)
        assert(opts[3129].http_proxy_authorization == nil)
        assert(opts[3131] == 'invalid')
        local found, http = pcall(require, 'resty.http')
        if found then http.new():set_proxy_options(anna) end"
    nginx_books_balance
}

# One cosocket of one's own behind the proxy.
test_connect() {
    begin "http://127.0.0.1:$PROXY"
    run "
        local lease = assert(gyre.acquire())
        local conn = assert(lease:connect 'https://127.0.0.1:$TLS')
        conn.sock:send 'GET /index.html HTTP/1.0\r\n\r\n'
        assert(conn.sock:receive '*l' == 'HTTP/1.1 200 OK')
        conn.broken = true
        conn:finish()
        assert(lease:ok(1))
        assert(select(2, lease:connect 'http://').kind == 'invalid')"
    nginx_books_balance
}

# What docs/openresty.md says of requests over a connection of one's own.
test_request_over_a_connection() {
    begin "http://127.0.0.1:$PROXY"
    run "
        local lease = assert(gyre.acquire())
        local conn = assert(lease:connect('http://127.0.0.1:$ORIGIN/echo'))
        assert(conn.reused == false)
        local r = assert(conn:request('POST', { ['X-Number'] = 5, Host = 'other' }, 'body'))
        assert(r.status == 200 and r.headers['content-type'] == 'text/html' and r.verdict == 'ok')
        assert(r.body:find('POST /echo', 1, true) and r.body:find('X-Number: 5', 1, true), r.body)
        assert(r.body:find('Content-Length: 4', 1, true) and not r.body:find('other', 1, true), r.body)
        conn:finish()
        conn = assert(lease:connect('http://127.0.0.1:$ORIGIN/bytes/5000'))
        local response, err = conn:request('GET', nil, nil, 4999)
        conn:finish()
        assert(response == nil and err.kind == 'too_large' and err.verdict == 'target_bad')
        conn = assert(lease:connect('http://127.0.0.1:$ORIGIN/retry/7'))
        r = assert(conn:request())
        conn:finish()
        assert(r.status == 429 and r.verdict == 'throttled' and r.retry_after == 7)
        assert(lease:complete { verdict = r.verdict, retry_after = r.retry_after })"
    on_segment "for proxy in pool:each() do pool:remove(proxy.id) end pool:add 'http://127.0.0.1:$PROXY_AUTH'"
    run "
        local lease = assert(gyre.acquire())
        local conn = assert(lease:connect('http://127.0.0.1:$ORIGIN/'))
        local response, err = conn:request()
        conn:finish()
        assert(response == nil and err.kind == 'proxy_auth' and err.where == 'proxy' and err.verdict == 'proxy_bad')
        lease:fail(err.verdict)"
    nginx_books_balance
}

# raises LUA TEXT: that call does, at the place where it stands, and says this
raises() {
    run "local ran, why = pcall(function()
            return (function(...) return ... end)($1)
        end)
        ngx.say(ran and 'no error' or tostring(why))" >"$DIR/raised"
    same "$1" "posted:4: $2" "$(cat "$DIR/raised")"
}

# In the words of pool:get, before anything is leased.
test_misuse_raises_at_the_caller() {
    begin "http://127.0.0.1:$PROXY"
    local name value url="'http://shop.test/'"
    raises "gyre.fetch()" "a URL is a string, not a nil"
    raises "gyre.fetch($url, 5)" "options are a table, not a number"
    raises "gyre.fetch($url, { tris = 1 })" "unknown option 'tris'"
    raises "gyre.fetch($url, { 'GET' })" "unknown option '1'"
    raises "gyre.fetch($url, { timeout = '5' })" "option 'timeout' must be a number, not a string"
    raises "gyre.fetch($url, { judge = 'ok' })" "option 'judge' must be a function, not a string"
    for name in timeout connect_timeout; do
        for value in -1 0 0/0 1/0; do
            raises "gyre.fetch($url, { $name = $value })" "option '$name' must be a positive number"
            raises "pool:acquire():connect($url, { $name = $value })" "option '$name' must be a positive number"
        done
    done
    for name in max_body idle_timeout; do
        raises "gyre.fetch($url, { $name = -1 })" "option '$name' must be a positive number"
    done
    for value in 0 0/0 1/0 -1 0.5 1.5; do
        raises "gyre.fetch($url, { tries = $value })" "option 'tries' must be a whole number from 1 on"
    done
    raises "gyre.fetch($url, { request = { sesion = 'x' } })" "option 'request': unknown request field 'sesion'"
    raises "gyre.fetch($url, { request = { country = 5 } })" "option 'request': country must be text or a list of texts"
    raises "gyre.fetch($url, { request = { exclude = 5 } })" "option 'request': exclude must be a list of ids"
    raises "gyre.fetch($url, { headers = { a = {} } })" "header 'a' must be a string, not a table"
    raises "gyre.fetch($url, { headers = { 'a: b' } })" "'1' is no name of a header"
    raises "pool:acquire():connect()" "a URL is a string, not a nil"
    raises "pool:acquire():connect($url, 5)" "options are a table, not a number"
    raises "pool:acquire():connect($url, { tries = 5 })" "unknown option 'tries'"
    raises "gyre.acquire { sesion = 'x' }" "unknown request field 'sesion'"
    raises "gyre.open(5)" "gyre.open takes a table of options, not a number"
    raises "gyre.open { name = 5 }" "option 'name' must be a string, not a number"
    raises "gyre.open { tris = 5 }" "unknown option 'tris'"
    raises "gyre.open { window = 'x' }" "option 'window' must be a number, not a string"
    raises "gyre.metrics('100')" "a limit is a number of proxies, not '100' (a string)"
    raises "gyre.status(-1)" "a limit is a number of proxies, not '-1' (a number)"
    raises "gyre.balance({}, 5)" "options are a table, not a number"
    raises "gyre.balance({}, { tries = 0/0 })" "option 'tries' must be a whole number from 1 on"
    raises "gyre.balance({}, { authorization = 5 })" "option 'authorization' must be a string, not a number"
    on_segment "local s = pool:stats() assert(s.started == 11, s.started)" || fail "a lease was taken by a misuse"
}

test_misuse_of_a_connection() {
    begin "http://127.0.0.1:$PROXY"
    local conn="pool:acquire():connect('http://127.0.0.1:$ORIGIN/')"
    raises "$conn:request(5)" "a method is a string, not a number"
    raises "$conn:request('GET', 5)" "headers are a table, not a number"
    raises "$conn:request('GET', { a = true })" "header 'a' must be a string, not a boolean"
    raises "$conn:request('GET', nil, 5)" "a body is a string, not a number"
    raises "$conn:request('GET', nil, nil, -1)" "max_body is a number of bytes"
    raises "$conn:request('GET', nil, nil, '5')" "max_body is a number of bytes"
}

# What is wrong in the data of a request comes back, and costs no lease.
test_what_cannot_be_sent() {
    begin "http://127.0.0.1:$PROXY"
    same "a method" "invalid local" "$(fetched http://shop.test/ "method = 'GET /'")"
    same "a line end in a header" "invalid local" "$(fetched http://shop.test/ "headers = { a = 'b\\r\\nc: d' }")"
    same "a space in a URL" "invalid local" "$(fetched "http://shop.test/a b")"
    on_segment "assert(pool:stats().started == 0)" || fail "a lease was taken"
    same "very long and very short waits" "200 ok 1" "$(fetched "http://127.0.0.1:$ORIGIN/" \
        "timeout = 2 ^ 52, connect_timeout = 2 ^ 52, idle_timeout = 2 ^ 52, tries = 2 ^ 52")"
    same "less than a millisecond" "timeout proxy" "$(fetched "http://127.0.0.1:$ORIGIN/hang" "timeout = 1e-9, tries = 1")"
    nginx_books_balance
}

# left_by LUA [STATUS]: the counters after a request that did not complete its lease
left_by() {
    get /run -o /dev/null --data-binary "local gyre, pool = ... $1"
    on_segment 'local p = pool:each()(pool); print(p.succeeded, p.failed, p.aborted, p.active)' | xargs
}

test_what_is_left_is_ended() {
    begin "http://127.0.0.1:$PROXY"
    same "forgotten, status 200" "1 0 0 0" "$(left_by 'gyre.acquire() ngx.say "done"')"
    same "a script that raises" "1 0 1 0" "$(left_by 'gyre.acquire() error "x"')"
    same "a gateway error" "1 1 1 0" "$(left_by 'gyre.acquire() ngx.exit(502)')"
    same "two leases" "3 1 1 0" "$(left_by 'gyre.acquire() gyre.acquire() ngx.say "done"')"
    same "completed by hand" "4 1 1 0" "$(left_by 'assert(gyre.acquire():ok(5)) ngx.exit(502)')"
    get /run -o /dev/null -m 0.2 --data-binary 'local gyre = ... gyre.acquire() ngx.sleep(30)'
    wait_for 5 is_aborted 2
    get /run -o /dev/null -m 0.2 --data-binary "local gyre = ... gyre.fetch('http://127.0.0.1:$ORIGIN/hang')"
    wait_for 5 is_aborted 3
    same "in the middle of a fetch" "4 1 3 0" "$(left_by '')"
    # Two at once: the one that is over must not take the other's lease along.
    get /run -o /dev/null --data-binary "local gyre = ...
        local first = ngx.thread.spawn(gyre.fetch, 'http://127.0.0.1:$ORIGIN/slow/100', { tries = 1 })
        ngx.thread.spawn(gyre.fetch, 'http://127.0.0.1:$ORIGIN/hang', { tries = 1 })
        ngx.thread.wait(first)
        ngx.exit(499)"
    same "in the middle of one of two" "5 1 4 0" "$(left_by '')"
    same "collected" "5 1 5 0" "$(left_by 'gyre.collected(pool:acquire()) collectgarbage() collectgarbage()')"
    same "collected after its end" "6 1 5 0" "$(left_by 'gyre.collected(pool:acquire()):ok() collectgarbage() collectgarbage()')"
    nginx_books_balance
}
is_aborted() { on_segment "assert(pool:stats().aborted == $1 and pool:stats().active == 0)"; }

# Verdicts of what nginx's upstream did, by what nginx knows of it.
test_verdicts_of_upstreams() {
    begin "http://127.0.0.1:$PROXY"
    local path
    for path in / /status/404 /status/500 /status/429 /status/407; do
        get "/balance?target=127.0.0.1:$ORIGIN&path=$path&tries=1" -o /dev/null
    done
    same "of answers: ok ok target_bad throttled; 407 is the proxy's" "4 1 0 0" "$(left_by '')"
    get "/balance?target=127.0.0.1:$ORIGIN&path=/hang&tries=1" -o /dev/null
    same "a 504 that nginx made" "4 2 0 0" "$(left_by '')"
    get "/balance?target=127.0.0.1:$ORIGIN&path=/slow/200&tries=1" -o /dev/null
    on_segment 'local ema = pool:each()(pool).ema_ms; assert(ema > 10 and ema < 200, ema)' || fail "latency"
    get "/balance?target=127.0.0.1:$ORIGIN&path=/hang&tries=1" -o /dev/null -m 0.2
    wait_for 5 is_aborted 1
    nginx_books_balance
}

harness_begin
nginx_begin
mkdir "$PEERS_DIR/echo" "$PEERS_DIR/site"
DIR=$PEERS_DIR/echo OUT=$DIR/stdout ERR=$DIR/stderr
nginx_start "$ROOT/tests/nginx/echo.conf"
# shellcheck disable=SC2154 # of nginx_start
PROXY_ECHO=$port echo_master=$master
echo page >"$PEERS_DIR/site/index.html"
peers_nginx tls "$PEERS_DIR/site" tls || exit 1
TLS=$peer_port CERTIFICATES=$PEERS_DIR/tls/cert.pem
DIR=$PEERS_DIR/echo_tls && mkdir "$DIR"
nginx_start "$ROOT/tests/nginx/echo.conf" \
    "s,listen .*;,listen 127.0.0.1:8080 ssl; ssl_certificate $CERTIFICATES; ssl_certificate_key $PEERS_DIR/tls/key.pem;," || exit 1
PROXY_TLS=$port
peers_fixture origin || exit 1
ORIGIN=$peer_port
peers_fixture proxy || exit 1
PROXY=$peer_port
FIXTURE_AUTH=anna:p@ss:word peers_fixture auth || exit 1
PROXY_AUTH=$peer_port
harness_run "$@"
