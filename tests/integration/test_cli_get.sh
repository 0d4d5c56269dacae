#!/usr/bin/env bash
# gyre get: every letter does what it does in curl; nothing goes out that was not told to.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture good || exit 1
    GOOD=http://127.0.0.1:$peer_port
    echo "$GOOD" >"$PEERS_DIR/good.txt"
    { echo "$DEAD" && cat "$PEERS_DIR/good.txt"; } >"$PEERS_DIR/half.txt"
}

get() { gyre get --proxies "$PEERS_DIR/good.txt" "$@"; }
# sent TEXT...: lines that the origin got, as /echo shows them
sent() { tr -d '\r' <"$OUT" >"$DIR/sent" && contains "$DIR/sent" "$@"; }

test_body_to_stdout() {
    get "$ORIGIN/bytes/100000"
    exits 0
    same "size" 100000 "$(wc -c <"$OUT")"
    same "stderr" "" "$(cat "$ERR")"
    get "${ORIGIN#http://}/bytes/10" # without a scheme
    same "size" 10 "$(wc -c <"$OUT")"
    get "$ORIGIN/nul"
    same "bytes" "$(curl -s "$ORIGIN/nul" | cksum)" "$(cksum <"$OUT")"
}

# A name that is nearly one brings it to mind; a letter is as near to all the others.
test_options_that_are_none() {
    gyre get -x "$GOOD" --tmeout 3 "$ORIGIN/nothing"
    exits 2
    contains "$ERR" "unknown option '--tmeout'" "Did you mean '--timeout'?"
    gyre get -x "$GOOD" -u anna:pw "$ORIGIN/nothing"
    exits 2
    contains "$ERR" "unknown option '-u'"
    ! grep -q "Did you mean" "$ERR" || fail "it names all letters"
}

# What -x holds is no list: the message is about that proxy, and repeats nothing of it.
test_proxy_that_is_none() {
    local proxy
    for proxy in 192.0.2.1 anna:verysecret@192.0.2.1 ftp://anna:verysecret@192.0.2.1:80; do
        gyre get -x "$proxy" "$ORIGIN/nothing"
        exits 2
        contains "$ERR" "gyre get: -x: "
        grep -qE "verysecret|list|line" "$ERR" && fail "it says: $(cat "$ERR")"
    done
    return 0
}

# Has the path come through the proxy, or only to the origin?
through_proxy() { grep -q "$1\$" "$PEERS_DIR/good/access.log" && grep -q "$1\$" "$PEERS_DIR/origin/access.log"; }
directly() { ! grep -q "$1\$" "$PEERS_DIR/good/access.log" && grep -q "$1\$" "$PEERS_DIR/origin/access.log"; }

test_proxy_is_used() {
    get "$ORIGIN/by-list"
    through_proxy /by-list || fail "not through the list"
    gyre get -x "$GOOD" "$ORIGIN/by-x"
    through_proxy /by-x || fail "not through -x"
    gyre get --direct "$ORIGIN/by-nobody"
    exits 0
    directly /by-nobody || fail "not direct"
    gyre get -x "" "$ORIGIN/by-nobody-either"
    exits 0
    directly /by-nobody-either || fail "not direct"
}

# Without a word about it nothing is sent, whatever the environment says.
test_going_out_has_to_be_said() {
    local before
    before=$(wc -l <"$PEERS_DIR/origin/access.log")
    http_proxy=$GOOD gyre get "$ORIGIN/nothing"
    exits 2
    contains "$ERR" --proxies --direct
    gyre get --direct -x "$GOOD" "$ORIGIN/nothing"
    exits 2
    same "requests" "$before" "$(wc -l <"$PEERS_DIR/origin/access.log")"
}

