#!/usr/bin/env bash
# bench.sh NAME [OPTION...]: run one benchmark and leave its figures in build/bench/NAME.json.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/toolchain.sh
scripts/venv.sh build dev
scripts/build.sh
exec "$VENV/bin/python" -m benches.run "$@"
