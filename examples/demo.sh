#!/usr/bin/env bash
#
# gyre's demo, from an empty Debian 12 to a crawled site: installs what is missing, builds, starts a web site
# (PostgreSQL's manual, over 1,100 linked pages) and seven proxies on loopback, one of them dead, and crawls the
# whole site through them. Changes nothing outside this folder but installed packages; stops what it started,
# also on Ctrl-C.
set -u -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=tests/support/packages.sh
. tests/support/packages.sh
# shellcheck source=tests/support/peers.sh
. tests/support/peers.sh

docs=/usr/share/doc/postgresql-doc-15/html
out=build/demo/pages.jsonl

step() { printf '\n== %s\n' "$*"; }

build() {
    mkdir -p build
    # Without the tests, which need more packages; unless tests/run.sh has been here and set them up.
    {
        { [ -f build/release/CMakeCache.txt ] || cmake --preset release -DBUILD_TESTING=OFF; } &&
            cmake --build --preset release --target gyre-cli gyre gyre-host
    } >build/demo.log 2>&1 && return
    tail -n 30 build/demo.log >&2
    return 1
}

# One line a proxy, as one would write it by hand: with and without credentials, two users of one
# gateway (that is two proxies), HTTP and SOCKS, and one that does not answer.
start_peers() {
    peers_nginx site "$docs" || return 1
    start=http://127.0.0.1:$peer_port/index.html
    list=$PEERS_DIR/proxies.txt
    {
        peers_tinyproxy tinyproxy && echo "http://127.0.0.1:$peer_port" &&
            peers_tinyproxy tinyproxy-auth anna quince-71 && echo "127.0.0.1:$peer_port:anna:quince-71" &&
            peers_squid squid 1 boris 'gl@ss:5%' clara plum && echo "http://127.0.0.1:${peer_ports[0]}" &&
            echo "http://boris:gl%40ss%3A5%25@127.0.0.1:${peer_ports[1]}" &&
            echo "http://clara:plum@127.0.0.1:${peer_ports[1]}" &&
            peers_dante dante && echo "socks5h://127.0.0.1:$peer_port" &&
            printf "%s\n" "# dead on purpose: nobody listens there" http://127.0.0.1:1
    } >"$list"
}

# What the site itself says, in its access log, of its pages: the check that does not believe gyre.
witness() {
    awk '$3 != "/robots.txt" { n++; pages[$3]++; if ($1 == "127.0.0.1") direct++ }
        END {
            for (page in pages) { different++; if (pages[page] > 1) twice++ }
            printf "The site counted %d requests for %d pages, %d of them more than once, %d past the proxies.\n",
                n, different, twice, direct
            exit !(n > 1100 && twice + direct == 0)
        }' "$PEERS_DIR/site/access.log"
}

step "Packages"
packages_install "${PACKAGES_BUILD[@]}" "${PACKAGES_PEERS[@]}" || exit 1
echo "all there"
step "Building (build/demo.log has the details)"
build || exit 1
build/release/gyre --version

step "Starting a site and seven proxies, one of them dead"
peers_begin && start_peers || exit 1
sed -E 's#//[^@/]*@#//***@#; s#(:[0-9]+):.*:.*#\1:***#' "$list"

step "Crawling $start"
mkdir -p "${out%/*}"
# The site is our own: it may be asked as fast as it answers, where others get 2 requests at a time, half a second apart.
build/release/gyre run examples/jobs/crawl_docs.lua --proxies "$list" --start "$start" --out "$out" --fresh \
    --per-host 16 --delay 0
status=$?
[ $status = 0 ] || exit $status
echo
witness || exit 1

cat <<END
One JSON object a page: $out

Next, with proxies of your own: write one a line (host:port, host:port:user:password, or a URL) and run

    build/release/gyre run examples/jobs/crawl_docs.lua --proxies LIST --start https://docs.example/index.html
END
