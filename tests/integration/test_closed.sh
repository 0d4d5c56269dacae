#!/usr/bin/env bash
# Fail closed: nothing goes around the chosen proxy, and no credential comes out.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PASSWORD='p:w@x#1%41 +"'
ENCODED=p%3Aw%40x%231%2541%20%2B%22

start() {
    peers_fixture origin || exit 1
    PORT=$peer_port
    peers_fixture trap || exit 1
    TRAP=http://127.0.0.1:$peer_port
    peers_fixture open || exit 1
    OPEN=$peer_port
    export FIXTURE_AUTH=anna:$PASSWORD
    peers_fixture auth || exit 1
    AUTH=$peer_port
    unset FIXTURE_AUTH
}

get() { gyre run "$ROOT/tests/integration/jobs/get.lua" "$@"; }
requests() { wc -l <"$PEERS_DIR/$1/access.log"; }

# The environment can name a proxy, and hosts to reach without one. Neither counts here.
test_environment_changes_nothing() {
    local before
    before=$(requests open)
    echo "http://127.0.0.1:$OPEN" >"$DIR/list.txt"
    export http_proxy=$TRAP HTTP_PROXY=$TRAP https_proxy=$TRAP HTTPS_PROXY=$TRAP all_proxy=$TRAP ALL_PROXY=$TRAP
    export no_proxy=127.0.0.1,localhost,.test NO_PROXY='*'
    get "$DIR/list.txt" "http://127.0.0.1:$PORT/a"
    exits 0
    get "$DIR/list.txt" "http://a.test:$PORT/b"
    exits 0
    same "requests through the chosen proxy" $((before + 2)) "$(requests open)"
    same "requests through the environment's proxy" 0 "$(requests trap)"
}

# A proxy that is none, such as the value of a variable that is not set, is not taken for none at all.
test_fetch_by_no_proxy() {
    local before
    before=$(requests origin)
    cat >"$DIR/fetch.lua" <<'END'
local gyre = require "gyre"
for i = 2, #arg do
  local response, err = gyre.fetch(arg[1], { proxy = arg[i] })
  print(response and response.status or tostring(err), err and err.kind, err and err.where)
end
END
    gyre run "$DIR/fetch.lua" "http://127.0.0.1:$PORT/never" "" 127.0.0.1 ftp://anna:verysecret@127.0.0.1:1
    exits 0
    same "errors" 3 "$(grep -c $'	invalid	local$' "$OUT")"
    contains "$OUT" "invalid: the proxy: no port" "unknown scheme: ftp"
    ! grep -q verysecret "$OUT" "$ERR" || fail "a password is shown"
    same "requests at the origin" "$before" "$(requests origin)"
    gyre run "$DIR/fetch.lua" "http://127.0.0.1:$PORT/fetched" "127.0.0.1:$OPEN" "anna:pw@127.0.0.1:$OPEN" "127.0.0.1:$OPEN:anna:pw"
    same "written as in a list" "200 200 200" "$(cut -f 1 "$OUT" | xargs)"
}

# a.test has no address anywhere but in the proxy.
test_names_are_resolved_by_the_proxy() {
    local scheme
    for scheme in http socks4 socks4a socks5 socks5h; do
        echo "$scheme://127.0.0.1:$OPEN" >"$DIR/list.txt"
        get "$DIR/list.txt" "http://$scheme.test:$PORT/"
        exits 0
    done
    contains "$PEERS_DIR/open/access.log" "GET http://http.test:$PORT/" "SOCKS5 socks5h.test:$PORT" \
        "SOCKS5 socks5.test:$PORT" "SOCKS4a socks4.test:$PORT" "SOCKS4a socks4a.test:$PORT"
    for scheme in socks4 socks5; do
        echo "$scheme://127.0.0.1:$OPEN" >"$DIR/list.txt"
        get "$DIR/list.txt" "http://localhost:$PORT/" local_dns=true
        exits 0
    done
    contains "$PEERS_DIR/open/access.log" "SOCKS4 127.0.0.1:$PORT" "SOCKS5 127.0.0.1:$PORT"
}

# lookups SCHEME URL [OPTION]: how often the program asks for a name while it fetches the URL, by what every resolver does
# first: it opens /etc/hosts or a socket of nscd, or sends to port 53.
lookups() {
    echo "$1://127.0.0.1:$OPEN" >"$DIR/list.txt"
    timeout 20 strace -f -qq -e trace=network,openat,open -o "$DIR/trace" "$GYRE" run \
        "$ROOT/tests/integration/jobs/get.lua" "$DIR/list.txt" "$2" timeout=1 tries=1 "${@:3}" >"$OUT" 2>"$ERR"
    grep -q "sin_port=htons($OPEN)" "$DIR/trace" || fail "strace saw nothing: $(tail -n 3 "$DIR/trace" "$ERR")"
    count=$(grep -cE '"/etc/(hosts|resolv\.conf)"|nscd|htons\(53\)' "$DIR/trace")
}

test_no_name_is_looked_up_here() {
    local scheme url
    for scheme in http socks4 socks4a socks5 socks5h; do
        for url in "http://a.test:$PORT/" "https://a.test:$PORT/" "http://a.test:$PORT/redirect/http://b.test:$PORT/"; do
            lookups "$scheme" "$url"
            same "look-ups by $scheme for $url" 0 "$count"
        done
    done
    lookups socks5 "http://a.test:$PORT/" local_dns=true
    [ "$count" -gt 0 ] || fail "the trace does not show look-ups"
}

