#!/usr/bin/env bash
# Check that this machine can build: Python with venv, Rust, a linker. Cheap, so it always runs.
. "$(dirname "$0")/lib.sh"

PYTHON=${PYTHON:-python3}

as_root_or_fail() { # WHAT PACKAGE...
    local what=$1
    shift
    [ "$(id -u)" -eq 0 ] || fail "$what" "sudo apt-get install $*"
    scripts/apt.sh "$@"
}

command -v "$PYTHON" >/dev/null || as_root_or_fail "no $PYTHON on this machine" python3 python3-venv
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$PYTHON" --version) is too old" "install Python 3.11 or newer, or set PYTHON=/path/to/it"
[ -x "$VENV/bin/pip" ] || "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    as_root_or_fail "$PYTHON cannot make virtual environments" python3-venv

command -v cargo >/dev/null ||
    fail "no cargo on this machine" "install Rust 1.90 or newer with rustup"
cargo --version | "$PYTHON" -c '
import re, sys
sys.exit(tuple(map(int, re.search(r"(\d+)\.(\d+)", sys.stdin.read()).groups())) < (1, 90))' ||
    fail "$(cargo --version) is too old" "rustup update stable"
command -v cc >/dev/null ||
    as_root_or_fail "no C compiler (Rust links with it; aws-lc is C)" build-essential

for tool in "$@"; do
    cargo "$tool" --version >/dev/null 2>&1 || fail "cargo $tool is missing" "rustup component add $tool"
done
