// SPDX-License-Identifier: MIT

/**
 * Processes that serve while they are measured: a server of this benchmark, or a program as it ships.
 *
 * Design. A server of the benchmark has a channel, through which it tells its port and its CPU. A program that
 * ships has none, and gets none, as it would not be what ships any more. It writes where it listens into its log,
 * and the system knows its CPU. On Linux both figures come from the same clock of the scheduler.
 *
 * @module
 */

import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A process that listens. */
export interface ServerProcess {
  readonly child: ChildProcess
  readonly port: number
  /** Of all its threads since it started, in user and kernel mode. */
  readonly cpuMicroseconds: () => Promise<number>
}

/** A server of this benchmark. */
export interface ServerDescription {
  /** A file in `servers`, without its ending. */
  readonly program: string
  readonly words?: readonly string[] | undefined
  /** For Node itself. */
  readonly flags?: readonly string[] | undefined
}

/** A build of longhaul, run as `npm start` runs it there. */
export interface BuildDescription {
  /** Where `package.json` and `dist` are. */
  readonly root: string
  /** How many processes serve the directory; absent: one. */
  readonly processes?: number | undefined
}

/** Starts a server of this benchmark over a directory. */
export async function startServer({ program, words = [], flags = [] }: ServerDescription, directory: string): Promise<ServerProcess> {
  const path = fileURLToPath(new URL(`servers/${program}.js`, import.meta.url))
  const child = fork(path, [directory, ...words], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [...flags] })
  const failure = endWithUs(child)
  const [{ port }] = (await Promise.race([once(child, 'message'), failure])) as [{ port: number }]
  const cpuMicroseconds = async (): Promise<number> => {
    child.send('CPU?')
    const [{ user, system }] = (await Promise.race([once(child, 'message'), failure])) as [NodeJS.CpuUsage]
    return user + system
  }
  return { child, port, cpuMicroseconds }
}

/** Starts the program of a build over a directory, with its defaults; its log goes through a pipe that is read. */
export async function startProgram({ root }: BuildDescription, directory: string): Promise<ServerProcess> {
  const args = [...startCommandOf(root), '--dir', directory, '--port', '0']
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  const failure = endWithUs(child)
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([once(lines, 'line'), failure])) as [string]
  lines.close()
  child.stdout.resume()
  const port = Number(/:(\d+)\//.exec(line)?.[1])
  return { child, port, cpuMicroseconds: async () => threadsMicroseconds(child.pid as number) }
}

/** What stands behind `node` in the command of `npm start`. */
export function startCommandOf(root: string): readonly string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { start: string } }
  return scripts.start.replace(/^.*\bnode /, '').split(' ')
}

/** Ends it with the benchmark, whatever ends that; rejects when it has ended. */
async function endWithUs(child: ChildProcess): Promise<never> {
  const end = (): unknown => child.kill('SIGKILL')
  process.prependOnceListener('exit', end)
  const [code, signal] = await once(child, 'exit')
  process.off('exit', end)
  throw new Error(`A server ended while it was measured: ${code ?? signal}`)
}

/** The first figure of `schedstat` is what a thread ran for, in nanoseconds. Node ends no thread while it serves. */
function threadsMicroseconds(pid: number): number {
  const threads = `/proc/${pid}/task`
  return readdirSync(threads).reduce((sum, id) => sum + Number(readFileSync(`${threads}/${id}/schedstat`, 'utf8').split(' ')[0]) / 1000, 0)
}
