// SPDX-License-Identifier: MIT

/** Scripts in processes of their own, which exchange lines of text with their test. @module */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** A script that runs. */
export interface LockProcess {
  readonly process: ChildProcess
  /** The next line that it sends. Rejects if it ends without one. */
  said(): Promise<string>
  tell(line: string): void
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

/** Starts `lock-<name>.ts` of this folder; killed after the test. */
export function startLockProcess(t: TestContext, name: string, args: readonly string[]): LockProcess {
  const script = fileURLToPath(new URL(`lock-${name}.ts`, import.meta.url))
  const child = fork(script, args, { execArgv: ['--import', import.meta.resolve('tsx')], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Awaited<LockProcess['exit']>)
  const lines: string[] = []
  let wake: (() => void) | undefined
  child.on('message', (line) => {
    lines.push(String(line))
    wake?.()
  })
  const gone = exit.then(({ code, signal }) => Promise.reject(new Error(`lock-${name} ended with ${signal ?? code}`)))
  gone.catch(() => {})
  return {
    process: child,
    said: async () => {
      while (lines.length === 0) await Promise.race([new Promise<void>((resolve) => (wake = resolve)), gone])
      return lines.shift()!
    },
    tell: (line) => child.send(line),
    exit,
  }
}
