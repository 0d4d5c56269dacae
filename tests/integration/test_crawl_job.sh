#!/usr/bin/env bash
# gyre.crawl as jobs use it: what a page can do, what an error does, every option, every output; workers; the examples.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"

start() {
    peers_fixture proxy || exit 1
    echo "http://127.0.0.1:$peer_port" >"$PEERS_DIR/one.txt"
    peers_fixture origin || exit 1
    ORIGIN=http://127.0.0.1:$peer_port
    LOG=$PEERS_DIR/origin/access.log
    site && peers_nginx site "$PEERS_DIR/files" || exit 1
    SITE=http://127.0.0.1:$peer_port
}

# A shop of three pages, a sitemap, and a page with a broken link.
site() {
    local page files=$PEERS_DIR/files
    mkdir -p "$files/shop" "$files/links"
    for page in 1 2 3; do
        cat >"$files/shop/$page.html" <<END
<html><head><title>Shop $page</title></head><body>
<ul><li class="big product"><b class="name"> Lamp,
 no. $page </b><i class="price">EUR $page.50</i></li><li class="productless">no</li></ul>
$([ $page = 3 ] || echo "<a rel='next' href='$((page + 1)).html'>next</a>")</body></html>
END
    done
    echo '<a href="good.html">good</a><a href="bad.html">bad</a><a href="http://127.0.0.1:2/">dead</a>' >"$files/links/index.html"
    echo '<a href="bad.html">bad again</a>' >"$files/links/good.html"
}

# sitemap URL...: the site's, with these
sitemap() {
    printf '<?xml version="1.0"?><urlset>' >"$PEERS_DIR/files/sitemap.xml"
    printf '<url><loc> %s </loc></url>' "$@" >>"$PEERS_DIR/files/sitemap.xml"
}

# crawl START [NAME=VALUE]...: see jobs/crawl.lua
crawl() {
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$1" "out=\"$DIR/out\"" robots=false \
        per_host=false "${@:2}"
}

lines() { wc -l <"$DIR/out"; }

