// SPDX-License-Identifier: MIT

/**
 * The program under attack: compiled, in a process of its own, at a port that it keeps, however often
 * it is killed.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ROOT } from '../support/examples.ts'

const PROBE = fileURLToPath(new URL('probe.mjs', import.meta.url))

const NODE = Number(process.versions.node.split('.')[0])

/** Set by `run.ts --confined`: every program runs as {@link confinement} says. */
const CONFINED = process.env['FAULT_CONFINED'] !== undefined

/** What a process says of itself; see `probe.mjs`. */
export interface Inspection {
  /** Warnings of Node. */
  readonly alarms: readonly string[]
  /** What each open descriptor points to. */
  readonly descriptors: readonly string[]
  /** What keeps the process alive, by kind. */
  readonly resources: Readonly<Record<string, number>>
  readonly signalListeners: number
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly cpuMs: number
  /** What it could do if it wanted to. */
  readonly abilities: Readonly<Record<'readAnything' | 'writeAnything' | 'startProcesses' | 'makeCode' | 'changePrototypes', boolean>>
  /** Since it was last asked. */
  readonly eventLoopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number }
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

let compiled: Promise<string> | undefined

/** Compiles `lib`, once for all tests of a process, and resolves with the folder, which is gone when the process is. */
export function compileLibrary(): Promise<string> {
  return (compiled ??= compile())
}

