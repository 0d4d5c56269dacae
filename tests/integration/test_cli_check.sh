#!/usr/bin/env bash
# gyre check: lists once, and the sidecar that watches a pool, with real proxies that die and come back.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=30

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture good || exit 1
    GOOD=http://127.0.0.1:$peer_port
    peers_fixture garbage --fault garbage || exit 1
    GARBAGE=http://127.0.0.1:$peer_port
    printf '%s\n' "$DEAD#country=de" "${GOOD/http:\/\//http://anna:verysecret@}#country=fr&tags=a,b" "$GARBAGE" >"$PEERS_DIR/list.txt"
}

check() { gyre check --url "$ORIGIN/bytes/10" "$@"; }

test_list() {
    check "$PEERS_DIR/list.txt"
    exits 1
    same "lines" 3 "$(wc -l <"$OUT")"
    grep -q "^live .* ms  $GOOD" "$OUT" || fail "the good one: $(cat "$OUT")"
    grep -q "^dead .*connect  $DEAD" "$OUT" || fail "the dead one: $(cat "$OUT")"
    grep -q "^dead .*protocol  $GARBAGE" "$OUT" || fail "the bad one: $(cat "$OUT")"
    contains "$ERR" "checked 3 of 3" "1 live, 2 dead (1 connect, 1 protocol)" "latency: p50"
    ! grep -q verysecret "$OUT" "$ERR" || fail "a password is shown"
}

test_live_ones_into_a_file() {
    local before
    check "$PEERS_DIR/list.txt" -o "$DIR/live.txt"
    same "mode" 600 "$(stat -c %a "$DIR/live.txt")"
    same "lines" 1 "$(wc -l <"$DIR/live.txt")"
    contains "$DIR/live.txt" anna:verysecret@ country=fr tags=a
    check "$DIR/live.txt" # a list again
    exits 0
    before=$(wc -l <"$PEERS_DIR/good/access.log")
    check "$PEERS_DIR/list.txt" -o "$DIR/no/folder"
    exits 2
    same "words" "gyre check: --live: $DIR/no/folder: No such file or directory" "$(cat "$ERR")"
    check "$PEERS_DIR/list.txt" -o "$DIR"
    exits 2
    contains "$ERR" "$DIR: Is a directory"
    same "requests" "$before" "$(wc -l <"$PEERS_DIR/good/access.log")"
}

# Whoever reads has seen enough: no words, and no waiting for the rest.
test_reader_that_leaves() {
    local i
    for ((i = 1; i <= 250; i++)); do echo "${GOOD/http:\/\//http://u$i:p@}"; done >"$DIR/list.txt"
    for i in "" "--format jsonl"; do
        # shellcheck disable=SC2086 # words
        { timeout 30 "$GYRE" check "$DIR/list.txt" --url "$ORIGIN/slow/100" --concurrency 4 $i 2>"$ERR"
            echo $? >"$DIR/code"; } | head -n 3 >"$OUT"
        same "lines" 3 "$(wc -l <"$OUT")"
        same "stderr" "" "$(cat "$ERR")"
        same "exit code" 1 "$(cat "$DIR/code")"
    done
    [ "$(grep -c slow/100 "$PEERS_DIR/origin/access.log")" -lt 60 ] || fail "it goes on to the end"
}

# On a terminal: how many of how many, rewritten in place.
test_progress_on_a_terminal() {
    printf '%s\n' "$GOOD" "${GOOD/127.0.0.1/localhost}" "$GARBAGE" >"$DIR/list.txt"
    script -qefc "$GYRE check $DIR/list.txt --url $ORIGIN/slow/300 --concurrency 1 --out $DIR/out.jsonl --format jsonl" \
        "$DIR/terminal" >/dev/null </dev/null
    contains "$DIR/terminal" "check: 1 of 3 (33%), 0 failed" "check: 2 of 3 (66%)" "checked 3 of 3"
}