test_page() {
    crawl "$SITE/shop/1.html" 'page=function(page)
        page:follow(page:xpath "//a[@rel=\"next\"]/@href")
        local product = page:xpath("//li")[1]
        page:emit { url = page.url, title = page.title, depth = page.depth, referrer = page.referrer or "none",
          name = product:xpath "normalize-space(b)", class = product:attr "class", tag = product:name(),
          text = #product:text() > 10, all = #page:xpath "//li", none = #page:xpath "//table",
          price = page:match "EUR (%S-)<", count = page:xpath "count(//li)", is = page:xpath "1 = 1",
          type = page.headers["content-type"], proxy = tostring(page.proxy), attempts = page.attempts, links = #page:links(),
          html = #page:links "%.html$", tries = page.tries }
    end'
    exits 0
    same "pages" "1 2 3 " "$(jsonl "$DIR/out" title | grep -o '[0-9]$' | sort | tr '\n' ' ')"
    jsonl "$DIR/out" depth referrer name class tag text all none price count is attempts links html tries >"$DIR/fields"
    contains "$DIR/fields" $'1\t'"$SITE"$'/shop/1.html\tLamp, no. 2\tbig product\tli\ttrue\t2\t0\t2.50\t2\ttrue\t1\t1\t1\t0' \
        $'0\tnone\tLamp, no. 1'
}

# Links are the same with XPath on each page, on every other one and on none; and what is kept of a page goes on working when the
# page has ended, its tree freed.
test_xpath_and_links() {
    local which
    for which in "true" "false" "number % 2 == 0"; do
        crawl "$ORIGIN/graph/200/1" concurrency=4 "page=(function()
            local number, kept, element = 0, nil, nil
            return function(page)
                number = number + 1
                local title = ($which) and page:xpath 'string(//title)' or page.title
                page:follow(page:links())
                page:emit { url = page.url, titles = title == page.title and page.title:match '^Page %d+$', links = #page:links() }
                if kept then
                    local old = kept:xpath 'string(//title)'
                    page:emit { old = old == kept.title and element:text() == old and #kept:xpath '//a' >= #kept:links() }
                end
                kept, element = page, page.url:find '7$' and page:xpath('//title')[1] or nil
                if not element then kept = nil end
            end
        end)()"
        exits 0
        contains "$OUT" "done 200 failed 0"
        [ "$which" = true ] && jsonl "$DIR/out" url titles links | sort >"$DIR/wanted"
        same "pages and links" "$(cat "$DIR/wanted")" "$(jsonl "$DIR/out" url titles links | sort)"
        same "pages without a title" 0 "$(grep -c '"titles":\(false\|null\)' "$DIR/out")"
        same "kept pages that are as they were" "$(grep -c '"old"' "$DIR/out")" "$(grep -c '"old":true' "$DIR/out")"
        [ "$(grep -c '"old"' "$DIR/out")" -gt 10 ] || fail "no page was kept"
    done
}

# The encoding that only the header names.
test_encoding_of_the_header() {
    crawl "$ORIGIN/koi8" 'page=function(page)
        page:emit { a = page.title, b = page:xpath "string(//title)", c = page:links()[1]:match "[^/]*$" }
    end'
    exits 0
    same "title, title, link" $'Мир\tМир\t%D1%8F' "$(jsonl "$DIR/out" a b c)"
}

# page:follow takes references as they stand on the page: relative to its <base>, with white space around them.
test_follow_takes_references() {
    crawl "$ORIGIN/based" 'scope="host"' depth=1 "page=function(page)
        if page.depth == 0 then
            page:follow(page:xpath '//a/@href')
            page:follow { '2', ' 3 ', '$ORIGIN/graph/9/4\\n ' }
            pcall(page.follow, page, '5', { priority = 'high' })
            pcall(page.follow, page, '5', { data = print })
            page:follow '6'
        end
        page:emit { path = page.url:match '[^:]*\$' }
    end"
    exits 0
    same "pages" "/based /graph/9/1 /graph/9/2 /graph/9/3 /graph/9/4 /graph/9/6 " \
        "$(jsonl "$DIR/out" path | sed 's/^[0-9]*//' | sort | tr '\n' ' ')"
}

# What comes when the function has returned would be lost in silence.
test_an_ended_page_takes_nothing() {
    local call
    for call in 'emit {}' 'follow "x"'; do
        crawl "$ORIGIN/graph/1/1" "page=function(page) gyre.spawn(function() gyre.sleep(0.3) page:$call end) end"
        exits 2
        contains "$ERR" "page:${call%% *}: the page has ended: its function has returned"
    done
}

# A host beyond ASCII is the one that DNS knows, wherever it comes from, whatever the locale.
test_international_names() {
    local look
    look="function(page)
        page:emit { url = page.url, count = page:follow { 'http://bücher.example:8/b', 'http://kühe.example/' } }
        gyre.fetch('http://bücher.example:8/c', { proxy = '$(cat "$PEERS_DIR/one.txt")' })
    end"
    : >"$PEERS_DIR/proxy/access.log"
    LC_ALL=C crawl 'http://BÜCHER.example:8/ä' retries=0 tries=1 depth=0 "page=$look" "failed=$look"
    same "the URL, and what is in scope" $'http://xn--bcher-kva.example:8/%C3%A4\t1' "$(jsonl "$DIR/out" url count)"
    same "requests" 2 "$(grep -c 'xn--bcher-kva.example:8/[%c]' "$PEERS_DIR/proxy/access.log")"
}

test_few_descriptors() {
    local words="pages at a time, not 500: the limit of open files (ulimit -n) allows no more"
    (ulimit -n 80 && crawl "$ORIGIN/graph/300/1" concurrency=500)
    contains "$OUT" "done 300 failed 0"
    contains "$ERR" "$words"
    crawl "$ORIGIN/graph/20/1" concurrency=50
    exits 0
    same "words about it" 0 "$(grep -c 'limit of open files' "$ERR")"
}

test_json() {
    echo '{ "name": "Lamp", "prices": [1, 2.5] }' >"$PEERS_DIR/files/lamp.json"
    crawl "$SITE/lamp.json" 'page=function(page) local lamp = page:json() page:emit { a = lamp.name, b = lamp.prices[2] } end'
    exits 0
    same "what was read" $'Lamp\t2.5' "$(jsonl "$DIR/out" a b)"
    crawl "$SITE/shop/1.html" 'page=function(page) page:emit { json = page:json() } end'
    exits 1
    contains "$OUT" "done 0 failed 1"
    contains "$ERR" "error in the job at $SITE/shop/1.html" "Expected value but found"
    same "items" 0 "$(lines)"
}

# What a page collected before it raised does not count, and the crawl goes on.
test_an_error_fails_the_page() {
    crawl "$ORIGIN/graph/5/1" 'page=function(page)
        page:emit { url = page.url }
        page:follow(page:links())
        if page.url:find "/3$" then error "no luck" end
    end'
    exits 1
    contains "$OUT" "done 4 failed 1"
    contains "$ERR" "error in the job at $ORIGIN/graph/5/3" "no luck" "stack traceback" "1 errors in the job" "script: 1"
    same "items" 4 "$(lines)"
    crawl "$ORIGIN/redirect/$ORIGIN/graph/1/1" 'scope=function(url) return not url:find "graph/1/" or error "no scope" end'
    exits 1
    contains "$ERR" "no scope" "crawl finished: 0 pages done, 1 failed (script: 1)"
    crawl "$ORIGIN/graph/5/1" retry_errors=true 'page=function(page)
        page:follow(page:links())
        if page.tries == 0 then error "only the first time" end
    end'
    exits 0
    contains "$OUT" "done 5 failed 0"
}

# A mistake is told as one, and not as a want of proxies; what a target sends too much of is the page's.
test_exit_code_says_whose_fault() {
    crawl "$ORIGIN/graph/1/1" 'request={strategy="no-such"}'
    exits 2
    contains "$ERR" "no strategy 'no-such'" "stopped: a mistake in the script"
    crawl "$ORIGIN/graph/1/1" 'request={strategy="geo"}' robots=true
    exits 2
    contains "$ERR" "needs country"
    : >"$LOG"
    crawl "$ORIGIN/graph/3/1" 'request={max_body=10}'
    exits 1
    contains "$ERR" "too_large: "
    same "requests for what is too large" 1 "$(grep -c graph "$LOG")"
}

test_wrong_calls_are_errors_of_the_page() {
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:emit "text" end'
    contains "$ERR" "page:emit takes a table, not a string"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:emit { page.url, title = "a" } end'
    contains "$ERR" "page:emit: the fields of an item have names, [1] is none"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:emit { meta = { f = print } } end'
    contains "$ERR" "page:emit: meta.f is a function"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:follow(page.url, { data = { 1, a = 2 } }) end'
    contains "$ERR" "page:follow: data has both [1] and other fields, or holes"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:emit {} end'
    same "an item without fields" "{}" "$(cat "$DIR/out")"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:xpath "///[" end'
    contains "$ERR" "is no XPath expression"
    crawl "$ORIGIN/graph/1/1" 'page=function(page) page:follow(page.url, { prio = 1 }) end'
    contains "$ERR" "unknown option 'prio'"
    exits 1
}

test_wrong_options() {
    crawl "$ORIGIN/" colour=1
    exits 2
    contains "$ERR" "gyre.crawl: unknown option 'colour'"
    crawl "$ORIGIN/" 'scope={}'
    contains "$ERR" "option 'scope' names no URL"
    crawl "$ORIGIN/" 'agent=""'
    contains "$ERR" "option 'agent' is a text, or false"
    crawl "$ORIGIN/" 'format="csv"' 'columns={"a","b","a"}'
    contains "$ERR" "option 'columns' is a list of names, each once, and 'a' is none"
    crawl "$ORIGIN/" 'headers={["user-agent"]="x"}'
    contains "$ERR" "option 'headers' must not have 'user-agent': that is the option 'agent'"
    crawl "$ORIGIN/" 'priority=function() end'
    contains "$ERR" "a priority is a number, not nil"
    crawl "$ORIGIN/" depth=-1
    contains "$ERR" "option 'depth' must be a whole number from 0 on"
    crawl "ftp://x/"
    contains "$ERR" "the start ftp://x/: the URL begins with neither http:// nor https://"
    crawl "http://anna:s3cret@x/"
    contains "$ERR" "the start http://x/: the URL holds credentials"
    ! grep -q s3cret "$ERR" || fail "the password is shown"
    crawl "$ORIGIN/" 'rotate="5 apples"'
    contains "$ERR" "option 'rotate' is a number of bytes"
    crawl "$ORIGIN/" page=nil
    contains "$ERR" "option 'page' is missing"
    exits 2
}

# `request` is looked at before anything begins, the crawl's own options are not set there, and all of it is said where
# the script calls gyre.crawl.
test_wrong_requests() {
    local wrong
    : >"$LOG"
    for wrong in timeout=1 tries=1 'headers={}' 'judge="strict"'; do
        crawl "$ORIGIN/" "request={$wrong}"
        exits 2
        contains "$ERR" "gyre.crawl: option 'request' must not have '${wrong%%=*}': that is an option of"
    done
    for wrong in follow=true polite=1 job=1; do
        crawl "$ORIGIN/" "request={$wrong}"
        exits 2
        contains "$ERR" "gyre.crawl: option 'request' must not have '${wrong%%=*}': the crawl sets it"
    done
    crawl "$ORIGIN/" 'request={foo=1}'
    exits 2
    contains "$ERR" "gyre.crawl: option 'request': there is no option 'foo'"
    crawl "$ORIGIN/" 'request={country=1}'
    exits 2
    contains "$ERR" "gyre.crawl: option 'request': country must be text or a list of texts"
    crawl "$ORIGIN/" 'request={max_body="x"}'
    exits 2
    contains "$ERR" "option 'max_body' must be a number, not a string"
    crawl "$ORIGIN/" 'headers={["a b"]="x"}'
    exits 2
    contains "$ERR" "'a b' is no name of a header"
    echo 'local code = require("gyre").crawl { start = arg[2], pool = arg[1], page = print, request = { foo = 1 } }
        return code' >"$DIR/job.lua"
    gyre run "$DIR/job.lua" "$PEERS_DIR/one.txt" "$ORIGIN/"
    exits 2
    contains "$ERR" "job.lua:1: gyre.crawl: option 'request': there is no option 'foo'"
    same "requests" 0 "$(wc -l <"$LOG")"
}

# Options that requests are made with, by what arrives at the site.
test_options_of_requests() {
    local began=$SECONDS
    : >"$LOG"
    crawl "$ORIGIN/echo" 'request={method="POST",body="a=1"}' 'headers={["X-Shop"]="lamps"}' \
        'page=function(page) page:emit { method = page:match "^%S+", shop = page:match "X%-Shop: (%S+)" } end'
    exits 0
    same "what arrived" $'POST\tlamps' "$(jsonl "$DIR/out" method shop)"
    crawl "$ORIGIN/status/404" retries=0 'judge={[404]="banned"}' tries=1 \
        'failed=function(page) page:emit { kind = page.error.kind, status = page.error.status } end'
    same "what failed was told" $'banned\t404' "$(jsonl "$DIR/out" kind status)"
    crawl "$ORIGIN/hang" retries=0 timeout=0.4 tries=1 'failed=function(page) page:emit { kind = page.error.kind } end'
    same "what failed was told" timeout "$(jsonl "$DIR/out" kind)"
    [ $((SECONDS - began)) -lt 10 ] || fail "the timeout was not kept"
}

# `fresh` starts over what could go on; with `sync` each commit waits for the disk.
test_fresh_and_sync() {
    local without
    crawl "$ORIGIN/graph/100/1" max_pages=7 "state=\"$DIR/state\""
    : >"$LOG"
    crawl "$ORIGIN/graph/100/1" max_pages=9 "state=\"$DIR/state\"" fresh=true
    contains "$OUT" "done 9"
    same "requests" 9 "$(wc -l <"$LOG")"
    same "items" 9 "$(lines)"
    synced false
    without=$waits
    synced true
    [ "$waits" -ge $((without + 15)) ] || fail "20 commits waited for the disk $waits times, $without without sync"
}

# synced BOOLEAN: a crawl of 20 pages, one at a time -> $waits
synced() {
    strace -f -qq -e trace=fsync,fdatasync -o "$DIR/trace" "$GYRE" run "$ROOT/tests/integration/jobs/crawl.lua" \
        "$PEERS_DIR/one.txt" "$ORIGIN/graph/20/1" robots=false per_host=false concurrency=1 "state=\"$DIR/state$1\"" \
        "out=\"$DIR/out$1\"" "sync=$1" >"$OUT" 2>"$ERR"
    contains "$OUT" "done 20"
    waits=$(grep -c sync "$DIR/trace")
}

# A judge that raises, or says what is no verdict, is a mistake in the script.
test_wrong_judges() {
    local workers
    crawl "$ORIGIN/" 'judge="lax"'
    exits 2
    contains "$ERR" "option 'judge': there is no judge 'lax'"
    for workers in 1 2; do
        gyre run "$ROOT/tests/integration/jobs/crawl.lua" --workers "$workers" "$PEERS_DIR/one.txt" "$ORIGIN/graph/9/1" \
            robots=false "state=\"$DIR/state\"" "out=\"$DIR/out\"" 'judge=function() error "no idea" end'
        exits 2
        contains "$ERR" "crawl stopped: a mistake in the script" "no idea"
    done
    crawl "$ORIGIN/graph/9/1" "state=\"$DIR/state\"" 'judge=function() return "fine" end'
    exits 2
    contains "$ERR" "judge returned 'fine', which is no verdict"
    crawl "$ORIGIN/graph/9/1" "state=\"$DIR/state\""
    exits 0
    contains "$OUT" "done 9"
}

# Failures come back `retries` times and then are told to `failed`; a 404 is an answer and does not.
test_retries() {
    : >"$LOG"
    crawl "$ORIGIN/status/500" retries=2
    exits 1
    contains "$OUT" "done 0 failed 1"
    contains "$ERR" "500: 1"
    same "requests" 3 "$(grep -c /status/500 "$LOG")"
    crawl "$ORIGIN/eof" retries=1 'failed=function(page) page:emit { error = page.error.kind, tries = page.tries } end'
    exits 3 # a proxy that breaks off looks the same
    same "what failed was told" $'protocol\t1' "$(jsonl "$DIR/out" error tries)"
    : >"$LOG"
    crawl "$ORIGIN/status/404"
    exits 1
    same "requests" 1 "$(grep -c /status/404 "$LOG")"
    contains "$ERR" "404: 1"
}

# One page that runs out of proxies does not end the crawl.
test_a_page_without_luck() {
    { cat "$PEERS_DIR/one.txt" && echo "$DEAD"; } >"$DIR/two.txt"
    crawl "$ORIGIN/" "start={$(printf "\"$ORIGIN/graph/8/%s\"," 1 2 3 4 5 6 7 8)}" "pool=\"$DIR/two.txt\"" tries=1 retries=0
    exits 1
    contains "$OUT" "done 4 failed 4"
    contains "$ERR" "connect: 4" "0 waiting"
}

