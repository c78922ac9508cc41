#!/usr/bin/env bash
# Fuzzing, then the tests marked `soak`: they run for many minutes. Arguments go to pytest.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/toolchain.sh
scripts/venv.sh build dev
scripts/build.sh
# Readers of hostile octets, a million cases each; `make test` runs them for a second.
step "Fuzzing" env BOLERO_RANDOM_ITERATIONS="${BOLERO_RANDOM_ITERATIONS:-1000000}" \
    cargo test --release --locked --test fuzz
# What only the engine may call is tried from within.
step "Fuzzing the engine" env BOLERO_RANDOM_ITERATIONS="${BOLERO_RANDOM_ITERATIONS:-1000000}" \
    cargo test --release --locked -p postalynk-delivery --lib fuzz_
exec "$VENV/bin/python" -m pytest -m soak "$@"
