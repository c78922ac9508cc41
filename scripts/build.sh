#!/usr/bin/env bash
# Build the Rust extension, release profile, and install the project in development mode: commands
# in .venv/bin, Python read from python/ as it stands, so only a change to Rust needs a build.
. "$(dirname "$0")/lib.sh"

scripts/toolchain.sh
# The dev lock holds the other two, at the same versions.
if [ ! -f "$STAMPS/dev" ]; then scripts/venv.sh build runtime; fi

compile() {
    VIRTUAL_ENV=$VENV "$VENV/bin/maturin" develop --release --locked --skip-install
}

# pip asks maturin once more, which finds everything compiled; it writes the commands and the path.
install() {
    PATH=$VENV/bin:$PATH "$VENV/bin/python" -m pip --disable-pip-version-check install --quiet \
        --no-deps --no-build-isolation --editable .
}

now=$(fingerprint "$(rustc --version)" rust Cargo.toml Cargo.lock pyproject.toml scripts/build.sh)
if ! is_fresh engine "$now" || [ ! -f python/postalynk/_engine.abi3.so ]; then
    step "Building the engine (Rust, release; the first time takes minutes)" compile
    done_with engine "$now"
fi
now=$(fingerprint "" pyproject.toml Cargo.toml README.md scripts/build.sh)
if ! is_fresh install "$now" || [ ! -x "$VENV/bin/postalynk" ]; then
    step "Installing postalynk and postalynk-worker into .venv/bin" install
    done_with install "$now"
fi
