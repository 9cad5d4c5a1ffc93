// SPDX-License-Identifier: MIT

/**
 * A server that takes part in a benchmark: a process of its own, so that only its own CPU and memory
 * are counted, whatever its clients use.
 *
 * @module
 */

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Usage } from './servers/serve.ts'

/** What to start. */
export interface ContenderDescription {
  /** As tables and charts call it. */
  readonly name: string
  /** A file in `servers`, without its ending. */
  readonly program: string
  readonly words?: readonly string[] | undefined
  readonly execArgv?: readonly string[] | undefined
}

/** A server that listens, and its directory. */
export class Contender implements AsyncDisposable {
  readonly name: string
  readonly directory: string
  readonly port: number
  readonly process: ChildProcess

  private constructor(name: string, directory: string, port: number, process: ChildProcess) {
    this.name = name
    this.directory = directory
    this.port = port
    this.process = process
  }

  /** Starts it with an empty directory below `parent`. */
  static async start({ name, program, words = [], execArgv = [] }: ContenderDescription, parent: string): Promise<Contender> {
    const directory = mkdtempSync(join(parent, 'longhaul-bench-'))
    const path = fileURLToPath(new URL(`servers/${program}.js`, import.meta.url))
    const child = fork(path, [directory, ...words], { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    return new Contender(name, directory, port, child)
  }

  /** What its process used. */
  async usage(): Promise<Usage> {
    const answered = once(this.process, 'message') as Promise<[Usage]>
    this.process.send('usage')
    const [usage] = await answered
    return usage
  }

  /** CPU seconds of the server while `work` lasts. */
  async cpuSeconds(work: () => Promise<void>): Promise<number> {
    const before = await this.usage()
    await work()
    const after = await this.usage()
    return (after.cpuMs - before.cpuMs) / 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGKILL')
      await once(this.process, 'exit')
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
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
