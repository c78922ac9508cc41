#!/usr/bin/env bash
# Build the Rust extension, release profile, and install the project in development mode: commands
# in .venv/bin, Python read from python/ as it stands, so only a change to Rust needs a build.
. "$(dirname "$0")/lib.sh"

scripts/toolchain.sh
# The dev lock holds the other two, at the same versions.
if [ ! -f "$STAMPS/dev" ]; then scripts/venv.sh build runtime; fi

build() {
    VIRTUAL_ENV=$VENV "$VENV/bin/maturin" develop --release --locked ${VERBOSE:+--verbose}
}

now=$(fingerprint "$(rustc --version)" rust Cargo.toml Cargo.lock pyproject.toml)
if is_fresh engine "$now" && [ -x "$VENV/bin/postalynk" ] && [ -f python/postalynk/_engine.abi3.so ]; then
    exit 0
fi
step "Building the engine (Rust, release; the first time takes minutes)" build
done_with engine "$now"
