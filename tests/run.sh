#!/usr/bin/env bash
#
# gyre's tests, all of them: installs what is missing, builds, runs. The last line is "N passed, N failed".
#
#   tests/run.sh [--long] [--only SUITE]...     SUITE may be a pattern: --only 'core-*'
#
# --long: the long variants of randomised, concurrent and fuzz tests. Each suite leaves its output in
# build/test-logs/SUITE.log. A suite that cannot run counts as a failure.
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/support/packages.sh
. tests/support/packages.sh

logs=$PWD/build/test-logs
limit=600 # seconds for one test: a few as a rule, but machines are busy and sanitizers slow
only=()
passed=0 failed=0
declare -A running=() # suites that beside() has begun: name and count, by pid

usage() {
    sed -n '5,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --long) export GYRE_LONG=1 && limit=3600 ;;
    --only) shift && only+=("${1:?}") ;;
    *) usage ;;
    esac
    shift
done

wanted() {
    local pattern
    [ ${#only[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2053 # a pattern
    for pattern in "${only[@]}"; do [[ $1 == $pattern ]] && return 0; done
    return 1
}

# build PRESET [TARGET]: configures and builds it, once, whoever comes first
build() { (flock 9 && build_locked "$@") 9>"$logs/building"; }
build_locked() {
    local log=$logs/build-$1.log
    [ -e "$logs/built-$1" ] && return 0
    if cmake --preset "$1" -DBUILD_TESTING=ON -DGYRE_TEST_TIMEOUT=$limit >"$log" 2>&1 &&
        cmake --build --preset "$1" --target "${2:-all}" >>"$log" 2>&1; then
        : >"$logs/built-$1"
        return 0
    fi
    echo "preset $1 does not build:"
    grep -E -A 8 'error:|FAILED|CMake Error' "$log" | head -n 30
    return 1
}

# suite NAME COUNT COMMAND...: runs the command and adds up what the function COUNT ("passed failed") reads from
# its output. A command that fails without a failed test, or that ran no test, counts as one failure.
suite() {
    wanted "$1" || return 0
    execute "$1" "${@:3}"
    report "$1" "$2"
}

execute() {
    local began=$SECONDS
    "${@:2}" >"$logs/$1.log" 2>&1 </dev/null
    echo "$? $((SECONDS - began))" >"$logs/$1.end"
}

report() {
    local name=$1 log=$logs/$1.log status seconds p f
    read -r status seconds <"$logs/$name.end"
    read -r p f < <("$2" "$log" "$status")
    if [ $((p + f)) = 0 ] || { [ "$f" = 0 ] && [ "$status" != 0 ]; }; then f=$((f + 1)); fi
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-14s %5d passed %3d failed %4d s\n' "$name" "$p" "$f" "$seconds"
    if [ "$f" != 0 ]; then
        complaints "$log" | sed 's/^/    /'
        echo "    the whole log: ${log#"$PWD"/}"
    fi
}

# beside NAME COUNT COMMAND...: as suite, while another runs: for what waits, or has one thread. gather waits for them.
beside() {
    wanted "$1" || return 0
    [ ${#running[@]} -lt 2 ] || gather_one
    set -m # a group of its own, to be ended as one
    execute "$1" "${@:3}" &
    set +m
    running[$!]="$1 $2"
}

gather_one() {
    local pid
    wait -n -p pid "${!running[@]}"
    # shellcheck disable=SC2086 # two words
    report ${running[$pid]}
    unset "running[$pid]"
}

gather() { while [ ${#running[@]} -gt 0 ]; do gather_one; done; }

end_running() {
    local pid
    for pid in "${!running[@]}"; do kill -- "-$pid"; done
    exit 130
}

# What a reader of a failed suite's log looks for.
complaints() {
    if grep -q '^Test project ' "$1"; then # ctest
        grep -E -A 8 '\[  (ERROR|FAILED)  \]|ERROR: |WARNING: ThreadSanitizer|runtime error|Assertion' "$1" | head -n 40
        sed -n '/^The following tests FAILED/,/^$/p' "$1"
    else
        grep -vE '^ok |^seed:|^\[ +(RUN|OK|PASSED) +\]|^\[=' "$1" | tail -n 40
    fi
}

# The command itself is the test.
count_status() { if [ "$2" = 0 ]; then echo 1 0; else echo 0 1; fi; }

# Lines "ok NAME" and "not ok NAME"
count_ok() { awk '/^ok /{ p++ } /^not ok /{ f++ } END { print p + 0, f + 0 }' "$1"; }

# ctest -V: the tests inside the cmocka programs; a program without them is one test. One that dies in mid-run
# (crash, timeout, sanitizer) is a failure more.
count_ctest() {
    awk '
        match($0, /^[0-9]+: \[  PASSED  \] [0-9]+ test/) { split($0, w, /[: ]+/); p[w[1]] += w[5]; cmocka[w[1]] = 1 }
        match($0, /^[0-9]+: \[  FAILED  \] [0-9]+ test/) { split($0, w, /[: ]+/); f[w[1]] += w[5]; cmocka[w[1]] = 1 }
        match($0, /Test +#[0-9]+: /) {
            n = $0; sub(/.*Test +#/, "", n); sub(/:.*/, "", n)
            if ($0 ~ / Passed +[0-9]/) { if (!cmocka[n]) p[n] = 1 }
            else if (!f[n]) f[n] = 1
        }
        END { for (n in p) passed += p[n]; for (n in f) failed += f[n]; print passed + 0, failed + 0 }' "$1"
}

count_fuzz() { { count_ctest "$1" && count_ok "$1"; } | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }'; }

count_busted() {
    awk '/ success(es)? \/ [0-9]+ failure/ { p += $1; f += $4 + $7 + $10 } END { print p + 0, f + 0 }' "$1"
}

# each NAME COMMAND...: a test of count_ok
each() {
    local name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "not ok $name"; fi
}

run_static() {
    each "lua/gyre/cdef.lua is up to date" sh src/core/gen-cdef.sh --check
    each luacheck luacheck --no-color -q lua strategies spec examples tests
    each shellcheck shellcheck examples/*.sh examples/openresty/*.sh tests/*.sh tests/support/*.sh tests/integration/*.sh \
        tests/nginx/*.sh tests/bench/nginx/*.sh .ci/run
}

# Half of the tests wait more than they work.
run_ctest() { build "$1" && ctest --test-dir "build/$1" -V -j "$(($(nproc) * 2))"; }

run_valgrind() {
    build debug || return 1
    export limit && export -f each under_valgrind
    # not test_swap: a hundred Lua states under valgrind take minutes to say how long they take
    printf '%s\n' build/debug/test_* | grep -v '/test_swap$' | xargs -P "$(nproc)" -I '{}' bash -c 'under_valgrind {}'
}

# All its output at once: several run at a time.
under_valgrind() {
    local output
    output=$(each "$1" timeout --foreground -k 5 "$limit" valgrind -q --error-exitcode=99 --leak-check=full \
        --suppressions=tests/valgrind.supp --errors-for-leak-kinds=definite,possible --child-silent-after-fork=yes "$1" 2>&1)
    echo "$output"
}

run_busted() {
    build release && LUA_PATH="lua/?.lua;lua/?/init.lua;;" GYRE_LIB=$PWD/build/release/libgyre.so \
        timeout --foreground -k 5 "$limit" "$@"
}

integration_tests() { printf '%s\n' tests/integration/test_*.sh | sed 's|.*/test_||; s|\.sh$||'; }

run_integration() {
    build release && timeout --foreground -k 20 "$limit" "tests/integration/test_$1.sh"
}

# Each target over its corpus from a fixed seed (ctest), then, with --long, a minute of search beyond it.
run_fuzz() {
    local program name options
    build fuzz tests/fuzz/all && ctest --test-dir build/fuzz -V -R '^fuzz/' || return 1
    [ -n "${GYRE_LONG:-}" ] || return 0
    for program in build/fuzz/fuzz_*; do
        [ -x "$program" ] || continue
        name=${program#build/fuzz/fuzz_}
        options=(-max_total_time=60 "-artifact_prefix=build/fuzz/$name-")
        [ ! -e "tests/fuzz/$name.dict" ] || options+=("-dict=tests/fuzz/$name.dict") # libFuzzer refuses an empty one
        mkdir -p "build/fuzz/corpus/$name"
        each "fuzz/$name for a minute" timeout --foreground -k 5 180 "$program" "${options[@]}" \
            "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name"
    done
}

# Those that build, or load both processors to compare them.
ALONE=" demo package nginx_load "

main() {
    local test
    trap end_running INT TERM
    mkdir -p "$logs" && rm -f "$logs"/*
    packages_install "${PACKAGES_BUILD[@]}" "${PACKAGES_PEERS[@]}" "${PACKAGES_TESTS[@]}" || failed=1
    suite static count_ok run_static
    suite core-release count_ctest run_ctest release
    suite core-asan count_ctest run_ctest asan
    suite core-tsan count_ctest run_ctest tsan
    suite core-preempt count_ctest run_ctest preempt
    suite core-valgrind count_ok run_valgrind # of the debug preset
    beside lua-jit count_busted run_busted luajit /usr/bin/busted
    beside lua-joff count_busted run_busted luajit -joff /usr/bin/busted
    beside lua-host count_busted run_busted build/release/gyre run /usr/bin/busted
    beside lua-nginx count_busted run_busted tests/nginx/busted.sh
    for test in $(integration_tests); do
        [[ $ALONE == *" $test "* ]] || beside "it-$test" count_ok run_integration "$test"
    done
    gather
    for test in $ALONE; do suite "it-$test" count_ok run_integration "$test"; done
    suite fuzz count_fuzz run_fuzz
    rm -f "$logs"/built-* "$logs"/*.end "$logs"/building
    [ $((passed + failed)) -gt 0 ] || failed=1 # nothing ran: a wrong --only
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}

main
