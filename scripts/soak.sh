#!/usr/bin/env bash
# The tests marked `soak`, alone: they run for many minutes. Arguments go to pytest. Before them the
# readers of hostile octets, a million cases each.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/toolchain.sh
scripts/venv.sh build dev
scripts/build.sh
BOLERO_RANDOM_ITERATIONS=${BOLERO_RANDOM_ITERATIONS:-1000000} \
    cargo test --release --locked -p postalynk-dns --test fuzz
exec "$VENV/bin/python" -m pytest -m soak "$@"
