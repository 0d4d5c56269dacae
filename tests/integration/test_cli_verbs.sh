#!/usr/bin/env bash
# What is the same for all verbs: help, usage errors, one file to copy, stdout that cannot be written.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

LIMIT=20

verbs() { "$GYRE" help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p'; }

# Every verb has a page of its own, and says its name in a usage error, with the option that is wrong.
test_every_verb_has_help() {
    local verb
    [ "$(verbs | wc -l)" -ge 2 ] || fail "no verbs in: $("$GYRE" help)"
    for verb in $(verbs); do
        gyre help "$verb"
        exits 0
        contains "$OUT" "Usage: gyre $verb"
        gyre "$verb" --help
        exits 0
        contains "$OUT" "Usage: gyre $verb"
    done
}

test_unknown_option_is_named() {
    local verb
    for verb in $(verbs); do
        [ "$verb" = run ] && continue # its arguments are the script's
        gyre "$verb" --no-such-option
        exits 2
        contains "$ERR" "gyre $verb: " "--no-such-option"
        same "stdout" "" "$(cat "$OUT")"
    done
}

test_no_verb() {
    gyre
    exits 2
    contains "$ERR" "gyre help"
    gyre frobnicate
    exits 2
    contains "$ERR" frobnicate
    gyre help frobnicate
    exits 2
    contains "$ERR" frobnicate
}

# The program needs no Lua file of the system's, not even for JSON and options.
test_one_file_to_copy() {
    cp "$GYRE" "$DIR/copy"
    printf '%s\n' 'package.path, package.cpath = "", ""' \
        'print(require("cjson").encode { 1 }, require "argparse" ~= nil, require("gyre").open ~= nil)' >"$DIR/bare.lua"
    (cd "$DIR" && ./copy run bare.lua) >"$OUT" || fail "it fails"
    same "output" $'[1]\ttrue\ttrue' "$(cat "$OUT")"
}

# What lies in the current folder is nobody's business: neither a strategy of a built-in's name nor a module.
test_nothing_from_the_current_folder() {
    mkdir -p "$DIR/lua/gyre" "$DIR/strategies" "$DIR/gyre"
    printf '%s\n' 'io.stderr:write "from here" return {}' | tee "$DIR/lua/gyre/error.lua" "$DIR/gyre/error.lua" >"$DIR/strategies/random.lua"
    (cd "$DIR" && "$GYRE" pool create pool --max-proxies 64 --strategy random) 2>"$ERR" || fail "$(cat "$ERR")"
    ! grep -q "from here" "$ERR" || fail "something was loaded from the current folder"
}

test_stdout_that_is_full() {
    "$GYRE" help >/dev/full 2>"$ERR"
    same "exit code" 1 $?
    contains "$ERR" "No space left"
}

test_stdout_that_is_closed() {
    ("$GYRE" help 2>"$ERR"; echo $? >"$DIR/code") | :
    same "stderr" "" "$(cat "$ERR")"
}

harness_begin
harness_run "$@"
