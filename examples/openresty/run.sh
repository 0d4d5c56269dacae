#!/bin/sh
# run.sh EXAMPLE PROXIES: runs an example in the foreground, with the proxies listed in a file, from the source tree or from
# share/doc/gyre. What nginx writes goes to a folder that is removed in the end; the pool stays in /dev/shm until it is
# removed there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ $# != 2 ] || [ ! -f "$here/$1/nginx.conf" ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi

lua=$root/lua lib=$root/build/release
if [ ! -d "$lua" ]; then # installed, in share/doc/gyre: what is in share/lua/5.1 knows where its library is
    lua=$root/../../lua/5.1 lib=$root/../../../lib
fi

prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$prefix" # the workers of a root's nginx are nobody
ln -s "$lua" "$prefix/lua"
ln -s "$lib" "$prefix/lib"
cp "$2" "$prefix/proxies.txt"
PATH=$PATH:/usr/sbin
nginx -p "$prefix" -c "$here/$1/nginx.conf" -e stderr -g "daemon off; pid nginx.pid;"
