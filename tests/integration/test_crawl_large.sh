#!/usr/bin/env bash
# A site of many small pages: each has one item, and memory stays where it was when SQLite's cache had filled.
# GYRE_LONG=1: a million pages.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGES=${GYRE_LONG:+1000000}
PAGES=${PAGES:-4000}

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture proxy || exit 1
    echo "http://127.0.0.1:$peer_port" >"$PEERS_DIR/one.txt"
}

# resident: of the crawl, in KiB
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null; }

test_memory_is_flat() {
    local early=0 peak=0 now done_then
    gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$ORIGIN/graph/$PAGES/1" \
        "out=\"$DIR/out\"" "state=\"$DIR/state\"" concurrency=64 robots=false per_host=false
    while peers_alive "$pid"; do
        now=$(resident)
        done_then=0
        [ ! -e "$DIR/out" ] || done_then=$(wc -l <"$DIR/out")
        if [ -n "$now" ]; then
            [ "$done_then" -gt $((PAGES / 10)) ] || early=$now
            [ "$now" -le "$peak" ] || peak=$now
        fi
        sleep 0.2
    done
    gyre_end 5
    exits 0
    same "pages" "$PAGES" "$(jsonl "$DIR/out" url | sort -u | wc -l)"
    same "items" "$PAGES" "$(wc -l <"$DIR/out")"
    echo "    $PAGES pages: $((early / 1024)) MiB after a tenth of them, $((peak / 1024)) MiB at most"
    # SQLite's cache of 32 MiB may not have been full at a tenth; nothing else grows.
    [ "$peak" -le $((early + 40 * 1024)) ] || fail "memory grew from $early to $peak KiB"
}

harness_begin
start
harness_run "$@"
