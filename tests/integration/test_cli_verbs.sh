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

# Options stand in one column, with all their names in one line.
test_help_is_aligned() {
    local verb
    for verb in $(verbs); do
        gyre help "$verb"
        ! grep -nE '^ {4,24}-|^ *-[^-].*,$' "$OUT" || fail "a crooked line"
    done
    gyre help get
    grep -qE '^   -x, --proxy URL  +This proxy only' "$OUT" || fail "no line of -x: $(grep -A 1 -e -x "$OUT")"
    grep -qE '^   -w, --write-out FORMAT  +Print' "$OUT" || fail "no line of -w"
    gyre help pool use
    grep -qE '^   -o, --option|^   -o ' "$OUT" || fail "no line of -o: $(cat "$OUT")"
}

test_unknown_option_is_named() {
    local verb
    for verb in $(verbs); do
        gyre "$verb" --no-such-option
        exits 2
        contains "$ERR" "gyre $verb: " "--no-such-option"
        same "stdout" "" "$(cat "$OUT")"
    done
}

# refuses OPTION VALUE WHAT VERB...: the verb says that the option's value is not what it must be, and what that is
refuses() {
    local option=$1 value=$2 what=$3
    shift 3
    gyre "$@" "$option" "$value"
    exits 2
    same "the first line of '$* $option $value'" "gyre $1: option '$option': '$value' is not $what" "$(head -n 1 "$ERR")"
    ! grep -q traceback "$ERR" || fail "a traceback: $(cat "$ERR")"
}

test_numbers_are_named_with_their_range() {
    local value most=9007199254740991
    POOL=$DIR/pool
    "$GYRE" pool create "$POOL" --max-proxies 64 2>/dev/null
    for value in x '' -1 nan 1e300; do
        refuses --weight "$value" "a number from 0 to 3.40282e+38" pool update "$POOL" "$DEAD"
        refuses --max-active "$value" "a whole number from 0 to 8388606" pool update "$POOL" "$DEAD"
        refuses --ttl "$value" "a number from 0 to 10000000" pool update "$POOL" "$DEAD"
        refuses --cost "$value" "a number from 0 to $most" pool update "$POOL" "$DEAD"
        refuses --timeout "$value" "a number from 0.001 to $most" get "$DEAD"
        refuses --tries "$value" "a whole number from 1 to $most" map list
        refuses --interval "$value" "a number from 0.05 to $most" check list
        refuses -n "$value" "a whole number from 0 to $most" tail --pool "$POOL"
        refuses --sample "$value" "a number from 0 to 1" tail --pool "$POOL"
        refuses --rows "$value" "a whole number from 1 to $most" top --pool "$POOL"
        refuses --size "$value" "a whole number from 1 to 1000000" sim random
        refuses --flaky-rate "$value" "a number from 0 to 1" sim random
        refuses --slow-at "$value" "a number from 0 to 1000000000" sim random
        refuses --seeds "$value" "a whole number from 1 to $most" sim random
        refuses --max-sessions "$value" "a number from 0 to $most" pool create "$DIR/new"
    done
    refuses --max-active 1.5 "a whole number from 0 to 8388606" pool update "$POOL" "$DEAD"
    gyre pool add "$POOL" "$DEAD"
    gyre pool update "$POOL" "$DEAD" --rate many
    exits 2
    contains "$ERR" "gyre pool: option '--rate': 'many' is none"
}

