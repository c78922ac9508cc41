#!/usr/bin/env bash
# Fuzzing, then the tests marked `soak`: they run for many minutes. Arguments go to pytest.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/toolchain.sh
scripts/venv.sh build dev
scripts/build.sh
# Targets that read hostile octets, a million times each; `make test` runs them for a second.
step "Fuzzing" env BOLERO_RANDOM_ITERATIONS=1000000 cargo test --release --locked --test fuzz
exec "$VENV/bin/python" -m pytest -m soak "$@"
