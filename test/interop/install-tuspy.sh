#!/usr/bin/env bash
# Installs Debian's tuspy, the tus client for Python, for client-statuses.test.js and finished-files.test.js; does nothing
# where it is there already. Needs root.
set -euo pipefail
/usr/bin/python3 -c 'import tusclient' 2>/dev/null && exit
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-tuspy
