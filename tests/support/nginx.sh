# shellcheck shell=bash
#
# nginx with gyre inside, for the tests. After tests/integration/harness.sh:
#
#   nginx_begin                            first of all: a folder for segments, and its removal in the end
#   nginx_start CONF [SED-EXPRESSION]...   a copy of CONF with its port, its segment and what the expressions say replaced, in
#                                          $DIR with lua/ and lib/ beside it; $port, $segment, $master afterwards. The file
#                                          $DIR/proxies.txt is there already
#   nginx_workers                          pids of the workers that are not shutting down
#   nginx_reload                           HUP, and wait until only new workers are left
#   get PATH [CURL-OPTION]...              its body to stdout
#   on_segment LUA                         runs Lua with the pool of $segment as `pool`, from outside nginx

nginx_begin() {
    NGINX_SHM=$(mktemp -d /dev/shm/gyre-test.XXXXXX) || exit 1
    chmod 755 "$NGINX_SHM"
    trap 'peers_end; rm -rf "$NGINX_SHM"' EXIT
}

nginx_start() {
    local conf=$1 try
    shift
    chmod 755 "$DIR"
    ln -sfn "$ROOT/lua" "$DIR/lua"
    ln -sfn "$BUILD" "$DIR/lib"
    segment=$NGINX_SHM/$(basename "$DIR")
    for try in first second third; do
        peers_pick_port || return 1
        # shellcheck disable=SC2154 # of peers_pick_port
        port=$peer_port
        {
            echo "daemon off; pid $DIR/nginx.pid;"
            sed "${@/#/-e}" -e "s/127\.0\.0\.1:8080/127.0.0.1:$port/" -e "s,/dev/shm/gyre-[a-z]*,$segment," \
                -e "s,include .*common.conf,include $ROOT/examples/openresty/common.conf," "$conf"
        } >"$DIR/nginx.conf"
        # GYRE_LIB would win over the library in lib/.
        if peers_launch "$(basename "$DIR")" "$port" -- env -u GYRE_LIB nginx -p "$DIR" -c "$DIR/nginx.conf" \
            -e "$DIR/error.log"; then
            master=$(peers_pid "$(basename "$DIR")")
            return
        fi
        peers_stop "$(basename "$DIR")"
    done
    fail "nginx does not start, by the $try port either: $(cat "$DIR/error.log" "$PEERS_DIR/$(basename "$DIR")/output.log" 2>/dev/null)"
}

# Children of the master; a worker that shuts down says so in its title.
nginx_workers() {
    local pid
    # shellcheck disable=SC2013 # words
    for pid in $(cat "/proc/$master/task/$master/children" 2>/dev/null); do
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q '^nginx: worker process *$' && echo "$pid"
    done
    return 0
}
nginx_children() { cat "/proc/$master/task/$master/children"; }

nginx_reload() {
    local old
    old=$(nginx_workers | sort | xargs)
    kill -HUP "$master"
    wait_for 20 nginx_is_new "$old"
}
nginx_is_new() {
    local pid now
    now=" $(nginx_children) "
    [ "$(nginx_workers | wc -l)" = "$(awk '$1 == "worker_processes" { print $2 + 0 }' "$DIR/nginx.conf")" ] || return 1
    for pid in $1; do
        [[ $now != *" $pid "* ]] || return 1
    done
}

get() {
    local path=$1
    shift
    curl -s --noproxy '*' --max-time 20 "$@" "http://127.0.0.1:$port$path"
}

on_segment() {
    LUA_PATH="$ROOT/lua/?.lua;$ROOT/lua/?/init.lua;;" GYRE_LIB=$BUILD/libgyre.so timeout 60 luajit -e "
        local pool = assert(require('gyre').open { shared = '$segment' })
        $1"
}

# What all tests end with: nothing in flight, the sums match, the segment is sound.
nginx_books_balance() {
    on_segment '
        assert(pool:repair())
        local s = assert(pool:stats())
        assert(s.active == 0, "active " .. s.active)
        assert(s.started == s.completed, ("started %d, completed %d"):format(s.started, s.completed))
        assert(s.completed == s.succeeded + s.failed + s.aborted)
        assert(pool:check())' || fail "the books do not balance"
}