# With no proxy that works the crawl stops, and what is left waits.
test_no_proxy_at_all() {
    local urls
    urls=$(printf "\"$ORIGIN/graph/99/%s\"," $(seq 99))
    crawl "$ORIGIN/" "pool={\"$DEAD\"}" "start={$urls}" tries=1 retries=0 state="\"$DIR/state\""
    exits 3
    contains "$ERR" "crawl stopped: no usable proxy" "run again to go on"
    crawl "$ORIGIN/" "start={$urls}" state="\"$DIR/state\""
    contains "$ERR" "resuming"
    contains "$OUT" "waiting 0"
}

# Proxies that refuse connections for a while, all of them, cost no page: none is given up, nor the robots.txt of a host that is
# first asked for then, and the crawl does not end.
test_an_outage() {
    crawl "$ORIGIN/graph/40/1" concurrency=4 tries=1 robots=true 'scope="any"' 'page=(function()
        local pages, dead = 0, {}
        return function(page)
            local pool = page.crawl.pool
            pages = pages + 1
            page:follow(page:links())
            if pages == 10 then
                for i = 1, 12 do dead[i] = assert(pool:add("http://127.0.0." .. i .. ":1")) end
                local live = page.proxy
                pool:disable(live.id)
                gyre.spawn(function()
                    gyre.sleep(2.5)
                    pool:enable(live.id)
                    for _, id in ipairs(dead) do pool:remove(id) end
                end)
                repeat gyre.sleep(0.02) until page.crawl.report.unanswered >= 10
                page:follow "'"$SITE/shop/3.html"'"
            end
        end
    end)()'
    exits 0
    contains "$OUT" "done 41 failed 0 refused 0 waiting 0 held_back 0"
    contains "$ERR" "gyre: waiting for a proxy, 60 s at most: connect (http://127.0.0."
}

