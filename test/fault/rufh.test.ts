// SPDX-License-Identifier: MIT

/**
 * Resumable Uploads for HTTP, while clients close and reset their connections and an operator kills and
 * stops the server: what was told is there, what is there was sent, and what was said to be complete stays so.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { begin, I8, type Exchange, type Head, type Version } from '../rufh/support.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'
import { campaign } from './campaign.ts'
import { PATH } from './ledger.ts'
import { forEachOf } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { appendHeaders, finishParcel, offsetOf, RufhClient, type Cuts, type Stage } from './rufh-client.ts'
import { litterIn, Parcel, Parcels } from './rufh-parcels.ts'
import { compileLibrary, locksIn, Subject } from './subject.ts'

type Fault = 'SIGKILL' | 'SIGTERM'
type Server = Subject & { readonly port: number }

/** What serves a directory for an era: the program, which tells of progress each second, or an application, which always does. */
const SERVERS = ['application', 'program', 'application over HTTP/2'] as const
/** What an era brings, in an order that chance decides. */
const FAULTS: readonly Fault[] = ['SIGKILL', 'SIGTERM', 'SIGKILL']
const SYNCS = ['none', 'append', 'finish'] as const
const SCRIPT = fileURLToPath(new URL('rufh-server.mjs', import.meta.url))
const CLIENTS = 12
/** The longest time between two faults, in milliseconds. */
const MAX_PEACE_MS = 800

campaign(
  'clients that leave and servers that are killed and stopped lose nothing of resumable uploads, nor what was answered',
  { short: 3, long: 360 },
  async ({ t, random, rounds, report }) => {
    const first = random.integer(0, SERVERS.length * SYNCS.length - 1) // so that a short form has each of them now and then
    const dist = await compileLibrary()
    const stakes = new Map<string, Cuts>()
    const statuses = new Map<string, number>()
    for (let done = 0, era = first; done < rounds; done += FAULTS.length, era++) {
      await runEra(t, {
        dist, stakes, statuses,
        random: random.fork(era),
        faults: shuffle(FAULTS.slice(0, rounds - done), random),
        server: SERVERS[era % SERVERS.length]!,
        sync: SYNCS[(era + Math.floor(era / SERVERS.length)) % SYNCS.length]!,
      })
    }
    t.diagnostic(`answers: ${Array.from(statuses, ([status, count]) => `${status} ${count}`).sort().join(', ')}`)
    for (const [fault, stake] of stakes) report({ fault: `${fault} (RUFH)`, ...stake })
  },
)

interface Era {
  readonly dist: string
  readonly stakes: Map<string, Cuts>
  readonly statuses: Map<string, number>
  readonly random: Random
  readonly faults: readonly Fault[]
  readonly server: (typeof SERVERS)[number]
  readonly sync: (typeof SYNCS)[number]
}

