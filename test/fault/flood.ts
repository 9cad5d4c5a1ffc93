// SPDX-License-Identifier: MIT

/**
 * A server under a flood: what it costs, and what must be true of the server when it is over.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { temporaryFolder } from '../support/temporary.ts'
import type { Campaign, Toll } from './campaign.ts'
import { http2Courier } from './http2-client.ts'
import { PATH } from './ledger.ts'
import { send, type Answer, type Message } from './process-client.ts'
import { assertSettles, holdingsAtRest, type Holdings } from './process-holdings.ts'
import { compileLibrary, Subject, type ProgramOptions } from './subject.ts'

const OBSERVER = new URL('flood-observer.mjs', import.meta.url)
const HTTP2_SERVER = fileURLToPath(new URL('http2-server.mjs', import.meta.url))
const LAYER = fileURLToPath(new URL('file-layer.mjs', import.meta.url))
/** As `npm start` runs it; the other one lets the probe see what is really kept. */
const FLAGS = ['--max-semi-space-size=1', '--expose-gc']
export const MIB: number = 1024 * 1024
/** Times are judged by hand, in the table. These are for what is broken, on the busiest machine. */
const MAX_STALL_MS = 4000
const MAX_ANSWER_MS = 8000
const MAX_STOP_MS = 8000
/** What a process may have more of when it is at rest again: code that was compiled meanwhile, buffers of Node's pools. */
const MAX_KEPT_BYTES = 24 * MIB
const SETTLING_MS = 20_000
const POLL_MS = 250
/** How long a server must do next to nothing to have done everything. */
const QUIET_POLLS = 3
const QUIET_SHARE = 0.4
/** Of a process's clock in `/proc`. */
const TICKS_PER_SECOND = 100

const WARM_UP_TURNS = 20
const WARM_UP_BYTES = 100_000

/** A server that is going to be flooded. */
export interface Flooded {
  readonly server: Subject
  readonly port: number
  readonly directory: string
  readonly version: 1 | 2
}

/** Starts the program, or with `version` 2 a server of HTTP/2; with `slowDisk`, {@link slowDown} can make its disk slow. */
export async function startFlooded(t: TestContext, options: ProgramOptions & { readonly args?: readonly string[]; readonly version?: 1 | 2; readonly slowDisk?: boolean } = {}): Promise<Flooded> {
  const { args = [], version = 1, slowDisk = false, ...rest } = options
  let server: (Subject & { readonly port: number }) | undefined
  t.after(() => server?.kill()) // before its directory is removed
  const directory = temporaryFolder(t)
  const nodeFlags = slowDisk ? [...FLAGS, '--import', LAYER] : FLAGS
  const dist = await compileLibrary()
  const env = { ...options.env, FAULT_DIRECTORY: directory }
  server = version === 2
    ? await Subject.script(t, HTTP2_SERVER, dist, directory, ['60000'], nodeFlags, env)
    : await Subject.program(t, dist, directory, ['--download', ...args], { ...rest, nodeFlags, env })
  await server.start()
  return { server, port: server.port, directory, version }
}

/** Makes writes take so long from now on, of one upload or of all; resolves with how many were slow before. */
export function slowDown({ server }: Flooded, delayMs: number, path?: string): Promise<number> {
  const file = path?.slice(path.lastIndexOf('/') + 1)
  const faults = delayMs === 0 ? [] : ['write', 'writev'].map((operation) => ({ operation, skip: 0, kind: delayMs, lasts: true, file }))
  return new Promise((resolve) => {
    const onMessage = ({ injected }: { injected?: Record<string, number> }): void => {
      if (!injected) return
      server.process.off('message', onMessage)
      resolve(Object.values(injected).reduce((sum, count) => sum + count, 0))
    }
    server.process.on('message', onMessage)
    server.process.send({ faults })
  })
}

/** What a flood is given to know how the server fares. */
export interface Others {
  /** Resolves when a client outside the flood has come and gone so many times more. */
  readonly visits: (count: number) => Promise<void>
  /** Resolves when the server has hardly anything to do any more, or after so long. */
  readonly quiet: (atMostMs: number) => Promise<void>
}