# A filter that nobody passes: what is waited for is said, once, and a wait is no request.
test_nobody_passes_the_filter() { filtered false; }
test_nobody_passes_the_filter_for_robots() { filtered true; }
filtered() {
    gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$ORIGIN/graph/9/1" per_host=false \
        "robots=$1" 'request={country="de"}'
    wait_for 4 grep -q "^gyre: waiting for a proxy, 60 s at most: no" "$ERR"
    sleep 2
    kill -INT "$pid"
    gyre_end 5
    exits 4
    same "notices" 1 "$(grep -c 'waiting for a proxy' "$ERR")"
    contains "$ERR" "0 requests, 0 errors, 0 attempts" "1 waiting"
}

test_redirects_are_urls() {
    : >"$LOG"
    crawl "$ORIGIN/redirect/$ORIGIN/graph/1/1"
    contains "$ERR" "1 redirects"
    crawl "$ORIGIN/redirect/$ORIGIN/graph/1/1" 'scope="host"'
    exits 0
    contains "$OUT" "done 1"
    same "the page" "$ORIGIN/graph/1/1" "$(jsonl "$DIR/out" url)"
    crawl "$ORIGIN/redirect/http://127.0.0.1:2/x" 'scope="host"'
    contains "$ERR" "redirects to http://127.0.0.1:2/x, which is out of scope"
    crawl "$ORIGIN/loop"
    contains "$ERR" "redirect: 1"
    exits 1
}

