// SPDX-License-Identifier: MIT

/**
 * Very many clients at once, slow ones and quick ones, and a SIGTERM while all of them are uploading.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { temporaryFolder } from '../support/temporary.ts'
import { campaign, type Row } from './campaign.ts'
import { Ledger, type Entry } from './ledger.ts'
import { Trickler } from './load-trickler.ts'
import { finish, forEachOf, hear, patch, send } from './process-client.ts'
import { assertSettles, holdingsAtRest, type Holdings } from './process-holdings.ts'
import type { Random } from './random.ts'
import { compileLibrary, locksIn, Subject, type Exit } from './subject.ts'

const KIB = 1024
/** Each slow client sends a piece a second; a tenth of them do at each tick. */
const TICK_MS = 100
const GROUPS = 10
const SLOW_BYTES = 64 * KIB
/** For how many ticks all of them upload before the signal comes, at least and at most. */
const MIN_TICKS = 50
const MAX_TICKS = 100
/** More would mean that something is kept that need not be; what is really needed is a small part of it. */
const MAX_CONNECTION_BYTES = 200 * KIB
const MIN_QUICK_BYTES = 1024 * KIB
const MAX_QUICK_BYTES = 2048 * KIB
/** More than any of its clients gets to send. */
const ENDLESS_BYTES = 1024 ** 3
/** How many clients connect, or come back, side by side. */
const CONCURRENCY = 50

campaign(
  'many slow clients cost little each, and SIGTERM in the middle loses nothing of any',
  { short: 300, long: 5000 },
  async ({ t, random, rounds, report }) => {
    const directory = temporaryFolder(t)
    const { subject, port } = await startProgram(t, directory)
    const ledger = new Ledger()
    await warmUp(port, ledger)
    const before = await holdingsAtRest(subject)
    const { rss } = await subject.inspect()

    const tricklers: Trickler[] = []
    let ticks = 0
    const timer = setInterval(() => {
      ticks++
      for (let index = ticks % GROUPS; index < tricklers.length; index += GROUPS) tricklers[index]!.tick()
    }, TICK_MS)
    t.after(() => {
      clearInterval(timer)
      for (const trickler of tricklers) trickler.destroy()
    })
    const answers: Promise<number | undefined>[] = []
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async (_, index) => {
      const trickler = await Trickler.begin(port, ledger, SLOW_BYTES, `slow ${index}`, random.fork(index))
      tricklers.push(trickler)
      answers.push(trickler.run().then((answer) => answer?.status))
    })

    await subject.inspect() // the delay is measured from here on
    const lastTick = ticks + random.integer(MIN_TICKS, MAX_TICKS)
    while (ticks < lastTick) await delay(TICK_MS)
    const { rss: rssUnderLoad, eventLoopDelayMs } = await subject.inspect()
    const connectionBytes = Math.max(0, rssUnderLoad - rss) / rounds
    t.diagnostic(`${rounds} connections: ${(connectionBytes / KIB).toFixed(1)} KiB each, event-loop delay p99 ${eventLoopDelayMs.p99.toFixed(1)} ms, max ${eventLoopDelayMs.max.toFixed(1)} ms`)
    if (rounds >= 100) assert.ok(connectionBytes < MAX_CONNECTION_BYTES, `A connection takes ${connectionBytes} bytes`)

    subject.process.kill('SIGSTOP') // so that it is the system that holds something of each when the signal comes
    for (const trickler of tricklers) trickler.tick()
    const requestsBefore = tricklers.map(({ requests }) => requests)
    const sentBefore = ledger.entries.map(({ sent }) => sent)
    const stoppedAtMs = performance.now()
    const exit = subject.stop()
    subject.process.kill('SIGCONT')
    assert.deepEqual(await exit, { code: 0, signal: null }, subject.errors)
    t.diagnostic(`stopped within ${Math.round(performance.now() - stoppedAtMs)} ms`)
    clearInterval(timer)
    for (const [index, status] of (await Promise.all(answers)).entries()) {
      const late = tricklers[index]!.requests > requestsBefore[index]! // and its connection may have been closed by then
      assert.ok(status === 503 || status === 204 || (late && status === undefined), `A client was answered ${status}`)
    }
    for (const [index, { id, path }] of ledger.entries.entries()) {
      const { size } = statSync(join(directory, id))
      assert.ok(size >= sentBefore[index]!, `${path} has ${size} bytes, and ${sentBefore[index]} had come before the signal`)
    }
    const losses = await resumeAndAudit({ subject, port, directory, ledger, before })
    report({ fault: `SIGTERM under ${rounds.toLocaleString('en')} slow connections`, rounds: 1, ...losses })
  },
)

