#!/usr/bin/env bash
# docs/lists.md does what it says: its blocks run as they stand, its tables name what the reader of lists knows.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGE=$ROOT/docs/lists.md

# Without jq, what it does here.
jq_fixture() {
    cat >"$1/jq" <<'END'
#!/bin/sh
sed 's/^{"results"://; s/}$//' "$3"
END
    chmod +x "$1/jq"
}

test_blocks() {
    cd "$DIR" || fail "no folder"
    mkdir bin && jq_fixture bin
    { echo "PATH=$BUILD:\$PATH:$DIR/bin" && awk '/^```sh$/ { inside = 1; next } /^```$/ && inside { inside = 0; print "" } inside' "$PAGE"; } >blocks.sh
    timeout -k 5 60 bash -eu -o pipefail blocks.sh >"$OUT" 2>"$ERR" || fail "$(tail -n 20 "$OUT" "$ERR")"
    same "what was loaded" "6 3 1 2 1" "$(sed -n 's/^loaded \([0-9]*\)$/\1/p' "$ERR" | xargs)"
    contains "$OUT" http://192.0.2.7:3128 socks5://192.0.2.7:1080 http://192.0.2.8:3128 "http://[2001:db8::1]:3128"
    contains "$ERR" "one JSON object; a list is an array, such as its field 'results' (jq .results)"
    same "with max_active" 1 "$(tail -n 1 "$OUT")"
    gyre pool ls csv --json
    contains "$OUT" '"country":"DE"' '"url":"http://192.0.2.7:3128"'
    ! grep -qE 'secret|p@ss|p;ss' "$OUT" "$ERR" || fail "a password is shown"
    printf '%s\n' 'local pool = require("gyre").open { shared = arg[1] }' 'for proxy in pool:each() do print(pool:url(proxy.id, true)) end' >url.lua
    gyre run url.lua csv
    same "its URL" "http://anna:p%3Bss@192.0.2.7:3128" "$(cat "$OUT")"
}

# names TABLE: the columns of a table of entry.lua
names() { sed -n "/^local NAMES = {/,/^}/s/,/\n/gp" "$ROOT/lua/gyre/list/entry.lua" | sed -n 's/^ *\([a-z_]*\) = ".*/\1/p' | sort -u; }

test_names_are_those_of_the_code() {
    local name known
    known=$(names)
    [ "$(echo "$known" | wc -l)" -gt 20 ] || fail "only these were found in entry.lua: $known"
    for name in $known; do
        [ "$name" = countrycode ] || grep -qE "[\`]([a-z_]+ )*$name( [a-z_]+)*[\`]" "$PAGE" || fail "$name is not on the page"
    done
    for name in country region tags weight cost max_active rate ttl; do contains "$PAGE" "| \`$name\` |"; done
}

harness_begin
harness_run "$@"
