#!/usr/bin/env bash
# venv.sh LOCK...: a virtual environment that holds the packages of requirements/LOCK.txt.
. "$(dirname "$0")/lib.sh"

PYTHON=${PYTHON:-python3}
PIP=("$VENV/bin/python" -m pip --disable-pip-version-check --no-input)

create() {
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
}

# Wheels only, so that nothing runs while installing; dkimpy publishes none and is built with the
# setuptools of the build lock, because pip would fetch one for it without checking a hash.
fetch() {
    "${PIP[@]}" install --quiet --progress-bar off --require-hashes \
        --only-binary :all: --no-binary dkimpy --no-build-isolation -r "$1" \
        2> >(grep -v '^DEPRECATION: --no-binary' >&2) # older pips announce a change that does not touch us
}

if ! "$VENV/bin/python" -c pass 2>/dev/null || [ ! -x "$VENV/bin/pip" ] ||
    ! is_fresh location "$(fingerprint venv scripts/venv.sh)"; then
    step "Making a virtual environment with $("$PYTHON" --version)" create
    done_with location "$(fingerprint venv scripts/venv.sh)"
fi

for lock in "$@"; do
    file=requirements/$lock.txt
    now=$(fingerprint packages "$file")
    is_fresh "$lock" "$now" && continue
    step "Installing Python packages: $lock ($(grep -c '^[a-z0-9]' "$file") packages, hashes checked)" \
        fetch "$file"
    done_with "$lock" "$now"
done