/** What a flood has cost, and what answers others got. */
export interface Outcome {
  readonly toll: Toll
  readonly cpuMs: number
  readonly statuses: Readonly<Record<string, number>>
  readonly before: Holdings
  readonly keptBefore: number
}

/** Floods a server, and measures. */
export async function measure(flooded: Flooded, attack: (others: Others) => Promise<void>): Promise<Outcome> {
  const { server, port, version } = flooded
  const pid = server.process.pid!
  await warmUp(flooded)
  const before = await holdingsAtRest(server)
  const { rss, cpuMs, ...memory } = await server.inspect()
  const openAtRest = readdirSync(`/proc/${pid}/fd`).length
  writeFileSync(`/proc/${pid}/clear_refs`, '5') // the peak is that from here on

  const worker = new Worker(OBSERVER, { workerData: { port, pid, version }, execArgv: [] })
  const wakers = new Set<() => void>()
  const result = new Promise<{ descriptors: number; slowestAnswerMs: number; statuses: Record<string, number> }>((resolve, reject) => {
    worker.on('message', (message) => {
      if (message !== 'visited') return resolve(message)
      for (const wake of wakers) wake()
    })
    worker.on('error', reject)
  })
  const others: Others = {
    visits: async (count) => {
      for (let visit = 0; visit < count; visit++) {
        await Promise.race([server.exit, new Promise<void>((resolve) => wakers.add(resolve))])
        wakers.clear()
      }
    },
    quiet: (atMostMs) => becomesQuiet(pid, atMostMs),
  }
  try {
    await others.visits(1)
    await attack(others)
  } finally {
    worker.postMessage('stop')
  }
  const { descriptors, slowestAnswerMs, statuses } = await result
  if (server.process.exitCode !== null || server.process.signalCode !== null) {
    throw new Error(`The server ended with ${JSON.stringify(await server.exit)} ${[...server.alarms, server.errors].join('\n').slice(0, 2000)}`)
  }
  const peakBytes = 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  const after = await server.inspect()
  return {
    toll: {
      peakMemoryBytes: Math.max(0, peakBytes - rss), descriptors: Math.max(0, descriptors - openAtRest),
      stallMs: after.eventLoopDelayMs.max, slowestAnswerMs,
    },
    cpuMs: after.cpuMs - cpuMs, statuses, before, keptBefore: memory.heapUsed + memory.external,
  }
}

/** What a flood may cost. */
export interface Limits {
  readonly memoryMiB: number
  readonly descriptors: number
  /** Answers to others that count as good; by default those of success. */
  readonly statuses?: readonly string[]
  /** How many lines the server may write about failures. Default: none. */
  readonly errorLines?: number
  /** Besides what the disk takes. Default: 0. */
  readonly extraAnswerMs?: number
}

/** Reports a flood, and fails if it has cost too much, or if the server is not as it was, or does not end well. */
export async function judge({ t, report }: Campaign, flooded: Flooded, flood: { readonly name: string; readonly rounds: number; readonly outcome: Outcome; readonly limits: Limits }): Promise<void> {
  const { name, rounds, outcome, limits } = flood
  const { toll, cpuMs, statuses, before, keptBefore } = outcome
  const { server } = flooded
  t.diagnostic(`${name}: ${(toll.peakMemoryBytes / MIB).toFixed(0)} MiB, ${toll.descriptors} descriptors, stall ${toll.stallMs.toFixed(0)} ms, slowest answer ${toll.slowestAnswerMs.toFixed(0)} ms, ${cpuMs.toFixed(0)} ms of CPU; answers to others: ${JSON.stringify(statuses)}`)
  report({ fault: name, rounds, toll })
  try {
    assertBearable(outcome, limits)
    await assertSettles(server, before)
    await assertLetsGo(server, keptBefore)
    await assertEnds(flooded, limits.errorLines)
  } finally {
    await server.kill() // if it has not ended, it must not disturb what comes next
  }
}