test_scope_depth_and_number() {
    crawl "$ORIGIN/graph/100/1" "scope={\"$ORIGIN/graph/100/1\"}"
    same "beginnings of URLs" "" "$(jsonl "$DIR/out" url | grep -v '/graph/100/1')"
    crawl "$ORIGIN/graph/100/1" 'scope=function(url) return not url:find "[02468]$" end'
    same "a function" "" "$(jsonl "$DIR/out" url | grep '[02468]$')"
    crawl "$ORIGIN/graph/100/1" depth=0
    exits 0
    contains "$OUT" "done 1 failed 0 refused 0 waiting 0"
    contains "$ERR" "4 links too deep"
    crawl "$ORIGIN/graph/100/1" max_pages=7 state="\"$DIR/state\""
    exits 0
    contains "$OUT" "done 7"
    contains "$ERR" "crawl stopped: max_pages reached"
    crawl "$ORIGIN/graph/100/1" max_pages=9 state="\"$DIR/state\""
    contains "$ERR" "resuming $DIR/state: 7 done"
    same "pages of both runs" 9 "$(lines)"
}

# The rate in the progress line is that of this run. A line every 0.2 s for the test.
test_progress_of_a_resumed_crawl() {
    local often='name=(function()
        local progress = require "gyre.progress"
        local new = progress.new
        progress.new = function(options) options.interval = 0.2 return new(options) end
        return "again"
    end)()'
    crawl "$ORIGIN/graph/200/1" max_pages=150 state="\"$DIR/state\""
    contains "$OUT" "done 150"
    crawl "$ORIGIN/graph/200/1" max_pages=160 state="\"$DIR/state\"" 'per_host={active=1,delay=0.1}' "$often"
    contains "$OUT" "done 160"
    contains "$ERR" "again: 15"
    grep '^again: ' "$ERR" >"$DIR/progress"
    same "rates above 30" "" "$(awk '{ for (i = 1; i < NF; i++) if ($i ~ "/s") if ($i + 0 > 30) print }' "$DIR/progress")"
}

test_priority_and_data() {
    crawl "$ORIGIN/graph/7/1" concurrency=1 'page=function(page)
        page:emit { n = tonumber(page.url:match "%d+$"), data = page.data and page.data.from }
        for _, link in ipairs(page:links()) do
          page:follow(link, { priority = tonumber(link:match "%d+$"), data = { from = page.url:match "%d+$" } })
        end
    end'
    same "the order" "1 3 7 6 2 5 4 " "$(jsonl "$DIR/out" n | tr '\n' ' ')"
    crawl "$ORIGIN/graph/7/1" concurrency=1 'priority=function(url, depth) return tonumber(url:match "%d+$") * depth end'
    same "the same by a function" "1 3 7 6 2 5 4 " "$(jsonl "$DIR/out" url | grep -o '[0-9]$' | tr '\n' ' ')"
    crawl "$ORIGIN/graph/7/1" concurrency=1 'priority=function(url) return -tonumber(url:match "%d+$") end'
    same "the other order" "1 2 3 4 5 6 7 " "$(jsonl "$DIR/out" url | grep -o '[0-9]$' | tr '\n' ' ')"
    crawl "$ORIGIN/" concurrency=1 "start={\"$ORIGIN/graph/7/4\",\"$ORIGIN/graph/7/5\",\"$ORIGIN/graph/7/6\"}" depth=0 \
        'priority=function(url) return url:find "4$" and -math.huge or url:find "6$" and 1e300 or 0 end'
    same "starts by huge priorities" "6 5 4 " "$(jsonl "$DIR/out" url | grep -o '[0-9]$' | tr '\n' ' ')"
}

test_csv() {
    crawl "$ORIGIN/graph/3/1" "out=\"$DIR/a.csv\"" 'page=function(page)
        page:follow(page:links())
        page:emit { n = tonumber(page.url:match "%d+$"), text = "say \"hi\",\nyou", list = { 1, 2 } }
    end'
    exits 0
    printf 'list,n,text\r\n"[1,2]",1,"say ""hi"",\nyou"\r\n' | cmp - <(head -c 42 "$DIR/a.csv") || fail "$(cat -A "$DIR/a.csv")"
    crawl "$ORIGIN/graph/3/1" "out=\"$DIR/b.csv\"" 'columns={"b","a"}' 'page=function(page) page:emit { a = 1 } end'
    same "columns as given" "b,a ,1 " "$(tr -d '\r' <"$DIR/b.csv" | tr '\n' ' ')"
    crawl "$ORIGIN/graph/3/1" "out=\"$DIR/c.csv\"" 'columns={"b"}' 'page=function(page) page:emit { a = 1 } end'
    contains "$ERR" "the field 'a' is no column"
    exits 1
}

