#!/usr/bin/env bash
# gyre map: many URLs, a record each.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=30

start() {
    local i
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    for i in 1 2 3; do
        peers_fixture "proxy$i" || exit 1
        echo "http://127.0.0.1:$peer_port" >>"$PEERS_DIR/list.txt"
    done
    for ((i = 1; i <= 200; i++)); do echo "$ORIGIN/bytes/$i"; done >"$PEERS_DIR/urls.txt"
}

map() { gyre map --proxies "$PEERS_DIR/list.txt" "$@"; }

test_every_url_once() {
    map "$PEERS_DIR/urls.txt" --concurrency 20
    exits 0
    same "records" 200 "$(wc -l <"$OUT")"
    same "bytes" 20100 "$(jsonl "$OUT" size | awk '{ s += $1 } END { print s }')"
    same "lines, each once" "$(seq 200)" "$(jsonl "$OUT" line | sort -n)"
    same "statuses" 200 "$(jsonl "$OUT" status | sort -u)"
    same "proxies" 3 "$(jsonl "$OUT" proxy | sort -u | wc -l)"
    contains "$ERR" "200 requests, 0 errors" "latency: p50" "share"
}

test_ordered() {
    { echo "$ORIGIN/slow/300" && cat "$PEERS_DIR/urls.txt"; } >"$DIR/urls.txt"
    map "$DIR/urls.txt" --ordered --concurrency 30 -s
    exits 0
    same "order" "$(seq 201)" "$(jsonl "$OUT" line)"
    same "silent" "" "$(cat "$ERR")"
    map "$DIR/urls.txt" --concurrency 30 -s
    same "the slow one comes late without it" 0 "$(jsonl "$OUT" line | head -n 20 | grep -c '^1$')"
}

test_from_stdin_with_comments() {
    printf '# comment\n\n%s/bytes/5\n  %s/bytes/6 \n' "${ORIGIN#http://}" "$ORIGIN" |
        timeout 20 "$GYRE" map - --proxies "$PEERS_DIR/list.txt" -s >"$OUT" || fail "it fails"
    same "sizes" $'3\t5\n4\t6' "$(jsonl "$OUT" line size | sort)"
}

test_csv_to_file() {
    head -n 3 "$PEERS_DIR/urls.txt" >"$DIR/urls.txt"
    map "$DIR/urls.txt" --out "$DIR/out.csv" --ordered
    exits 0
    same "head" "line,url,status" "$(head -n 1 "$DIR/out.csv" | cut -d, -f1-3)"
    same "rows" "1,$ORIGIN/bytes/1,200 3,$ORIGIN/bytes/3,200" \
        "$(sed -n '2p;4p' "$DIR/out.csv" | cut -d, -f1-3 | xargs)"
    same "stdout" "" "$(cat "$OUT")"
    map "$DIR/urls.txt" --format csv -s
    same "head on stdout" "line,url,status" "$(head -n 1 "$OUT" | cut -d, -f1-3)"
    map "$DIR/urls.txt" --out "$DIR/no/folder"
    exits 2
    contains "$ERR" --out
}

test_bodies() {
    printf '%s\n' "$ORIGIN/bytes/7" "$ORIGIN/echo" >"$DIR/urls.txt"
    mkdir "$DIR/bodies"
    map "$DIR/urls.txt" --bodies "$DIR/bodies" --ordered -s
    exits 0
    same "files" "$DIR/bodies/000001 $DIR/bodies/000002" "$(jsonl "$OUT" file | xargs)"
    same "size" 7 "$(wc -c <"$DIR/bodies/000001")"
    map "$DIR/urls.txt" --body --ordered -s
    jsonl "$OUT" body | grep -q "GET /echo" || fail "no body in the record"
    map "$DIR/urls.txt" --bodies "$DIR/new" -s # which is made
    exits 0
    same "files" 2 "$(find "$DIR/new" -type f | wc -l)"
}

requests() { wc -l <"$PEERS_DIR/origin/access.log"; }