# Before the script's name an option is gyre's, behind it the script's; "--" ends gyre's.
test_options_of_run() {
    printf '%s\n' 'print(table.concat(arg, " "))' >"$DIR/-job.lua"
    cd "$DIR" || fail "no folder"
    gyre run ./-job.lua --bogus -x
    exits 0
    same "arguments" "--bogus -x" "$(cat "$OUT")"
    gyre run -- -job.lua --bogus
    exits 0
    same "arguments" "--bogus" "$(cat "$OUT")"
    gyre run --bogus ./-job.lua
    exits 2
    contains "$ERR" "gyre run: unknown option '--bogus'"
    gyre run --workers many ./-job.lua
    exits 2
    contains "$ERR" "gyre run: --workers"
    gyre run --fresh --help
    exits 0
    contains "$OUT" "Usage: gyre run"
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

# What a script prints is data too: it is not lost without a word, however the script ends.
test_stdout_that_is_full() {
    local job
    echo 'print "said"' >"$DIR/short.lua"
    echo 'for i = 1, 10000 do print(i) end' >"$DIR/long.lua"
    echo 'print "said" os.exit(0)' >"$DIR/exit.lua"
    echo 'print "said" io.stdout:close()' >"$DIR/close.lua"
    for job in help --version "help get" "run $DIR/short.lua" "run $DIR/long.lua" "run $DIR/exit.lua"; do
        # shellcheck disable=SC2086 # words
        timeout 10 "$GYRE" $job >/dev/full 2>"$ERR"
        same "exit code of '$job'" 1 $?
        same "lines" 1 "$(wc -l <"$ERR")"
        contains "$ERR" "stdout: No space left"
    done
    echo 'print "said" return 3' >"$DIR/three.lua"
    timeout 10 "$GYRE" run "$DIR/three.lua" >/dev/full 2>"$ERR"
    same "a code of its own" 3 $?
    contains "$ERR" "stdout: No space left"
    gyre run "$DIR/close.lua"
    exits 0
    same "stdout" said "$(cat "$OUT")"
    timeout 10 "$GYRE" get -x "$DEAD" http://127.0.0.1:2/ -s -w "%{errormsg}" >/dev/full 2>"$ERR"
    same "exit code of get" 1 $?
    same "words" "gyre get: stdout: No space left on device" "$(cat "$ERR")"
}

test_stdout_that_is_closed() {
    local job
    echo 'for i = 1, 100000 do print(i) end' >"$DIR/long.lua"
    for job in help "run $DIR/long.lua"; do
        # shellcheck disable=SC2086 # words
        ("$GYRE" $job 2>"$ERR"; echo $? >"$DIR/code") | :
        same "stderr" "" "$(cat "$ERR")"
    done
    same "exit code" 1 "$(cat "$DIR/code")"
}

# The frames of a traceback are the script's: what is wrong is there.
test_tracebacks_are_of_the_script() {
    cd "$DIR" || fail "no folder"
    printf '%s\n' 'local function open()' 'assert(require("gyre").open { proxies = {} })' 'end' 'open()' >wrong.lua
    gyre run wrong.lua
    exits 2
    same "stderr" "gyre: the list is empty
stack traceback:
	wrong.lua:2: in function 'open'
	wrong.lua:4: in main chunk" "$(cat "$ERR")"
    echo 'return require("gyre").crawl { start = 5 }' >wrong.lua
    gyre run wrong.lua
    exits 2
    ! grep -qE 'lua/gyre/|\[C\]' "$ERR" || fail "frames of gyre's own: $(cat "$ERR")"
}

# No file of a job's takes the place of a stream that its caller closed.
test_standard_streams_that_are_closed() {
    echo 'print "said" io.stderr:write("told") require("gyre").sleep(0.01)' >"$DIR/says.lua"
    "$GYRE" run "$DIR/says.lua" >&- 2>"$ERR"
    same "exit code without stdout" 1 $?
    same "stderr" "toldgyre: stdout: Bad file descriptor" "$(cat "$ERR")"
    echo 'io.stderr:write "told"' >"$DIR/tells.lua"
    "$GYRE" run "$DIR/tells.lua" >&- 2>"$ERR"
    same "exit code of one that prints nothing" 0 $?
    "$GYRE" run "$DIR/says.lua" <&- >"$OUT" 2>&-
    same "exit code without stdin and stderr" 0 $?
    same "stdout" said "$(cat "$OUT")"
    "$GYRE" help >&- 2>"$ERR"
    same "exit code of what only prints" 1 $?
    contains "$ERR" "Bad file descriptor"
}

# What cannot be read is named, and why, by every verb that takes a list, a text or headers; nothing else happens.
test_input_that_cannot_be_read() {
    local from verb
    echo "$DEAD" >"$DIR/list.txt"
    for from in "$DIR/nofile" "$DIR" "$DIR/empty"; do
        : >"$DIR/empty"
        for verb in "get --proxies $from" "repl --proxies $from -e 1" "check --url http://x/ $from" \
            "map $DIR/list.txt --proxies $from" "pool create $DIR/pool $from"; do
            [ "$verb" = "get --proxies $from" ] && verb+=" http://x/"
            # shellcheck disable=SC2086 # words
            gyre $verb
            exits 2
            same "lines of '$verb'" 1 "$(wc -l <"$ERR")"
            contains "$ERR" "gyre ${verb%% *}: $from: "
        done
    done
    for verb in "get -x $DEAD -d @$DIR" "get -x $DEAD -H @$DIR" "get -x $DEAD -d @$DIR/nofile"; do
        # shellcheck disable=SC2086
        gyre $verb http://x/
        exits 2
        same "lines of '$verb'" 1 "$(wc -l <"$ERR")"
        contains "$ERR" "$DIR"
    done
    timeout 10 "$GYRE" get --proxies - http://x/ <"$DIR" 2>"$ERR"
    same "a folder as stdin" 2 $?
    same "its message" "gyre get: stdin: Is a directory" "$(cat "$ERR")"
    [ ! -e "$DIR/pool" ] || fail "a pool was made"
}

# Whoever watches a pool ends when its file goes or is another one: it would watch what nobody uses any more.
test_pool_that_is_replaced() {
    local words pid how
    for words in "top --plain -i 0.1" "tail --follow" "check --watch --url http://127.0.0.1:1/ --interval 0.5"; do
        for how in removed replaced; do
            rm -f "$DIR/pool"
            "$GYRE" pool create "$DIR/pool" --max-proxies 64 --max-sessions 64 2>"$ERR" || fail "no pool"
            # shellcheck disable=SC2086 # words
            timeout 20 "$GYRE" $words --pool "$DIR/pool" >"$OUT" 2>"$ERR" &
            pid=$!
            sleep 0.5
            kill -0 "$pid" || fail "$words has ended: $(cat "$ERR")"
            rm "$DIR/pool"
            [ "$how" = removed ] || "$GYRE" pool create "$DIR/pool" --max-proxies 64 --max-sessions 64 2>"$DIR/made"
            wait "$pid"
            same "exit code of $words, $how" 2 $?
            contains "$ERR" "the pool $DIR/pool has been removed, or replaced by another one"
        done
    done
}

# Standard input is read once: a second one would get nothing, and a job without work would be a success.
test_stdin_twice() {
    local words
    echo 127.0.0.1:9 >"$DIR/list.txt"
    for words in "map - --proxies -" "get --proxies - -d @- http://127.0.0.1:1/" "pool add $DIR/pool - -"; do
        [ -e "$DIR/pool" ] || "$GYRE" pool create "$DIR/pool" --max-proxies 64 2>"$ERR" || fail "no pool"
        # shellcheck disable=SC2086 # words
        timeout 10 "$GYRE" $words <"$DIR/list.txt" >"$OUT" 2>"$ERR"
        same "exit code of $words" 2 $?
        contains "$ERR" "stdin (-) can be read by one only"
    done
    timeout 10 "$GYRE" check - --url http://127.0.0.1:1/ </dev/null >"$OUT" 2>"$ERR"
    contains "$ERR" "stdin: the list is empty"
}

# A proxy where a list belongs is named without its credentials, and so is whatever else is given as the name of a file.
test_proxies_that_are_no_files() {
    local verb with proxy=127.0.0.1:1
    for with in http://anna:verysecret@$proxy anna:verysecret@$proxy $proxy:anna:verysecret; do
        for verb in "get --proxies $with http://x/" "repl --proxies $with -e 1" "map $DIR --proxies $with" \
            "check $with --url http://x/" "pool create $DIR/pool $with"; do
            # shellcheck disable=SC2086 # words
            gyre $verb
            exits 2
            contains "$ERR" "$proxy: there is no such file: a list is a file, or - for a list on stdin"
            ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
            case $verb in *--proxies*) contains "$ERR" "; -x takes a proxy" ;; esac
        done
        for verb in "get --pool $with http://x/" "pool ls $with" "map $with -x $DEAD"; do
            # shellcheck disable=SC2086
            gyre $verb
            exits 2
            contains "$ERR" "$proxy" "No such file"
            ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
        done
    done
    [ ! -e "$DIR/pool" ] || fail "a pool was made"
    gyre run http://anna:verysecret@"$proxy"
    exits 2
    same "words" "gyre: a job is a file, and its name no URL" "$(cat "$ERR")"
    echo 'require("gyre").crawl { start = arg[1], pool = arg[2], page = print, state = false }' >"$DIR/crawl.lua"
    gyre run "$DIR/crawl.lua" http://x/ http://anna:verysecret@"$proxy"
    exits 2
    contains "$ERR" "http://$proxy: there is no such file"
    ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
}

