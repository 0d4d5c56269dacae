#!/usr/bin/env bash
# A site of many small pages: each has one item, and memory grows by what SQLite keeps of the state, no more.
# GYRE_LONG=1: a million pages.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGES=${GYRE_LONG:+1000000}
PAGES=${PAGES:-20000}
CACHE=32768 # KiB, SQLite's of the state
SLACK=2048

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture proxy || exit 1
    echo "http://127.0.0.1:$peer_port" >"$PEERS_DIR/one.txt"
}

# Prints its memory in KiB when a fifth of the pages are done, and with the last one.
WATCH='page=(function()
    local done, pages = 0, tonumber(arg[2]:match "/graph/(%d+)/")
    return function(page)
        page:follow(page:links())
        page:emit { url = page.url, status = page.status }
        done = done + 1
        if done == pages / 5 or done == pages then
            collectgarbage()
            for line in io.lines "/proc/self/status" do
                if line:find "^VmRSS" then print("KiB", line:match "%d+") end
            end
        end
    end
end)()'

test_memory_is_flat() {
    local early late state
    LIMIT=3000 gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$ORIGIN/graph/$PAGES/1" \
        "out=\"$DIR/out\"" "state=\"$DIR/state\"" concurrency=64 robots=false per_host=false "$WATCH"
    exits 0
    same "pages" "$PAGES" "$(jsonl "$DIR/out" url | sort -u | wc -l)"
    same "items" "$PAGES" "$(wc -l <"$DIR/out")"
    read -r early late < <(awk '/^KiB/ { print $2 }' "$OUT" | xargs)
    echo "    $PAGES pages: $early KiB after a fifth of them, $late KiB with the last"
    state=$(($(wc -c <"$DIR/state") / 1024))
    [ "$state" -le "$CACHE" ] || state=$CACHE
    [ "$late" -le $((early + state + SLACK)) ] || fail "memory grew by $((late - early)) KiB, the state is $state KiB"
}

harness_begin
start
harness_run "$@"