campaign(
  'SIGTERM while uploads come at full speed loses nothing of any',
  { short: 60, long: 500 },
  async ({ t, random, rounds, report }) => {
    const directory = temporaryFolder(t)
    const { subject, port } = await startProgram(t, directory)
    const ledger = new Ledger()
    await warmUp(port, ledger)
    const before = await holdingsAtRest(subject)

    const lengths = Array.from({ length: rounds }, () => random.integer(MIN_QUICK_BYTES, MAX_QUICK_BYTES))
    await forEachOf(lengths, CONCURRENCY, (length, index) => createUpload(port, ledger, length, `quick ${index}`))
    const totalBytes = lengths.reduce((total, length) => total + length, 0)
    await stopUnderLoad({
      t,
      subject,
      port,
      directory,
      entries: ledger.entries.slice(1),
      enoughBytes: totalBytes * (0.1 + 0.6 * random.next()),
      random,
    })
    const losses = await resumeAndAudit({ subject, port, directory, ledger, before })
    report({ fault: `SIGTERM under ${rounds.toLocaleString('en')} quick uploads`, rounds: 1, ...losses })
  },
)

campaign(
  'SIGTERM ends a program soon, though its clients would send at full speed forever',
  { short: 40, long: 200 },
  async ({ t, random, rounds, report }) => {
    const directory = temporaryFolder(t)
    const { subject, port } = await startProgram(t, directory)
    const ledger = new Ledger()
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, (_, index) =>
      createUpload(port, ledger, ENDLESS_BYTES, `endless ${index}`),
    )
    const { answered } = await stopUnderLoad({
      t,
      subject,
      port,
      directory,
      entries: ledger.entries,
      enoughBytes: rounds * MIN_QUICK_BYTES,
      random,
    })
    assert.ok(answered > rounds / 2, `${answered} of ${rounds} clients were told that the program stops`)
    assertTidy(directory)

    await subject.start()
    await forEachOf(ledger.entries, CONCURRENCY, async (entry) => {
      const told = hear(entry, entry.acknowledged, await send(port, { method: 'HEAD', path: entry.path }))
      assert.equal(told, statSync(join(directory, entry.id)).size)
    })
    assert.deepEqual(await subject.stop(), { code: 0, signal: null })
    assert.deepEqual({ alarms: subject.alarms, errors: subject.errors }, { alarms: [], errors: '' })
    const { acknowledgedBytes, lostBytes } = ledger.audit(directory)
    report({ fault: `SIGTERM under ${rounds.toLocaleString('en')} endless uploads`, rounds: 1, acknowledgedBytes, lostBytes })
  },
)

interface Attack {
  readonly t: TestContext
  readonly subject: Subject
  readonly port: number
  readonly directory: string
  readonly entries: readonly Entry[]
  /** How many have to be sent before the signal comes. */
  readonly enoughBytes: number
  readonly random: Random
}