# Values are those of JSON: no digit is lost, no address of a function is written, and text is UTF-8.
test_csv_values() {
    crawl "$ORIGIN/graph/1/1" "out=\"$DIR/a.csv\"" 'page=function(page) page:emit { big = 123456789012345, small = 0.1,
        sum = 0.1 + 0.2, yes = true, none = require("cjson").null, inf = 1 / 0, nan = 0 / 0, text = "caf\233", list = { "\233" } } end'
    exits 0
    same "the row" '123456789012345,,"[""'$'\xef\xbf\xbd''""]",,,0.1,0.30000000000000004,caf'$'\xef\xbf\xbd'',true' "$(tr -d '\r' <"$DIR/a.csv" | tail -n 1)"
    crawl "$ORIGIN/graph/1/1" "out=\"$DIR/b.csv\"" 'page=function(page) page:emit { f = print } end'
    exits 1
    contains "$ERR" "page:emit: f is a function"
    crawl "$ORIGIN/graph/1/1" "out=\"$DIR/c.csv\"" 'page=function(page) page:emit {} end'
    exits 1
    contains "$ERR" "the first item of a CSV says what the columns are, and this one has no fields"
    crawl "$ORIGIN/graph/1/1" "out=\"$DIR/d.csv\"" 'columns={"a"}' 'page=function(page) page:emit {} page:emit { a = 1 } end'
    same "an empty cell" 'a "" 1 ' "$(tr -d '\r' <"$DIR/d.csv" | tr '\n' ' ')"
    crawl "$ORIGIN/" 'format="csv"' 'columns={}'
    exits 2
    contains "$ERR" "option 'columns' is a list of names, and has none"
}

# A run that goes on writes what is in the output already, or nothing.
test_another_format() {
    local half="max_pages=2" state="state=\"$DIR/state\""
    crawl "$ORIGIN/graph/9/1" "$half" "$state"
    cp "$DIR/out" "$DIR/before"
    crawl "$ORIGIN/graph/9/1" "$state" 'format="csv"'
    exits 2
    contains "$ERR" "the output $DIR/out is jsonl so far, not csv: use another one, or start over with --fresh"
    cmp "$DIR/out" "$DIR/before" || fail "the output was touched"
    crawl "$ORIGIN/graph/9/1" "$half" "$state" 'format="csv"' 'columns={"url","status"}' fresh=true
    crawl "$ORIGIN/graph/9/1" "$state" 'format="csv"' 'columns={"status","url"}'
    exits 2
    contains "$ERR" "the CSV has the columns url,status so far: use another output, or start over with --fresh"
    crawl "$ORIGIN/graph/9/1" "$state" 'format="csv"' 'columns={"url","status"}'
    exits 0
    same "lines" 10 "$(lines)"
}

test_output_and_state_in_one() {
    ln -s out "$DIR/other"
    crawl "$ORIGIN/graph/9/1" max_pages=2 "state=\"$DIR/other\""
    exits 2
    contains "$ERR" "the output and the state are one file"
}

test_stdout() {
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$ORIGIN/graph/20/1" out=nil robots=false \
        per_host=false finish=nil
    exits 0
    same "items" 20 "$(jsonl "$OUT" url | sort -u | wc -l)"
}

test_rotated_and_compressed() {
    crawl "$ORIGIN/graph/200/1" "out=\"$DIR/a.jsonl\"" rotate=4096
    exits 0
    [ -s "$DIR/a.2.jsonl" ] || fail "no second file"
    [ -s "$DIR/a.3.jsonl" ] || fail "no third file"
    same "files that are too large" "" "$(find "$DIR" -name 'a*.jsonl' -size +4096c)"
    same "items" 200 "$(cat "$DIR"/a*.jsonl | wc -l)"
    crawl "$ORIGIN/graph/200/1" "out=\"$DIR/b.jsonl.gz\""
    same "items in gzip" 200 "$(gzip -dc "$DIR/b.jsonl.gz" | wc -l)"
    crawl "$ORIGIN/graph/200/1" "out=\"$DIR/c\"" 'compress="zstd"'
    same "the magic number of zstd" 28b52ffd "$(head -c 4 "$DIR/c" | od -An -tx1 | tr -d ' \n')"
    crawl "$ORIGIN/graph/200/1" "out=\"$DIR/d.csv.gz\"" 'compress="none"' 'format="jsonl"'
    same "items in no format of the name's" 200 "$(jsonl "$DIR/d.csv.gz" url | wc -l)"
}

