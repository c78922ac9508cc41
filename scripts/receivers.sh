#!/usr/bin/env bash
# Debian's Exim and OpenSMTPD for tests, beside Postfix.
#
# Debian lets only one mail server be installed, so these two are unpacked below build/receivers and
# run from there (tests/support/foreign.py). The libraries they need are installed as usual.
. "$(dirname "$0")/lib.sh"

RECEIVERS=(exim4-daemon-light opensmtpd)
PLACE=build/receivers

command -v apt-get >/dev/null || fail "this is not a Debian system" \
    "run the tests on one, or without tests/acceptance/test_receivers.py"

# needed NAME: the packages that installing it would add, as apt would choose them.
needed() {
    apt-get install --simulate --no-install-recommends "$1" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p'
}

fetch() {
    local name libraries=() packages=() cache
    for name in "${RECEIVERS[@]}"; do
        mapfile -t -O "${#packages[@]}" packages < <(needed "$name")
    done
    [ ${#packages[@]} -gt 0 ] || fail "apt knows neither of ${RECEIVERS[*]}" "apt-get update"
    for name in "${packages[@]}"; do
        if [[ $name = lib* ]]; then libraries+=("$name"); fi
    done
    [ ${#libraries[@]} -eq 0 ] || scripts/apt.sh "${libraries[@]}"
    cache=$(mktemp -d)
    rm -rf "$PLACE"
    mkdir -p "$PLACE"
    for name in "${packages[@]}"; do
        if [[ $name = exim4-* || $name = opensmtpd ]]; then
            (cd "$cache" && apt-get -qq -o APT::Sandbox::User=root download "$name")
        fi
    done
    for name in "$cache"/*.deb; do
        dpkg-deb -x "$name" "$PLACE"
    done
    rm -rf "$cache"
}

now=$(fingerprint receivers scripts/receivers.sh)
if ! is_fresh receivers "$now" || [ ! -x "$PLACE/usr/sbin/smtpd" ]; then
    step "Unpacking Debian's other mail servers" fetch
    done_with receivers "$now"
fi