/** Uploads all at once, and stops the program when some of each is stored and enough was sent; tells how many clients were told so. */
async function stopUnderLoad({
  t,
  subject,
  port,
  directory,
  entries,
  enoughBytes,
  random,
}: Attack): Promise<{ readonly answered: number }> {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  let sentBytes = 0
  let stoppedAtMs = 0
  let exit: Promise<Exit> | undefined
  const onSent = async (bytes: number, pauseMs: number): Promise<void> => {
    sentBytes += bytes
    await opened // the first piece of each comes before the second of any
    if (sentBytes >= enoughBytes && !exit) {
      stoppedAtMs = performance.now()
      exit = subject.stop()
    }
    if (pauseMs > 0) await delay(pauseMs)
  }
  const answers = entries.map(async (entry) => {
    const pauseMs = random.pick([0, 0, 5, 50]) // at full speed, the system takes all of a small upload at once
    try {
      const answer = await send(port, { ...patch(entry, 0, entry.length), onSent: (bytes) => onSent(bytes, pauseMs) })
      if (answer.status === 204) hear(entry, 0, answer)
      return answer.status
    } catch {
      return undefined // cut: a client that is busy sending may not get to read
    }
  })
  while (!entries.every(({ id }) => statSync(join(directory, id)).size > 0)) await delay(TICK_MS)
  open()
  const statuses = await Promise.all(answers)
  assert.deepEqual(await exit, { code: 0, signal: null }, subject.errors)
  const tookMs = performance.now() - stoppedAtMs
  const count = (status: number | undefined): number => statuses.filter((each) => each === status).length
  assert.equal(count(204) + count(503) + count(undefined), statuses.length, `Answers: ${statuses}`)
  t.diagnostic(`${entries.length} uploads: ${count(204)} were complete, ${count(503)} were answered 503, ${count(undefined)} were cut; stopped within ${Math.round(tookMs)} ms`)
  return { answered: count(503) }
}

/** The program as `npm start` runs it. */
async function startProgram(t: TestContext, directory: string): Promise<{ readonly subject: Subject; readonly port: number }> {
  const dist = await compileLibrary()
  const subject = await Subject.program(t, dist, directory, [], { nodeFlags: ['--max-semi-space-size=1'] })
  await subject.start()
  return { subject, port: subject.port }
}

async function createUpload(port: number, ledger: Ledger, length: number, key: string): Promise<void> {
  const { status, headers } = await send(port, { method: 'POST', path: '/files/', headers: { 'Upload-Length': length } })
  assert.equal(status, 201)
  ledger.created(headers.location!, length, key)
}

/** Uploads something, so that what a program makes only once is made. */
async function warmUp(port: number, ledger: Ledger): Promise<void> {
  await createUpload(port, ledger, 100 * KIB, 'warm-up')
  await finish(port, ledger.entries[0]!)
}

/** A program that has stopped leaves nothing behind but uploads. */
function assertTidy(directory: string): void {
  assert.deepEqual(readdirSync(directory).filter((name) => name.endsWith('.tmp')), [])
  assert.deepEqual(locksIn(directory), [])
}

/** A program that was stopped, and what its directory and its clients know. */
interface Stopped {
  readonly subject: Subject
  readonly port: number
  readonly directory: string
  readonly ledger: Ledger
  /** What it held at rest, before the load. */
  readonly before: Holdings
}

/** Starts the program again, has every client finish, and stops it for good; returns what was acknowledged and is lost at either stop. */
async function resumeAndAudit({
  subject,
  port,
  directory,
  ledger,
  before,
}: Stopped): Promise<Required<Pick<Row, 'acknowledgedBytes' | 'lostBytes'>>> {
  assertTidy(directory)
  const { lostBytes } = ledger.audit(directory)
  await subject.start()
  await forEachOf(ledger.entries, CONCURRENCY, (entry) => finish(port, entry))
  await assertSettles(subject, before)
  await assertEndsWell(subject, directory, ledger)
  const { acknowledgedBytes, lostBytes: lostLater } = ledger.audit(directory)
  return { acknowledgedBytes, lostBytes: lostBytes + lostLater }
}

async function assertEndsWell(subject: Subject, directory: string, ledger: Ledger): Promise<void> {
  assert.deepEqual(await subject.stop(), { code: 0, signal: null })
  for (const { id, length } of ledger.entries) assert.equal(statSync(join(directory, id)).size, length)
  assertTidy(directory)
  assert.deepEqual({ alarms: subject.alarms, errors: subject.errors }, { alarms: [], errors: '' })
}
