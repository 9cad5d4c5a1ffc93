// SPDX-License-Identifier: MIT

/** tuspy, the tus client for Python, in the Python that Debian's package of it belongs to. @module */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('tuspy.py', import.meta.url))

/** Why its tests cannot run here, for `skip`; in CI it has to be there. */
export function whyNoTuspy() {
  if (process.env.CI) return undefined
  const { status } = spawnSync(PYTHON, ['-c', 'import tusclient'], { stdio: 'ignore' })
  return status === 0 ? undefined : 'there is no tuspy: run test/interop/install-tuspy.sh'
}

/**
 * Uploads at once, in one process.
 *
 * @param {Pick<import('node:test').TestContext, 'after'>} t
 * @param {readonly { endpoint: string, file: string, stored?: string }[]} uploads
 * @param {{ retries?: number, retryDelay?: number }} [options] the delay is in seconds
 * @returns {Promise<{ result: 'success' | 'error', url?: string, error?: string }[]>}
 */
export async function uploadWithTuspy(t, uploads, { retries = 2, retryDelay = 0 } = {}) {
  const python = spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => python.kill('SIGKILL'))
  python.stdin.end(JSON.stringify(uploads.map(({ endpoint, file, stored = null }) => ({ endpoint, file, stored, retries, retryDelay }))))
  const [output] = await Promise.all([text(python.stdout), once(python, 'exit')])
  return JSON.parse(output)
}