test_records() {
    check "$PEERS_DIR/list.txt" --format jsonl
    same "records" $'false\nfalse\ntrue' "$(jsonl "$OUT" live | sort)"
    check "$PEERS_DIR/list.txt" --out "$DIR/out.csv"
    same "head" "proxy,live,ms" "$(head -n 1 "$DIR/out.csv" | cut -d, -f1-3)"
    same "rows" 4 "$(wc -l <"$DIR/out.csv")"
}

test_expectations() {
    local good=$DIR/good.txt empty
    echo "$GOOD" >"$good"
    check "$good" --expect 200
    exits 0
    check "$good" --expect 404
    exits 3
    contains "$OUT" "unexpected" "the status is 200, not 404"
    gyre check "$good" --url "$ORIGIN/status/404"
    exits 3
    gyre check "$good" --url "$ORIGIN/status/404" --expect 4xx
    exits 0
    gyre check "$good" --url "$ORIGIN/echo" --expect text:"GET /echo" --expect 2xx --expect 'regex:^[Hh]ost: 127'
    exits 0
    gyre check "$good" --url "$ORIGIN/echo" --expect text:nonsense
    exits 3
    contains "$OUT" "the text is not in its body"
    gyre check "$good" --url "$ORIGIN/echo" --expect 'regex:^nonsense'
    exits 3
    check "$good" --expect 'regex:('
    exits 2
    contains "$ERR" --expect
    check "$good" --expect status:many
    exits 2
    for empty in '' text: regex:; do
        check "$good" --expect "$empty"
        exits 2
        contains "$ERR" "gyre check: option '--expect': '$empty' expects nothing"
    done
}

# A proxy that adds Via, one that adds the client's address too, one that adds nothing.
test_anonymity() {
    peers_tinyproxy tiny || fail "no tinyproxy"
    echo "http://127.0.0.1:$peer_port" >"$DIR/list.txt"
    peers_squid squid 1 || fail "no squid"
    # shellcheck disable=SC2154 # of peers.sh
    echo "http://127.0.0.1:${peer_ports[0]}" >>"$DIR/list.txt"
    echo "$GOOD" >>"$DIR/list.txt"
    check "$DIR/list.txt" --echo "$ORIGIN/echo" --format jsonl
    exits 0
    same "levels" "anonymous elite transparent" "$(jsonl "$OUT" anonymity | sort | xargs)"
    contains "$ERR" "anonymity: 1 anonymous, 1 elite, 1 transparent"
    check "$DIR/list.txt" --echo "$ORIGIN/echo" --my-address "${ORIGIN#http://}" --format jsonl
    same "an address of ours in each" transparent "$(jsonl "$OUT" anonymity | sort -u)"
}

# What does not send back the request tells nothing about a proxy.
test_echo_that_is_none() {
    local path
    echo "$GOOD" >"$DIR/list.txt"
    for path in status/404 bytes/100 status/200; do
        check "$DIR/list.txt" --echo "$ORIGIN/$path" --format jsonl
        exits 0
        same "level" "true no echo" "$(jsonl "$OUT" live anonymity | tr '\t' ' ')"
        contains "$ERR" "anonymity: 1 no echo"
    done
    check "$DIR/list.txt" --echo "$ORIGIN/hang" --timeout 0.5
    exits 0
    contains "$OUT" " unknown "
}

test_tries() {
    local log=$PEERS_DIR/garbage/access.log before
    before=$(wc -l <"$log")
    echo "$GARBAGE" >"$DIR/bad.txt"
    check "$DIR/bad.txt" --tries 7 # more than the breaker lets through
    exits 3
    same "requests" 7 $(($(wc -l <"$log") - before))
}

