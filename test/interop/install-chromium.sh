#!/usr/bin/env bash
# Installs Debian's Chromium, which uppy.test.js drives; does nothing where it is there already. Needs root.
set -euo pipefail
command -v chromium >/dev/null && exit
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