# What cannot be is refused before anything is asked for, in words that name it once.
test_refused_at_once() {
    local before
    before=$(requests)
    map "$PEERS_DIR/urls.txt" --bodies "$DIR/no/folder"
    exits 2
    same "words" "gyre map: --bodies: $DIR/no/folder: No such file or directory" "$(cat "$ERR")"
    map "$PEERS_DIR/urls.txt" --bodies "$PEERS_DIR/urls.txt"
    exits 2
    same "words" "gyre map: --bodies: $PEERS_DIR/urls.txt: Not a directory" "$(cat "$ERR")"
    map "$DIR"
    exits 2
    same "words" "gyre map: $DIR: Is a directory" "$(cat "$ERR")"
    timeout 10 "$GYRE" map --proxies "$PEERS_DIR/list.txt" - <"$DIR" 2>"$ERR"
    same "exit code of a folder as stdin" 2 $?
    contains "$ERR" "gyre map: stdin: Is a directory"
    same "requests" "$before" "$(requests)"
}

records() { [ "$(wc -l <"$OUT")" = "$1" ]; }

# A pipe that is slow holds nothing up: neither what came before, nor Ctrl-C. Records go into a pipe as they come.
test_slow_pipe() {
    mkfifo "$DIR/pipe"
    "$GYRE" map - --proxies "$PEERS_DIR/list.txt" -s "$@" <"$DIR/pipe" 2>"$ERR" > >(cat >"$OUT") &
    pid=$!
    exec 9>"$DIR/pipe"
    printf '%s\n%s' "$ORIGIN/bytes/1" "$ORIGIN/by" >&9
    wait_for 2 records 1
    printf 'tes/2\n' >&9
    wait_for 2 records 2
    printf '%s\n' "$ORIGIN/bytes/3" "$ORIGIN/bytes/4" >&9
    wait_for 2 records 4
    kill -INT "$pid"
    gyre_end 2
    exec 9>&-
    exits 4
    same "sizes" "1 2 3 4" "$(jsonl "$OUT" size | sort -n | xargs)"
    "$GYRE" map "$DIR/pipe" --proxies "$PEERS_DIR/list.txt" -s >"$OUT" 2>"$ERR" & # likewise as a file, to its end
    pid=$!
    exec 9>"$DIR/pipe"
    printf '%s\n' "$ORIGIN/bytes/5" >&9
    wait_for 2 records 1
    printf '%s' "$ORIGIN/bytes/6" >&9
    exec 9>&-
    gyre_end 5
    exits 0
    same "lines" $'1\t5\n2\t6' "$(jsonl "$OUT" line size)"
}

test_slow_pipe_ordered() { test_slow_pipe --ordered; }

test_stdin_of_other_kinds() {
    timeout 20 "$GYRE" map - --proxies "$PEERS_DIR/list.txt" -s <"$PEERS_DIR/urls.txt" >"$OUT" || fail "it fails"
    same "of a file" 200 "$(wc -l <"$OUT")"
    { sleep 0.3 && echo "$ORIGIN/bytes/1" && sleep 0.3 && printf '\004' && sleep 0.3; } |
        timeout 20 script -qefc "$GYRE map - --proxies $PEERS_DIR/list.txt -s --out $DIR/out.jsonl" /dev/null >/dev/null ||
        fail "it fails on a terminal"
    same "of a terminal" 1 "$(wc -l <"$DIR/out.jsonl")"
}

