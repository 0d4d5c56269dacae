#!/usr/bin/env bash
# README.md and the examples do what they say: every block of code in README.md is run, every path in it exists.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

README=$ROOT/README.md

# block LANGUAGE N: the Nth block of that language
block() {
    awk -v language="$1" -v n="$2" '
        $0 == "```" { inside = 0 }
        inside
        $0 == "```" language { inside = ++seen == n }' "$README"
}

# A folder like a clone, in which the blocks can be pasted.
clone() {
    mkdir "$DIR/clone"
    ln -s "$ROOT"/* "$DIR/clone/"
    rm -f "$DIR/clone/build"
    mkdir "$DIR/clone/build"
    ln -s "$BUILD" "$DIR/clone/build/release"
    cd "$DIR/clone" || fail "no folder"
}

# paste N: runs the Nth sh block there
paste() { block sh "$1" | timeout -k 5 60 bash -eu >"$OUT" 2>"$ERR" || fail "sh block $1: $(cat "$OUT" "$ERR")"; }

test_the_two_commands_come_first() {
    local path
    for path in $(block sh 1 | grep -o '^[^ ]*'); do
        [ -x "$ROOT/$path" ] || fail "$path is no program"
    done
    same "the commands" "./examples/demo.sh ./tests/run.sh" "$(block sh 1 | grep -o '^[^ ]*' | xargs)"
    same "the first block" '```sh' "$(grep -m 1 '^```' "$README")"
}

# By the program and by plain LuaJIT: three lines each. Which of the proxies fails depends on where the rotation begins.
test_the_path() {
    clone
    paste 2
    grep -qE '^gyre [0-9.]+' "$OUT" || fail "$(cat "$OUT")"
}

test_lua_tour() {
    clone
    block lua 1 >tour.lua
    paste 3
    same "lines" 6 "$(wc -l <"$OUT")"
    same "started, succeeded and failed of the program" "9 8 1" "$(head -n 3 "$OUT" | sums)"
    same "started, succeeded and failed of luajit" "9 8 1" "$(tail -n 3 "$OUT" | sums)"
    grep -q secret "$OUT" && fail "a password is shown"
    return 0
}
sums() { awk -F '\t' '{ a += $3; b += $4; c += $5 } END { print a, b, c }'; }

test_job_tour() {
    peers_fixture origin || fail "no fixture"
    peers_fixture proxy || fail "no fixture"
    echo "http://127.0.0.1:$peer_port" >"$DIR/list.txt"
    local origin
    origin=$(sed -n 's/^port //p' "$PEERS_DIR/origin/output.log")
    block lua 2 | sed "s/127\.0\.0\.1:8000/127.0.0.1:$origin/" >"$DIR/tour.lua"
    gyre run "$DIR/tour.lua" "$DIR/list.txt"
    exits 0
    same "answers" $'\t200\nabout\t200\ncontact\t200' "$(sort "$OUT")"
}

test_crawl_tour() {
    local origin
    peers_fixture origin || fail "no fixture"
    origin=$(sed -n 's/^port //p' "$PEERS_DIR/origin/output.log")
    peers_fixture proxy || fail "no fixture"
    cd "$DIR" || fail "no folder"
    echo "http://127.0.0.1:$peer_port" >proxies.txt
    block lua 3 | sed "s/127\.0\.0\.1:8000/127.0.0.1:$origin/" >crawl.lua
    gyre run crawl.lua
    exits 0
    same "pages" 1 "$(wc -l <pages.jsonl)"
    contains pages.jsonl "\"url\":\"http://127.0.0.1:$origin/\""
}

test_request_tour() {
    clone
    block lua 4 >tour.lua
    gyre run tour.lua
    exits 0
    same "its output" $'DE\ttrue\t2' "$(cat "$OUT")"
}

test_c_tour() {
    clone
    block c 1 >tour.c
    paste 4
    same "its output" "192.0.2.9: 5 requests, 122.0 ms" "$(sed 's/12[0-9]\.[0-9] ms/122.0 ms/' "$OUT")"
}

test_every_block_is_tested() {
    # The last one, an installation, is test_package.sh's.
    same "blocks" "c lua lua lua lua sh sh sh sh sh" "$(grep -oE '^```[a-z]+' "$README" | tr -d '`' | sort | xargs)"
}

test_every_path_exists() {
    local path
    for path in $(sed '1,/^## What is where/d' "$README" | grep '^| `' | cut -d '|' -f 2 | tr -d '`,') $(grep -oE '\]\([^)]*\)' "$README" | tr -d '[]()'); do
        case $path in http*) continue ;; esac
        [ -e "$ROOT/$path" ] || fail "$path does not exist"
        [ ! -d "$ROOT/$path" ] || [ -n "$(ls "$ROOT/$path")" ] || fail "$path is empty"
    done
}

# first.lua and embed.c do the same thing: 9 leases over three proxies, one of them failing once.
test_example_first_lua() {
    gyre run "$ROOT/examples/first.lua"
    exits 0
    same "lines" 3 "$(grep -c 'started 3' "$OUT")"
    same "failures" 1 "$(grep -c 'failed 1' "$OUT")"
    grep -q secret "$OUT" && fail "a password is shown"
    return 0
}

test_example_embed_c() {
    clone
    sed -n 's/^ \*     cc /cc /p' examples/embed.c | bash -eu || fail "the command in embed.c does not build it"
    build/embed >"$OUT" || fail "it fails"
    same "lines" 3 "$(grep -c 'started 3' "$OUT")"
    same "failures" 1 "$(grep -c 'failed 1' "$OUT")"
}

# Of four threads of a C program, with a strategy in Lua: the fast ones carry more.
fast_ones_carry_more() {
    same "requests of all" 1000 "$(awk '{ n += $2 } END { print n }' "$OUT")"
    awk 'NR == 1 { first = $2 } END { exit !(NR == 5 && first > 3 * $2) }' "$OUT" || fail "the shares: $(cat "$OUT")"
}

# With a built-in, as it stands there, and with the template of strategies/README.md.
test_example_embed_lua_c() {
    clone
    sed -n 's/^ \*     //p' examples/embed_lua.c | bash -eu >"$OUT" || fail "the commands in embed_lua.c fail"
    fast_ones_carry_more
    awk '/^```lua$/ { on = ++n == 1; next } /^```$/ { on = 0 } on' strategies/README.md >fastest-of-few.lua
    GYRE_LUA_PATH=lua build/embed_lua ./fastest-of-few.lua '{ "k": 3 }' >"$OUT" || fail "the template fails"
    fast_ones_carry_more
    GYRE_LUA_PATH=lua build/embed_lua nonsense 2>"$ERR"
    same "exit code of a strategy that is not there" 2 $?
    contains "$ERR" "no strategy 'nonsense'"
}

test_job_help() {
    gyre run "$ROOT/examples/jobs/crawl_docs.lua" --help
    exits 0
    contains "$OUT" --proxies --start --out --concurrency --tries
}

harness_begin
harness_run "$@"