/** The life of a directory. */
async function runEra(t: TestContext, era: Era): Promise<void> {
  const { dist, stakes, statuses, random, faults, sync } = era
  const directory = temporaryFolder(t)
  const version: Version = era.server === 'application over HTTP/2' ? 'HTTP/2' : 'HTTP/1.1'
  const server: Server = await (era.server === 'program'
    ? Subject.program(t, dist, directory, ['--sync', sync])
    : Subject.script(t, SCRIPT, dist, directory, [version, sync]))
  const stage: Stage = { port: server.port, version, strikes: 0 }
  const parcels = new Parcels()
  await server.start()
  await finishParcel(stage, await create(stage, parcels)) // so that what is made only once is made
  const before = await holdingsAtRest(server)

  const ended = new AbortController()
  const working = Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
    const choices = random.fork(index)
    const client = new RufhClient(stage, choices.fork(0))
    while (!ended.signal.aborted) await client.upload(parcels, lengthOf(choices), `client ${index}`, ended.signal)
    await client.close()
    for (const [status, count] of client.statuses) statuses.set(status, (statuses.get(status) ?? 0) + count)
    for (const [how, cuts] of Object.entries(client.cuts)) weigh(stakes, how, cuts)
  }))
  working.catch(() => ended.abort()) // it is reported below

  const leftByKills = new Set<string>()
  let told = 0
  let lost = 0
  try {
    for (const fault of faults) {
      await delay(random.integer(0, MAX_PEACE_MS))
      if (ended.signal.aborted) break
      stage.strikes++
      server.process.kill(fault)
      assert.deepEqual(await server.exit, fault === 'SIGKILL' ? { code: null, signal: fault } : { code: 0, signal: null }, server.errors)
      stage.strikes++
      parcels.audit(directory)
      if (fault === 'SIGKILL') for (const name of litterIn(directory)) leftByKills.add(name)
      else assertTidy(directory, leftByKills)
      weigh(stakes, fault, { rounds: 1, acknowledgedBytes: parcels.told - told, lostBytes: parcels.lost - lost })
      told = parcels.told
      lost = parcels.lost
      await server.start()
    }
    ended.abort()
    await working
  } catch (error) {
    ended.abort()
    await server.kill() // nobody may write into the folder when it is removed
    t.diagnostic(`${era.server}: ${[...server.alarms, server.errors].join('\n')}`)
    throw error
  }

  await assertSettles(server, before) // what clients that have left had asked for is made by now
  parcels.adopt(directory)
  await forEachOf(parcels.known, CLIENTS, (parcel) => finishParcel(stage, parcel))
  await assertSettles(server, before)
  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  parcels.audit(directory)
  parcels.auditComplete(directory, leftByKills)
  assertTidy(directory, leftByKills)
  weigh(stakes, faults.at(-1)!, { rounds: 0, acknowledgedBytes: 0, lostBytes: parcels.lost - lost })
  assert.deepEqual({ alarms: server.alarms, errors: server.errors }, { alarms: [], errors: '' })
  rmSync(directory, { recursive: true }) // or all eras together would fill a disk
}

/** Makes an upload without content. */
async function create(stage: Stage, parcels: Parcels, length = 100_000): Promise<Parcel> {
  const parcel = parcels.begin(length, 'made')
  const exchange = await begin(stage, { method: 'POST', path: PATH, headers: { ...I8, 'Upload-Complete': '?0' } }, 0)
  const { status, headers } = await exchange.answer
  exchange.cut('fin')
  assert.equal(status, 201)
  parcel.foundAt(headers.get('location')!)
  return parcel
}

/** Whether a server that came to its end has cleared everything away that no kill before it has left. */
function assertTidy(directory: string, leftByKills: ReadonlySet<string>): void {
  assert.deepEqual(litterIn(directory).filter((name) => !leftByKills.has(name)), [])
  assert.deepEqual(locksIn(directory), [])
}

function weigh(stakes: Map<string, Cuts>, fault: string, { rounds, acknowledgedBytes, lostBytes }: Cuts): void {
  const stake = stakes.get(fault) ?? { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 }
  stakes.set(fault, {
    rounds: stake.rounds + rounds,
    acknowledgedBytes: stake.acknowledgedBytes + acknowledgedBytes,
    lostBytes: stake.lostBytes + lostBytes,
  })
}

/** Mostly small, so that much is begun and completed, and now and then more than what the kernel holds. */
function lengthOf(random: Random): number {
  return random.pick([
    () => random.integer(0, 500),
    () => random.integer(500, 60_000),
    () => random.integer(60_000, 300_000),
    () => random.integer(300_000, 6_000_000),
  ])()
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  return items.map((item) => ({ item, rank: random.next() })).sort((one, other) => one.rank - other.rank).map(({ item }) => item)
}

