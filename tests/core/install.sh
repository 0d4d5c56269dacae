#!/bin/sh
# install.sh BUILD EMBED.C: what `cmake --install` puts somewhere can be used from there, by pkg-config and by CMake.
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/usr" >"$work/log"
pc=$(find "$work/usr" -name gyre.pc)
library=$(dirname "$(find "$work/usr" -name libgyre.so)")
export PKG_CONFIG_PATH="${pc%/gyre.pc}"
# shellcheck disable=SC2046 # several words
cc "$source" $(pkg-config --cflags --libs gyre) -Wl,-rpath,"$library" -o "$work/by-pkg-config"
"$work/by-pkg-config" | grep -q 'started 3, succeeded 2, failed 1'
# Below 1.0 programs of another minor version must not load it, as find_package does not take it.
version=$(pkg-config --modversion gyre)
case $version in 0.*) interface=${version%.*} ;; *) interface=${version%%.*} ;; esac
readelf -d "$work/by-pkg-config" | grep -q "\[libgyre\.so\.$interface\]"

if [ -e "${pc%.pc}-host.pc" ]; then # built with a host
    # shellcheck disable=SC2046 # several words
    cc "$(dirname "$source")/embed_lua.c" $(pkg-config --cflags --libs gyre-host) -pthread -Wl,-rpath,"$library" -o "$work/by-host"
    "$work/by-host" 2>&1 | grep -q 'usage: embed_lua'
    # Its Lua modules are found without a word, from wherever it runs.
    (cd / && env -u GYRE_LUA_PATH -u GYRE_STRATEGY_PATH -u LUA_PATH "$work/by-host" performance) | grep -q requests
fi

mkdir "$work/project"
cp "$source" "$work/project/embed.c"
cat >"$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(embed C)
find_package(gyre 0.1 REQUIRED)
add_executable(embed embed.c)
target_link_libraries(embed PRIVATE gyre::gyre)
END
if [ -e "${pc%.pc}-host.pc" ]; then
    cp "$(dirname "$source")/embed_lua.c" "$work/project"
    cat >>"$work/project/CMakeLists.txt" <<'END'
find_package(Threads REQUIRED)
add_executable(embed_lua embed_lua.c)
target_link_libraries(embed_lua PRIVATE gyre::gyre-host Threads::Threads)
END
fi
cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$work/usr" >>"$work/log"
cmake --build "$work/project/build" >>"$work/log"
"$work/project/build/embed" | grep -q 'started 3, succeeded 2, failed 1'
[ ! -e "$work/project/build/embed_lua" ] || "$work/project/build/embed_lua" random | grep -q requests