# The URL of a record is that of its line, with or without a scheme; a byte order mark is none of it.
test_lines_as_they_come() {
    local bare=${ORIGIN#http://}
    printf '\357\273\277%s\r\n\n # none\n  %s \r\nno url\n' "$bare/bytes/1" "$ORIGIN/bytes/2" >"$DIR/urls.txt"
    map "$DIR/urls.txt" -s --ordered
    exits 1
    same "records" "1 $bare/bytes/1 1|4 $ORIGIN/bytes/2 2|5 no url nil|" "$(jsonl "$OUT" line url size | tr '\t\n' ' |')"
}

# A body that is no UTF-8 makes no record that is none.
test_body_of_other_bytes() {
    echo "$ORIGIN/nul" >"$DIR/urls.txt"
    map "$DIR/urls.txt" --body -s
    exits 0
    iconv -f utf-8 -t utf-8 "$OUT" >/dev/null || fail "no UTF-8: $(od -c "$OUT")"
    contains "$OUT" $'"body":"a\\u0000b\xef\xbf\xbd"'
}

test_failures() {
    printf '%s\n' "$ORIGIN/bytes/7" "$ORIGIN/status/404" "$ORIGIN/bytes/5000" >"$DIR/urls.txt"
    map "$DIR/urls.txt" -s
    exits 0
    map "$DIR/urls.txt" -s -f
    exits 1
    map "$DIR/urls.txt" -s --max-filesize 1000 --ordered
    exits 1
    same "kind" too_large "$(jsonl "$OUT" error | tail -n 1)"
    gyre map "$DIR/urls.txt" -x "$DEAD" --tries 1
    exits 3
    gyre map "$DIR/urls.txt"
    exits 2
    map "$DIR/not-there.txt"
    exits 2
    contains "$ERR" not-there
    map "$DIR/urls.txt" --concurrency 0
    exits 2
    contains "$ERR" --concurrency
}

test_concurrency_is_kept() {
    local i began
    for i in 1 2 3 4 5 6; do echo "$ORIGIN/slow/200"; done >"$DIR/urls.txt"
    began=$(date +%s%N)
    map "$DIR/urls.txt" --concurrency 2 -s
    exits 0
    [ $((($(date +%s%N) - began) / 1000000)) -ge 600 ] || fail "six of 200 ms, two at a time, in less than 600 ms"
}

# More at once than there are descriptors: fewer, which is said once, and no request fails for it, though each of the many
# identities would keep connections.
test_few_descriptors() {
    local i limit
    for ((i = 1; i <= 200; i++)); do sed -n "$((i % 3 + 1))s|//127.0.0.1|//u$i:p@localhost|p" "$PEERS_DIR/list.txt"; done >"$DIR/list.txt"
    for ((i = 1; i <= 400; i++)); do echo "$ORIGIN/slow/$((i % 3 * 20))"; done >"$DIR/urls.txt"
    for limit in 60 120 300; do
        (ulimit -n "$limit" && exec timeout 60 "$GYRE" map --proxies "$DIR/list.txt" "$DIR/urls.txt" --concurrency 300 --tries 1) \
            >"$OUT" 2>"$ERR"
        same "exit code with $limit" 0 $?
        same "good" 400 "$(jsonl "$OUT" status | grep -c 200)"
        same "words about it" 1 "$(grep -c 'at once, not 300: the limit of open files' "$ERR")"
    done
    map "$DIR/urls.txt" --concurrency 300
    ! grep "at once, not" "$ERR" || fail "it fits"
}

test_interrupt_drains() {
    local i
    for ((i = 0; i < 500; i++)); do echo "$ORIGIN/slow/100"; done >"$DIR/urls.txt"
    gyre_begin map --proxies "$PEERS_DIR/list.txt" "$DIR/urls.txt" --concurrency 4 --out "$DIR/out.jsonl"
    sleep 0.5
    kill -INT "$pid"
    gyre_end 10
    exits 4
    contains "$ERR" "interrupted after"
    jsonl "$DIR/out.jsonl" url >/dev/null || fail "a record is cut"
}

# On a terminal: a line with the time that is left, rewritten in place, and gone in the end.
test_progress_on_a_terminal() {
    local i
    for ((i = 0; i < 40; i++)); do echo "$ORIGIN/slow/50"; done >"$DIR/urls.txt"
    script -qefc "$GYRE map --proxies $PEERS_DIR/list.txt $DIR/urls.txt --concurrency 2 --out $DIR/out.jsonl" \
        "$DIR/terminal" >/dev/null </dev/null || fail "it fails"
    contains "$DIR/terminal" "map: " "of 40" "eta 00:00:0"
}

harness_begin
start
harness_run "$@"
