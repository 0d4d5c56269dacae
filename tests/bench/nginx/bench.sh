#!/usr/bin/env bash
# What gyre costs inside nginx, in one run as ratios:
#
#   tests/bench/nginx/bench.sh content           content_by_lua with and without a lease, against lua_shared_dict and Lua
#   tests/bench/nginx/bench.sh balance PEERS...  balancer_by_lua against nginx's own round robin and least_conn
#   tests/bench/nginx/bench.sh all               both, with 10, 1,000 and 10,000 peers
#
# Rounds are interleaved and every other one runs backwards. A line a variant: CPU of all workers per request, the least and
# the median of the rounds in microseconds; requests/s, the median; and the ratios to the first of its group: of the
# least CPU, and the median of the paired requests/s.
set -u -o pipefail
ROOT=$(cd "$(dirname "$0")/../../.." && pwd)
BUILD=${GYRE_BUILD:-$ROOT/build/release}
# shellcheck source=tests/support/peers.sh
. "$ROOT/tests/support/peers.sh"
# shellcheck source=tests/support/nginx.sh
. "$ROOT/tests/support/nginx.sh"
ROUNDS=${ROUNDS:-9} SECONDS_EACH=${SECONDS_EACH:-1} CONNECTIONS=64
ulimit -n "$(ulimit -H -n)"

fail() { echo "$*" >&2 && exit 1; }

# instance NAME CONF [SED-EXPRESSION]...
instance() {
    DIR=$PEERS_DIR/$1
    mkdir -p "$DIR"
    nginx_start "$ROOT/tests/bench/nginx/$2" "s,ROOT,$ROOT,g" \
        "s,COMMON,$ROOT/examples/openresty/common.conf," "${@:3}" || exit 1
}

# Clock ticks of 10 ms that the workers have run so far.
ticks() {
    local pid sum=0 t
    for pid in $(nginx_workers); do
        t=$(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')
        sum=$((sum + t))
    done
    echo $sum
}

# round VARIANT...: one line each: VARIANT CPU-us-per-request requests/s
round() {
    local variant before after out
    for variant in "$@"; do
        before=$(ticks)
        out=$(wrk -t1 -c$CONNECTIONS -d "$SECONDS_EACH" "http://127.0.0.1:$port/$variant") || fail "wrk: $variant $port $out"
        after=$(ticks)
        grep -q 'Non-2xx\|Socket errors' <<<"$out" && fail "$variant: $out $(tail -n 3 "$DIR/error.log")"
        awk -v variant="$variant" -v ticks=$((after - before)) '/requests in/ { n = $1 } /Requests\/sec/ { rps = $2 }
            END { printf "%s %.3f %.0f\n", variant, ticks * 10000 / n, rps }' <<<"$out"
    done
}

# compare VARIANT...: against the first of them
compare() {
    local i list=("$@") reversed
    reversed=$(printf '%s\n' "$@" | tac | xargs)
    round "$@" >/dev/null # warm
    for ((i = 0; i < ROUNDS; i++)); do
        # shellcheck disable=SC2086 # names without spaces
        if ((i % 2)); then round $reversed; else round "$@"; fi | sed "s/^/$i /"
    done | awk -v base="${list[0]}" -v order="$*" -v group="$GROUP" '
        { cpu[$2, $1] = $3; rps[$2, $1] = $4; rounds = $1 > rounds ? $1 : rounds }
        function sort(a, n,    i, j, t) { for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t } }
        END {
            n = split(order, variant, " ")
            for (v = 1; v <= n; v++) {
                for (r = 0; r <= rounds; r++) {
                    c[r + 1] = cpu[variant[v], r]; q[r + 1] = rps[variant[v], r]
                    p[r + 1] = rps[variant[v], r] / rps[base, r]
                }
                sort(c, rounds + 1); sort(q, rounds + 1); sort(p, rounds + 1)
                if (v == 1) least = c[1]
                m = int(rounds / 2) + 1
                printf "%-14s %-12s cpu_us %6.2f (median %6.2f) rps %7.0f  cpu_ratio %.2f rps_ratio %.2f\n", group,
                    variant[v], c[1], c[m], q[m], c[1] / least, p[m]
            }
        }'
}

proxies() { # N PORT SCHEME
    local i
    for ((i = 0; i < $1; i++)); do echo "${3}127.$((i / 62500 + 1)).$((i / 250 % 250)).$((i % 250 + 1)):$2${4}"; done
}

content() {
    mkdir -p "$PEERS_DIR/content"
    proxies 10 3128 http:// "" >"$PEERS_DIR/content/proxies.txt"
    instance content content.conf
    GROUP=content
    compare plain gyre dict lua
    curl -s "http://127.0.0.1:$port/loop" | sed 's/^/loop           /; s/$/ ns/'
}

balance() {
    local kib keepalive=$(($1 < 1024 ? 64 : 1024)) origin
    kib=$(printf '%01024d' 0)
    peers_pick_port
    origin=$peer_port
    instance "origin$1" origin.conf "s/PORT/$origin/" "s/KIB/$kib/" 's/listen [0-9]* backlog/listen 127.0.0.1:8080; listen '"$origin"' backlog/'
    mkdir -p "$PEERS_DIR/balance$1"
    proxies "$1" "$origin" http:// "" >"$PEERS_DIR/balance$1/proxies.txt"
    proxies "$1" "$origin" "server " ";" >"$PEERS_DIR/balance$1/servers.conf"
    instance "balance$1" balance.conf "s/KEEPALIVE/$keepalive/" "s/ORIGIN/$origin/"
    GROUP="balance/$1"
    compare native_turn lua_phases gyre_turn
    compare native_load gyre_load
    peers_stop "balance$1"
    peers_stop "origin$1"
}

peers_begin
nginx_begin
case ${1:-} in
content) content ;;
balance) for peers in "${@:2}"; do balance "$peers"; done ;;
all) content && for peers in 10 1000 10000; do balance "$peers"; done ;;
*) sed -n '4,6s/^# *//p' "$0" >&2 && exit 2 ;;
esac
