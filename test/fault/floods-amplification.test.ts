// SPDX-License-Identifier: MIT

/**
 * Short requests that ask for much work: to copy, to read or to look up the same again and again.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createReadStream, readFileSync, truncateSync } from 'node:fs'
import { request, type OutgoingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { campaign } from './campaign.ts'
import { contentOf } from './content.ts'
import { inMiB, judge, measure } from './flood-toll.ts'
import { ask, idOf, makeUpload, MIB, startFlooded, type Flooded } from './flood.ts'
import { Entry, PATH } from './ledger.ts'
import { forEachOf, patch, send } from './process-client.ts'

/** As many addresses as fit into the headers that Node reads. */
const PARTS = 380
const PARTIAL = { 'Upload-Concat': 'partial' }
const CONCURRENCY = 10
/** What is written besides the bytes of uploads: sidecars, answers, the log. */
const MAX_OTHER_BYTES = 4 * MIB

campaign('a concatenation writes no more than its distinct parts hold', { short: 1, long: 8 }, async (campaign) => {
  const { t, rounds } = campaign
  const flooded = await startFlooded(t)
  const part = await makeUpload(flooded, rounds * MIB, { headers: PARTIAL })
  const writtenBefore = bytesWritten(flooded)
  let status: number | undefined
  const outcome = await measure(flooded, async (others) => {
    ;({ status } = await concatenate(flooded, Array.from({ length: PARTS }, () => part)))
    await others.visits(5)
  })
  const written = bytesWritten(flooded) - writtenBefore
  t.diagnostic(`answered ${status}, ${inMiB(written)} written`)
  await judge(campaign, flooded, {
    name: `a part of ${rounds} MiB named ${PARTS} times`, rounds: 1, outcome,
    limits: { memoryMiB: 64, descriptors: 32 },
  })
  assert.ok(written < rounds * MIB + MAX_OTHER_BYTES, `${inMiB(written)} were written`)
  assert.equal(status, 400)
})

const HEADS = 40
/** What a HEAD of a concatenation may cost, in HEADs of an upload. */
const MAX_HEAD_RATIO = 10

campaign('a HEAD costs little, however many parts are waited for', { short: 1, long: 20 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t, { args: ['--sync', 'none'] })
  const parts: string[] = []
  await forEachOf(Array.from({ length: PARTS }), CONCURRENCY, async (_, index) => {
    const stored = index === 0 ? 0 : 1 // one is not finished
    parts.splice(random.integer(0, parts.length), 0, await makeUpload(flooded, 1, { stored, headers: PARTIAL }))
  })
  const upload = await makeUpload(flooded, 1, { stored: 0 })
  const { headers: { location = '' } } = await concatenate(flooded, parts)
  let [uploadMs, concatenationMs] = [0, 0]
  const outcome = await measure(flooded, async () => {
    uploadMs = await cpuOfHeads(flooded, upload, HEADS * rounds)
    concatenationMs = await cpuOfHeads(flooded, location, HEADS * rounds)
  })
  const costs = `${uploadMs.toFixed(2)} ms of CPU for an upload, ${concatenationMs.toFixed(2)} ms for ${PARTS} parts`
  t.diagnostic(costs)
  await judge(campaign, flooded, {
    name: `HEADs of ${PARTS} parts`, rounds: HEADS * rounds, outcome,
    limits: { memoryMiB: 64, descriptors: 48 },
  })
  assert.ok(concatenationMs < MAX_HEAD_RATIO * uploadMs, costs)
})

const CLIENTS = 8
/** What the digest for all clients may cost, in digests. */
const MAX_DIGEST_RATIO = 3

