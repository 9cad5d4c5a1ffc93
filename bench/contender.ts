// SPDX-License-Identifier: MIT

/**
 * A server that takes part in a benchmark: a process of its own, so that only its own CPU
 * is counted, whatever its clients use.
 *
 * @module
 */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startProgram, startServer, type BuildDescription, type ServerDescription, type ServerProcess } from './server-process.ts'

/** What to start, under a name. */
export type ContenderDescription = (ServerDescription | BuildDescription) & {
  /** As tables and charts call it. */
  readonly name: string
}

/** A server that listens, and its directory. It is one process, unless its description says more. */
export class Contender implements AsyncDisposable {
  readonly name: string
  readonly directory: string
  /** Of each process. */
  readonly ports: readonly number[]
  readonly #processes: readonly ServerProcess[]

  private constructor(name: string, directory: string, processes: readonly ServerProcess[]) {
    this.name = name
    this.directory = directory
    this.ports = processes.map(({ port }) => port)
    this.#processes = processes
  }

  /** Starts it with an empty directory below `parent`. */
  static async start(description: ContenderDescription, parent: string): Promise<Contender> {
    const directory = mkdtempSync(join(parent, 'longhaul-bench-'))
    if ('program' in description) return new Contender(description.name, directory, [await startServer(description, directory)])
    const processes: ServerProcess[] = []
    while (processes.length < (description.processes ?? 1)) processes.push(await startProgram(description, directory))
    return new Contender(description.name, directory, processes)
  }

  /** Of its only process, or of the first. */
  get port(): number {
    return this.ports[0] as number
  }

  /** CPU seconds of the server while `work` lasts. */
  async cpuSeconds(work: () => Promise<void>): Promise<number> {
    const before = await this.#cpuMicroseconds()
    await work()
    return ((await this.#cpuMicroseconds()) - before) / 1e6
  }

  async #cpuMicroseconds(): Promise<number> {
    const figures = await Promise.all(this.#processes.map(({ cpuMicroseconds }) => cpuMicroseconds()))
    return figures.reduce((sum, figure) => sum + figure, 0)
  }

  /** What its processes have in memory, in KiB. */
  residentKib(): number {
    const statuses = this.#processes.map(({ child }) => readFileSync(`/proc/${child.pid}/status`, 'utf8'))
    return statuses.reduce((sum, status) => sum + Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]), 0)
  }

  /** Sends SIGTERM, and resolves with the seconds until the process ended. One that has not after `capMs` is killed. */
  async terminate(capMs: number): Promise<number> {
    const startMs = performance.now()
    await Promise.all(this.#processes.map(({ child }) => endOf(child, capMs)))
    return (performance.now() - startMs) / 1000
  }

  /** Empties its directory; a hidden folder, of locks, stays. */
  clear(): void {
    for (const name of readdirSync(this.directory).filter((name) => !name.startsWith('.'))) {
      rmSync(join(this.directory, name), { recursive: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#processes.filter(({ child }) => child.exitCode === null && child.signalCode === null)
    for (const { child } of running) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Resolves when a process that gets SIGTERM has ended, or was killed after so long. */
async function endOf(child: ChildProcess, capMs: number): Promise<void> {
  const exit = once(child, 'exit')
  const cap = new AbortController()
  child.kill('SIGTERM')
  await Promise.race([exit, delay(capMs, undefined, { signal: cap.signal }).catch(() => {})])
  cap.abort()
  if (child.kill('SIGKILL')) await exit
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
