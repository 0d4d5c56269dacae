#!/bin/sh
# run.sh EXAMPLE PROXIES: runs an example in the foreground from the source tree, with the proxies listed in a file. What
# nginx writes goes to a folder that is removed in the end; the pool stays in /dev/shm until it is removed there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ $# != 2 ] || [ ! -f "$here/$1/nginx.conf" ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi

prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$prefix" # the workers of a root's nginx are nobody
ln -s "$root/lua" "$prefix/lua"
ln -s "$root/build/release" "$prefix/lib"
cp "$2" "$prefix/proxies.txt"
PATH=$PATH:/usr/sbin
nginx -p "$prefix" -c "$here/$1/nginx.conf" -e stderr -g "daemon off; pid nginx.pid;"
