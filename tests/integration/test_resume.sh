#!/usr/bin/env bash
# A crawl of PostgreSQL's manual that is killed again and again, stopped and continued, and that runs out of disk: in the
# end every page has one item, and no page was fetched twice but for those in flight at a kill. The site's access log
# is the witness. GYRE_LONG=1: a hundred kills.
# shellcheck disable=SC2030,SC2031 # DIR is the disk's in subshells only, on purpose
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

DOCS=/usr/share/doc/postgresql-doc-15/html
KILLS=${GYRE_LONG:+100}
KILLS=${KILLS:-5}
PLACES=16 # pages in flight at most

start() {
    peers_nginx site "$DOCS" || exit 1
    SITE=http://127.0.0.1:$peer_port
    luajit "$ROOT/tests/integration/site.lua" "$PEERS_DIR/files" 200 >/dev/null && peers_nginx small "$PEERS_DIR/files" || exit 1
    SMALL=http://127.0.0.1:$peer_port/site
    LOG=$PEERS_DIR/site/access.log
    {
        peers_tinyproxy one && echo "http://127.0.0.1:$peer_port" &&
            peers_tinyproxy two && echo "http://127.0.0.1:$peer_port"
    } >"$PEERS_DIR/proxies.txt" || exit 1
    reference
}

# Every page that can be reached, by a crawl that nothing happens to.
reference() {
    DIR=$PEERS_DIR/reference OUT=$PEERS_DIR/out ERR=$PEERS_DIR/err
    mkdir -p "$DIR"
    crawl_begin
    gyre_end 60
    [ "$code" = 0 ] || { cat "$ERR" && exit 1; }
    jsonl "$DIR/pages.jsonl" url | sort >"$PEERS_DIR/expected"
    [ "$(wc -l <"$PEERS_DIR/expected")" -gt 1100 ] || { echo "too few pages: $(wc -l <"$PEERS_DIR/expected")" && exit 1; }
    : >"$LOG"
}

# crawl_begin [OPTION]...: in the background; of several --start, --out or --delay the last counts
crawl_begin() {
    gyre_begin run "$ROOT/examples/jobs/crawl_docs.lua" --proxies "$PEERS_DIR/proxies.txt" --start "$SITE/index.html" \
        --out "$DIR/pages.jsonl" --state "$DIR/state" --concurrency $PLACES --per-host $PLACES --delay 0 "$@"
}

# small [OPTION]...: a crawl of 200 pages, to its end
small() {
    crawl_begin --start "$SMALL/index.html" "$@"
    gyre_end 30
}

# small_cut: one that is killed when some of its pages are in the output and more have been asked for
small_cut() {
    : >"$PEERS_DIR/small/access.log"
    crawl_begin --start "$SMALL/index.html" --delay 0.02
    wait_for 20 test -s "$DIR/pages.jsonl"
    wait_more "$PEERS_DIR/small/access.log" 20
    cut
}

cut() {
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
}

# wait_more LOG N: until the site has had N requests more, or the crawl is over. A machine may be slow.
wait_more() {
    local wanted
    wanted=$(($(wc -l <"$1") + $2))
    wait_for 20 has_more "$1" "$wanted"
}
has_more() { [ "$(wc -l <"$1")" -ge "$2" ] || ! peers_alive "$pid"; }

# every_small_page_once FILE
every_small_page_once() {
    same "pages" 200 "$(jsonl "$1" url | sort -u | wc -l)"
    same "items" 200 "$(wc -l <"$1")"
}

every_page_once() {
    jsonl "$DIR/pages.jsonl" url >"$DIR/urls" || fail "the output is damaged"
    sort "$DIR/urls" | diff "$PEERS_DIR/expected" - >"$DIR/diff" ||
        fail "items that are missing (<) or too many (>): $(head -n 5 "$DIR/diff")"
}

# fetched_again AT_MOST: requests beyond one a page
fetched_again() {
    local again
    again=$(awk '$3 != "/robots.txt" { n[$3]++ } END { for (page in n) again += n[page] - 1; print again + 0 }' "$LOG")
    echo "    $again pages fetched again, $1 allowed"
    [ "$again" -le "$1" ] || fail "$again pages were fetched again, $1 were in flight at most"
}

# What is in the output after a kill is whole lines, but for a last one that was being written.
whole_lines() {
    [ ! -s "$DIR/pages.jsonl" ] || jsonl <(grep -a '}$' "$DIR/pages.jsonl") url >/dev/null || fail "a damaged line"
}

# A random moment, when the crawl has got further.
nap() {
    wait_more "$LOG" $((RANDOM % 40 + PLACES))
    sleep "0.$(printf %03d $((RANDOM % 100)))"
}

