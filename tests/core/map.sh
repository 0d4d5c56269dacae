#!/bin/sh
# map.sh SRC: the table of regions in src/README.md says what segment.h and layout.c say: the regions in their order,
# and the size of each struct.
set -eu
src=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n '/^enum region {/,/^};/s/^ *\(REGION_[A-Z_]*\),.*/\1/p' "$src/core/segment.h" >"$work/regions"
sed -n 's/^| `\(REGION_[A-Z_]*\)` .*/\1/p' "$src/README.md" >"$work/drawn"
[ -s "$work/regions" ] || { echo "no regions found in segment.h" >&2; exit 1; }
diff -u "$work/regions" "$work/drawn"

sed -n 's/^ABI_SIZE(\(struct [a-z_]*\), \([0-9]*\));.*/\1 \2/p' "$src/core/layout.c" >"$work/sizes"
sed -n 's/^| `REGION_[A-Z_]*` | `\(struct [a-z_]*\)` | \([0-9]*\) |.*/\1 \2/p' "$src/README.md" |
    while read -r line; do
        grep -qxF "$line" "$work/sizes" || { echo "src/README.md says $line; layout.c does not" >&2; exit 1; }
    done
