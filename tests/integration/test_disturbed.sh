#!/usr/bin/env bash
# The main job while something happens to it: a proxy dies, somebody presses Ctrl-C.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGES=1500

start() {
    luajit "$ROOT/tests/integration/site.lua" "$PEERS_DIR/files" $PAGES >"$PEERS_DIR/expected" || exit 1
    peers_nginx site "$PEERS_DIR/files" || exit 1
    SITE=http://127.0.0.1:$peer_port
    LOG=$PEERS_DIR/site/access.log
}

start_proxies() {
    local name
    for name in "$@"; do
        peers_tinyproxy "$name" || fail "no proxy"
        echo "http://127.0.0.1:$peer_port"
    done >"$DIR/proxies.txt"
}

# Starts a crawl and returns when the site has seen 100 pages.
crawl_begin() {
    : >"$LOG"
    gyre_begin run "$ROOT/examples/jobs/crawl_docs.lua" --proxies "$DIR/proxies.txt" --concurrency 4 \
        --per-host 4 --delay 0 --ignore-robots \
        --start "$SITE/site/index.html" --out "$DIR/pages.jsonl"
    wait_for 10 crawl_is_going
}
crawl_is_going() { [ "$(wc -l <"$LOG")" -ge 100 ] || ! peers_alive "$pid"; }

crawl_end() {
    [ "$(wc -l <"$LOG")" -lt "$PAGES" ] || fail "the crawl was over too soon for this test"
    gyre_end "$@"
}

test_a_killed_proxy_costs_no_page() {
    start_proxies one two three
    crawl_begin
    peers_stop two KILL
    crawl_end 60
    exits 0
    jsonl "$DIR/pages.jsonl" url status | sed "s#^$SITE##" | sort >"$DIR/got" || fail "the output is damaged"
    sed 's/$/\t200/' "$PEERS_DIR/expected" | sort | diff - "$DIR/got" >"$DIR/diff" ||
        fail "pages that are missing (<) or too many (>): $(head -n 5 "$DIR/diff")"
    local requests
    requests=$(wc -l <"$LOG")
    # what was in flight through the killed one may have reached the site before
    [ "$requests" -le $((PAGES + 4)) ] || fail "$requests requests for $PAGES pages"
}

# All pages of an interrupted crawl are whole, none is there twice, and what was asked for was also written.
drained() {
    jsonl "$DIR/pages.jsonl" url status >"$DIR/got" || fail "the output is damaged"
    same "pages more than once" "" "$(sort "$DIR/got" | uniq -d)"
    same "pages not 200" "" "$(grep -v $'\t200$' "$DIR/got")"
    same "pages fetched and pages written" "$(wc -l <"$LOG")" "$(wc -l <"$DIR/got")"
}

test_ctrl_c_drains() {
    start_proxies one two three
    crawl_begin
    kill -INT "$pid"
    crawl_end 5
    exits 4
    drained
}

test_term_drains_too() {
    start_proxies one two three
    crawl_begin
    kill -TERM "$pid"
    crawl_end 5
    exits 4
    drained
}

# A request that never ends: the first Ctrl-C waits for it, the second does not.
test_second_ctrl_c_stops_at_once() {
    peers_fixture hang --fault hang || fail "no fixture"
    echo "http://127.0.0.1:$peer_port" >"$DIR/proxies.txt"
    gyre_begin run "$ROOT/tests/integration/jobs/get.lua" "$DIR/proxies.txt" "$SITE/" timeout=50
    wait_for 10 grep -q GET "$PEERS_DIR/hang/access.log"
    kill -INT "$pid"
    sleep 1
    peers_alive "$pid" || fail "the first Ctrl-C did not wait for what was in flight"
    kill -INT "$pid"
    gyre_end 5
    exits 4
}

# A script that takes no notice of it would ask again and again for what it is no longer given.
test_ctrl_c_ends_a_script_that_goes_on() {
    local script
    start_proxies one
    for script in 'while true do gyre.sleep(0.2) end' 'repeat local got = pool:get(arg[1]) until got and got.status == 200'; do
        echo "local gyre = require 'gyre' local pool = gyre.open { proxies = arg[2] } $script" >"$DIR/on.lua"
        gyre_begin run "$DIR/on.lua" "$SITE/no-such-page" "$DIR/proxies.txt"
        sleep 0.5
        peers_alive "$pid" || fail "it has ended before: $(cat "$ERR")"
        kill -INT "$pid"
        gyre_end 5
        exits 4
        contains "$ERR" "gyre: stopped: the script goes on after the interrupt"
    done
}

# libcurl closes the socket of a cancelled transfer that is still connecting without telling: nobody may wait for it.
test_cancelled_while_connecting() {
    peers_fixture slow || fail "no fixture"
    gyre run "$ROOT/tests/integration/jobs/cancel.lua" "http://127.0.0.1:$peer_port/slow/20"
    exits 0
    same "aborted, and the status of the last" $'1200\t200' "$(cat "$OUT")"
}

harness_begin
start
harness_run "$@"
