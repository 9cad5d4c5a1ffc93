// SPDX-License-Identifier: MIT

/** A server in a process of its own that can be killed while it finishes an upload. @module */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const SCRIPT = fileURLToPath(new URL('finish-server.ts', import.meta.url))

/** A server at work. */
export interface FinishProcess {
  readonly port: number
  /** The next line that it says, which may have been said already. */
  said(): Promise<string>
  /** Has it sweep; what came of that is the last line it says. */
  sweep(): void
  /** Ends it with SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
}

/** Starts `finish-server.ts` over a folder, with an `onFinish` that hangs or answers; killed after the test. */
export async function startFinishProcess(t: TestContext, folder: string, mode: 'hang' | 'answer'): Promise<FinishProcess> {
  const child = fork(SCRIPT, [folder, mode], {
    execArgv: ['--import', import.meta.resolve('tsx')],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exit = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exit
  }
  t.after(kill)
  const lines: string[] = []
  const heard = (): Promise<unknown> =>
    Promise.race([once(child, 'message'), exit.then(() => Promise.reject(new Error('The server ended')))])
  child.on('message', (line) => lines.push(String(line)))
  const said = async (): Promise<string> => {
    while (lines.length === 0) await heard()
    return lines.shift()!
  }
  return { port: Number(await said()), said, sweep: () => void child.send('sweep'), kill }
}