# Several threads on one crawl: each page once, one pool, one report, one finish.
# What is written to a device or a pipe cannot be cut back: without a word about `state` there is none beside it.
test_output_that_is_no_file() {
    local stray=/dev/null.state
    [ ! -e "$stray" ] || fail "$stray is there already"
    cat >"$DIR/job.lua" <<'END'
local options = { start = arg[2], pool = arg[1], robots = false, per_host = false, out = arg[3], page = function(page)
    page:emit { url = page.url }
end }
for i = 4, #arg do
    local name, value = arg[i]:match "^(%w+)=(.*)$"
    options[name] = value
end
return require("gyre").crawl(options)
END
    job() { gyre run "$DIR/job.lua" "$PEERS_DIR/one.txt" "$ORIGIN/graph/3/1" "$@"; }
    job /dev/null
    exits 0
    [ ! -e "$stray" ] || fail "$stray was made"
    mkfifo "$DIR/pipe"
    cat "$DIR/pipe" >"$DIR/read" &
    job "$DIR/pipe"
    exits 0
    wait $!
    same "items" 1 "$(wc -l <"$DIR/read")"
    job /dev/stdout
    exits 0
    same "items" 1 "$(grep -c '"url"' "$OUT")"
    same "files beside it" "" "$(find "$DIR" /dev/*.state -name '*.state' 2>/dev/null)"
    job /dev/null "state=$DIR/kept"
    exits 0
    [ -s "$DIR/kept" ] || fail "no state where it was asked for"
    job /dev/null rotate=100
    exits 2
    contains "$ERR" "gyre.crawl: option 'rotate' is for files, and the output /dev/null is none"
    job "$DIR/out" state=/dev/null
    exits 2
    contains "$ERR" "the state /dev/null is no regular file"
    job "$DIR/out" "state=$DIR"
    exits 2
    contains "$ERR" "the state $DIR cannot be opened: Is a directory"
    job "$DIR"
    exits 2
    contains "$ERR" "gyre.crawl: the output $DIR is a folder"
    job ""
    exits 2
    contains "$ERR" "gyre.crawl: option 'out' is empty: it names a file, or is \"-\" for standard output"
    job "$DIR/out" state=
    exits 2
    contains "$ERR" "gyre.crawl: option 'state' is empty"
}

test_workers() {
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" --workers 3 "$PEERS_DIR/one.txt" "$ORIGIN/graph/600/1" \
        "out=\"$DIR/out\"" robots=false per_host=false 'page=function(page)
            page:follow(page:links())
            page:emit { url = page.url, sum = gyre.shared:add "pages" }
        end' 'finish=function(totals) print(totals.done, totals.shared.pages, gyre.shared.pages) end'
    exits 0
    same "finish, once" $'600\t600\t600' "$(cat "$OUT")"
    same "pages" 600 "$(jsonl "$DIR/out" url | sort -u | wc -l)"
    same "numbers of a shared counter" 600 "$(jsonl "$DIR/out" sum | sort -u | wc -l)"
    contains "$ERR" "600 requests, 0 errors, 600 attempts" "crawl finished: 600 pages done"
    same "summaries" 1 "$(grep -c '^proxy ' "$ERR")"
}

# What only another worker has met with is in the one summary too.
test_workers_tell_all() {
    local i
    for i in 1 2 3 4 5; do
        peers_fixture "tell$i" || fail "no proxy"
        echo "http://127.0.0.1:$peer_port"
    done >"$DIR/five.txt"
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" --workers 3 "$DIR/five.txt" "$ORIGIN/graph/100/1" robots=false \
        per_host=false retries=0 "start={$(printf "\"$ORIGIN/graph/300/%s\"," $(seq 100))}" \
        'request={isolate=require("gyre.workers").number == 1}' \
        'judge=function(asked)
            if require("gyre.workers").number > 1 then return asked.attempt == 1 and "banned" or "ok" end
            gyre.sleep(0.01)
        end'
    same "lines on the host" 1 "$(grep -c '^127.0.0.1 refused most of the pool at once' "$ERR")"
    same "lines on identities" 1 "$(grep -c '^identities were not kept apart' "$ERR")"
}

test_workers_and_errors() {
    gyre run "$ROOT/tests/integration/jobs/crawl.lua" --workers 2 "$PEERS_DIR/one.txt" "$ORIGIN/" colour=1
    exits 2
    same "complaints" 1 "$(grep -c "unknown option 'colour'" "$ERR")"
    echo 'print(...)' >"$DIR/plain.lua"
    gyre run "$DIR/plain.lua" --workers 2 a -- --workers --fresh
    exits 2
    same "the script's arguments" $'a\t--workers\t--fresh' "$(cat "$OUT")"
    same "words" "gyre run: --workers is for jobs that call gyre.crawl; this one did not" "$(cat "$ERR")"
    gyre run "$DIR/plain.lua" --fresh
    exits 2
    same "words" "gyre run: --fresh is for jobs that call gyre.crawl; this one did not" "$(cat "$ERR")"
    gyre run "$DIR/plain.lua" --workers 1 -- --fresh
    exits 0
    same "the script's arguments" --fresh "$(cat "$OUT")"
    echo 'return 3' >"$DIR/three.lua"
    gyre run "$DIR/three.lua" --workers 2 --fresh
    exits 3
    gyre run "$DIR/plain.lua" --workers many
    exits 2
    contains "$ERR" "--workers takes a number from 1 to 64"
    cat >"$DIR/worse.lua" <<'END'
if require("gyre.workers").number == 2 then error "worker 2 does not like it" end
return assert(loadfile(table.remove(arg, 1)))()
END
    gyre run "$DIR/worse.lua" --workers 2 "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" \
        "$ORIGIN/graph/100000/1" robots=false per_host=false
    exits 4
    contains "$ERR" "worker 2 does not like it" "another worker failed"
}