function assertBearable({ toll, statuses }: Outcome, limits: Limits): void {
  assert.ok(toll.peakMemoryBytes < limits.memoryMiB * MIB, `It took ${Math.round(toll.peakMemoryBytes / MIB)} MiB, and may take ${limits.memoryMiB}`)
  assert.ok(toll.descriptors < limits.descriptors, `It took ${toll.descriptors} descriptors, and may take ${limits.descriptors}`)
  assert.ok(toll.stallMs < MAX_STALL_MS, `The event loop stood still for ${Math.round(toll.stallMs)} ms`)
  assert.ok(toll.slowestAnswerMs < MAX_ANSWER_MS + (limits.extraAnswerMs ?? 0), `Somebody else waited for ${Math.round(toll.slowestAnswerMs)} ms`)
  const good = limits.statuses ?? ['200', '201', '204']
  assert.deepEqual(Object.keys(statuses).filter((status) => !good.includes(status)), [], `Others were answered ${JSON.stringify(statuses)}`)
}

/** Does the same with each of several variants, and fails at the end if any did. */
export async function forAll<T>(variants: readonly T[], run: (variant: T) => Promise<void>): Promise<void> {
  const failures: Error[] = []
  for (const variant of variants) await run(variant).catch((error: Error) => failures.push(error))
  if (failures.length > 1) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
  if (failures.length === 1) throw failures[0]
}

/** Sees that the server ends by itself, soon, and has had nothing to complain about. */
export async function assertEnds({ server }: Flooded, errorLines = 0): Promise<void> {
  const { alarms } = await server.inspect()
  const stoppedAtMs = performance.now()
  assert.deepEqual(await server.stop(), { code: 0, signal: null }, server.errors.slice(0, 2000))
  const tookMs = performance.now() - stoppedAtMs
  assert.ok(tookMs < MAX_STOP_MS, `It took ${Math.round(tookMs)} ms to end`)
  assert.deepEqual([...alarms, ...server.alarms], [])
  const lines = server.errors.split('\n').length - 1
  assert.ok(lines <= errorLines, `It wrote ${lines} lines:\n${server.errors.slice(0, 2000)}`)
}

async function assertLetsGo(server: Subject, keptBefore: number): Promise<void> {
  const deadlineMs = performance.now() + SETTLING_MS
  for (;;) {
    const { heapUsed, external } = await server.inspect()
    const kept = heapUsed + external - keptBefore
    if (kept < MAX_KEPT_BYTES) return
    assert.ok(performance.now() < deadlineMs, `It keeps ${Math.round(kept / MIB)} MiB more than before`)
    await delay(POLL_MS)
  }
}

async function becomesQuiet(pid: number, atMostMs: number): Promise<void> {
  const cpuSeconds = (): number => {
    const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')
    const [user = 0, system = 0] = fields.split(' ').slice(11, 13).map(Number)
    return (user + system) / TICKS_PER_SECOND
  }
  const deadlineMs = performance.now() + atMostMs
  for (let quiet = 0; quiet < QUIET_POLLS && performance.now() < deadlineMs; ) {
    const [startMs, startSeconds] = [performance.now(), cpuSeconds()]
    await delay(POLL_MS)
    quiet = (cpuSeconds() - startSeconds) / ((performance.now() - startMs) / 1000) < QUIET_SHARE ? quiet + 1 : 0
  }
}

/** Makes an upload of zeros, of which so many are stored, and resolves with its path. */
export async function makeUpload(flooded: Flooded, length: number, options: { readonly stored?: number; readonly headers?: Message['headers'] } = {}): Promise<string> {
  const { stored = length, headers = {} } = options
  const body = stored === 0 ? {} : { body: { length: stored, take: (start: number, end: number) => Buffer.alloc(end - start) } }
  const type = stored === 0 ? {} : { 'Content-Type': 'application/offset+octet-stream' }
  const { status, headers: answered } = await ask(flooded, { method: 'POST', path: PATH, headers: { 'Upload-Length': length, ...type, ...headers }, ...body })
  assert.equal(status, 201)
  return answered.location!
}

/** Sends a request as a client does that is no part of the flood. */
export function ask({ port, version }: Pick<Flooded, 'port' | 'version'>, message: Message): Promise<Answer> {
  return version === 2 ? http2Courier(port)(message) : send(port, message)
}

/** Asks for a few things, so that what a server makes only once is made. */
async function warmUp(flooded: Flooded): Promise<void> {
  for (let turn = 0; turn < WARM_UP_TURNS; turn++) {
    const path = await makeUpload(flooded, WARM_UP_BYTES)
    assert.equal((await ask(flooded, { method: 'HEAD', path })).status, 200)
  }
}