# What can never be asked for is a usage error, and nothing is: neither it nor what stands before it.
test_what_cannot_be_asked_for() {
    local before from id letter url
    before=$(wc -l <"$PEERS_DIR/origin/access.log")
    for url in ftp://x/ http:// "http://x/a b" http://:80/; do
        get "$ORIGIN/nothing" "$url"
        exits 2
        contains "$ERR" "argument 'url': '$url' is no http:// or https:// URL"
    done
    get "ftp://anna:verysecret@x/"
    exits 2
    contains "$ERR" "'ftp://x/'"
    ! grep -q verysecret "$ERR" || fail "a password is shown"
    get -X "BAD METHOD" "$ORIGIN/nothing"
    exits 2
    contains "$ERR" "option '--request': 'BAD METHOD' is no method"
    for letter in -H -A -e -b; do
        get "$letter" $'X: a\nb' "$ORIGIN/nothing"
        exits 2
        same "lines" 1 "$(wc -l <"$ERR")"
        contains "$ERR" "holds a line end"
    done
    get -H "X(: 1" "$ORIGIN/nothing"
    exits 2
    contains "$ERR" "gyre get: 'X(' is no name of a header"
    for id in "" ä "a b" "$(printf '%0129d' 0)"; do
        get --session "$id" "$ORIGIN/nothing"
        exits 2
        contains "$ERR" "option '--session'"
    done
    gyre get --proxies "$PEERS_DIR/good.txt" -x "$GOOD" "$ORIGIN/nothing"
    exits 2
    contains "$ERR" "exclude each other"
    "$GYRE" pool create "$DIR/pool" "$PEERS_DIR/good.txt" --max-proxies 64 2>/dev/null
    for from in "--proxies $PEERS_DIR/good.txt" "--pool $DIR/pool" "-x $GOOD"; do
        # shellcheck disable=SC2086 # words
        gyre get $from --strategy nope "$ORIGIN/nothing"
        exits 2
        contains "$ERR" "no strategy 'nope'"
    done
    same "requests" "$before" "$(wc -l <"$PEERS_DIR/origin/access.log")"
}

test_headers_are_sent() {
    get -H "X-One: 1" -H "X-Two: 2" -H "Accept:" -A "me/1" -e http://from.example/ -b "a=1; b=2" "$ORIGIN/echo"
    sent "X-One: 1" "X-Two: 2" "User-Agent: me/1" "Referer: http://from.example/" "Cookie: a=1; b=2"
    grep -q '^Accept:' "$DIR/sent" && fail "Accept is sent"
    get -H "X-Empty;" "$ORIGIN/echo"
    sent "X-Empty:"
    printf 'X-File: yes\r\n' >"$DIR/headers"
    get -H "@$DIR/headers" "$ORIGIN/echo"
    sent "X-File: yes"
    get -H "no header" "$ORIGIN/echo"
    exits 2
    contains "$ERR" "'-H'"
}

test_data_makes_a_post() {
    get -d a=1 -d b=2 "$ORIGIN/echo"
    sent "POST /echo" "Content-Length: 7" "Content-Type: application/x-www-form-urlencoded"
    printf 'x\ny\n' >"$DIR/data"
    get -d "@$DIR/data" "$ORIGIN/echo"
    sent "Content-Length: 2"
    get --data-binary "@$DIR/data" -H "Content-Type: text/plain" -X PUT "$ORIGIN/echo"
    sent "PUT /echo" "Content-Length: 4" "Content-Type: text/plain"
    get -d a=1 --data-binary b=2 -d "@$DIR/data" "$ORIGIN/echo" # as they come
    sent "a=1&b=2&xy"
    get -d "@$DIR/not-there" "$ORIGIN/echo"
    exits 2
    contains "$ERR" not-there
}

test_head_and_include() {
    get -I "$ORIGIN/bytes/10"
    exits 0
    contains "$OUT" "HTTP/1.1 200 OK" "Content-Length: 10"
    same "no body" "$(curl -sI "$ORIGIN/bytes/10" | wc -c)" "$(wc -c <"$OUT")"
    get -i "$ORIGIN/bytes/10"
    same "headers and body" "$(curl -si "$ORIGIN/bytes/10" | wc -c)" "$(wc -c <"$OUT")"
}

