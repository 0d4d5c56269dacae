#!/usr/bin/env bash
# docs/cli.md: its blocks run as they stand, one after the other, and every verb and option it names exists.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGE=$ROOT/docs/cli.md

# The sh blocks as one script; ports of the page become those of our peers.
script() {
    echo "PATH=$BUILD:\$PATH"
    awk '/^```sh$/ { inside = 1; next } /^```$/ && inside { inside = 0; print "" } inside' "$PAGE" |
        sed "s/127\.0\.0\.1:8000/127.0.0.1:$site/g; s/127\.0\.0\.1:3128/127.0.0.1:$first/; s/127\.0\.0\.1:3129/127.0.0.1:$second/"
}

test_blocks() {
    local site first second
    peers_fixture site && site=$peer_port
    peers_fixture first && first=$peer_port
    peers_fixture second && second=$peer_port
    cd "$DIR" || fail "no folder"
    script >blocks.sh
    timeout -k 5 60 bash -eu -o pipefail blocks.sh >"$OUT" 2>"$ERR" || fail "$(tail -n 20 "$OUT" "$ERR")"
    contains "$OUT" "ID  STATE" http://192.0.2.7:3128 '"country":"FR"' "eligible"
    ! grep -q secret "$OUT" "$ERR" || fail "a password is shown"
}

test_every_command_of_pool_is_described() {
    local command
    for command in $("$GYRE" help pool | sed -n '/^Commands:/,/^$/s/^   \([a-z]*\) .*/\1/p'); do
        contains "$PAGE" "$command"
    done
}

test_every_option_exists() {
    local option verb command
    for verb in $("$GYRE" help | sed -n "s/^  \\([a-z]*\\)  *[a-z].*/\\1/p"); do
        "$GYRE" help "$verb"
        for command in $("$GYRE" help "$verb" | sed -n '/^Commands:/,/^$/s/^   \([a-z]*\) .*/\1/p'); do
            "$GYRE" help "$verb" "$command"
        done
    done >"$DIR/help"
    for option in $(grep -v 'cmake --' "$PAGE" | grep -oE '[ `]--[a-z][a-z-]+' | tr -d ' `' | sort -u); do
        contains "$DIR/help" "$option"
    done
}

harness_begin
harness_run "$@"
