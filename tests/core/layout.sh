#!/bin/sh
# layout.sh CC HEADER [AGREED]: prints every constant, struct size and field offset of the header, one a line; with
# AGREED it says instead where that file differs. A caller built earlier, and LuaJIT, read by the agreed layout.
# To agree on another one (after the first release: only with another GYRE_ABI): layout.sh cc gyre.h >layout.txt
set -eu
cc=$1 header=$(realpath "$2") agreed=${3:-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
    printf '#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include "%s"\nint main(void)\n{\n' "$header"
    "$cc" -E -P -DGYRE_CDEF "$header" | tr '\n' ' ' | sed 's/[;{}]/&\n/g' | awk '
        /^ *enum [a-z_]+ *{/ { enum = 1; next }
        /^ *struct gyre_[a-z_]+ *{/ { name = $2; print "printf(\"" name " %zu bytes\\n\", sizeof(struct " name "));"; next }
        enum {
            gsub(/[ }]/, "")
            n = split($0, constants, ",")
            for (i = 1; i <= n; i++) {
                sub(/=.*/, "", constants[i])
                if (constants[i] != "") print "printf(\"" constants[i] " = %d\\n\", (int)" constants[i] ");"
            }
            enum = 0
        }
        /}/ { name = "" }
        name && /;/ {
            gsub(/\[[^]]*\]|;/, "")
            n = split($0, fields, ",")
            sub(/.*[ *]/, "", fields[1])
            for (i = 1; i <= n; i++) {
                gsub(/ /, "", fields[i])
                print "printf(\"" name "." fields[i] " at %zu\\n\", offsetof(struct " name ", " fields[i] "));"
            }
        }'
    printf 'return 0;\n}\n'
} >"$work/layout.c"
"$cc" -o "$work/layout" "$work/layout.c"
if [ -z "$agreed" ]; then
    "$work/layout"
else
    "$work/layout" >"$work/layout.txt"
    diff "$agreed" "$work/layout.txt"
fi
