#!/usr/bin/env bash
# The Node packages that judge our messages and types in tests, from tests/judges/package-lock.json.
. "$(dirname "$0")/lib.sh"

command -v npm >/dev/null || scripts/apt.sh nodejs npm

# Exactly what the lock says, checked by its hashes; no package's scripts run.
fetch() {
    npm ci --prefix tests/judges --ignore-scripts --no-audit --no-fund --loglevel=error
}

now=$(fingerprint judges tests/judges/package.json tests/judges/package-lock.json)
if ! is_fresh judges "$now" || [ ! -d tests/judges/node_modules ]; then
    step "Installing the judges that run on Node" fetch
    done_with judges "$now"
fi
