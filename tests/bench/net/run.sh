#!/usr/bin/env bash
#
# What a request costs, as ratios of one run: 1 KiB bodies through ten proxies on loopback, by pool:map, by bare curl-multi
# (bare.c), by undici and by crawlee. CPU is the client's own, user and system; of each the best of some rounds, taken
# in turns, since what else runs on a machine only ever adds.
#
#   tests/bench/net/run.sh [1 | 100 | 1000 | 10000 | many | tls | crawl | npm]...     [1 100 1000 10000 many tls crawl]
#
#   1 .. 10000   pool:map against bare, with so many in flight
#   many         10,000 in flight at an origin that takes 3 s: errors, memory each
#   tls          a new, verified TLS connection for every request
#   crawl        a crawl of 10,500 pages of real HTML, with state and output on disk
#   npm          undici and @crawlee/http, 100 in flight; installs them into build/bench-npm
#
# ROUNDS=3; REQUESTS, a round: by default so many that 10,000 connections, made once each, are used 20 times.
# Needs a build with tests: build/release/gyre, net-peer, net-bare.
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
BUILD=${GYRE_BUILD:-$ROOT/build/release}
HERE=$ROOT/tests/bench/net
export USAGE=$HERE/usage.lua
ROUNDS=${ROUNDS:-3}
# shellcheck source=tests/support/peers.sh
. "$ROOT/tests/support/peers.sh"
ulimit -n "$(ulimit -H -n)" # 10,000 in flight are twice as many descriptors in a proxy: hence two of them