# killed_crawl AT_MOST: a crawl killed so often, or until it is over -> $killed
killed_crawl() {
    local restarted=0 # a kill may come when the crawl has just finished: the next run starts over, as it should
    killed=0
    : >"$LOG"
    rm -f "$DIR/state"*
    while crawl_begin && nap && peers_alive "$pid" && [ "$killed" -lt "$1" ]; do
        cut
        killed=$((killed + 1))
        whole_lines
        ! grep -q "starting over" "$ERR" || restarted=$((restarted + 1))
    done
    gyre_end 60
    exits 0
    ! grep -q "starting over" "$ERR" || restarted=$((restarted + 1))
    every_page_once
    fetched_again $((killed * PLACES + restarted * $(wc -l <"$PEERS_DIR/expected")))
}

# As many crawls as it takes: a crawl is over after some tens of kills.
test_kill_9_again_and_again() {
    local kills=0
    while [ "$kills" -lt "$KILLS" ]; do
        killed_crawl $((KILLS - kills))
        [ "$killed" -ge 5 ] || [ $((kills + killed)) -ge "$KILLS" ] || fail "only $killed kills before the crawl was over"
        kills=$((kills + killed))
    done
    echo "    $kills kills"
}

# The state on a disk that is full soon: the crawl stops and says so; with room again it goes on. What was committed is not
# fetched again.
test_full_disk() {
    : >"$LOG"
    [ "$(id -u)" = 0 ] || return 0 # who may not mount has the next test
    local disk=$DIR/disk
    mkdir "$disk"
    mount -t tmpfs -o size=300k none "$disk" || return 0
    (
        DIR=$disk
        crawl_begin
        gyre_end 60
        exits 4
        contains "$ERR" "full" "crawl stopped: an error"
    ) || { umount "$disk" && exit 1; }
    mount -o remount,size=20m "$disk"
    (
        DIR=$disk
        crawl_begin
        gyre_end 60
        exits 0
        contains "$ERR" "resuming"
        every_page_once
        fetched_again "$PLACES"
    ) || { umount "$disk" && exit 1; }
    umount "$disk"
}

# A limit on the size of files is a full disk, not the end of the program.
test_file_size_limit() {
    : >"$LOG"
    (
        ulimit -f 200
        crawl_begin
        gyre_end 60
        exits 4
    ) || exit 1
    crawl_begin
    gyre_end 60
    exits 0
    every_page_once
    fetched_again "$PLACES"
}

test_stopped_and_continued() {
    : >"$LOG"
    crawl_begin
    for _ in 1 2 3; do
        nap
        kill -STOP "$pid"
        sleep 0.5
        kill -CONT "$pid"
    done
    gyre_end 60
    exits 0
    every_page_once
    fetched_again 0
}

test_ctrl_c_and_on() {
    : >"$LOG"
    crawl_begin
    wait_more "$LOG" 100
    kill -INT "$pid"
    gyre_end 20
    exits 4
    contains "$ERR" "crawl stopped: interrupted" "run again to go on"
    crawl_begin
    gyre_end 60
    exits 0
    contains "$ERR" "resuming $DIR/state" "crawl finished"
    every_page_once
    fetched_again 0
}

# Two runs on one state: the second says so and touches nothing.
test_a_state_in_use() {
    local first
    crawl_begin --start "$SMALL/index.html" --delay 0.02
    first=$pid
    wait_for 10 test -s "$DIR/state"
    small --delay 0.01
    exits 2
    contains "$ERR" "the state $DIR/state is in use by another run"
    pid=$first
    gyre_end 30
    exits 0
    every_small_page_once "$DIR/pages.jsonl"
}

test_a_finished_state_starts_over() {
    small
    exits 0
    small
    exits 0
    contains "$ERR" "the crawl before had finished, starting over"
    every_small_page_once "$DIR/pages.jsonl"
}

test_fresh_starts_over() {
    small_cut
    sleep 0.5 # what was in flight through the proxies at the kill still reaches the site
    : >"$PEERS_DIR/small/access.log"
    small --fresh
    exits 0
    ! grep -q resuming "$ERR" || fail "it resumed"
    every_small_page_once "$DIR/pages.jsonl"
    same "requests" 200 "$(grep -vc robots.txt "$PEERS_DIR/small/access.log")"
}

# What is no state, or somebody else's, is refused and left as it is.
test_other_files() {
    echo "no database" >"$DIR/state"
    small
    exits 2
    contains "$ERR" "$DIR/state is no state of a crawl"
    same "the file" "no database" "$(cat "$DIR/state")"
    rm "$DIR/state"
    small_cut
    small --start "$SMALL/p2.html"
    exits 2
    contains "$ERR" "is of another crawl ($SMALL/index.html)"
    small --out "$DIR/other.jsonl"
    exits 2
    contains "$ERR" "the state belongs to the output $DIR/pages.jsonl"
    small
    exits 0
    every_small_page_once "$DIR/pages.jsonl"
}

# The output was taken away or cut: items would be missing, and that is said.
test_a_shorter_output() {
    small_cut
    : >"$DIR/pages.jsonl"
    small
    exits 2
    contains "$ERR" "has 0 bytes where the state says" "--fresh starts over"
}

harness_begin
start
harness_run "$@"
