#!/usr/bin/env bash
# Everything a change must pass: packages, checks, Rust tests, Python tests. Arguments go to pytest.
. "$(dirname "$0")/lib.sh"

scripts/apt.sh scripts/apt-packages.txt
scripts/judges.sh
scripts/receivers.sh
scripts/lint.sh
step "Rust tests" cargo test --locked
printf '==> Python tests\n'
# Last and alone, so that the output ends with pytest's own summary.
exec "$VENV/bin/python" -m pytest "$@"