test_redirects_only_with_l() {
    get "$ORIGIN/redirect/$ORIGIN/bytes/10" -w '%{http_code} %{url_effective}\n'
    contains "$OUT" "302 $ORIGIN/redirect/"
    get -L "$ORIGIN/redirect/$ORIGIN/bytes/10" -o /dev/null -w '%{http_code} %{size_download}\n'
    same "followed" "200 10" "$(cat "$OUT")"
}

test_files() {
    cd "$DIR" || fail "no folder"
    get -o one "$ORIGIN/bytes/1" -O "$ORIGIN/bytes/22?x=1" "$ORIGIN/bytes/333"
    exits 0
    same "sizes" "1 22 333" "$(wc -c <one) $(wc -c <./22) $(wc -c <"$OUT")"
    get -s -O "$ORIGIN/-" -O "$ORIGIN/bytes/4444"
    same "a file named -" "" "$(cat "$OUT")"
    [ -s ./- ] || fail "no file"
    get -O "$ORIGIN/"
    exits 2
    contains "$ERR" "'-O'"
    get -o "$DIR/no/such/folder" "$ORIGIN/bytes/1"
    exits 1
    contains "$ERR" "no/such/folder"
    get -o - "$ORIGIN/bytes/5"
    same "stdout" 5 "$(wc -c <"$OUT")"
}

test_fail() {
    get "$ORIGIN/status/404"
    exits 0
    get -f "$ORIGIN/status/404"
    exits 1
    same "no body" "" "$(cat "$OUT")"
    contains "$ERR" 404
    get -sf "$ORIGIN/status/404"
    exits 1
    same "silent" "" "$(cat "$ERR")"
    get -sSf "$ORIGIN/status/404"
    contains "$ERR" 404
    get -f "$ORIGIN/status/404" "$ORIGIN/bytes/5" # the other is fetched all the same
    exits 1
    same "size" 5 "$(wc -c <"$OUT")"
}

test_time() {
    get -m 0.5 --tries 3 "$ORIGIN/hang" -w '%{errormsg}'
    exits 3 # as --timeout
    contains "$ERR" "timeout: not within 0.5 seconds"
    same "the error" "timeout: not within 0.5 seconds" "$(cat "$OUT")"
    gyre get --direct -m 0.5 "$ORIGIN/hang"
    exits 1
    contains "$ERR" "timeout: not within 0.5 seconds"
    get --timeout 0.3 --tries 1 "$ORIGIN/hang"
    exits 3 # through a plain proxy the proxy is blamed
    contains "$ERR" timeout
    get -m soon "$ORIGIN/"
    exits 2
    contains "$ERR" --max-time soon
    get --timeout -1 "$ORIGIN/"
    exits 2
    contains "$ERR" "option '--timeout': '-1' is not a number from 0.001 to"
    get -m -.5 "$ORIGIN/"
    exits 2
    contains "$ERR" "option '--max-time': '-.5' is not"
    get -- "$ORIGIN/bytes/1"
    exits 0
}

# The limit of -m holds after a Ctrl-C, too.
test_time_after_an_interrupt() {
    gyre_begin get -x "$GOOD" -m 1 "$ORIGIN/hang?interrupted"
    wait_for 10 grep -q "interrupted$" "$PEERS_DIR/good/access.log"
    kill -INT "$pid"
    gyre_end 8
    exits 4
    contains "$ERR" timeout
}

# Where memory ends it is nobody else's fault: kind system, exit code 1.
test_no_memory() {
    (ulimit -v 300000 && exec timeout 20 "$GYRE" get -x "$GOOD" "$ORIGIN/bytes/500000000" >/dev/null 2>"$ERR")
    same "exit code" 1 $?
    contains "$ERR" "system (http" "not enough memory"
}