campaign('a digest that many ask for at once is computed once', { short: 256, long: 1024 }, async (campaign) => {
  const { t, rounds } = campaign
  const flooded = await startFlooded(t)
  const length = rounds * MIB
  const [one, other] = [await makeSparse(flooded, length), await makeSparse(flooded, length)]
  const digest = (path: string): Promise<string> => exchange(flooded, 'PATCH', path, {
    'Upload-Draft-Interop-Version': 8, 'Content-Type': 'application/partial-upload', 'Content-Length': 0,
    'Upload-Offset': length, 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=1',
  })
  let [onceMs, manyMs] = [0, 0]
  const outcome = await measure(flooded, async () => {
    onceMs = await cpuOf(flooded, () => digest(one))
    manyMs = await cpuOf(flooded, () => Promise.all(Array.from({ length: CLIENTS }, () => digest(other))))
  })
  const costs = `${Math.round(onceMs)} ms of CPU for one client, ${Math.round(manyMs)} ms for ${CLIENTS}`
  t.diagnostic(costs)
  await judge(campaign, flooded, {
    name: `${CLIENTS} digests of ${rounds} MiB at once`, rounds: CLIENTS, outcome,
    limits: { memoryMiB: 120, descriptors: 32 },
  })
  assert.ok(manyMs < MAX_DIGEST_RATIO * onceMs, costs)
})

const LOOKS_PER_PIECE = 4

campaign('a GET or HEAD without a marker does not disturb an upload', { short: 4, long: 64 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const length = rounds * MIB
  const entry = new Entry(await makeUpload(flooded, length, { stored: 0 }), length, 'looked at')
  const statuses: string[] = []
  const look = async (): Promise<void> => {
    statuses.push(await exchange(flooded, random.pick(['GET', 'GET', 'HEAD']), entry.path))
  }
  let status: number | undefined
  const outcome = await measure(flooded, async () => {
    ;({ status } = await send(flooded.port, {
      ...patch(entry, 0, length),
      onSent: () => forEachOf(Array.from({ length: LOOKS_PER_PIECE }), LOOKS_PER_PIECE, look),
    }))
  })
  t.diagnostic(`the PATCH was answered ${status}, the others ${Array.from(new Set(statuses)).join(', ')}`)
  await judge(campaign, flooded, {
    name: 'plain GETs and HEADs of an upload in progress', rounds: statuses.length, outcome,
    limits: { memoryMiB: 120, descriptors: 48 },
  })
  assert.equal(status, 204)
  assert.ok(readFileSync(join(flooded.directory, entry.id)).equals(contentOf(entry.key, 0, length)))
})

function concatenate(flooded: Flooded, parts: readonly string[]): ReturnType<typeof ask> {
  return ask(flooded, { method: 'POST', path: PATH, headers: { 'Upload-Concat': `final;${parts.join(' ')}` } })
}

/** What the process has written to anything. */
function bytesWritten({ server }: Flooded): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${server.process.pid}/io`, 'utf8'))?.[1])
}

async function cpuOf({ server }: Flooded, work: () => Promise<unknown>): Promise<number> {
  const { cpuMs } = await server.inspect()
  await work()
  return (await server.inspect()).cpuMs - cpuMs
}

/** What one HEAD takes, in milliseconds. */
async function cpuOfHeads(flooded: Flooded, path: string, count: number): Promise<number> {
  const totalMs = await cpuOf(flooded, async () => {
    for (let asked = 0; asked < count; asked++) await ask(flooded, { method: 'HEAD', path })
  })
  return totalMs / count
}

/**
 * Makes a finished upload of zeros that takes hardly any disk, and reads it, so that the system
 * has it in memory.
 */
async function makeSparse(flooded: Flooded, length: number): Promise<string> {
  const path = await makeUpload(flooded, length, { stored: 0 })
  const file = join(flooded.directory, idOf(path))
  truncateSync(file, length - 1)
  const { status } = await ask(flooded, patch(new Entry(path, length, 'last byte'), length - 1, length))
  assert.equal(status, 204)
  for await (const _ of createReadStream(file, { highWaterMark: MIB }));
  return path
}

/**
 * Sends a request without a body and with these headers only; resolves with the status, or the
 * code of the error.
 */
function exchange({ port }: Flooded, method: string, path: string, headers: OutgoingHttpHeaders = {}): Promise<string> {
  return new Promise((resolve) => {
    const req = request({ port, host: '127.0.0.1', method, path, headers, agent: false })
    req.on('response', (res) => res.resume().on('close', () => resolve(String(res.statusCode))))
    req.on('error', ({ code = 'error' }: NodeJS.ErrnoException) => resolve(code))
    req.end()
  })
}
