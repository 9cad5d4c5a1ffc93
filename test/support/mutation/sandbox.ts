// SPDX-License-Identifier: MIT

/** A copy of the repository in which a mutant lives, so that the working tree is never touched. @module */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { coveredLines } from './coverage.ts'
import type { Mutant } from './mutants.ts'

/** What came of a command. */
export type Verdict = 'passed' | 'failed' | 'hung'

interface RunOptions {
  readonly timeoutMs: number
  readonly env?: NodeJS.ProcessEnv
}

/** A mutant must have the right types; it may leave a name unused. */
const TYPE_CHECK = [
  'node_modules/typescript/bin/tsc', '-p', '.', '--noEmit', '--pretty', 'false', '--noUnusedLocals', 'false', '--noUnusedParameters',
  'false',
]
/** Node runs the sources themselves, which is quicker than a loader. */
const TEST = ['--disable-warning=ExperimentalWarning', '--test-reporter=tap']
const TYPE_CHECK_MS = 120_000
/** The output of a test whose first failure ends it. */
const FAILURE = /^ *not ok /m

/** A copy of the files that git knows or would add, with the same `node_modules`. */
export class Sandbox {
  readonly folder = mkdtempSync(join(tmpdir(), 'longhaul-mutation-'))

  constructor(root: string) {
    const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
    for (const path of listed.split('\n').filter((path) => /^(?:lib|test|[^/]+$)/.test(path))) {
      cpSync(join(root, path), join(this.folder, path), { force: true, recursive: true, errorOnExist: false })
    }
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
  }

  /** Applies a mutant until the returned function is called. */
  apply(file: string, { start, end, replacement }: Mutant): () => void {
    const path = join(this.folder, file)
    const source = readFileSync(path, 'utf8')
    writeFileSync(path, source.slice(0, start) + replacement + source.slice(end))
    return () => writeFileSync(path, source)
  }

  /** The files of `lib` in which the types are not right. As exports say their types, a mutant's own file is where it shows. */
  async filesWithTypeErrors(): Promise<Set<string>> {
    const { text } = await this.#run(TYPE_CHECK, { timeoutMs: TYPE_CHECK_MS })
    return new Set(Array.from(text.matchAll(/^(lib\/[^(]+)\(/gm), ([, file]) => file!))
  }

  /** Runs a test file up to its first failure, or for so long. */
  async test(file: string, timeoutMs: number): Promise<Verdict> {
    return (await this.#run([...TEST, file], { timeoutMs })).verdict
  }

  /** Runs a test file of sources without a mutant; resolves with what it covers, `undefined` if it fails. */
  async cover(file: string, timeoutMs: number): Promise<Map<string, Set<number>> | undefined> {
    const coverage = join(this.folder, '.coverage')
    const { verdict } = await this.#run([...TEST, file], { timeoutMs, env: { ...process.env, NODE_V8_COVERAGE: coverage } })
    const lines = verdict === 'passed' ? coveredLines(coverage, this.folder) : undefined
    rmSync(coverage, { recursive: true, force: true })
    return lines
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20 })
  }

  /** Runs Node in a process group of its own, which is gone afterwards whatever it started. */
  async #run(
    args: readonly string[],
    { timeoutMs, env = process.env }: RunOptions,
  ): Promise<{ readonly verdict: Verdict; readonly text: string }> {
    const child = spawn(process.execPath, args, { cwd: this.folder, env, detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
    const group = -child.pid!
    let verdict: Verdict | undefined
    const end = (as?: Verdict): void => {
      verdict ??= as
      try {
        process.kill(group, 'SIGKILL')
      } catch {} // nothing of it is left
    }
    const timer = setTimeout(end, timeoutMs, 'hung')
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-64 * 1024)
      if (FAILURE.test(text)) end('failed')
    })
    const [code] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    end()
    return { verdict: verdict ?? (code === 0 ? 'passed' : 'failed'), text }
  }
}
