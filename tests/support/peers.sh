# shellcheck shell=bash
#
# Real software on loopback for the demo and the tests: nginx as a site; tinyproxy, squid and dante as
# forward proxies. Source this file, then:
#
#   peers_begin                              a directory ($PEERS_DIR) and a promise to clean up on exit
#   peers_nginx     NAME ROOT [tls]          a site, files under ROOT; tls: with the certificate
#                                            $PEERS_DIR/NAME/cert.pem      -> $peer_port
#   peers_tinyproxy NAME [USER PASSWORD]     one HTTP proxy                -> $peer_port $peer_address
#   peers_squid     NAME OPEN [USER PASSWORD]...
#                                            OPEN proxies without credentials and, when users are given, one port
#                                            more that asks for them       -> ${peer_ports[@]} ${peer_addresses[@]}
#                                            With SQUID_TLS=DIR they speak TLS, by DIR/cert.pem and DIR/key.pem
#   peers_dante     NAME                     one SOCKS5 proxy              -> $peer_port $peer_address
#   peers_fixture   NAME [OPTION]...         tests/support/fixture.c ($PEERS_FIXTURE) -> $peer_port
#   peers_stop      NAME                     ends one of them
#   peers_end                                ends all and removes the directory
#
# Every proxy leaves by an address of its own (127.0.0.11 and up), as real ones do, so the site's access
# log ($PEERS_DIR/NAME/access.log, one "ADDRESS STATUS PATH" a request) says who fetched what.
# All ports are free ones of 127.0.0.1. Everything runs as root (in a container) or as a normal user, needs
# no configuration outside $PEERS_DIR, and never gets a password on its command line.

PEERS_PATH=$PATH:/usr/sbin:/sbin # where Debian keeps daemons, which a user's PATH may lack
peers_next_address=10

peers_fail() {
    echo "peers: $*" >&2
    return 1
}

# Each peer runs in a session of its own: a Ctrl-C in the terminal must not end the proxies under a crawl
# that is still draining. So that nothing outlives a script killed by kill -9, a watchdog waits for its end.
peers_begin() {
    PEERS_DIR=$(mktemp -d "${TMPDIR:-/tmp}/gyre-peers.XXXXXX") || return 1
    chmod 755 "$PEERS_DIR" # squid and nginx drop root and still have to reach their folders
    : >"$PEERS_DIR/pids"
    trap peers_end EXIT
    peers_exit_on_signals
    peers_watch $$ </dev/null >/dev/null 2>&1 &
    peers_watchdog=$!
    disown "$peers_watchdog" # no word when it is ended
}

