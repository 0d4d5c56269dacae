#!/usr/bin/env bash
# What is handed on: the Debian package has everything and works from where it is unpacked, `cmake --install` from where it
# puts it, the rock has the core and its Lua, and all of them say the same version.
# shellcheck source=tests/integration/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/support/nginx.sh
. "$(dirname "$0")/../support/nginx.sh"

VERSION=$(sed -n 's/^project(gyre VERSION \([0-9.]*\).*/\1/p' "$ROOT/CMakeLists.txt")

# used PREFIX LIBRARY: Lua and strategies of the package, in LuaJIT; from a folder in which nothing is found by chance
used() {
    (cd "$DIR" && LUA_PATH="$1/share/lua/5.1/?.lua;$1/share/lua/5.1/?/init.lua" GYRE_LIB=$2 luajit -e '
        local gyre = require "gyre"
        local pool = assert(gyre.open { proxies = { "http://192.0.2.1:80" }, strategy = "least-used" })
        assert(assert(pool:acquire()):ok(5))
        print(gyre.version, pool.strategy, pool:stats().succeeded)')
}

# files FOLDER: the Lua files below it, sorted
files() { (cd "$1" && find . -name '*.lua' | sort); }

listed() { find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs; }

test_debian_package() {
    local deb prefix=$DIR/root/usr
    (cd "$BUILD" && cpack -G DEB -B "$DIR/deb") >"$OUT" 2>"$ERR" || fail "$(cat "$OUT" "$ERR")"
    deb=$(echo "$DIR"/deb/gyre_"$VERSION"*.deb)
    dpkg-deb -x "$deb" "$DIR/root" || fail "no package"
    same "Lua" "$(files "$ROOT/lua")" "$(files "$prefix/share/lua/5.1")"
    same "strategies" "$(files "$ROOT/strategies")" "$(files "$prefix/share/gyre/strategies")"
    same "in LuaJIT" "$VERSION"$'\tleast-used\t1' "$(used "$prefix" "$prefix/lib/libgyre.so")"
    same "the program" "gyre $VERSION" "$(LD_LIBRARY_PATH=$prefix/lib "$prefix/bin/gyre" --version | cut -d " " -f 1,2)"
    same "headers" "gyre.h host.h" "$(listed "$prefix/include/gyre")"
    local file
    for file in lib/pkgconfig/gyre.pc lib/cmake/gyre/gyre-config.cmake share/doc/gyre/LICENSE; do
        [ -f "$prefix/$file" ] || fail "no $file"
    done
    dpkg-deb -f "$deb" Depends >"$DIR/depends"
    contains "$DIR/depends" libc6 libluajit2 libcurl4 libuv1 lua-cjson
    dpkg-deb --ctrl-tarfile "$deb" | tar xO ./postinst | grep -q ldconfig || fail "ldconfig is not run"
}

# What `cmake --install` puts into $DIR/local.
installed() { cmake --install "$BUILD" --prefix "$DIR/local" >"$OUT" 2>"$ERR" || fail "$(cat "$OUT" "$ERR")"; }

# loaded PREFIX LUA_PATH: the libgyre that its Lua modules load, where nothing else says which
loaded() {
    (cd "$DIR" && env -u GYRE_LIB -u LUA_CPATH -u LD_LIBRARY_PATH LUA_PATH="$2" luajit -e '
        local gyre = require "gyre"
        local pool = assert(gyre.open { proxies = { "http://192.0.2.1:80" }, strategy = "least-used" })
        assert(assert(pool:acquire()):ok(5))
        for line in io.lines "/proc/self/maps" do
            if line:find "r%-xp.*libgyre" then return print((line:match "(/.*)$")) end
        end' 2>&1) | sed "s,^$1/,,"
}

# The library that was installed with the modules is theirs: neither the loader's cache nor a path has to know it.
test_installed_without_ldconfig() {
    installed
    local share=$DIR/local/share/lua/5.1 folder file=libgyre.so.$VERSION
    same "lib" "lib/$file" "$(loaded "$DIR/local" "$share/?.lua;$share/?/init.lua")"
    for folder in lib64 "lib/$(gcc -print-multiarch)" lib/lua/5.1; do
        rm -rf "$DIR/other" && mkdir -p "$DIR/other/$folder"
        cp -r "$DIR/local/share" "$DIR/other/share"
        cp -P "$DIR/local/lib"/libgyre.so* "$DIR/other/$folder"
        share=$DIR/other/share/lua/5.1
        same "$folder" "$folder/$file" "$(loaded "$DIR/other" "$share/?.lua;$share/?/init.lua")"
    done
    rm -rf "$DIR/other/lib"
    loaded "$DIR/other" "$share/?.lua;$share/?/init.lua" >"$OUT"
    contains "$OUT" "libgyre not found" "$DIR/other/lib/libgyre.so: no such file"
}

# Where LuaJIT looks by itself: nothing is set at all. In a view of the files of its own, which only root may have.
test_installed_in_the_default_place() {
    local place
    DESTDIR=$DIR/root cmake --install "$BUILD" >"$OUT" 2>"$ERR" || fail "$(cat "$OUT" "$ERR")"
    place=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$BUILD/CMakeCache.txt")
    same prefix /usr/local "$place"
    if ! unshare -m true 2>"$ERR"; then
        echo "    not looked at: $(cat "$ERR")"
        return 0
    fi
    export -f loaded
    export DIR
    same "by default" "lib/libgyre.so.$VERSION" "$(unshare -m bash -c \
        "mount --bind '$DIR/root/usr/local' /usr/local && loaded /usr/local ';;'")"
}

# The same in nginx: lua_package_path is all it is told.
test_installed_for_nginx() {
    installed
    cat >"$DIR/installed.conf" <<END
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
worker_processes 2;
events {}
http {
    $(grep temp_path "$ROOT/examples/openresty/common.conf")
    lua_package_path "$DIR/local/share/lua/5.1/?.lua;$DIR/local/share/lua/5.1/?/init.lua;;";
    init_by_lua_block { require("resty.gyre").open { proxies = { "http://192.0.2.1:80" } } }
    server {
        listen 127.0.0.1:8080;
        location / { content_by_lua_block { ngx.say(tostring(require("resty.gyre").acquire().proxy)) } }
    }
}
END
    nginx_start "$DIR/installed.conf"
    same "a proxy" "http://192.0.2.1:80" "$(get /)"
    peers_stop "$(basename "$DIR")"
}

# run.sh as it is installed.
test_installed_examples_run() {
    installed
    local examples=$DIR/local/share/doc/gyre/examples/openresty
    peers_pick_port || fail "no port"
    sed -i "s/127.0.0.1:8080/127.0.0.1:$peer_port/; s,/dev/shm/gyre-[a-z]*,$NGINX_SHM/installed," "$examples/sessions/nginx.conf"
    echo "http://192.0.2.1:80" >"$DIR/proxies.txt"
    peers_launch "$(basename "$DIR")" "$peer_port" -- env -u GYRE_LIB "$examples/run.sh" sessions "$DIR/proxies.txt" ||
        fail "it does not run: $(cat "$DIR/output.log")"
    same "an answer" 200 "$(port=$peer_port get / -o /dev/null -w '%{http_code}')"
    peers_stop "$(basename "$DIR")"
}

# A program in C knows where its library is by an rpath, or by what ldconfig has been told.
test_installed_for_c() {
    installed
    cd "$DIR" || fail "no folder"
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$ROOT/README.md" >tour.c
    awk '/^```sh$/ { on = 1; text = ""; next } /^```$/ && on { on = 0; if (text ~ /pkg-config/) printf "%s", text } on { text = text $0 "\n" }' \
        "$ROOT/README.md" | sed "s,~/.local,$DIR/local," >install.sh
    contains install.sh "cmake --install build/release --prefix $DIR/local" "pkg-config"
    (cd "$DIR" && mkdir -p build && ln -s "$BUILD" build/release)
    env -u LD_LIBRARY_PATH bash -eu install.sh >"$OUT" 2>"$ERR" || fail "$(cat "$OUT" "$ERR")"
    contains "$OUT" "192.0.2.9: 5 requests"
    ldd "$DIR/local/lib/libgyre-host.so" | grep 'libgyre.*not found' && fail "libgyre-host does not find libgyre"
    same "the library" "$DIR/local/lib/libgyre.so.$VERSION" "$(ldd tour | sed -n 's/.*libgyre.*=> \([^ ]*\).*/\1/p' | xargs readlink -f)"
}

# Whatever a page links to is there.
test_installed_pages() {
    installed
    local page link missing=
    cd "$DIR/local/share/doc/gyre" || fail "no pages"
    same "of the source" "$(cd "$ROOT" && git ls-files README.md CHANGELOG.md docs examples strategies | grep '\.md$' | sort | xargs)" \
        "$(find . -name '*.md' | sed 's,^\./,,' | sort | xargs)"
    shopt -s globstar
    for page in **/*.md; do
        for link in $(grep -oE '\]\([^)]*\)' "$page" | tr -d '[]()'); do
            case $link in http*) continue ;; esac
            [ -e "$(dirname "$page")/${link%%#*}" ] || missing="$missing $page:$link"
        done
    done
    same "links without a file" "" "$missing"
    "$DIR/local/bin/gyre" help >"$OUT"
    contains "$OUT" "share/doc/gyre"
    for page in $("$DIR/local/bin/gyre" get --help | grep -o 'docs/[a-z]*\.md'); do [ -f "$page" ] || fail "no $page"; done
    [ -x examples/openresty/run.sh ] || fail "run.sh cannot be run"
    same "of jobs" "$(ls "$ROOT/examples/jobs")" "$(ls examples/jobs)"
}

# From a copy, as `luarocks make` builds where it stands.
test_rock() {
    mkdir "$DIR/source"
    (cd "$ROOT" && tar c --exclude=./build --exclude=./.git .) | tar x -C "$DIR/source"
    (cd "$DIR/source" && MAKEFLAGS=-j$(nproc) timeout 300 luarocks --lua-version=5.1 --tree="$DIR/tree" make "gyre-$VERSION-1.rockspec") \
        >"$OUT" 2>"$ERR" || fail "$(tail -n 20 "$OUT" "$ERR")"
    same "strategies" "$(files "$ROOT/strategies")" "$(files "$DIR/tree/share/lua/5.1/gyre/strategies")"
    same "in LuaJIT" "$VERSION"$'\tleast-used\t1' "$(used "$DIR/tree" "$DIR/tree/lib/lua/5.1/libgyre.so")"
    same "what else is among the modules in C" libgyre.so "$(listed "$DIR/tree/lib/lua/5.1")"
}

test_dist_ini() {
    local key
    for key in name abstract version author license lib_dir main_module; do
        grep -q "^$key = ." "$ROOT/dist.ini" || fail "no $key"
    done
    same version "$VERSION" "$(sed -n 's/^version = //p' "$ROOT/dist.ini")"
    [ -f "$ROOT/$(sed -n 's/^main_module = //p' "$ROOT/dist.ini")" ] || fail "no main_module"
}

test_versions_agree() {
    same "of the header" "$VERSION" "$(sed -n 's/^#define GYRE_VERSION "\(.*\)"/\1/p' "$ROOT/src/include/gyre/gyre.h")"
    same "of the rock" "$VERSION-1" "$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT"/gyre-*.rockspec)"
}

harness_begin
nginx_begin
harness_run "$@"
