#!/usr/bin/env bash
# gyre sim as a user sees it, and docs/sim.md: its blocks run as they stand, every option it names exists.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

PAGE=$ROOT/docs/sim.md

test_blocks_of_the_page() {
    cd "$DIR" || fail "no folder"
    { echo "PATH=$BUILD:\$PATH" && awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$PAGE"; } >blocks.sh
    timeout -k 5 120 bash -eu -o pipefail blocks.sh >"$OUT" 2>"$ERR" || fail "$(tail -n 20 "$OUT" "$ERR")"
    contains "$OUT" "STRATEGY" "./calm.lua" "performance:choices=5@48/10s" '"name":"performance"'
    contains calm.svg "<svg" "Latency of successful attempts" "./calm.lua"
}

test_every_option_is_described() {
    local option
    "$GYRE" help sim >"$DIR/help"
    for option in $(grep -oE '[ `]--[a-z][a-z-]+' "$PAGE" | tr -d ' `' | sort -u); do contains "$DIR/help" "$option"; done
    for option in $("$GYRE" help sim | grep -oE '^   --[a-z-]+' | tr -d ' '); do contains "$PAGE" "$option"; done
    for option in $("$GYRE" help sim | tr ' ,.' '\n' | grep -xE '(steady|wide|load|sinkhole|bans)' | sort -u); do
        contains "$PAGE" "| \`$option\`"
    done
}

test_round_robin_comes_first() {
    gyre sim random --duration 20 --seed 5
    exits 0
    same "rows" "STRATEGY round-robin random" "$(cut -d ' ' -f 1 "$OUT" | xargs)"
    cp "$OUT" "$DIR/first"
    gyre sim round-robin random --duration 20 --seed 5
    same "the same seed" "$(cat "$DIR/first")" "$(cat "$OUT")"
    gyre sim random round-robin --duration 20
    same "rows" "STRATEGY random round-robin" "$(cut -d ' ' -f 1 "$OUT" | xargs)"
}

test_options_of_a_strategy() {
    gyre sim 'tiered:tiers=["cheap","premium"],rest=false@60/10s' random:bag=true --duration 20 --size 20
    exits 0
    same "rows" 'STRATEGY round-robin tiered:tiers=["cheap","premium"],rest=false@60/10s random:bag=true' \
        "$(cut -d ' ' -f 1 "$OUT" | sed '/:$/d' | paste -sd ' ')"
}

test_json() {
    gyre sim least-used --duration 20 --seeds 2 --no-breaker --json
    exits 0
    same "names" "round-robin least-used" "$(jsonl "$OUT" name | xargs)"
    jsonl "$OUT" mean_ms p99_ms max_share end_to_end_change mean_sd_ms >"$DIR/fields"
    same "fields of all" 2 "$(awk -F '\t' '{ for (i = 1; i <= 5; i++) if ($i == "") next } { n++ } END { print n }' "$DIR/fields")"
}

# Ctrl-C ends it at once; what is known is told.
test_interrupt() {
    gyre_begin sim random --duration 10000000
    sleep 0.5
    kill -INT "$pid"
    gyre_end 2
    exits 4
    contains "$ERR" "gyre sim: interrupted; 0 of 2 strategies were through"
    same "stdout" "" "$(cat "$OUT")"
    gyre_begin sim random least-used weighted --duration 3000 --json # a second or so for each
    sleep 2
    kill -INT "$pid"
    gyre_end 2
    exits 4
    contains "$ERR" "gyre sim: interrupted; $(wc -l <"$OUT") of 4 strategies were through"
}

# wrong WORD... MESSAGE
wrong() {
    gyre sim "${@:1:$#-1}"
    exits 2
    contains "$ERR" "${@:$#}"
    same "lines of traceback" 0 "$(grep -c traceback "$ERR")"
}

test_what_cannot_be() {
    wrong nonsense "no strategy 'nonsense'"
    wrong performance:speed=3 "no option 'speed'"
    wrong tiered:tiers=cheap,premium "'premium' in 'tiered:tiers=cheap,premium' is no OPTION=VALUE"
    wrong 'tiered:tiers=["cheap"]x' "is no OPTION=VALUE"
    wrong tiered:tiers=cheap "tiers is a list of tags, not cheap"
    wrong random --scenario storm "must be one of 'bans'"
    wrong random --size many "option '--size': 'many' is not a whole number from 1 to 1000000"
    wrong random --capacity 8 "option '--capacity': a capacity is LEAST-MOST"
    wrong random --capacity 8-2 "option '--capacity' is the least and the most, whole numbers from 1 on"
    wrong random --ban 40/10 "option '--ban': a ban is REQUESTS/SECONDSs/SECONDSs, such as 40/10s/60s"
    wrong random --ban 0/10s/60s "option '--ban' has requests"
    wrong random --refusing 101 "option '--refusing', option '--stalling' and option '--flaky' together"
    wrong random --rate 1 --clients 1 "option '--rate' and option '--clients' exclude each other"
    wrong random --duration 5 "option '--warmup', 10, must be below option '--duration', 5"
    wrong random --limit fast "option '--limit': a limit is COUNT/[NUMBER]UNIT, such as 32/10s, not 'fast'"
    wrong random --seed 1.5 "option '--seed': '1.5' is not a whole number from 1 to"
    wrong random --trace "$DIR/nothing.csv" "nothing.csv"
    wrong random --duration 20 --plot "$DIR/no/folder.svg" "--plot"
    wrong "missing argument 'strategy'"
}

harness_begin
harness_run "$@"
