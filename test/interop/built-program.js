// SPDX-License-Identifier: MIT

/** The program as it was built before the tests, for tests that start it often: npm start builds it each time. @module */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const NODE = [process.execPath, '--max-semi-space-size=2']

/**
 * Starts the program, in Node or another `runtime`; killed after the test. `stop()` sends SIGTERM and resolves with how it ended.
 *
 * @param {Pick<import('node:test').TestContext, 'after'>} t
 * @param {{ dir: string, port?: number, flags?: readonly string[], runtime?: readonly string[] }} options
 */
export async function startBuilt(t, { dir, port = 0, flags = [], runtime: [command, ...options] = NODE }) {
  const args = [...options, MAIN, '--port', String(port), '--dir', dir, '--log', 'none', ...flags]
  const program = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => program.kill('SIGKILL'))
  const exit = once(program, 'exit').then(([code, signal]) => ({ code, signal }))
  const ended = exit.then(({ code, signal }) => Promise.reject(new Error(`The program ended with ${signal ?? code} before it listened`)))
  const [line] = await Promise.race([once(createInterface({ input: program.stdout }), 'line'), ended])
  const stop = () => {
    program.kill('SIGTERM')
    return exit
  }
  return { port: Number(/:(\d+)\/files\/$/.exec(line)[1]), stop }
}
