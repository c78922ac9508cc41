#!/usr/bin/env bash
# apt.sh LIST|NAME...: make sure Debian packages are here.
#
# As root it installs the missing ones; otherwise it lists them, says how to get them and fails.
# Nothing installed this way is left running or starting at boot: tests start their own copies,
# from their own directories, on unprivileged ports.
. "$(dirname "$0")/lib.sh"

wanted() {
    if [ -f "$1" ]; then sed 's/#.*//' "$1" | xargs -n1; else printf '%s\n' "$@"; fi
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# While this file exists and says 101, Debian's install scripts start no service (policy-rc.d(8)).
POLICY=/usr/sbin/policy-rc.d

install_quietly() {
    if [ ! -e $POLICY ]; then
        trap 'rm -f $POLICY' RETURN
        printf '#!/bin/sh\nexit 101\n' >$POLICY
        chmod 755 $POLICY
    fi
    # Postfix asks what kind of site this is; tests bring their own main.cf.
    printf 'postfix postfix/main_mailer_type select No configuration\n' | debconf-set-selections
    export DEBIAN_FRONTEND=noninteractive
    local apt=(apt-get -y -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    local log
    log=$(mktemp)
    if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; } >"$log" 2>&1; then
        cat "$log" >&2
        fail "apt-get could not install: $*" "see its output above"
    fi
    rm -f "$log"
    keep_stopped "$@"
}

# keep_stopped PACKAGE...: what was just installed does not start at the next boot either.
keep_stopped() {
    local name
    for name in "$@"; do
        if [ -e "/etc/init.d/$name" ]; then
            update-rc.d "$name" disable >/dev/null 2>&1 || true # no init system: nothing to disable
        fi
    done
}

command -v dpkg-query >/dev/null || fail "this is not a Debian system" \
    "install by hand what $1 lists, then run the checks one by one (see CONTRIBUTING.md)"

missing=()
for name in $(wanted "$@"); do
    is_installed "$name" || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    step "Installing Debian packages: ${missing[*]}" install_quietly "${missing[@]}"
else
    fail "Debian packages missing: ${missing[*]}" "sudo apt-get install ${missing[*]}"
fi
