#!/usr/bin/env bash
# The Rust reference, in build/docs. A broken link or a missing sentence fails.
. "$(dirname "$0")/lib.sh"

reference() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --exclude postalynk-python --no-deps \
        --target-dir build/doc-target
    rm -rf build/docs
    cp -r build/doc-target/doc build/docs
}

step "Building the Rust reference" reference
