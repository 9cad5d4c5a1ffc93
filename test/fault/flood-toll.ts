// SPDX-License-Identifier: MIT

/**
 * What a flood costs, and what must be true of the server when it is over.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Campaign, Toll } from './campaign.ts'
import { ask, makeUpload, MIB, type Flooded } from './flood.ts'
import { assertSettles, holdingsAtRest, type Holdings } from './process-holdings.ts'
import type { Inspection, Subject } from './subject.ts'

const OBSERVER = new URL('flood-observer.mjs', import.meta.url)
/**
 * Times are judged by hand, in the table. These limits find what is broken, even on a busy
 * machine.
 */
const MAX_STALL_MS = 5000
const MAX_ANSWER_MS = 15_000
const MAX_STOP_MS = 8000
/** What a process may have more of when it is at rest again: compiled code, pooled buffers. */
const MAX_KEPT_BYTES = 24 * MIB
const SETTLING_MS = 20_000
const POLL_MS = 250
/** A server is quiet when it uses less than this share of a processor in so many polls. */
const QUIET_SHARE = 0.4
const QUIET_POLLS = 3
const WARM_UP_TURNS = 20
const WARM_UP_BYTES = 100_000
/** Of the clock of a process in `/proc`. */
const TICKS_PER_SECOND = 100
/** Of what a server complains about, in a message. */
const EXCERPT = 2000

/** How a flood knows that the server has had its share. */
export interface Others {
  /** Resolves when the well-behaved client has come and gone so many times more. */
  readonly visits: (count: number) => Promise<void>
  /** Resolves when the server has hardly anything to do any more, or after so long. */
  readonly quiet: (atMostMs: number) => Promise<void>
}

/** What a flood has cost. */
export interface Outcome {
  readonly toll: Toll
  readonly cpuMs: number
  /** How often the well-behaved client got each status, or an error. */
  readonly statuses: Readonly<Record<string, number>>
  /** What the server held at rest. */
  readonly before: Holdings
  readonly usedBefore: number
}

/** What the observer reports in the end. */
type Observation = Pick<Toll, 'descriptors' | 'slowestAnswerMs'> & Pick<Outcome, 'statuses'>

/** Floods a server, and measures. */
export async function measure(flooded: Flooded, attack: (others: Others) => Promise<void>): Promise<Outcome> {
  const { server } = flooded
  const pid = server.process.pid!
  await warmUp(flooded)
  const before = await holdingsAtRest(server)
  const atRest = await server.inspect() // the longest stall is that from here on
  writeFileSync(`/proc/${pid}/clear_refs`, '5') // and the peak of the memory

  const { observation, others, stop } = observe(flooded)
  try {
    await others.visits(1)
    await attack(others)
  } catch (cause) {
    await assertLives(server)
    throw cause
  } finally {
    stop()
  }
  const { descriptors, slowestAnswerMs, statuses } = await observation
  await assertLives(server)
  const peakKiB = Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  const after = await server.inspect()
  const toll: Toll = {
    peakMemoryBytes: Math.max(0, 1024 * peakKiB - atRest.rss),
    descriptors: Math.max(0, descriptors - atRest.descriptors.length),
    stallMs: after.eventLoopDelayMs.max,
    slowestAnswerMs,
  }
  return { toll, cpuMs: after.cpuMs - atRest.cpuMs, statuses, before, usedBefore: usedBytes(atRest) }
}

async function assertLives(server: Subject): Promise<void> {
  const { exitCode, signalCode } = server.process
  if (exitCode === null && signalCode === null) return
  throw new Error(`The server ended with ${JSON.stringify(await server.exit)}: ${complaintsOf(server)}`)
}

/** Starts the thread that watches. */
function observe({ server, port, version }: Flooded): {
  readonly observation: Promise<Observation>
  readonly others: Others
  readonly stop: () => void
} {
  const pid = server.process.pid!
  const worker = new Worker(OBSERVER, { workerData: { port, pid, version }, execArgv: [] })
  const waiting: (() => void)[] = []
  const observation = new Promise<Observation>((resolve, reject) => {
    worker.on('message', (message: 'visited' | Observation) => {
      if (message !== 'visited') return resolve(message)
      for (const wake of waiting.splice(0)) wake()
    })
    worker.on('error', reject)
  })
  const visits = async (count: number): Promise<void> => {
    for (let visit = 0; visit < count; visit++) {
      await Promise.race([server.exit, new Promise<void>((resolve) => waiting.push(resolve))])
    }
  }
  const quiet = (atMostMs: number): Promise<void> => becomesQuiet(pid, atMostMs)
  return { observation, others: { visits, quiet }, stop: () => worker.postMessage('stop') }
}

/** What a flood may cost. */
export interface Limits {
  readonly memoryMiB: number
  readonly descriptors: number
  /** What the well-behaved client may be answered. Default: success only. */
  readonly statuses?: readonly string[]
  /** How many lines the server may write about failures. Default: none. */
  readonly errorLines?: number
  /** How long an answer may take in addition, as the disk is slow. Default: 0. */
  readonly extraAnswerMs?: number
}

