#!/usr/bin/env bash
# The tests marked `soak`, alone: they run for many minutes. Arguments go to pytest.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/toolchain.sh
scripts/venv.sh build dev
scripts/build.sh
exec "$VENV/bin/python" -m pytest -m soak "$@"
