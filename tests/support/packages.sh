# shellcheck shell=bash
#
# Which Debian packages gyre needs, in one place for examples/demo.sh and tests/run.sh. Source it, then:
#   packages_install PACKAGE...   installs what is missing of them; asks sudo when not root

# shellcheck disable=SC2034 # the lists are for those who source this file
{
PACKAGES_BUILD=(gcc libc6-dev cmake ninja-build pkg-config luajit2 libluajit2-5.1-dev libuv1-dev
    libcurl4-openssl-dev libidn2-dev libxml2-dev libsqlite3-dev zlib1g-dev libzstd-dev lua-cjson lua-cjson-dev
    lua-argparse ca-certificates)
PACKAGES_PEERS=(nginx tinyproxy-bin squid dante-server postgresql-doc-15)
PACKAGES_TESTS=(libnginx-mod-http-lua wrk curl luarocks dpkg-dev file
    zstd libcmocka-dev lua-busted lua-check clang libclang-rt-14-dev valgrind openssl
    shellcheck strace)
}

# package=service of the daemons among them: we run copies of our own, the system's shall not run because of us
PACKAGES_SERVICES=(nginx=nginx squid=squid dante-server=danted)

packages_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

packages_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages_install() {
    local package status missing=()
    for package in "$@"; do
        packages_is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "This is no Debian. Please install what corresponds to: ${missing[*]}" >&2
        return 1
    fi
    echo "Installing ${missing[*]}" >&2
    packages_root apt-get update -q || return 1
    packages_without_services packages_apt "${missing[@]}"
    status=$?
    packages_disable_services "${missing[@]}"
    return $status
}

# --no-remove: rather fail, with apt's words, than take away what conflicts (luajit2 replaces luajit).
packages_apt() {
    packages_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends --no-remove "$@"
}

# Runs a command while policy-rc.d, Debian's switch against starting services, says no. In a subshell, so that
# its traps take the file away again on Ctrl-C too.
packages_without_services() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'packages_root rm -f $policy' EXIT
        trap 'exit 130' INT TERM HUP
        packages_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    fi
    "$@"
)

packages_disable_services() {
    local entry
    command -v systemctl >/dev/null || return 0
    for entry in "${PACKAGES_SERVICES[@]}"; do
        case " $* " in *" ${entry%=*} "*) packages_root systemctl -q disable "${entry#*=}" ;; esac
    done
    return 0
}
