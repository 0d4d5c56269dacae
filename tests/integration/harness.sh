# shellcheck shell=bash
#
# What the integration tests share. A test file sources this, defines functions test_*, calls harness_begin, starts
# what its tests have in common, and ends with harness_run "$@" (names of tests to run; none: all). Each
# test runs in a subshell, has a folder $DIR, and fails by calling fail. The last line is "N passed, N failed".

set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${GYRE_BUILD:-$ROOT/build/release}
GYRE=$BUILD/gyre
PEERS_FIXTURE=$BUILD/gyre-fixture
export PEERS_FIXTURE
# shellcheck source=tests/support/peers.sh
. "$ROOT/tests/support/peers.sh"

# shellcheck disable=SC2034 # for the tests
DEAD=http://127.0.0.1:1 # no test listens on port 1, and only root could

fail() {
    echo "    $*"
    exit 1
}

# same WHAT WANT GOT
same() { [ "$2" = "$3" ] || fail "$1: want '$2', got '$3'"; }

# contains FILE TEXT...: each text occurs in the file
contains() {
    local file=$1 text
    shift
    for text in "$@"; do
        grep -qF -- "$text" "$file" || fail "'$text' is missing in $(basename "$file"): $(head -c 600 "$file")"
    done
}

# Runs gyre with a limit of time that no test comes near; stdout and stderr go to $OUT and $ERR, the exit code
# to $code. 124 is "it hung".
gyre() {
    timeout -k 5 "${LIMIT:-60}" "$GYRE" "$@" >"$OUT" 2>"$ERR" </dev/null
    code=$?
}

# The same in the background: $pid is the program's, so that it can be sent signals (`timeout` eats some).
gyre_begin() {
    "$GYRE" "$@" >"$OUT" 2>"$ERR" </dev/null &
    pid=$!
}

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
    local i seconds=$1
    shift
    for ((i = 0; i < seconds * 50; i++)); do
        "$@" 2>/dev/null && return
        sleep 0.02
    done
    fail "not within $seconds s: $*; stderr of gyre: $(tail -c 600 "$ERR")"
}
is_over() { ! peers_alive "$pid"; }

# gyre_end SECONDS: waits for it at most so long
gyre_end() {
    (wait_for "$1" is_over) || { kill -KILL "$pid" && exit 1; }
    wait "$pid"
    code=$?
}

# exits CODE: the last gyre exited so
exits() {
    [ "$code" = "$1" ] || fail "want exit code $1, got $code; stderr: $(tail -c 1500 "$ERR")"
}

# jsonl FILE FIELD...: the fields of each object, one line an object, by tabs
jsonl() { luajit "$ROOT/tests/integration/jsonl.lua" "$@"; }

harness_begin() {
    [ -x "$GYRE" ] || { echo "no $GYRE: build it first" >&2 && exit 1; }
    peers_begin
}

harness_tests() { grep -o '^test_[a-z0-9_]*' "$1"; }

harness_run() {
    local test passed=0 failed=0 began
    # shellcheck disable=SC2046 # names without spaces
    [ $# -gt 0 ] || set -- $(harness_tests "$0")
    for test in "$@"; do
        began=$SECONDS
        mkdir -p "$PEERS_DIR/$test"
        DIR=$PEERS_DIR/$test
        OUT=$DIR/stdout ERR=$DIR/stderr
        if ("$test"); then
            passed=$((passed + 1))
            echo "ok $test ($((SECONDS - began)) s)"
        else
            failed=$((failed + 1))
            echo "not ok $test"
        fi
    done
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
}
