# Shared by every script here: where things are, how a step reports itself, when it may be skipped.
#
# A step prints what it does and how long it took. A step with a stamp is skipped while its inputs
# (file contents, not dates) are what they were when it last succeeded, so a second `make test`
# neither builds nor downloads, and switching branches back and forth costs nothing.

set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ROOT=$PWD
VENV=$ROOT/.venv
STAMPS=$VENV/.stamps
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
# pyo3 compiles against one interpreter; naming it the same way everywhere avoids rebuilding.
export PYO3_PYTHON=$VENV/bin/python
# Where rustup puts cargo; a login shell may have not been told.
PATH=$PATH:${HOME:-}/.cargo/bin

CURRENT=
trap '[ -z "$CURRENT" ] || printf "==> FAILED: %s\n" "$CURRENT" >&2' EXIT

# fail WHAT FIX: stop with a sentence that says what is wrong and one that says what to do.
fail() {
    CURRENT=
    printf 'error: %s\n  fix: %s\n' "$1" "$2" >&2
    exit 1
}

# step LABEL COMMAND...: run it, say so, and say how long it took.
step() {
    local began=$SECONDS
    CURRENT=$1
    printf '==> %s\n' "$CURRENT"
    shift
    "$@"
    printf '    done in %d s\n' $((SECONDS - began))
    CURRENT=
}

# fingerprint KEY PATH...: one hash over KEY, this directory, and every file's name and content.
fingerprint() {
    local key=$1
    shift
    {
        printf '%s\n%s\n' "$key" "$ROOT"
        find "$@" -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d' ' -f1
}

# is_fresh STAMP FINGERPRINT: was this very input finished before?
is_fresh() {
    [ -f "$STAMPS/$1" ] && [ "$(cat "$STAMPS/$1")" = "$2" ]
}

# done_with STAMP FINGERPRINT: remember that it was.
done_with() {
    mkdir -p "$STAMPS"
    printf '%s\n' "$2" >"$STAMPS/$1"
}
