#!/usr/bin/env bash
# The main job, examples/jobs/crawl_docs.lua, against a generated site through real proxies. The site's
# access log is the witness: every proxy leaves by its own address.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGES=120
SECRETS=(quince-71 'gl@ss:5%' gl%40ss%3A5%25 plum-93)

# proxies.txt: six live proxies, two of them users of one gateway, and a dead one in the middle.
start() {
    luajit "$ROOT/tests/integration/site.lua" "$PEERS_DIR/files" $PAGES >"$PEERS_DIR/expected" || exit 1
    peers_nginx site "$PEERS_DIR/files" || exit 1
    SITE=http://127.0.0.1:$peer_port
    LOG=$PEERS_DIR/site/access.log
    LIST=$PEERS_DIR/proxies.txt
    {
        peers_tinyproxy tiny && echo "http://127.0.0.1:$peer_port" &&
            peers_tinyproxy tinyauth anna "${SECRETS[0]}" && echo "127.0.0.1:$peer_port:anna:${SECRETS[0]}" &&
            peers_squid squid 1 boris "${SECRETS[1]}" clara "${SECRETS[3]}" &&
            echo "http://127.0.0.1:${peer_ports[0]}" && echo "$DEAD" &&
            echo "http://boris:${SECRETS[2]}@127.0.0.1:${peer_ports[1]}" &&
            echo "http://clara:${SECRETS[3]}@127.0.0.1:${peer_ports[1]}" &&
            peers_dante dante && echo "socks5h://127.0.0.1:$peer_port"
    } >"$LIST" || exit 1
}

# crawl [OPTION]...: crawls the site into $PAGES_OUT, with the site's log emptied before, at the speed that one's own
# site may be asked with
crawl() {
    PAGES_OUT=$DIR/pages.jsonl SEGMENT=$DIR/segment
    : >"$LOG"
    gyre run "$ROOT/examples/jobs/crawl_docs.lua" --proxies "$LIST" --start "$SITE/site/index.html" \
        --out "$PAGES_OUT" --shared "$SEGMENT" --delay 0 --per-host 16 --ignore-robots "$@"
}

counters() {
    LUA_PATH="$ROOT/lua/?.lua;$ROOT/lua/?/init.lua;;" GYRE_LIB=$BUILD/libgyre.so \
        luajit "$ROOT/tests/integration/counters.lua" "$SEGMENT" >"$DIR/counters" || fail "no counters"
}

# sum COLUMN [dead|live]: over the lines of the counters
sum() {
    awk -F '\t' -v column="$1" -v which="${2:-}" -v dead="$DEAD" '
        which == "" || (which == "dead") == ($1 == dead) { n += $column }
        END { print n + 0 }' "$DIR/counters"
}

every_page_in_output() {
    jsonl "$PAGES_OUT" url status | sed "s#^$SITE##" | sort >"$DIR/got" || fail "the output is damaged"
    sed 's/$/\t200/' "$PEERS_DIR/expected" | sort | diff - "$DIR/got" >"$DIR/diff" ||
        fail "pages that are missing (<) or too many (>): $(head -n 5 "$DIR/diff")"
}

test_every_page_exactly_once() {
    crawl --concurrency 8
    exits 0
    every_page_in_output
    awk '{ print $3 }' "$LOG" | sort | diff "$PEERS_DIR/expected" - >"$DIR/diff" ||
        fail "the site saw other requests than one a page: $(head -n 5 "$DIR/diff")"
    same "requests past the proxies" 0 "$(grep -c '^127\.0\.0\.1 ' "$LOG")"
    same "title and links of page 7" $'Page 7 & more\t7' "$(jsonl "$PAGES_OUT" title links | grep 'Page 7 ')"
}

# By the pool's own books: N pages succeeded, what the dead proxy cost was tried again elsewhere, and the
# live ones took turns.
test_counters_add_up() {
    crawl --concurrency 8
    exits 0
    counters
    same "proxies" 7 "$(wc -l <"$DIR/counters")"
    same "started of all" "$(sum 3)" "$(sum 2)"
    same "still in flight" 0 "$(sum 7)"
    same "aborted" 0 "$(sum 6)"
    same "succeeded" "$PAGES" "$(sum 4)"
    same "failed of the live" 0 "$(sum 5 live)"
    same "succeeded of the dead" 0 "$(sum 4 dead)"
    [ "$(sum 5 dead)" -ge 1 ] || fail "the dead proxy was never tried"
    same "attempts in the output" "$(sum 2)" "$(jsonl "$PAGES_OUT" attempts | awk '{ n += $1 } END { print n }')"
    awk -F '\t' -v dead="$DEAD" '$1 != dead { print $2 }' "$DIR/counters" | sort -n >"$DIR/shares"
    [ $(($(tail -n 1 "$DIR/shares") - $(head -n 1 "$DIR/shares"))) -le 1 ] ||
        fail "round-robin is not exact within one: $(xargs <"$DIR/shares")"
}

# By the site's books: each of the addresses the proxies leave by made its share. Boris and Clara share one.
test_every_proxy_carries_its_share() {
    crawl --concurrency 8
    exits 0
    awk '{ n[$1]++ } END { for (a in n) print n[a] }' "$LOG" | sort -n | tr '\n' ' ' >"$DIR/shares"
    same "requests by address" "20 20 20 20 40 " "$(cat "$DIR/shares")"
}

# The second crawl attaches to the first one's segment: counters go on, the dead proxy is still known.
test_the_pool_stays_warm() {
    crawl
    exits 0
    crawl
    exits 0
    every_page_in_output
    counters
    same "proxies" 7 "$(wc -l <"$DIR/counters")"
    same "succeeded in both runs" $((2 * PAGES)) "$(sum 4)"
}

test_summary_has_a_line_a_proxy() {
    crawl
    exits 0
    same "proxies in the table" 7 "$(grep -cE '(http|socks5h)://' "$ERR")"
    contains "$ERR" p50 p95 p99 "crawl finished: $PAGES pages done, 0 failed, 0 waiting" "robots.txt ignored by option"
    same "stdout" "" "$(cat "$OUT")"
}

test_a_missing_page_is_exit_1() {
    mkdir -p "$PEERS_DIR/files/broken"
    echo '<a href="gone.html">x</a><a href="here.html">y</a>' >"$PEERS_DIR/files/broken/index.html"
    echo '<title>here</title>' >"$PEERS_DIR/files/broken/here.html"
    crawl --start "$SITE/broken/index.html"
    exits 1
    same "statuses" "200 200 404 " "$(jsonl "$PAGES_OUT" status | sort | tr '\n' ' ')"
    same "requests for the missing page" 1 "$(grep -c gone.html "$LOG")"
}

harness_begin
start
harness_run "$@"
