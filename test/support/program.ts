// SPDX-License-Identifier: MIT

/** The program in a process of its own. @module */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
/** The flags that `npm start` gives to Node, so that what is measured here is what people run. */
const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { scripts: { start: string } }
const FLAGS = ['--import', 'tsx', ...(scripts.start.match(/--\S+/g) ?? [])]

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program that listens. */
export interface Program {
  readonly process: ChildProcess
  readonly port: number
  readonly line: string
  readonly exit: Promise<Exit>
}

/** Starts the program from its sources, for the host of `request`; killed after the test. Rejects if it ends before it listens. */
export async function startProgram(t: TestContext, args: readonly string[]): Promise<Program> {
  const child = spawn(process.execPath, [...FLAGS, MAIN, '--port', '0', '--allowed-host', 'test', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Exit)
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    exit.then(({ code }) => Promise.reject(new Error(`The program exited with ${code} before it listened`))),
  ])) as [string]
  return { process: child, port: Number(/:(\d+)\//.exec(line)?.[1]), line, exit }
}

/** Runs the program to its end and returns what it wrote. */
export async function runProgram(args: readonly string[]): Promise<Exit & { readonly stdout: string; readonly stderr: string }> {
  const child = spawn(process.execPath, [...FLAGS, MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const text = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (text.stdout += chunk))
  child.stderr.on('data', (chunk) => (text.stderr += chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, ...text }
}
