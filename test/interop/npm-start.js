// SPDX-License-Identifier: MIT

/** The server as its users start it: `npm start` in the root of the project. @module */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LISTENING = /^longhaul listening on http:\/\/127\.0\.0\.1:(\d+)\/files\/$/

/** @typedef {{ code: number | null, signal: string | null }} Exit */

/**
 * Builds and starts the server; whatever is left of it is killed after the test.
 *
 * `stop()` sends SIGTERM to npm alone, as a process manager does, and resolves with how npm ended,
 * which is how the server ended. `pressCtrlC()` sends SIGINT to npm and the server, as a terminal does;
 * npm passes its own on to the server, which so gets two.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ dir: string, port?: number, flags?: readonly string[] }} options
 * @returns {Promise<{ port: number, stop: () => Promise<Exit>, pressCtrlC: () => Promise<Exit> }>}
 */
export async function npmStart(t, { dir, port = 0, flags = [] }) {
  const args = ['start', '--', '--port', String(port), '--dir', dir, ...flags]
  const npm = spawn('npm', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'], detached: true }) // a group of its own
  t.after(() => killGroup(npm.pid))
  const exit = once(npm, 'exit').then(([code, signal]) => ({ code, signal }))
  const closed = once(npm, 'close') // the server has closed its stdout, too

  const lines = createInterface({ input: npm.stdout })
  const listening = new Promise((resolve) => {
    lines.on('line', (line) => LISTENING.test(line) && resolve(Number(LISTENING.exec(line)[1])))
  })
  const ended = exit.then(({ code, signal }) => Promise.reject(new Error(`npm start ended with ${signal ?? code} before it listened`)))
  const endBy = async (kill) => {
    kill()
    const { code, signal } = await exit
    if (code === 0) await closed
    return { code, signal }
  }
  const stop = () => endBy(() => npm.kill('SIGTERM'))
  const pressCtrlC = () => endBy(() => process.kill(-npm.pid, 'SIGINT'))
  return { port: await Promise.race([listening, ended]), stop, pressCtrlC }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error // nobody is left
  }
}