# Nor are those of a target: a record has its URL as it came in, so that it can be matched, and nothing else shows them.
test_targets_with_credentials() {
    local url
    for url in http://anna:verysecret@127.0.0.1:1/ ftp://anna:verysecret@127.0.0.1:1/; do
        gyre get --direct "$url"
        contains "$ERR" "127.0.0.1:1/"
        ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
        echo "$url" >"$DIR/urls.txt"
        gyre map "$DIR/urls.txt" -x "$DEAD"
        same "the record's URL" "$url" "$(jsonl "$OUT" url)"
        ! jsonl "$OUT" message | cat - "$ERR" | grep -q verysecret || fail "a password is shown: $(cat "$OUT" "$ERR")"
    done
    gyre check list --url anna:verysecret@127.0.0.1/
    exits 2
    ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
    echo 'require("gyre").crawl { start = arg[1], pool = { "192.0.2.1:1" }, page = print, state = false }' >"$DIR/crawl.lua"
    gyre run "$DIR/crawl.lua" http://anna:verysecret@127.0.0.1/
    exits 2
    contains "$ERR" "the start http://127.0.0.1/: "
    ! grep -q verysecret "$ERR" || fail "a password is shown: $(cat "$ERR")"
}

# gyre, no more the shell that becomes it, and with a handler for SIGTERM
catches_signals() {
    [ "$(cat "/proc/$pid/comm")" = gyre ] && [ $((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") & 1 << 14)) != 0 ]
}

# A signal that comes while the script is still being read, from a pipe here, is not lost.
test_signal_before_the_script_runs() {
    mkfifo "$DIR/job.lua"
    gyre_begin run "$DIR/job.lua"
    wait_for 10 catches_signals
    kill -TERM "$pid"
    echo 'print(require("gyre").sleep(60))' >"$DIR/job.lua"
    gyre_end 10
    exits 4
    contains "$OUT" interrupted
}

harness_begin
harness_run "$@"