/** A server of a folder of its own, and its stage. */
async function serve(
  t: TestContext,
  version: Version,
): Promise<{ readonly server: Server; readonly stage: Stage; readonly directory: string }> {
  const directory = temporaryFolder(t)
  const dist = await compileLibrary()
  const server: Server = await (version === 'HTTP/2'
    ? Subject.script(t, SCRIPT, dist, directory, [version, 'none'])
    : Subject.program(t, dist, directory))
  await server.start()
  return { server, stage: { port: server.port, version, strikes: 0 }, directory }
}

const SIZES = [1, 1_000, 100_000, 1_000_000, 10_000_000]
const TIMES = 2

for (const size of SIZES) {
  test(`a creation and an append that end by FIN after ${size} bytes have exactly those, ${TIMES} times each`, async (t) => {
    const { stage } = await serve(t, 'HTTP/1.1')
    const parcels = new Parcels()
    for (let time = 0; time < TIMES; time++) {
      const parcel = parcels.begin(2 * size, 'cut')
      const complete = time % 2 === 0 ? '?1' : '?0' // of a request that is cut off it says nothing
      const framing = time < TIMES / 2 ? `Content-Length: ${2 * size}` : 'Transfer-Encoding: chunked'
      const chunk = time < TIMES / 2 ? '' : `${(2 * size).toString(16)}\r\n` // which is cut off as well

      const creation = await WireClient.connect(stage.port)
      await creation.send(request(`POST ${PATH}`, ['Upload-Draft-Interop-Version: 8', `Upload-Complete: ${complete}`, framing]))
      const { status, headers } = await creation.response()
      assert.equal(status, 104)
      parcel.foundAt(headers.get('location')!)
      await sendAndClose(creation, Buffer.concat([Buffer.from(chunk), parcel.take(0, size)]))
      assert.equal(await offsetOf(stage, parcel), size)

      const append = await WireClient.connect(stage.port)
      const fields = Object.entries(appendHeaders(size, complete === '?1')).map(([name, value]) => `${name}: ${value}`)
      await append.send(request(`PATCH ${parcel.path}`, [...fields, framing.replace(String(2 * size), String(size))]))
      await sendAndClose(append, Buffer.concat([Buffer.from(chunk), parcel.take(size, size + Math.floor(size / 2))]))
      assert.equal(await offsetOf(stage, parcel), size + Math.floor(size / 2))
      await finishParcel(stage, parcel)
    }
  })
}

async function sendAndClose({ socket }: WireClient, bytes: Uint8Array): Promise<void> {
  socket.end(bytes)
  await once(socket, 'finish')
}