/** A flood that is over. */
export interface Flood {
  /** A few words, for the table. */
  readonly name: string
  readonly rounds: number
  readonly outcome: Outcome
  readonly limits: Limits
}

/**
 * Reports a flood. Fails if it has cost too much, if the server does not become as it was before,
 * or if it does not end well.
 */
export async function judge({ t, report }: Campaign, flooded: Flooded, flood: Flood): Promise<void> {
  const { server } = flooded
  const { name, rounds, outcome, limits } = flood
  const { toll, cpuMs, statuses, before, usedBefore } = outcome
  const costs = `${inMiB(toll.peakMemoryBytes)}, ${Math.round(cpuMs)} ms of CPU`
  t.diagnostic(`${name}: ${costs}; answers to others: ${JSON.stringify(statuses)}`)
  report({ fault: name, rounds, toll })
  try {
    assertBearable(outcome, limits)
    await assertSettles(server, before)
    await assertLetsGo(server, usedBefore)
    await assertEnds(flooded, limits.errorLines)
  } finally {
    await server.kill() // one that has not ended must not disturb the next
  }
}

function assertBearable({ toll, statuses }: Outcome, limits: Limits): void {
  const { peakMemoryBytes, descriptors, stallMs, slowestAnswerMs } = toll
  const { memoryMiB, extraAnswerMs = 0, statuses: good = ['200', '201', '204'] } = limits
  const excesses = [
    peakMemoryBytes > memoryMiB * MIB && `${inMiB(peakMemoryBytes)} of ${memoryMiB} MiB`,
    descriptors > limits.descriptors && `${descriptors} of ${limits.descriptors} descriptors`,
    stallMs > MAX_STALL_MS && `a stall of ${Math.round(stallMs)} ms`,
    slowestAnswerMs > MAX_ANSWER_MS + extraAnswerMs && `an answer to others after ${Math.round(slowestAnswerMs)} ms`,
    Object.keys(statuses).some((status) => !good.includes(status)) && `answers to others: ${JSON.stringify(statuses)}`,
  ]
  const all = excesses.filter((excess) => excess !== false)
  assert.equal(all.length, 0, `The flood took too much: ${all.join(', ')}`)
}

/** Checks that the server ends by itself, soon, and had nothing to complain about. */
export async function assertEnds({ server }: Flooded, errorLines = 0): Promise<void> {
  const { alarms } = await server.inspect()
  const stoppedAtMs = performance.now()
  assert.deepEqual(await server.stop(), { code: 0, signal: null }, complaintsOf(server))
  const tookMs = performance.now() - stoppedAtMs
  assert.ok(tookMs < MAX_STOP_MS, `It took ${Math.round(tookMs)} ms to end`)
  assert.deepEqual([...alarms, ...server.alarms], [])
  const lines = server.errors.split('\n').length - 1
  assert.ok(lines <= errorLines, `It wrote ${lines} lines: ${complaintsOf(server)}`)
}

async function assertLetsGo(server: Subject, usedBefore: number): Promise<void> {
  const deadlineMs = performance.now() + SETTLING_MS
  for (;;) {
    const kept = usedBytes(await server.inspect()) - usedBefore
    if (kept < MAX_KEPT_BYTES) return
    assert.ok(performance.now() < deadlineMs, `It keeps ${inMiB(kept)} more than before`)
    await delay(POLL_MS)
  }
}

async function becomesQuiet(pid: number, atMostMs: number): Promise<void> {
  const deadlineMs = performance.now() + atMostMs
  for (let quiet = 0; quiet < QUIET_POLLS && performance.now() < deadlineMs; ) {
    const [startMs, startCpuMs] = [performance.now(), cpuMsOf(pid)]
    await delay(POLL_MS)
    const share = (cpuMsOf(pid) - startCpuMs) / (performance.now() - startMs)
    quiet = share < QUIET_SHARE ? quiet + 1 : 0
  }
}

/**
 * What the process has used of processors. It cannot be asked itself, as it may be too busy to
 * answer.
 */
function cpuMsOf(pid: number): number {
  const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')
  const [user = 0, system = 0] = fields.split(' ').slice(11, 13).map(Number)
  return (user + system) * (1000 / TICKS_PER_SECOND)
}

/** Asks for a few things, so that what a server makes only once is made. */
async function warmUp(flooded: Flooded): Promise<void> {
  for (let turn = 0; turn < WARM_UP_TURNS; turn++) {
    const path = await makeUpload(flooded, WARM_UP_BYTES)
    assert.equal((await ask(flooded, { method: 'HEAD', path })).status, 200)
  }
}

function usedBytes({ heapUsed, external }: Inspection): number {
  return heapUsed + external
}

function complaintsOf({ alarms, errors }: Subject): string {
  return [...alarms, errors].join('\n').slice(0, EXCERPT)
}

export function inMiB(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`
}
