#!/bin/sh
# header.sh CC HEADER: the header stands alone as C99 and C11, and as C++ where a C++ compiler is installed.
set -eu
cc=$1 header=$2

for standard in c99 c11; do
    "$cc" -x c -std="$standard" -Wall -Wextra -Wpedantic -Werror -Wstrict-prototypes -fsyntax-only "$header"
done
if command -v g++ >/dev/null; then
    g++ -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$header"
fi