for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
  for (const how of ['fin', 'rst'] as const) {
    test(`what was stored when a ${how.toUpperCase()} comes is exactly what is there afterwards, in creations and appends (${version})`, async (t) => {
      const { stage, directory } = await serve(t, version)
      const parcels = new Parcels()
      for (const size of SIZES) {
        const parcel = parcels.begin(3 * size, 'cut')
        const creation = await begin(stage, { method: 'POST', path: PATH, headers: { ...I8, 'Upload-Complete': '?1' } }, 3 * size)
        parcel.foundAt((await creation.interim()).headers.get('location')!)
        await sendAndCut(creation, parcel, size)
        const append = await begin(stage, { method: 'PATCH', path: parcel.path!, headers: appendHeaders(size, true) }, 'unknown')
        await sendAndCut(append, parcel, size)
        await finishParcel(stage, parcel)
      }

      /** Sends so many bytes, waits until the file has them, and cuts the connection. */
      async function sendAndCut(exchange: Exchange, parcel: Parcel, size: number): Promise<void> {
        const end = parcel.sent + size
        await exchange.write(parcel.take(parcel.sent, end))
        while (statSync(join(directory, parcel.id)).size < end) await new Promise(setImmediate)
        exchange.cut(how)
        assert.equal(await offsetOf(stage, parcel), end)
      }
    })
  }

  test(`an offset that a 104 reported is there after SIGKILL (${version})`, async (t) => {
    const { server, stage, directory } = await serve(t, version)
    const parcels = new Parcels()
    for (const method of ['POST', 'PATCH'] as const) {
      const parcel = method === 'POST' ? parcels.begin(8_000_000, 'killed') : await create(stage, parcels, 8_000_000)
      const headers = method === 'POST' ? { ...I8, 'Upload-Complete': '?1' } : appendHeaders(0, true)
      const exchange = await begin(stage, { method, path: parcel.path ?? PATH, headers }, parcel.length)
      if (method === 'POST') parcel.foundAt((await exchange.interim()).headers.get('location')!)
      let progress: Head | undefined
      void exchange.interim().then((head) => (progress = head), () => {})
      while (!progress && parcel.sent < parcel.length - 1) {
        await exchange.write(parcel.take(parcel.sent, Math.min(parcel.sent + 1000, parcel.length - 1)))
        await delay(1) // it has to last until the program tells of progress
      }
      parcel.hear(Number(progress?.headers.get('upload-offset')), 1, '104')
      await server.kill()
      parcels.audit(directory)
      await server.start()
      await finishParcel(stage, parcel)
    }
    assert.equal(parcels.lost, 0)
  })

  test(`SIGTERM during creations and appends: 503 tells where each is, nothing is lost that was sent before it came, and all go on (${version})`, async (t) => {
    const { server, stage, directory } = await serve(t, version)
    const parcels = new Parcels()
    const length = 200_000_000 // never reached: these uploads end by the signal
    const requests = await Promise.all([true, false].flatMap((complete) => [
      (async () => {
        const parcel = parcels.begin(length, 'created')
        const exchange = await begin(
          stage,
          { method: 'POST', path: PATH, headers: { ...I8, 'Upload-Complete': complete ? '?1' : '?0' } },
          length,
        )
        parcel.foundAt((await exchange.interim()).headers.get('location')!)
        return { parcel, exchange, creation: true }
      })(),
      (async () => {
        const parcel = await create(stage, parcels, length)
        const exchange = await begin(stage, { method: 'PATCH', path: parcel.path!, headers: appendHeaders(0, complete) }, 'unknown')
        return { parcel, exchange, creation: false }
      })(),
    ]))
    const sending = requests.map(async ({ parcel, exchange }) => {
      let answered = false
      const answer = exchange.answer.finally(() => (answered = true))
      let sent = 0
      while (!answered) {
        const piece = parcel.take(sent, Math.min(sent + 65_536, length))
        await Promise.race([exchange.write(piece).catch(() => {}), answer])
        if (!answered) sent += piece.length
        await new Promise(setImmediate)
      }
      return { sent, answer: await answer }
    })
    while (requests.some(({ parcel }) => statSync(join(directory, parcel.id)).size < 100_000)) await new Promise(setImmediate)
    assert.deepEqual(await server.stop(), { code: 0, signal: null })

    for (const [index, { sent, answer }] of (await Promise.all(sending)).entries()) {
      const { parcel, creation } = requests[index]!
      assert.equal(answer.status, 503)
      assert.deepEqual([answer.headers.get('location'), answer.headers.get('upload-complete')], [creation ? parcel.path : undefined, '?0'])
      parcel.hear(Number(answer.headers.get('upload-offset')), 0, '503')
      const { size } = statSync(join(directory, parcel.id))
      if (version === 'HTTP/1.1') assert.ok(size >= sent, `${size} bytes are stored of ${sent} that were sent before the answer came`)
    }
    parcels.audit(directory)
    assert.equal(parcels.lost, 0)
    assert.deepEqual([litterIn(directory), locksIn(directory)], [[], []])
    await server.start()
    for (const { parcel } of requests) {
      const offset = await offsetOf(stage, parcel)
      assert.ok(offset >= parcel.told)
      const { answer } = await begin(stage, { method: 'PATCH', path: parcel.path!, headers: appendHeaders(offset, false) }, 0)
      assert.equal((await answer).headers.get('upload-offset'), String(offset))
    }
  })
}
