#!/usr/bin/env bash
# Politeness by the site's own books: what robots.txt forbids is not asked for, Crawl-delay is kept, a site that answers
# 429 sees the rate it asks for whatever the number of proxies, and nothing is switched off but aloud.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

start() {
    local i
    for i in 1 2 3 4 5 6 7 8; do
        peers_fixture "proxy$i" || exit 1
        echo "http://127.0.0.1:$peer_port"
    done >"$PEERS_DIR/eight.txt"
    head -n 1 "$PEERS_DIR/eight.txt" >"$PEERS_DIR/one.txt"
}

# origin ROBOTS: an origin of the test's own -> $SITE $LOG
origin() {
    local name=${DIR##*/}
    export FIXTURE_TIMES=1
    [ -z "$1" ] || export FIXTURE_ROBOTS=$1
    peers_fixture "$name" || fail "no origin"
    unset FIXTURE_ROBOTS FIXTURE_TIMES
    SITE=http://127.0.0.1:$peer_port
    LOG=$PEERS_DIR/$name/access.log
}

crawl() { gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/eight.txt" "$@"; }

# apart MS [PATTERN]: requests for it came so far from each other: on the whole, and none much closer, for what the way
# through a proxy takes varies on a busy machine
apart() {
    awk -v ms="$1" -v pattern="${2:-.}" '
        $3 ~ pattern {
            if (n++) { gap = $1 - last; text = text " " gap; if (gap < ms * 0.6) bad = 1 } else first = $1
            last = $1
        }
        END { if (bad || n < 3 || last - first < (n - 1) * ms - ms / 4) { print text; exit 1 } }' "$LOG" >"$DIR/gaps" ||
        fail "requests came closer than $1 ms to each other: $(cat "$DIR/gaps")"
}

# patience PROXIES ACTIVE: 15 pages of a site that serves 4 a second and refuses what is more. Who is refused waits for the
# second that the site asks for: nothing arrives early but what was under way.
patience() {
    local name=$1$2 urls i
    urls=$(for i in $(seq 15); do printf '"%s/patient/4/%s",' "$SITE" "$i"; done)
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/$1.txt" "$SITE/patient/4/0" "start={$urls}" \
        "per_host={active=$2,delay=0}" robots=false
    exits 0
    gyre get --direct "$SITE/patient"
    contains "$OUT" "served 15"
    read -r _ _ _ refused _ early <"$OUT"
    [ "$refused" -ge 2 ] || fail "$name: the site refused only $refused: the test is too slow to mean anything"
    # What was under way is one less than $2 for each refusal that came when nobody had to wait.
    [ "$early" -le $((($2 - 1) * (refused - early))) ] || fail "$name: $early of the requests came early, $refused were refused"
}

test_429_one_proxy() { origin "" && patience one 1; }
test_429_eight_proxies() { origin "" && patience eight 1; }
test_429_eight_proxies_four_at_a_time() { origin "" && patience eight 4; }

# The site asks for 3 s, more than the pool waits by itself after a 429; a date is read as well.
test_retry_after() {
    local i after
    for i in 1 2; do
        DIR=$PEERS_DIR/retry$i && mkdir "$DIR"
        origin ""
        after=3
        [ "$i" = 1 ] || after=$(date -u -d "+5 seconds" '+%a,%%20%d%%20%b%%20%Y%%20%H:%M:%S%%20GMT')
        gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/eight.txt" "$SITE/retry/$after" robots=false \
            'per_host={active=1,delay=0}'
        wait_more_than 1
        kill -INT "$pid"
        gyre_end 10
        [ "$(awk 'NR == 1 { first = $1 } NR == 2 { print $1 - first }' "$LOG")" -ge 2700 ] || fail "too early: $(cat "$LOG")"
    done
}
wait_more_than() { wait_for 10 has_more "$1"; }
has_more() { [ "$(wc -l <"$LOG")" -gt "$1" ]; }

test_crawl_delay() {
    origin $'User-agent: *\nCrawl-delay: 0.7'
    crawl "$SITE/graph/4/1"
    exits 0
    contains "$OUT" "done 4 failed 0"
    apart 700
    same "the first request" /robots.txt "$(awk 'NR == 1 { print $3 }' "$LOG")"
}

test_default_delay() {
    origin ""
    crawl "$SITE/graph/5/1" per_host=nil
    exits 0
    apart 500
}

test_robots() {
    origin $'User-agent: *\nDisallow: /\n\nUser-agent: testbot\nDisallow: /graph/9/5$\nDisallow: /graph/*/9'
    crawl "$SITE/graph/9/1" 'agent="testbot/1.0 (+http://test.example)"'
    exits 0
    contains "$OUT" "done 7 failed 0 refused 2"
    contains "$ERR" "2 not allowed by robots.txt"
    same "requests for what is forbidden" 0 "$(grep -cE '/graph/9/[59]$' "$LOG")"
    crawl "$SITE/graph/9/1" 'agent="otherbot"'
    contains "$OUT" "done 0 failed 0 refused 1"
    : >"$LOG"
    crawl "$SITE/graph/9/1" robots=false
    exits 0
    contains "$OUT" "done 9 failed 0 refused 0"
    contains "$ERR" "robots.txt ignored by option"
    same "requests for robots.txt" 0 "$(grep -c robots.txt "$LOG")"
}

# A robots.txt that cannot be had forbids everything for now: the pages wait, nothing else is asked for.
test_robots_5xx() {
    origin 503
    crawl "$SITE/graph/9/1" state="\"$DIR/state\""
    exits 1
    contains "$OUT" "done 0 failed 0 refused 0 waiting 0 held_back 1"
    contains "$ERR" "/robots.txt could not be had (status 503)" "1 held back for robots.txt" "run again to go on"
    same "requests for pages" 0 "$(grep -c graph "$LOG")"
}

test_robots_unreachable() {
    echo "$DEAD" >"$DIR/list.txt"
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$DIR/list.txt" http://127.0.0.1:2/x
    exits 3
    contains "$OUT" "held_back 1"
}

# 4xx: there is none, and nothing is forbidden. A redirect is followed.
test_robots_4xx() {
    origin 404
    crawl "$SITE/graph/3/1"
    exits 0
    contains "$OUT" "done 3 failed 0 refused 0"
}

# robots.txt is the crawl's own affair: the job's judge and headers are for pages.
test_robots_is_not_the_jobs() {
    origin 403
    crawl "$SITE/graph/3/1" 'judge="strict"'
    exits 0
    contains "$OUT" "done 3 failed 0 refused 0"
    DIR=${DIR}2 && mkdir "$DIR"
    origin 404
    crawl "$SITE/graph/3/1" 'judge={[404]="banned"}' 'request={method="HEAD"}' 'page=function(page) page:emit(page.headers) end'
    exits 0
    contains "$OUT" "done 1 failed 0 refused 0"
    same "methods" "GET HEAD" "$(awk '{ print $2 }' "$LOG" | xargs)"
    mkdir "$DIR/files" && echo "a page" >"$DIR/files/a.html"
    printf 'User-agent: *\nDisallow: /a' >"$DIR/files/robots.txt"
    peers_nginx range "$DIR/files" || fail "no nginx"
    crawl "http://127.0.0.1:$peer_port/a.html" 'headers={Range="bytes=0-3"}'
    contains "$OUT" "done 0 failed 0 refused 1"
}

# Redirects are followed, and what is far down in it counts.
test_robots_redirected_and_long() {
    local files=$DIR/files
    mkdir -p "$files/robots.txt" && echo "a page" | tee "$files/a.html" >"$files/b.html"
    printf 'User-agent: *\nDisallow: /a' >"$files/robots.txt/index.html" # nginx redirects to robots.txt/
    peers_nginx "${DIR##*/}" "$files" || fail "no nginx"
    SITE=http://127.0.0.1:$peer_port
    crawl "$SITE/a.html"
    contains "$OUT" "done 0 failed 0 refused 1"
    crawl "$SITE/b.html"
    contains "$OUT" "done 1 failed 0 refused 0"
    rm -r "$files/robots.txt"
    { echo "User-agent: *" && yes "# nothing" | head -c 400000 && printf '\nDisallow: /a'; } >"$files/robots.txt"
    crawl "$SITE/a.html"
    contains "$OUT" "done 0 failed 0 refused 1"
}

test_identification() {
    origin 404
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$SITE/echo" "out=\"$DIR/echo\"" \
        'page=function(page) page:emit { agent = page.body:match "User%-Agent: ([^\r\n]*)" } end'
    exits 0
    contains "$DIR/echo" "gyre/" "(crawler)"
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$SITE/echo" "out=\"$DIR/echo2\"" agent=false \
        'page=function(page) page:emit { agent = page.body:match "User%-Agent: ([^\r\n]*)" or "nobody" } end'
    contains "$DIR/echo2" nobody
    contains "$ERR" "not identified by option"
}

# Each proxy by itself: one request at a time through each, 0.3 s apart; and at one host likewise.
test_limits_of_proxies() {
    local option
    origin ""
    for option in per_proxy per_proxy_host; do
        : >"$LOG"
        gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$SITE/graph/5/1" robots=false \
            "$option={active=1,delay=0.3}" per_host=false
        exits 0
        contains "$OUT" "done 5"
        contains "$ERR" "no limit per host by option"
        apart 300
    done
}

# Two hosts through one proxy: for the proxy they are one, for the pairs of proxy and host two.
test_a_proxy_and_two_hosts() {
    local host i urls=
    origin ""
    for i in 1 2 3; do for host in a b; do urls+="\"http://$host.test:${SITE##*:}/$host/$i\","; done; done
    through() {
        : >"$LOG"
        gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" x "start={$urls}" 'scope="any"' robots=false \
            "$1={active=1,delay=0.4}" per_host=false
        contains "$OUT" "done 6"
    }
    through per_proxy
    apart 400
    through per_proxy_host
    apart 400 /a/
    apart 400 /b/
    [ "$(awk 'NR == 1 { first = $1 } END { print $1 - first }' "$LOG")" -lt 1600 ] || fail "the hosts waited for each other"
}

# A 503 that says nothing more halves the rate, too: half a second between two of a host becomes one.
test_503() {
    origin ""
    crawl "$SITE/" "start={\"$SITE/status/503\",\"$SITE/1\",\"$SITE/2\"}" retries=0 robots=false \
        'per_host={active=1,delay=0.5}' concurrency=1
    contains "$OUT" "done 2 failed 1" "slowed 1"
    [ "$(awk 'NR == 1 { first = $1 } END { print $1 - first }' "$LOG")" -ge 1700 ] || fail "too fast: $(cat "$LOG")"
}

# The same limits for any requests: gyre map, pool:map.
test_map_per_host() {
    local i
    origin ""
    for i in 1 2 3 4 5; do echo "$SITE/graph/9/$i"; done >"$DIR/urls"
    gyre map "$DIR/urls" --proxies "$PEERS_DIR/eight.txt" --per-host 1 --delay 0.3
    exits 0
    same "records" 5 "$(wc -l <"$OUT")"
    apart 300
    : >"$LOG"
    for i in 1 2 3; do echo "$SITE/slow/400?$i"; done >"$DIR/urls"
    gyre map "$DIR/urls" --proxies "$PEERS_DIR/eight.txt" --per-host 1
    exits 0
    apart 400 slow # one at a time: none before the one before it is answered
}

harness_begin
start
harness_run "$@"
