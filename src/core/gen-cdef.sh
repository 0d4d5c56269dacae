#!/bin/sh
# Writes lua/gyre/cdef.lua from the marked block of src/include/gyre/gyre.h; with --check only says, by its exit
# code, whether the checked-in file is what it would write. The preprocessor expands the enums made from X-macros and
# drops the comments. The compiler is $CC, or cc.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
header=$root/src/include/gyre/gyre.h
output=$root/lua/gyre/cdef.lua

# The number of the interface: what gyre_abi() returns.
abi=$(sed -n 's/^#define GYRE_ABI[[:space:]]\{1,\}\([0-9]\{1,\}\).*/\1/p' "$header" "$root"/src/core/*.h | head -n 1)
if [ -z "$abi" ]; then
    echo "gen-cdef.sh: no #define GYRE_ABI <number> in gyre.h or src/core/*.h" >&2
    exit 2
fi

# The block alone, one enumerator a line, a blank line before each struct and enum.
block() {
    sed -e 's|^/\* \[cdef\] \*/$|gyre_cdef_begin|' -e 's|^/\* \[/cdef\] \*/$|gyre_cdef_end|' "$header" |
        "${CC:-cc}" -E -P -DGYRE_CDEF -x c - |
        awk '/gyre_cdef_end/ { inside = 0 }
             /^    GYRE_E[A-Z_]+ = -?[0-9]+, / { gsub(/, /, ",\n    ") }
             { sub(/^ ([a-z])/, substr($0, 2, 1)) }
             inside && /^(struct|enum) [a-z_]+( \{|;)/ && started++ { print "" }
             inside
             inside && /^struct [a-z_]+;/ { print "" }
             /gyre_cdef_begin/ { inside = 1 }'
}

generate() {
    declarations=$(block)
    cat <<EOF
-- Generated from src/include/gyre/gyre.h by src/core/gen-cdef.sh; do not edit. The comments are in the header.
local ffi = require "ffi"

-- A second load in one VM (package.loaded was cleared) must not define the structs again.
if not pcall(ffi.typeof, "struct gyre_lease") then
  ffi.cdef [[
$declarations
]]
end

return {
  abi = $abi,
  -- gyre_struct_size() must agree with ffi.sizeof() about each of these.
  structs = {
$(printf '%s\n' "$declarations" | sed -n 's/^struct gyre_\([a-z_]*\) {$/    "\1",/p')
  },
}
EOF
}

case ${1-} in
'')
    generate >"$output.new"
    mv "$output.new" "$output"
    ;;
--check)
    if ! generate | cmp -s - "$output"; then
        echo "gen-cdef.sh: lua/gyre/cdef.lua is stale; run src/core/gen-cdef.sh" >&2
        exit 1
    fi
    ;;
*)
    echo "usage: gen-cdef.sh [--check]" >&2
    exit 2
    ;;
esac
