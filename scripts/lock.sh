#!/usr/bin/env bash
# Rewrite the lock files from pyproject.toml and the Cargo.toml files.
#
# Python locks carry the hash of every file and name no address, so they install from whatever
# index a machine is set up with. A version stays as it is unless its range moved; UPGRADE=1 takes
# the newest of everything.
. "$(dirname "$0")/lib.sh"

UV=${UV:-$VENV/bin/uv}
[ -x "$UV" ] || fail "no uv in $VENV" "run make lint once, or set UV=/path/to/uv"

compile() { # NAME OPTION...
    local name=$1
    shift
    "$UV" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --custom-compile-command "make lock" \
        ${UPGRADE:+--upgrade} -o "requirements/$name.txt" "$@"
}

crates() {
    if [ -n "${UPGRADE:-}" ]; then cargo update; else cargo metadata --format-version 1 >/dev/null; fi
}

# dev first: it holds all the others, and they are held to its versions.
step "Locking what tests and develops" compile dev pyproject.toml --extra embedded --extra multibuffer --group dev
step "Locking what runs" compile runtime pyproject.toml --extra embedded -c requirements/dev.txt
step "Locking what builds" compile build --group build -c requirements/dev.txt
step "Locking Rust crates" crates