async function compile(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-dist-'))
  process.on('exit', () => rmSync(folder, { recursive: true }))
  // what the program reads
  for (const path of ['package.json', 'lib/page']) cpSync(join(ROOT, path), join(folder, path), { recursive: true })
  await promisify(execFile)(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', ROOT, '--outDir', join(folder, 'dist')])
  return join(folder, 'dist')
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/**
 * What Node is told so that a process may read its code, read and write the directory, listen, and nothing
 * else. The probe adds what it looks at: the descriptors of its own process.
 */
export function confinement(dist: string, directory: string): string[] {
  const readable = [dirname(dist), dirname(PROBE), '/proc/self/fd', directory]
  return [
    NODE < 22 ? '--experimental-permission' : '--permission',
    ...readable.map((path) => `--allow-fs-read=${path}`),
    `--allow-fs-write=${directory}`,
    ...(NODE < 25 ? [] : ['--allow-net']),
    // Not `throw`: with that, one header called `__proto__` ends any server of Node.
    '--frozen-intrinsics', '--disable-proto=delete', '--disallow-code-generation-from-strings',
    '--disable-warning=ExperimentalWarning',
  ]
}

const FLUSH = "require('node:fs/promises').open(process.execPath).then((file) => file.sync())"

/** Whether a confined program may flush its files: not on 26, nor on the late releases of 24. */
export const FLUSHES_CONFINED: boolean =
  spawnSync(process.execPath, [NODE < 22 ? '--experimental-permission' : '--permission', '--allow-fs-read=*', '--eval', FLUSH]).status === 0

/** What the program cannot do when it is confined: Node lets it make no symbolic links, and may let it flush nothing. */
export const CONFINED_ARGS: readonly string[] = ['--lock', 'memory', ...(FLUSHES_CONFINED ? [] : ['--sync', 'none'])]

/** The names in the folder of the locks; none where there is no such folder, because the locks are in memory. */
export function locksIn(directory: string): string[] {
  const folder = join(directory, '.locks')
  return existsSync(folder) ? readdirSync(folder) : []
}

/** The same, once none lingers any more that nobody holds; what is left after ten seconds stays. */
export async function locksAtRest(directory: string): Promise<string[]> {
  const deadlineMs = performance.now() + 10_000
  while (locksIn(directory).some((name) => name.endsWith('.lock')) && performance.now() < deadlineMs) await delay(50)
  return locksIn(directory)
}

/** How many programs may share a directory: those that are confined cannot. */
export const MAX_PROGRAMS: number = CONFINED ? 1 : 3

/** What {@link Subject} runs. */
export interface SubjectOptions {
  /** The script, such as `cli/main.js` of the compiled library. */
  readonly script: string
  readonly args: readonly string[]
  readonly nodeFlags?: readonly string[] | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  /** A folder that must be there before Node starts, as what is confined may use only what is there. */
  readonly folder?: string | undefined
  /** The limit of its descriptors. Default: ours. */
  readonly maxDescriptors?: number | undefined
}

/** What {@link Subject.program} runs it with. */
export interface ProgramOptions {
  readonly nodeFlags?: readonly string[] | undefined
  /** On top of our own environment. */
  readonly env?: NodeJS.ProcessEnv | undefined
  /** Whether it is confined. Default: as the whole run. */
  readonly confined?: boolean | undefined
  readonly maxDescriptors?: number | undefined
}

/** A process that is attacked. It must say that it is listening in its first line. */
export class Subject {
  readonly #options: SubjectOptions
  #process: ChildProcess | undefined
  #exit: Promise<Exit> = Promise.resolve({ code: 0, signal: null })
  /** What must never happen: uncaught exceptions, unhandled rejections. */
  readonly alarms: string[] = []
  /** What it wrote to stderr. */
  errors = ''

  constructor(t: TestContext, options: SubjectOptions) {
    this.#options = options
    t.after(() => this.#process?.kill('SIGKILL'))
  }

  /** The program on a directory, at a port of its own. */
  static async program(
    t: TestContext,
    dist: string,
    directory: string,
    args: readonly string[] = [],
    options: ProgramOptions = {},
  ): Promise<Subject & { readonly port: number }> {
    const { nodeFlags = [], env, confined = CONFINED, maxDescriptors } = options
    const port = await freePort()
    const subject = new Subject(t, {
      script: join(dist, 'cli', 'main.js'),
      args: ['--dir', directory, '--port', String(port), '--allowed-host', '*', ...args, ...(confined ? CONFINED_ARGS : [])],
      nodeFlags: [...(confined ? confinement(dist, directory) : []), ...nodeFlags],
      env: { ...process.env, ...env },
      folder: confined ? directory : undefined,
      maxDescriptors,
    })
    return Object.assign(subject, { port })
  }

  /** A script that serves a directory with the library: `node script DIST DIRECTORY PORT …`. */
  static async script(
    t: TestContext,
    script: string,
    dist: string,
    directory: string,
    args: readonly string[],
    nodeFlags: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
  ): Promise<Subject & { readonly port: number }> {
    const port = await freePort()
    const flags = [...(CONFINED ? confinement(dist, directory) : []), ...nodeFlags]
    const options = { script, args: [dist, directory, String(port), ...args], nodeFlags: flags, env: { ...process.env, ...env } }
    return Object.assign(new Subject(t, options), { port })
  }

  get process(): ChildProcess {
    return this.#process!
  }

  /** Resolves when the process that was last started has ended. */
  get exit(): Promise<Exit> {
    return this.#exit
  }

  async start(): Promise<void> {
    const { script, args, nodeFlags = [], env, folder, maxDescriptors } = this.#options
    if (folder !== undefined) mkdirSync(folder, { recursive: true })
    const { NODE_V8_COVERAGE: _, ...inherited } = env ?? process.env // what is compiled and killed covers nothing
    const words = [process.execPath, '--import', PROBE, ...nodeFlags, script, ...args]
    const limited = ['sh', '-c', `ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...words]
    const [command = '', ...rest] = maxDescriptors === undefined ? words : limited
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: inherited })
    this.#process = child
    this.#exit = once(child, 'exit').then(([code, signal]) => ({ code, signal }) as Exit)
    child.on('message', (message: { alarm?: string }) => {
      if (message.alarm !== undefined) this.alarms.push(message.alarm)
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.errors += text))
    const [line] = await Promise.race([once(createInterface({ input: child.stdout! }), 'line'), this.#exit.then(() => ['it ended'])])
    assert.match(String(line), /listening/, this.errors)
  }

  async kill(): Promise<void> {
    this.#process!.kill('SIGKILL')
    await this.#exit
  }

  /** Ends it as an operator would. */
  async stop(): Promise<Exit> {
    this.#process!.kill('SIGTERM')
    return this.#exit
  }

  async inspect(): Promise<Inspection> {
    const child = this.#process!
    const answer = new Promise<Inspection>((resolve, reject) => {
      const onMessage = (message: { inspection?: Inspection }): void => {
        if (!message.inspection) return
        child.off('message', onMessage)
        resolve(message.inspection)
      }
      child.on('message', onMessage)
      void this.#exit.then(() => reject(new Error('The process ended instead of telling what it holds')))
    })
    child.send('inspect')
    return answer
  }
}
