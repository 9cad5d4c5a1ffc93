// SPDX-License-Identifier: MIT

/** Headless Chromium, as Debian packages it. @module */

import { existsSync } from 'node:fs'
import { chromium } from 'playwright-core'

const PROGRAM = '/usr/bin/chromium'
/** It runs as root in CI, has no GPU there, and shall ask nobody but the test's servers. */
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-sync',
  '--no-first-run', '--disable-background-networking', '--disable-component-update',
]

/** Starts the browser with an empty profile. */
export async function launchChromium() {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run test/interop/install-chromium.sh`)
  return chromium.launch({ executablePath: PROGRAM, args: FLAGS })
}
