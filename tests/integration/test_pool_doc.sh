#!/usr/bin/env bash
# docs/pool.md does what it says: its examples run in the program and in plain LuaJIT, its tables name all that there is.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGE=$ROOT/docs/pool.md
LIMIT=20

in_luajit() {
    LUA_PATH="$ROOT/lua/?.lua;$ROOT/lua/?/init.lua;;" GYRE_LIB=$BUILD/libgyre.so timeout "$LIMIT" luajit "$@" >"$OUT" 2>"$ERR"
    code=$?
}

# example N WANT: the Nth block of Lua prints this
example() {
    local run
    awk -v n="$1" '$0 == "```" { inside = 0 } inside { print } $0 == "```lua" { inside = ++seen == n }' "$PAGE" >"$DIR/example.lua"
    for run in "gyre run" in_luajit; do
        $run "$DIR/example.lua"
        exits 0
        same "output of example $1, by $run" "$2" "$(cat "$OUT")"
    done
}

test_acquire() {
    example 1 $'nil\tno_proxy\tno eligible proxy: none of 2 proxies can be used: 2 not in the filter, 0 benched, 0 disabled, 0 draining, 0 excluded, 0 at their limit
1048576\thttp://192.0.2.7:3128\tDE
nil\tthe lease has already ended, or its deadline has passed'
}

test_proxies() {
    example 2 $'2\thttp://192.0.2.7:3128\ttrue
192.0.2.7\topen\t3\t3\ttrue
192.0.2.8\tclosed\t0\t0\tnil
http://anna:secret@192.0.2.7:3128\t2
nil\t1'
}

test_the_rest() {
    example 3 $'true\t1
shop.example\ttrue\ttrue
1\t0
2
round-robin\t2\tpicked'
}

test_without_garbage() { example 4 1000; }

test_every_example_is_tested() { same "examples" 4 "$(grep -c '^```lua' "$PAGE")"; }

# named FILE PATTERN: what the code has of these is on the page
named() {
    local name found
    found=$(sed -n "$2" "$ROOT/lua/gyre/$1" | sort -u)
    [ "$(echo "$found" | wc -l)" -gt "$3" ] || fail "only these were found in $1: $found"
    for name in $found; do grep -qE "\b$name\b" "$PAGE" || fail "$name of $1 is not on the page"; done
}

test_it_names_what_there_is() {
    local file
    named options.lua 's/^---@field \([a-z_]*\)?\{0,1\} .*/\1/p' 25
    named criteria.lua '/^---@class gyre.Request/,/^local/s/^---@field \([a-z_]*\)?\{0,1\} .*/\1/p' 15
    named lease.lua 's/^---@field \([a-z_]*\)?\{0,1\} .*/\1/p' 7
    named proxy.lua '/^---@class gyre.Proxy/,/^local/s/^---@field \([a-z_]*\)?\{0,1\} .*/\1/p' 20
    named error.lua 's/^---| "\([a-z_]*\)".*/\1/p' 10
    named pool.lua 's/^function Pool\.\([a-z_]*\)(.*/\1/p' 8
    for file in counter host log probe reload session state strategy upkeep; do
        named "pool/$file.lua" 's/^function Pool\.\([a-z_]*\)(.*/\1/p' 0
    done
}

harness_begin
harness_run "$@"
