#!/usr/bin/env bash
# examples/demo.sh as a user runs it: to its end, and with Ctrl-C in the middle.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

# Nothing of the demo is left: no folder, no process that names it, nobody on the ports it printed.
nothing_left() {
    local port
    same "folders left" "" "$(find "$DIR" -name 'gyre-peers*')"
    echo "$DIR/gyre-peers" >"$DIR/pattern"
    same "processes left" "" "$(grep -lsaFf "$DIR/pattern" /proc/[0-9]*/cmdline)"
    while read -r port; do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail "somebody still listens on port $port"
    done < <(grep -oE '127\.0\.0\.1:[0-9]+' "$OUT" | cut -d : -f 2 | sort -u)
    return 0
}

test_demo() {
    TMPDIR=$DIR timeout --foreground -k 20 300 "$ROOT/examples/demo.sh" >"$OUT" 2>"$ERR" </dev/null
    code=$?
    exits 0
    contains "$OUT" " 0 of them more than once, 0 past the proxies" "Next, with proxies of your own"
    local pages=$ROOT/build/demo/pages.jsonl
    [ "$(jsonl "$pages" url | sort -u | wc -l)" -gt 1100 ] || fail "too few pages"
    same "pages more than once" "" "$(jsonl "$pages" url | sort | uniq -d)"
    # live ones take turns exactly, and what came back from each is what it was given
    jsonl "$pages" proxy | sort | uniq -c | awk '{ print $1 }' | sort -n >"$DIR/shares"
    same "proxies that carried pages" 6 "$(wc -l <"$DIR/shares")"
    [ $(($(tail -n 1 "$DIR/shares") - $(head -n 1 "$DIR/shares"))) -le 1 ] || fail "shares: $(xargs <"$DIR/shares")"
    grep -qE 'quince|gl@ss|gl%40ss|plum' "$OUT" "$ERR" "$pages" && fail "a password is shown"
    nothing_left
}

# Ctrl-C in the terminal goes to everything in the foreground: a session of its own stands for that here.
test_ctrl_c() {
    local demo i
    TMPDIR=$DIR setsid env --default-signal=INT "$ROOT/examples/demo.sh" >"$OUT" 2>"$ERR" </dev/null &
    demo=$!
    for ((i = 0; i < 3000; i++)); do
        grep -q 'Crawling' "$OUT" && break
        peers_alive "$demo" || fail "the demo ended: $(tail -n 5 "$OUT" "$ERR")"
        sleep 0.1
    done
    sleep 0.2
    kill -INT -- "-$demo"
    wait "$demo"
    code=$?
    [ "$code" = 130 ] || [ "$code" = 4 ] || fail "exit code $code"
    nothing_left
}

harness_begin
harness_run "$@"
