// SPDX-License-Identifier: MIT

/** A recipe in a process of its own: as it stands, or with something taken out of it, to see what it was good for. @module */

import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'

const runsTypeScript = (process.features as { typescript?: unknown }).typescript
/** Where Node runs TypeScript, it runs the recipes as they stand. */
const LOADER = runsTypeScript ? ['--disable-warning=ExperimentalWarning'] : ['--import', import.meta.resolve('tsx')]

/** A recipe at work. */
export interface Program {
  readonly process: ChildProcess
  readonly port: number
  /** What it has printed. */
  text(): string
  /** Waits until it has printed a line that matches. */
  printed(pattern: RegExp): Promise<void>
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
}

/** Starts a recipe on a free port; killed after the test. */
export function startRecipe(t: TestContext, name: string, args: readonly string[] = []): Promise<Program> {
  return start(t, join(import.meta.dirname, `${name}.ts`), args)
}

/** The same, with each of these texts replaced by the other: what would be there without the primitive. */
export function startRecipeWithout(
  t: TestContext,
  name: string,
  replacements: readonly (readonly [string, string])[],
  args: readonly string[] = [],
): Promise<Program> {
  let code = readFileSync(join(import.meta.dirname, `${name}.ts`), 'utf8')
  for (const [what, substitute] of replacements) {
    assert.equal(code.split(what).length, 2, `${name}.ts must contain once: ${what}`)
    code = code.replace(what, () => substitute)
  }
  const path = join(temporaryFolder(t), `${name}.mts`)
  writeFileSync(path, code.replace(/'(\.\.\/\.\.\/lib\/[^']+)'/g, (_, file: string) => JSON.stringify(import.meta.resolve(file))))
  return start(t, path, args)
}

async function start(t: TestContext, path: string, args: readonly string[]): Promise<Program> {
  const child = fork(path, ['0', ...args], { execArgv: LOADER, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  child.disconnect()
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Awaited<Program['exit']>)
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  const gone = once(child, 'close').then(() => Promise.reject(new Error(`${path} ended: ${text}`)))
  gone.catch(() => {})
  const printed = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) await Promise.race([once(child.stdout!, 'data'), gone])
  }
  await printed(/port: \d+/)
  return { process: child, port: Number(/port: (\d+)/.exec(text)?.[1]), text: () => text, printed, exit }
}
