#!/usr/bin/env bash
# gyre repl and gyre bench.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20

start() {
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    peers_fixture proxy || exit 1
    PROXY=http://127.0.0.1:$peer_port
}

# repl LINE...: what a repl with a pool makes of the lines
repl() {
    printf '%s\n' "$@" | timeout 20 "$GYRE" repl -x "$PROXY" >"$OUT" 2>"$ERR"
    code=$?
}

test_values() {
    repl '1 + 1' '"a", nil, true' '{ 1, "b", c = 3 }' 'pool' 'local x = 3' 'y = 4' 'y * 2' '#pool'
    exits 0
    same "values" $'2\na\tnil\ttrue\n{ 1, "b", c = 3 }\npool of 1, round-robin\n8\n1' "$(cat "$OUT")"
}

test_chunks_of_several_lines() {
    repl 'for i = 1, 3 do' '  print(i)' 'end' 'function f(a,' 'b) return a + b end' 'f(2, 3)'
    exits 0
    same "output" "1 2 3 5" "$(xargs <"$OUT")"
}

test_requests_work() {
    repl "pool:get('$ORIGIN/bytes/123').status" "#pool:get('$ORIGIN/bytes/123').body"
    same "status and size" $'200\n123' "$(cat "$OUT")"
}

# A task goes on while the repl waits for its next line.
test_tasks_go_on() {
    { printf '%s\n' 'gyre.spawn(function() gyre.sleep(0.1) io.stdout:write "from a task\n" io.stdout:flush() end) and nil' &&
        sleep 0.6 && echo '"from a line"'; } | timeout 20 "$GYRE" repl >"$OUT" || fail "it fails"
    same "order" $'nil\nfrom a task\nfrom a line' "$(cat "$OUT")"
}

# In a script an error is an exit code, and the rest runs all the same.
test_errors() {
    repl 'error "on purpose"' '1 +* 2' '"after"'
    exits 2
    contains "$ERR" "on purpose" "unexpected symbol"
    same "output" after "$(cat "$OUT")"
    repl 'function f() error "deep" end' 'f()'
    contains "$ERR" "repl:1: deep" "stack traceback"
    ! grep -q cli/ "$ERR" || fail "frames of the program: $(cat "$ERR")"
    repl 'setmetatable({}, { __tostring = function() error "unseen" end })' '= "after"' '=1, 2' # a value that cannot be shown
    exits 2
    contains "$ERR" unseen
    same "output" $'after\n1\t2' "$(cat "$OUT")"
}

test_code_of_the_command_line() {
    gyre repl -e 'x = 20' -e 'x + 1'
    exits 0
    same "output" 21 "$(cat "$OUT")"
    gyre repl -e 'error "no"' -e 'print "not reached"'
    exits 2
    same "output" "" "$(cat "$OUT")"
}

test_on_a_terminal() {
    { sleep 0.5 && printf 'for i = 1, 2 do\nprint(i * 21)\nend\n' && sleep 0.5 && printf '\004' && sleep 0.3; } |
        timeout 20 script -qefc "$GYRE repl -x $PROXY; echo left with \$?" "$OUT" >/dev/null || fail "it fails"
    contains "$OUT" "pool of 1" "> " ">> " 42 "left with 0"
}

test_a_strategy_of_its_own() {
    "$GYRE" pool create "$DIR/pool" --max-proxies 64 && echo "$PROXY" | timeout 10 "$GYRE" pool add "$DIR/pool" - 2>/dev/null
    gyre repl --pool "$DIR/pool" --strategy random -e 'pool.strategy'
    same "here" random "$(cat "$OUT")"
    "$GYRE" pool use "$DIR/pool" >"$OUT"
    contains "$OUT" "round-robin"
}

# The program of the build; or the one that is named; or a word about where it was looked for.
test_bench() {
    printf '%s\n' '#!/bin/sh' 'echo "bench $*"; exit 7' >"$DIR/bench"
    chmod +x "$DIR/bench"
    GYRE_BENCH=$DIR/bench gyre bench --quick --only picks
    exits 7
    same "arguments" "bench --quick --only picks" "$(cat "$OUT")"
    mkdir "$DIR/bin" && cp "$GYRE" "$DIR/bin/gyre"
    "$DIR/bin/gyre" bench 2>"$ERR"
    same "without one" 2 $?
    contains "$ERR" "$DIR/bin/bench" "BUILD_TESTING"
    mkdir -p "$DIR/libexec/gyre" && cp "$DIR/bench" "$DIR/libexec/gyre/bench"
    same "installed" "bench " "$("$DIR/bin/gyre" bench)"
}

harness_begin
start
harness_run "$@"