test_write_out() {
    get -o /dev/null -w '%{http_code} %{content_type} %{attempts} %{proxy} 100%%\t%{verdict}\n' "$ORIGIN/status/500"
    same "line" "500 text/html 1 $GOOD 100%"$'\ttarget_bad' "$(cat "$OUT")"
    get -o /dev/null -w '%{time_total}' "$ORIGIN/slow/200"
    awk '{ exit !($1 >= 0.2 && $1 < 10) }' "$OUT" || fail "time_total is $(cat "$OUT")"
    printf '%%{http_code}\n' >"$DIR/format"
    get -o /dev/null -w "@$DIR/format" "$ORIGIN/status/404"
    same "a format in a file" 404 "$(cat "$OUT")"
    get -o /dev/null -w "@$DIR/not-there" "$ORIGIN/"
    exits 2
    contains "$ERR" "--write-out: $DIR/not-there"
    get -o /dev/null -w '%{nonsense}' "$ORIGIN/"
    contains "$ERR" nonsense
}

# A dead proxy is left out; -v tells of each try, and shows no password.
test_tries() {
    local i
    for i in {1..20}; do # whichever is first: dead every other time
        gyre get --proxies "$PEERS_DIR/half.txt" -v "$ORIGIN/bytes/10"
        exits 0
        same "size" 10 "$(wc -c <"$OUT")"
        grep -q "$DEAD" "$ERR" && return
    done
    fail "the dead proxy was never tried"
}

test_verbose_hides_credentials() {
    gyre get -v -x "http://anna:verysecret@${DEAD#http://}" "$ORIGIN/"
    exits 3
    grep -q verysecret "$OUT" "$ERR" && fail "a password is shown"
    contains "$ERR" "try 1 by http://127.0.0.1:1" "connect"
}

test_no_usable_proxy_is_exit_3() {
    gyre get -x "$DEAD" "$ORIGIN/"
    exits 3
    gyre get --proxies "$PEERS_DIR/good.txt" --country xx "$ORIGIN/"
    exits 3
    gyre get --proxies "$PEERS_DIR/good.txt" --state half_open "$ORIGIN/"
    exits 3
    contains "$ERR" "not half_open"
}

test_state() {
    gyre get --proxies "$PEERS_DIR/good.txt" --state closed -o /dev/null "$ORIGIN/"
    exits 0
    gyre get --proxies "$PEERS_DIR/good.txt" --state open "$ORIGIN/"
    exits 2
    gyre get --direct --state closed "$ORIGIN/"
    exits 2
    contains "$ERR" "option '--state' needs a pool"
}

# In a shared pool: sessions stick from one command to the next, and its strategy stays what it is.
test_shared_pool() {
    local i pool=$DIR/pool
    peers_fixture second || fail "no fixture"
    echo "http://127.0.0.1:$peer_port" | timeout 10 "$GYRE" pool create "$pool" - --max-proxies 64 2>/dev/null || fail "no pool"
    timeout 10 "$GYRE" pool add "$pool" "$PEERS_DIR/good.txt" 2>/dev/null || fail "not added"
    for i in 1 2 3 4 5 6; do
        gyre get --pool "$pool" --session cart-17 -o /dev/null -w '%{proxy}\n' "$ORIGIN/"
        exits 0
        cat "$OUT" >>"$DIR/proxies"
    done
    same "proxies of a session" 1 "$(sort -u "$DIR/proxies" | wc -l)"
    for i in 1 2 3 4; do
        gyre get --pool "$pool" --strategy least-used -o /dev/null -w '%{proxy}\n' "$ORIGIN/"
        cat "$OUT" >>"$DIR/others"
    done
    same "proxies without" 2 "$(cat "$DIR/others" "$DIR/proxies" | sort -u | wc -l)"
    gyre pool stats "$pool" --json
    same "all counted" 10 "$(jsonl "$OUT" started)"
    gyre get --pool "$DIR/none" "$ORIGIN/"
    exits 2
    [ ! -e "$DIR/none" ] || fail "a pool was made"
}

test_certificates() {
    mkdir "$DIR/site" && echo secure >"$DIR/site/index.html"
    peers_nginx tls "$DIR/site" tls || fail "no nginx"
    get "https://127.0.0.1:$peer_port/"
    exits 1
    get -k "https://127.0.0.1:$peer_port/"
    exits 0
    same "page" secure "$(cat "$OUT")"
    get --cacert "$PEERS_DIR/tls/cert.pem" "https://127.0.0.1:$peer_port/"
    exits 0
}

harness_begin
start
harness_run "$@"
