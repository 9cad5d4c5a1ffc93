// SPDX-License-Identifier: MIT

/**
 * A server that takes part in a benchmark: a process of its own, so that only its own CPU
 * is counted, whatever its clients use.
 *
 * @module
 */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** What to start. */
export interface ContenderDescription {
  /** As tables and charts call it. */
  readonly name: string
  /** A file in `servers`, without its ending. */
  readonly program: string
  readonly words?: readonly string[] | undefined
  /** For Node itself. */
  readonly flags?: readonly string[] | undefined
}

/** A server that listens, and its directory. */
export class Contender implements AsyncDisposable {
  readonly name: string
  readonly directory: string
  readonly port: number
  readonly #process: ChildProcess
  /** Rejects when the process ends. */
  readonly #failure: Promise<never>

  private constructor(name: string, directory: string, port: number, process: ChildProcess, failure: Promise<never>) {
    this.name = name
    this.directory = directory
    this.port = port
    this.#process = process
    this.#failure = failure
  }

  /** Starts it with an empty directory below `parent`. */
  static async start({ name, program, words = [], flags = [] }: ContenderDescription, parent: string): Promise<Contender> {
    const directory = mkdtempSync(join(parent, 'longhaul-bench-'))
    const path = fileURLToPath(new URL(`servers/${program}.js`, import.meta.url))
    const child = fork(path, [directory, ...words], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [...flags] })
    const end = (): unknown => child.kill('SIGKILL') // with the benchmark, whatever ends it
    process.prependOnceListener('exit', end)
    child.once('exit', () => process.off('exit', end))
    const failure = endOf(child)
    const [{ port }] = (await Promise.race([once(child, 'message'), failure])) as [{ port: number }]
    return new Contender(name, directory, port, child, failure)
  }

  /** CPU seconds of the server while `work` lasts. */
  async cpuSeconds(work: () => Promise<void>): Promise<number> {
    const before = await this.#cpuMicroseconds()
    await work()
    return ((await this.#cpuMicroseconds()) - before) / 1e6
  }

  /** Of all threads of its process, in user and kernel mode. */
  async #cpuMicroseconds(): Promise<number> {
    this.#process.send('CPU?')
    const [{ user, system }] = (await Promise.race([once(this.#process, 'message'), this.#failure])) as [NodeJS.CpuUsage]
    return user + system
  }

  /** What its process has in memory, in KiB. */
  residentKib(): number {
    const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1])
  }

  /** Sends SIGTERM, and resolves with the seconds until the process ended. One that has not after `capMs` is killed. */
  async terminate(capMs: number): Promise<number> {
    const startMs = performance.now()
    const exit = once(this.#process, 'exit')
    const cap = new AbortController()
    this.#process.kill('SIGTERM')
    await Promise.race([exit, delay(capMs, undefined, { signal: cap.signal }).catch(() => {})])
    cap.abort()
    if (this.#process.kill('SIGKILL')) await exit
    return (performance.now() - startMs) / 1000
  }

  /** Empties its directory; a hidden folder, of locks, stays. */
  clear(): void {
    for (const name of readdirSync(this.directory).filter((name) => !name.startsWith('.'))) {
      rmSync(join(this.directory, name), { recursive: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGKILL')
      await once(this.#process, 'exit')
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Rejects when the process ends. */
async function endOf(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, 'exit')
  throw new Error(`A server ended while it was measured: ${code ?? signal}`)
}

/** Starts them all, and ends them when the work is done. */
export async function withContenders<T>(
  descriptions: readonly ContenderDescription[],
  directory: string,
  work: (contenders: readonly Contender[]) => Promise<T>,
): Promise<T> {
  const contenders: Contender[] = []
  try {
    for (const description of descriptions) contenders.push(await Contender.start(description, directory))
    return await work(contenders)
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]()
  }
}

/** Starts one that is needed for one turn only, as it ends in it or has to be fresh. */
export function withContender<T>(
  description: ContenderDescription,
  directory: string,
  work: (contender: Contender) => Promise<T>,
): Promise<T> {
  return withContenders([description], directory, ([contender]) => work(contender as Contender))
}
