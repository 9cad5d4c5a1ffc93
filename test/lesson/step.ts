// SPDX-License-Identifier: MIT

/** A server of the lesson in a process of its own. @module */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'
import type { Sight } from './held-parts.ts'

const runsTypeScript = (process.features as { typescript?: unknown }).typescript
/** Where Node runs TypeScript, it runs the lesson as it stands. */
const LOADER = runsTypeScript ? ['--disable-warning=ExperimentalWarning'] : ['--import', 'tsx']

/** A server that listens, and saves into a folder of its own. */
export interface Step {
  readonly name: string
  readonly process: ChildProcess
  readonly port: number
  readonly folder: string
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Asks the server what it has seen until it is so. */
  until(isSo: (sight: Sight) => boolean): Promise<void>
  /** Lets the part that is under way pass. */
  passPart(): void
  /** Waits until the server has printed a line that matches. */
  printed(pattern: RegExp): Promise<void>
}

/** Starts a step of the lesson; killed after the test. */
export async function startStep(t: TestContext, name: string): Promise<Step> {
  const folder = temporaryFolder(t)
  const preload = ['--import', import.meta.resolve('./held-parts.ts')]
  const script = join(import.meta.dirname, `${name}.ts`)
  const child = fork(script, ['0', folder], { execArgv: [...LOADER, ...preload], stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Awaited<Step['exit']>)
  const gone = exit.then((how) => Promise.reject(new Error(`${name} ended: ${JSON.stringify(how)}`)))
  gone.catch(() => {})

  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  const printed = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) await Promise.race([once(child.stdout!, 'data'), gone])
  }
  const see = async (): Promise<Sight> => {
    child.send('see')
    const [sight] = await Promise.race([once(child, 'message'), gone])
    return sight as Sight
  }
  const until = async (isSo: (sight: Sight) => boolean): Promise<void> => {
    while (!isSo(await see())) await new Promise(setImmediate)
  }

  await printed(/port: \d+/)
  const port = Number(/port: (\d+)/.exec(text)?.[1])
  return { name, process: child, port, folder, exit, until, passPart: () => child.send('pass'), printed }
}
