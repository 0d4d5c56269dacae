#!/bin/sh
# exports.sh NM LIBGYRE HEADER: the library exports the functions that the header declares, and nothing else.
set -eu
nm=$1 library=$2 header=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A declaration may be broken before its "(": join the lines, then take the name in front of the parameters.
grep -v '^#' "$header" | tr '\n' ' ' | grep -o 'GYRE_API [^;(]*(' | sed 's/ *($//; s/.*[ *]//' | LC_ALL=C sort >"$work/declared"
# (clang's coverage, of the fuzz build, brings symbols of its own.)
"$nm" -D --defined-only "$library" | awk '{ sub(/@.*/, "", $NF) } $NF !~ /___sancov_/ { print $NF }' | LC_ALL=C sort >"$work/exported"

if [ "$(wc -l <"$work/declared")" -lt 20 ]; then
    echo "exports.sh found too few declarations in $header to be reading it right" >&2
    exit 1
fi
if ! diff "$work/declared" "$work/exported" >"$work/diff"; then
    echo "< is only in $header, > only in $library" >&2
    grep '^[<>]' "$work/diff" >&2
    exit 1
fi