# peer NAME ARGUMENT...: starts net-peer; its ports are in ${ports[@]}
peer() {
    local name=$1 i
    mkdir -p "$PEERS_DIR/$name"
    peers_launch "$name" -- "$BUILD/net-peer" "${@:2}"
    for ((i = 0; i < 100; i++)); do
        mapfile -t ports < <(sed -n 's/^port //p' "$PEERS_DIR/$name/output.log" 2>/dev/null)
        [ ${#ports[@]} -gt 0 ] && return
        sleep 0.05
    done
    peers_fail "$name does not start"
    exit 1
}

start() {
    local name port
    PROXIES=()
    for name in proxies-1 proxies-2; do
        peer $name proxy 5
        for port in "${ports[@]}"; do PROXIES+=("http://127.0.0.1:$port"); done
    done
    peer origin origin
    ORIGIN=http://127.0.0.1:${ports[0]}/page
}

bare() { "$BUILD/net-bare" "$@" "${PROXIES[@]}"; }
map() { "$BUILD/gyre" run "$HERE/map.lua" "$@" "${PROXIES[@]}"; }
undici() { (cd "$ROOT/build/bench-npm" && node undici.mjs "$@" "${PROXIES[@]}"); }
crawlee() { (cd "$ROOT/build/bench-npm" && node crawlee.mjs "$@" "${PROXIES[@]}" | tail -n 1); }

# rounds REQUESTS CONCURRENCY URL CLIENT...: runs them in turns; one line a client: the best of its rounds
rounds() {
    local requests=$1 concurrency=$2 url=$3 client i
    shift 3
    for ((i = 0; i < ROUNDS; i++)); do
        for client in "$@"; do echo "$client $("$client" "$requests" "$concurrency" "$url")"; done
    done | awk -v c="$concurrency" -v first="$1" '
        { us = $5 / $2 * 1e6; errors[$1] += $3; n[$1]++
          if (!($1 in best) || us < best[$1]) best[$1] = us
          if ($6 > peak[$1]) peak[$1] = $6
          if ($2 / $4 > rate[$1]) rate[$1] = $2 / $4 }
        !($1 in seen) { order[++count] = $1; seen[$1] }
        END {
            for (i = 1; i <= count; i++) {
                k = order[i]
                printf "%-8s in flight %5d  rounds %d  errors %d  cpu %7.1f us/request  requests per CPU second against %s %5.1f %%  %6d requests/s  peak %6.1f MiB\n",
                    k, c, n[k], errors[k], best[k], first, 100 * best[first] / best[k], rate[k], peak[k] / 1024
            }
        }'
}

# 10,000 at an origin of its own that keeps each for 3 s: what one in flight takes, beyond what the process has anyway.
many() {
    local line base
    peer slow origin 3000
    base=$(map 1 1 "$ORIGIN" | cut -d ' ' -f 5)
    line=$(map 30000 10000 "http://127.0.0.1:${ports[0]}/page")
    echo "$line" | awk -v base="$base" '{
        printf "many     in flight 10000  requests %d  errors %d  %.1f s  cpu %.1f us/request  peak %.1f MiB  %.1f KiB each\n",
            $1, $2, $3, $4 / $1 * 1e6, $5 / 1024, ($5 - base) / 10000 }'
}

tls() {
    mkdir -p "$PEERS_DIR/files"
    head -c 1024 /dev/zero | tr '\0' x >"$PEERS_DIR/files/page"
    peers_nginx tls "$PEERS_DIR/files" tls || exit 1
    local i
    for ((i = 0; i < ROUNDS; i++)); do
        CLOSE=1 CACERT=$PEERS_DIR/tls/cert.pem map "${REQUESTS:-3000}" 20 "https://127.0.0.1:$peer_port/page"
    done | awk '{ us = $4 / $1 * 1e6; if (!n++ || us < best) best = us; errors += $2 }
        END { printf "tls      new verified connection  errors %d  cpu %.0f us each\n", errors, best }'
}

# Nine times the PostgreSQL documentation: 10,500 real pages, by nginx.
crawl() {
    local i docs=/usr/share/doc/postgresql-doc-15/html
    mkdir -p "$PEERS_DIR/site"
    for i in 1 2 3 4 5 6 7 8 9; do ln -s "$docs" "$PEERS_DIR/site/$i"; done
    peers_nginx site "$PEERS_DIR/site" || exit 1
    for ((i = 0; i < ROUNDS; i++)); do
        mkdir -p "$PEERS_DIR/crawl-$i"
        DIR=$PEERS_DIR/crawl-$i "$BUILD/gyre" run "$HERE/crawl.lua" 9 64 "http://127.0.0.1:$peer_port" "${PROXIES[@]}" \
            2>"$PEERS_DIR/crawl-$i/messages" | grep -E '^[0-9]+ [0-9]+ [0-9.]+ [0-9.]+ [0-9]+$'
    done | awk '
        { cpu = $4 / $1 * 10000; if (!n++ || cpu < best) best = cpu
          if ($1 / $3 > rate) rate = $1 / $3
          if ($5 > peak) peak = $5
          pages = $1; failed += $2 }
        END { printf "crawl    pages %d  rounds %d  failed %d  cpu %.2f s per 10,000 pages  %d pages/s  peak %.1f MiB\n",
                  pages, n, failed, best, rate, peak / 1024 }'
}

npm_install() {
    mkdir -p "$ROOT/build/bench-npm"
    cp "$HERE"/*.mjs "$ROOT/build/bench-npm/"
    (cd "$ROOT/build/bench-npm" && { [ -d node_modules/undici ] || npm install --silent --no-fund undici@7 @crawlee/http@3; }) >&2
}

main() {
    local what
    [ $# -gt 0 ] || set -- 1 100 1000 10000 many tls crawl
    peers_begin
    start
    for what in "$@"; do
        case $what in
        1) rounds "${REQUESTS:-20000}" 1 "$ORIGIN" bare map ;;
        100 | 1000) rounds "${REQUESTS:-60000}" "$what" "$ORIGIN" bare map ;;
        10000) rounds "${REQUESTS:-200000}" 10000 "$ORIGIN" bare map ;;
        many) many ;;
        tls) tls ;;
        crawl) crawl ;;
        npm)
            npm_install || exit 1
            rounds 20000 100 "$ORIGIN" map undici
            ROUNDS=1 rounds 1000 100 "$ORIGIN" map crawlee
            ;;
        *) sed -n '7,15s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
        esac
    done
}

main "$@"
