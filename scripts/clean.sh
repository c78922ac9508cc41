#!/usr/bin/env bash
# Remove what was built. Data of a running installation (data/) is not ours to remove.
. "$(dirname "$0")/lib.sh"

rm -rf .venv build target .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
rm -rf tests/judges/node_modules
rm -f python/postalynk/_engine*.so
find python tests benches scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
