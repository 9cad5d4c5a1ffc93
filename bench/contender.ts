// SPDX-License-Identifier: MIT

/**
 * A server that takes part in a benchmark: a process of its own, so that only its own CPU
 * is counted, whatever its clients use.
 *
 * @module
 */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What to start. */
export interface ContenderDescription {
  /** As tables and charts call it. */
  readonly name: string
  /** A file in `servers`, without its ending. */
  readonly program: string
  readonly words?: readonly string[] | undefined
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
  static async start({ name, program, words = [] }: ContenderDescription, parent: string): Promise<Contender> {
    const directory = mkdtempSync(join(parent, 'longhaul-bench-'))
    const path = fileURLToPath(new URL(`servers/${program}.js`, import.meta.url))
    const child = fork(path, [directory, ...words], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
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

  /** Empties its directory. */
  clear(): void {
    for (const name of readdirSync(this.directory)) rmSync(join(this.directory, name), { recursive: true })
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
export async function withContenders<T>(descriptions: readonly ContenderDescription[], directory: string, work: (contenders: readonly Contender[]) => Promise<T>): Promise<T> {
  const contenders: Contender[] = []
  try {
    for (const description of descriptions) contenders.push(await Contender.start(description, directory))
    return await work(contenders)
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]()
  }
}