peers_exit_on_signals() {
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

peers_watch() {
    trap - EXIT
    trap '' HUP INT TERM
    while peers_alive "$1"; do sleep 1; done
    peers_watchdog=
    peers_end
}

peers_end() {
    local name pid
    [ -n "${PEERS_DIR:-}" ] && [ -d "$PEERS_DIR" ] || return 0
    trap '' HUP INT TERM # a second one must not leave half of them running; timeout sends one more
    while read -r name pid; do peers_signal TERM "$pid"; done <"$PEERS_DIR/pids"
    while read -r name pid; do peers_reap "$pid"; done <"$PEERS_DIR/pids"
    if [ -n "${peers_watchdog:-}" ]; then kill -KILL "$peers_watchdog" 2>/dev/null; fi
    rm -rf "$PEERS_DIR"
    PEERS_DIR=
    peers_exit_on_signals
}

peers_signal() { kill "-$1" -- "-$2" 2>/dev/null; } # the whole group: dante and nginx have children

# Runs, and is no zombie, which it stays where nobody reaps orphans.
peers_alive() { grep -qs ') [^Z]' "/proc/$1/stat"; }

# Waits up to 3 s for a peer to end, then ends what is left of it the hard way.
peers_reap() {
    local i
    for ((i = 0; i < 60; i++)); do
        peers_alive "$1" || break
        sleep 0.05
    done
    peers_signal KILL "$1"
    return 0
}

peers_pid() { awk -v name="$1" '$1 == name { pid = $2 } END { print pid }' "$PEERS_DIR/pids"; }

peers_stop() {
    local pid
    pid=$(peers_pid "$1")
    peers_signal "${2:-TERM}" "$pid"
    peers_reap "$pid"
}

# Below the range the kernel gives to outgoing connections, so nobody takes it by chance before we listen.
peers_pick_port() {
    local try
    for ((try = 0; try < 100; try++)); do
        peer_port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
        (exec 3<>"/dev/tcp/127.0.0.1/$peer_port") 2>/dev/null || return 0
    done
    peers_fail "no free port"
}

peers_pick_address() {
    peers_next_address=$((peers_next_address + 1))
    peer_address=127.0.0.$peers_next_address
}

# peers_launch NAME PORT... -- COMMAND...: starts it and waits until every port accepts. 1: it ended.
peers_launch() {
    local name=$1 pid port ports=()
    shift
    while [ "$1" != -- ]; do ports+=("$1") && shift; done
    shift
    PATH=$PEERS_PATH TMPDIR=$PEERS_DIR/$name setsid "$@" </dev/null >"$PEERS_DIR/$name/output.log" 2>&1 &
    pid=$!
    disown "$pid" # or bash would report how it ended
    echo "$name $pid" >>"$PEERS_DIR/pids"
    for port in "${ports[@]}"; do
        peers_wait "$pid" "$port" || return 1
    done
}

peers_wait() {
    local i
    for ((i = 0; i < 300; i++)); do
        peers_alive "$1" || return 1
        (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}

# peers_attempt NAME FUNCTION ARGUMENT...: runs FUNCTION, which picks ports and launches, up to three
# times: between the pick and the bind somebody else may have taken a port.
peers_attempt() {
    local name=$1 try
    shift
    mkdir -p "$PEERS_DIR/$name"
    for try in 1 2 3; do
        "$@" && return 0
        peers_stop "$name"
    done
    peers_fail "$name does not start:"
    tail -n 5 "$PEERS_DIR/$name"/*.log >&2
    return 1
}

peers_nginx() { peers_attempt "$1" peers_start_nginx "$@"; }
peers_start_nginx() {
    local dir=$PEERS_DIR/$1 tls=
    peers_pick_port || return 1
    mkdir -p "$dir/tmp"
    if [ "${3:-}" = tls ]; then
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
            -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null || return 1
        tls="ssl; ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem"
    fi
    cat >"$dir/nginx.conf" <<END
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
worker_processes 1;
events { worker_connections 1024; }
http {
    types { text/html html; text/css css; image/svg+xml svg; }
    log_format short '\$remote_addr \$status \$request_uri';
    access_log $dir/access.log short;
    client_body_temp_path $dir/tmp; proxy_temp_path $dir/tmp; fastcgi_temp_path $dir/tmp;
    uwsgi_temp_path $dir/tmp; scgi_temp_path $dir/tmp;
    server { listen 127.0.0.1:$peer_port $tls; root $2; }
}
END
    peers_launch "$1" "$peer_port" -- nginx -p "$dir" -c nginx.conf -e "$dir/error.log"
}

peers_tinyproxy() { peers_pick_address && peers_attempt "$1" peers_start_tinyproxy "$@"; }
peers_start_tinyproxy() {
    local dir=$PEERS_DIR/$1
    peers_pick_port || return 1
    printf '%s\n' "Port $peer_port" "Listen 127.0.0.1" "Bind $peer_address" "Timeout 30" "MaxClients 400" \
        "LogLevel Connect" ${2:+"BasicAuth $2 $3"} >"$dir/tinyproxy.conf"
    chmod 600 "$dir/tinyproxy.conf"
    peers_launch "$1" "$peer_port" -- tinyproxy -d -c "$dir/tinyproxy.conf"
}

# One process, many ports; each port is a proxy of its own that leaves by its own address.
peers_squid() {
    local i count=$2
    peer_addresses=()
    [ $# -gt 2 ] && count=$((count + 1))
    for ((i = 0; i < count; i++)); do
        peers_pick_address
        peer_addresses+=("$peer_address")
    done
    peers_attempt "$1" peers_start_squid "$@"
}
peers_start_squid() {
    local dir=$PEERS_DIR/$1 open=$2 i
    peer_ports=()
    for ((i = 0; i < ${#peer_addresses[@]}; i++)); do
        peers_pick_port || return 1
        peer_ports+=("$peer_port")
    done
    shift 2
    peers_squid_users "$@" >"$dir/users"
    chmod 600 "$dir/users"
    peers_squid_config "$dir" "$open" >"$dir/squid.conf"
    : >"$dir/cache.log"
    if [ "$(id -u)" = 0 ]; then chown -R proxy: "$dir"; fi # root's squid becomes the user proxy
    peers_launch "$(basename "$dir")" "${peer_ports[@]}" -- squid -N -f "$dir/squid.conf" || return 1
    ! grep -q 'Cannot bind' "$dir/cache.log" # squid goes on without the port
}
peers_squid_users() {
    while [ $# -gt 0 ]; do
        printf '%s %s\n' "$1" "$2"
        shift 2
    done | perl -ne '/(\S+) (\S+)/ and print "$1:", crypt($2, q($5$gyre)), "\n"'
}
peers_squid_config() {
    local i
    cat <<END
pid_filename $1/squid.pid
cache_log $1/cache.log
access_log stdio:$1/access.log
coredump_dir $1
pinger_enable off
cache deny all
netdb_filename none
visible_hostname localhost
shutdown_lifetime 0 seconds
max_filedescriptors 4096
END
    for ((i = 0; i < ${#peer_ports[@]}; i++)); do
        if [ -n "${SQUID_TLS:-}" ]; then
            echo "https_port 127.0.0.1:${peer_ports[i]} name=p$i tls-cert=$SQUID_TLS/cert.pem tls-key=$SQUID_TLS/key.pem"
        else
            echo "http_port 127.0.0.1:${peer_ports[i]} name=p$i"
        fi
        echo "acl p$i myportname p$i"
        echo "tcp_outgoing_address ${peer_addresses[i]} p$i"
    done
    echo "acl loopback dst 127.0.0.0/8"
    echo "http_access deny !loopback"
    for ((i = 0; i < $2; i++)); do echo "http_access allow p$i"; done
    if [ ${#peer_ports[@]} -gt "$2" ]; then
        echo "auth_param basic program /usr/lib/squid/basic_ncsa_auth $1/users"
        echo "auth_param basic children 2 startup=1"
        echo "acl known proxy_auth REQUIRED"
        echo "http_access allow p$2 known"
    fi
    echo "http_access deny all"
}

peers_dante() { peers_pick_address && peers_attempt "$1" peers_start_dante "$@"; }
peers_start_dante() {
    local dir=$PEERS_DIR/$1
    peers_pick_port || return 1
    cat >"$dir/danted.conf" <<END
errorlog: $dir/error.log
logoutput: $dir/dante.log
internal: 127.0.0.1 port = $peer_port
external: $peer_address
clientmethod: none
socksmethod: none
user.privileged: $(id -un)
user.unprivileged: $(id -un)
client pass {
    from: 127.0.0.0/8 to: 0.0.0.0/0
    log: error
}
socks pass {
    from: 127.0.0.0/8 to: 127.0.0.0/8
    command: connect
    log: connect
}
END
    peers_launch "$1" "$peer_port" -- danted -f "$dir/danted.conf" -p "$dir/danted.pid"
}

# The fixture picks its own port and prints it as soon as it listens.
peers_fixture() {
    local name=$1 dir=$PEERS_DIR/$1 i
    shift
    mkdir -p "$dir"
    peers_launch "$name" -- "${PEERS_FIXTURE:?}" --log "$dir/access.log" "$@" || return 1
    for ((i = 0; i < 100; i++)); do
        peer_port=$(sed -n 's/^port //p' "$dir/output.log" 2>/dev/null)
        [ -n "$peer_port" ] && return 0
        sleep 0.05
    done
    peers_fail "$name does not start: $(cat "$dir/output.log")"
}
