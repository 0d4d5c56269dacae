#!/bin/sh
# busted.sh: the specs of lua/ and strategies/ inside an nginx worker, as `busted` would run them. From the
# root of the tree. GYRE_LIB names the library.
set -eu
prefix=$(mktemp -d "${TMPDIR:-/tmp}/gyre-busted.XXXXXX")
PATH=$PATH:/usr/sbin:/sbin
sed "s,PREFIX,$prefix," tests/nginx/busted.conf >"$prefix/nginx.conf"
nginx -p "$prefix" -c "$prefix/nginx.conf" -e stderr \
    -g "daemon off; pid nginx.pid; user $(id -un) $(id -gn);" </dev/null &
pid=$!
trap 'kill "$pid" 2>/dev/null; wait "$pid"; rm -rf "$prefix"' EXIT
i=0
while [ ! -S "$prefix/socket" ] && [ $i -lt 100 ]; do sleep 0.05 && i=$((i + 1)); done
answer=$(curl -s --max-time 280 --unix-socket "$prefix/socket" http://nginx/)
echo "$answer"
[ "${answer%% *}" = true ]