test_usage() {
    local before url
    before=$(wc -l <"$PEERS_DIR/good/access.log")
    for url in ftp://x/ nonsense http:// "${ORIGIN#http://}/"; do
        gyre check "$PEERS_DIR/list.txt" --url "$url"
        exits 2
        contains "$ERR" "option '--url': '$url' is no http:// or https:// URL"
        check "$PEERS_DIR/list.txt" --echo "$url"
        exits 2
        contains "$ERR" "option '--echo': '$url' is no"
    done
    same "requests" "$before" "$(wc -l <"$PEERS_DIR/good/access.log")"
    gyre check "$PEERS_DIR/list.txt"
    exits 2
    contains "$ERR" --url
    check
    exits 2
    check "$DIR/not-there.txt"
    exits 2
    check "$PEERS_DIR/list.txt" --interval 3
    exits 2
    contains "$ERR" --interval --watch
    check "$PEERS_DIR/list.txt" --my-address 192.0.2.1
    exits 2
    contains "$ERR" "option '--my-address' needs --echo"
    check "$PEERS_DIR/list.txt" --echo "$ORIGIN/echo" --my-address ""
    exits 2
    contains "$ERR" "option '--my-address' is empty"
    check --watch
    exits 2
    contains "$ERR" --pool
    check --watch --pool "$DIR/x" --echo "$ORIGIN/"
    exits 2
    contains "$ERR" --echo
}

test_interrupt() {
    local i
    for ((i = 1; i <= 60; i++)); do echo "127.0.0.$i:1"; done >"$DIR/list.txt"
    echo "$GOOD" >>"$DIR/list.txt"
    gyre_begin check "$DIR/list.txt" --url "$ORIGIN/slow/300" --concurrency 1 --tries 1000
    sleep 0.3
    kill -INT "$pid"
    gyre_end 10
    exits 4
}

# ---- the sidecar ----

state() { "$GYRE" pool ls "$POOL" --json >"$DIR/ls" && jsonl "$DIR/ls" url state | sed -n "s|^$1\t||p"; }
state_is() { [ "$(state "$1")" = "$2" ]; }
watch() { gyre_begin check --watch --pool "$POOL" --url "$ORIGIN/bytes/10" --interval 0.2 --timeout 1 "$@"; }

# A real proxy is killed under traffic and benched; it stays so while it is dead, and is back soon after it is.
test_killed_and_restarted() {
    local port
    POOL=$DIR/pool
    peers_tinyproxy tiny || fail "no tinyproxy"
    port=$peer_port
    printf '%s\n' "http://127.0.0.1:$port" "$GOOD" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    watch
    sleep 0.5
    peers_stop tiny KILL
    until state_is "http://127.0.0.1:$port" open; do # the traffic finds out
        timeout 20 "$GYRE" get --pool "$POOL" -s -o /dev/null "$ORIGIN/" || fail "no other proxy was tried"
    done
    sleep 1
    state_is "http://127.0.0.1:$port" open || fail "not benched while it is dead: $(state "http://127.0.0.1:$port")"
    PATH=$PEERS_PATH setsid tinyproxy -d -c "$PEERS_DIR/tiny/tinyproxy.conf" >/dev/null 2>&1 &
    echo "tiny $!" >>"$PEERS_DIR/pids"
    wait_for 5 state_is "http://127.0.0.1:$port" closed
    kill -TERM "$pid"
    gyre_end 5
    exits 0
    contains "$ERR" "http://127.0.0.1:$port: closed, was open" "probes, "
    ! "$GYRE" pool check "$POOL" 2>&1 | grep -v sound || fail "unsound"
    same "in flight" 0 "$("$GYRE" pool stats "$POOL" --json >"$DIR/stats" && jsonl "$DIR/stats" active)"
}

# --all finds a dead proxy before any traffic does; without it nobody in use is probed.
test_all() {
    POOL=$DIR/pool
    printf '%s\n' "$DEAD" "$GOOD" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    watch
    sleep 1
    kill -TERM "$pid"
    gyre_end 5
    contains "$ERR" "0 probes"
    watch --all
    wait_for 10 state_is "$DEAD" open
    state_is "$GOOD" closed || fail "the good one is $(state "$GOOD")"
    kill -TERM "$pid"
    gyre_end 5
    exits 0
}

# Disabled and drained proxies are left alone.
test_operators_word_counts() {
    POOL=$DIR/pool
    echo "$GOOD" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    timeout 10 "$GYRE" pool disable "$POOL" "$GOOD" 2>/dev/null
    watch --all
    sleep 1
    kill -TERM "$pid"
    gyre_end 5
    contains "$ERR" "0 probes"
    state_is "$GOOD" disabled || fail "it is $(state "$GOOD")"
}