test_redirects_stay_in_the_proxy() {
    local before
    before=$(requests open)
    echo "http://127.0.0.1:$OPEN" >"$DIR/list.txt"
    get "$DIR/list.txt" "http://a.test:$PORT/redirect/http://b.test:$PORT/end"
    exits 0
    contains "$PEERS_DIR/open/access.log" "GET http://b.test:$PORT/end"
    same "requests through the proxy" $((before + 2)) "$(requests open)"
}

# What a password may hold: every character that has a meaning in a URL.
test_difficult_passwords_work() {
    local scheme
    for scheme in http socks5h; do
        echo "$scheme://anna:$ENCODED@127.0.0.1:$AUTH" >"$DIR/list.txt"
        get "$DIR/list.txt" "http://a.test:$PORT/"
        exits 0
    done
}

test_wrong_credentials_are_the_proxys_fault() {
    local scheme
    for scheme in http socks5h; do
        echo "$scheme://anna:wrongsecret@127.0.0.1:$AUTH" >"$DIR/list.txt"
        get "$DIR/list.txt" "http://a.test:$PORT/" tries=1
        exits 1
        contains "$OUT" "error	proxy_auth	proxy	1"
        grep -q wrongsecret "$OUT" "$ERR" && fail "$scheme: the password is shown"
    done
    return 0
}

test_the_target_gets_no_credentials() {
    echo "http://anna:$ENCODED@127.0.0.1:$AUTH" >"$DIR/list.txt"
    cat >"$DIR/echo.lua" <<'END'
local pool = assert(require "gyre".open { proxies = arg[1] })
io.write(assert(pool:get(arg[2])).body)
END
    gyre run "$DIR/echo.lua" "$DIR/list.txt" "http://a.test:$PORT/echo"
    exits 0
    contains "$OUT" "GET /echo"
    grep -qiE 'authorization|anna' "$OUT" && fail "the target saw: $(cat "$OUT")"
    return 0
}

# https://: a tunnel through the proxy, and the certificate is the target's to show.
test_certificates_are_checked_through_the_proxy() {
    echo "hello" >"$DIR/index.html"
    peers_nginx tls "$DIR" tls || fail "no site"
    local url=https://127.0.0.1:$peer_port/index.html scheme
    for scheme in http socks5h; do
        echo "$scheme://127.0.0.1:$OPEN" >"$DIR/list.txt"
        get "$DIR/list.txt" "$url" tries=1
        exits 1
        contains "$OUT" "error	tls	target	1"
        get "$DIR/list.txt" "$url" cacert="$PEERS_DIR/tls/cert.pem"
        exits 0
        contains "$OUT" "response	200	6	1"
        get "$DIR/list.txt" "$url" verify=false
        exits 0
    done
    contains "$PEERS_DIR/open/access.log" "CONNECT 127.0.0.1:$peer_port"
}

# A crawl with all that goes wrong with credentials, then a search over everything that was written, and over the
# command lines of the program and its children while it ran.
test_credentials_appear_nowhere() {
    {
        echo "http://anna:$ENCODED@127.0.0.1:$AUTH"
        echo "socks5h://anna:$ENCODED@127.0.0.1:$AUTH"
        echo "http://boris:wrongsecret@127.0.0.1:$AUTH"
        echo "http://clara:deadsecret@127.0.0.1:1"
        echo "http://dora:brokensecret@127.0.0.1:99999"
        echo "127.0.0.1:1:emil:doublesecret"
        echo "127.0.0.1:1:emil:doublesecret"
    } >"$PEERS_DIR/secret.txt"
    local seen="$DIR/cmdlines" one line i=0
    while read -r line; do # each on its own, so that none hides behind another's success
        i=$((i + 1))
        echo "$line" >"$PEERS_DIR/one.txt"
        get "$PEERS_DIR/one.txt" "http://a.test:$PORT/"
        cat "$OUT" "$ERR" >"$DIR/one-$i"
    done <"$PEERS_DIR/secret.txt"
    gyre_begin run "$ROOT/examples/jobs/crawl_docs.lua" --proxies "$PEERS_DIR/secret.txt" --timeout 3 --delay 0 \
        --start "http://a.test:$PORT/slow/1000/" --out "$DIR/pages.jsonl"
    while peers_alive "$pid"; do
        # gyre and its children, if it should ever start any
        awk -v pid="$pid" '$1 == pid || $4 == pid { print $1 }' /proc/[0-9]*/stat 2>/dev/null |
            while read -r one; do tr '\0' ' ' <"/proc/$one/cmdline"; done 2>/dev/null >>"$seen"
        sleep 0.05
    done
    gyre_end 60
    exits 0
    contains "$seen" crawl_docs.lua
    local secret
    for secret in "$PASSWORD" "$ENCODED" wrongsecret deadsecret brokensecret doublesecret "$(printf %s "anna:$PASSWORD" | base64)"; do
        grep -rlF -- "$secret" "$DIR" && fail "'$secret' is in the file above"
    done
    contains "$ERR" "1 duplicate" "1 invalid"
}

harness_begin
start
harness_run "$@"