# What was under way at Ctrl-C is not given up: neither a page whose host asks for patience, nor one whose function raises
# because its wait was cut short.
test_ctrl_c_gives_nothing_up() {
    local starts="start={\"$ORIGIN/slow/1000\",\"$ORIGIN/graph/1/1\"}"
    : >"$LOG"
    gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" "$PEERS_DIR/one.txt" "$ORIGIN/" robots=false per_host=false \
        "out=\"$DIR/out\"" "$starts" "state=\"$DIR/state\"" 'judge=function(asked) return asked.url:find "slow" and "throttled" or nil end' \
        'page=function(page) assert(gyre.sleep(60)) end'
    wait_for 10 grep -q /graph/1/1 "$LOG"
    wait_for 10 grep -q /slow/ "$LOG"
    kill -INT "$pid"
    gyre_end 20
    exits 4
    contains "$OUT" "done 0 failed 0 refused 0 waiting 2"
    crawl "$ORIGIN/" "$starts" "state=\"$DIR/state\""
    exits 0
    contains "$OUT" "done 2 failed 0"
}

test_workers_and_ctrl_c() {
    gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" --workers 2 "$PEERS_DIR/one.txt" "$ORIGIN/graph/100000/1" \
        robots=false per_host=false "out=\"$DIR/out\""
    wait_for 10 test -s "$DIR/out"
    kill -INT "$pid"
    gyre_end 10
    exits 4
    contains "$ERR" "crawl stopped: interrupted"
    jsonl "$DIR/out" url >"$DIR/urls" || fail "the output is damaged"
    same "pages twice" "" "$(sort "$DIR/urls" | uniq -d)"
}

# A page that another worker has under way at the first Ctrl-C is waited for, however long it takes.
test_workers_finish_their_pages() {
    gyre_begin run "$ROOT/tests/integration/jobs/crawl.lua" --workers 2 "$PEERS_DIR/one.txt" "$ORIGIN/graph/100000/1" \
        robots=false "per_host={active=2,delay=0.05}" "out=\"$DIR/out\"" "page=function(page)
            page:follow(page:links())
            if require('gyre.workers').number == 2 then
              gyre.fetch('$ORIGIN/slow/12500', { proxy = 'direct' })
              page:emit { url = 'slow' }
            end
        end"
    wait_for 10 grep -q /slow/12500 "$LOG"
    kill -INT "$pid"
    gyre_end 30
    exits 4
    contains "$ERR" "crawl stopped: interrupted"
    contains "$DIR/out" slow
}

test_example_sitemap() {
    sitemap "$SITE/shop/1.html" "$SITE/shop/2.html" "$ORIGIN/graph/1/1"
    gyre run "$ROOT/examples/jobs/sitemap.lua" "$PEERS_DIR/one.txt" "$SITE/sitemap.xml" "$DIR/titles.csv"
    exits 0
    same "titles" "$SITE/shop/1.html,Shop 1 $SITE/shop/2.html,Shop 2 url,title " \
        "$(tr -d '\r' <"$DIR/titles.csv" | sort | tr '\n' ' ')"
}

test_example_prices() {
    gyre run "$ROOT/examples/jobs/prices.lua" "$PEERS_DIR/one.txt" "$SITE/shop/1.html" "$DIR/prices.csv"
    exits 0
    same "the heading" "date,name,price,url" "$(head -n 1 "$DIR/prices.csv" | tr -d '\r')"
    same "prices" '"Lamp, no. 1",1.5 "Lamp, no. 2",2.5 "Lamp, no. 3",3.5 ' \
        "$(sed 1d "$DIR/prices.csv" | grep -oE '"Lamp[^"]*",[0-9.]+' | sort | tr '\n' ' ')"
}

test_example_links() {
    gyre run "$ROOT/examples/jobs/links.lua" "$PEERS_DIR/one.txt" "$SITE/links/index.html" "$DIR/broken.jsonl"
    exits 1
    contains <(jsonl "$DIR/broken.jsonl" url what on) "$SITE/links/bad.html"$'\t404\t'"$SITE/links/index.html"
}

# The blocks of docs/crawl.md, pasted as they stand but for the address.
test_docs() {
    local block
    cd "$DIR" || fail "no folder"
    ln -s "$BUILD/gyre" gyre
    cp "$PEERS_DIR/one.txt" proxies.txt
    block() {
        awk -v language="$1" -v n="$2" '$0 == "```" { inside = 0 } inside; $0 == "```" language { inside = ++seen == n }' \
            "$ROOT/docs/crawl.md" | sed "s#http://127.0.0.1:8000/manual/#$SITE/shop/1.html#"
    }
    block lua 1 >manual.lua
    block sh 1 >commands.sh
    PATH=$DIR:$PATH timeout 60 bash -eu commands.sh >"$OUT" 2>"$ERR" || fail "the commands: $(tail -n 5 "$ERR")"
    same "crawls that finished" 2 "$(grep -c 'crawl finished: 3 pages done' "$ERR")"
    same "items" "Shop 1 Shop 2 Shop 3 " "$(jsonl manual.jsonl title | sort | tr '\n' ' ')"
    block lua 2 >polite.lua
    gyre run polite.lua proxies.txt "$ORIGIN/"
    same "the other requests" "200 200 200 " "$(cut -f 2 "$OUT" | tr '\n' ' ')"
    same "blocks" "lua lua sh" "$(grep -oE '^```[a-z]+' "$ROOT/docs/crawl.md" | tr -d '`' | sort | xargs)"
    for block in $(grep -oE '\]\([^)]*\)' "$ROOT/docs/crawl.md" | tr -d '[]()'); do
        [ -e "$ROOT/docs/${block%%#*}" ] || fail "$block does not exist"
    done
}

harness_begin
start
harness_run "$@"