# Several sidecars on one pool: nothing is counted twice, nothing is lost.
test_two_sidecars() {
    local first
    POOL=$DIR/pool
    printf '%s\n' "$DEAD" "$GOOD" "$GARBAGE" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    "$GYRE" check --watch --all --pool "$POOL" --url "$ORIGIN/" --interval 0.1 --timeout 1 2>/dev/null &
    first=$!
    watch --all --interval 0.1
    sleep 2
    kill -TERM "$first" "$pid"
    gyre_end 5
    exits 0
    wait "$first"
    "$GYRE" pool check "$POOL" 2>"$ERR" || fail "$(cat "$ERR")"
    "$GYRE" pool stats "$POOL" --json >"$DIR/stats"
    same "in flight" 0 "$(jsonl "$DIR/stats" active)"
}

urls() { "$GYRE" pool ls "$POOL" --json >"$DIR/ls" && jsonl "$DIR/ls" url | sort | xargs; }
urls_are() { [ "$(urls)" = "$*" ]; }

# What was added by hand stays; what the list has lost goes; an empty list changes nothing.
test_list_is_read_again() {
    POOL=$DIR/pool
    printf '%s\n' http://192.0.2.1:1 http://192.0.2.2:1 >"$DIR/list.txt"
    echo http://192.0.2.9:1 | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    watch "$DIR/list.txt" --refresh 0.2
    wait_for 5 urls_are http://192.0.2.1:1 http://192.0.2.2:1 http://192.0.2.9:1
    printf '%s\n' http://192.0.2.2:1 http://192.0.2.3:1 >"$DIR/list.txt"
    wait_for 5 urls_are http://192.0.2.2:1 http://192.0.2.3:1 http://192.0.2.9:1
    : >"$DIR/list.txt"
    wait_for 5 grep -q "the pool stays as it is" "$ERR"
    urls_are http://192.0.2.2:1 http://192.0.2.3:1 http://192.0.2.9:1 || fail "now $(urls)"
    kill -TERM "$pid"
    gyre_end 5
    exits 0
}

# Neither a command that hangs nor a server that never answers holds up the end.
test_slow_sources_do_not_hold_up_the_end() {
    local source
    POOL=$DIR/pool
    echo "$GOOD" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    for source in "!sleep 15" "$ORIGIN/hang"; do
        watch "$source" --refresh 0.2
        sleep 0.7
        kill -TERM "$pid"
        gyre_end 3
        exits 0
    done
}

test_list_of_a_command_and_a_url() {
    POOL=$DIR/pool
    echo "$GOOD" | timeout 10 "$GYRE" pool create "$POOL" - --max-proxies 64 2>/dev/null
    watch "!echo http://192.0.2.1:1; exit \$(cat $DIR/status || echo 7)" --refresh 0.2
    wait_for 5 grep -q "exit status 7" "$ERR"
    echo 0 >"$DIR/status"
    wait_for 5 urls_are "$GOOD" http://192.0.2.1:1
    kill -TERM "$pid"
    gyre_end 5
    mkdir -p "$DIR/site"
    echo http://192.0.2.2:1 >"$DIR/site/list.txt"
    peers_nginx lists "$DIR/site" || fail "no nginx"
    watch "http://127.0.0.1:$peer_port/list.txt" --refresh 0.2
    wait_for 5 urls_are "$GOOD" http://192.0.2.1:1 http://192.0.2.2:1
    grep -q "list.txt" "$PEERS_DIR/good/access.log" || fail "not fetched through the pool"
    kill -TERM "$pid"
    gyre_end 5
    echo http://192.0.2.3:1 >"$DIR/site/direct.txt"
    watch "http://127.0.0.1:$peer_port/direct.txt" --refresh 0.2 --direct
    wait_for 5 grep -q "loaded 1" "$ERR"
    kill -TERM "$pid"
    gyre_end 5
    ! grep -q "direct.txt" "$PEERS_DIR/good/access.log" || fail "not direct"
}

harness_begin
start
harness_run "$@"
