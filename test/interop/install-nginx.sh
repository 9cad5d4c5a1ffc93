#!/usr/bin/env bash
# Installs Debian's nginx and Caddy, for nginx.test.js and caddy.test.js; does nothing where they are there already. Needs root.
set -euo pipefail
command -v nginx >/dev/null && command -v caddy >/dev/null && exit
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx caddy
