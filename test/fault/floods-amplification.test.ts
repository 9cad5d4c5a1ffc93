// SPDX-License-Identifier: MIT

/**
 * Requests of a few bytes that ask for very much: to be copied, read or looked up again and again.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createReadStream, readFileSync, truncateSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { campaign } from './campaign.ts'
import { contentOf } from './content.ts'
import { ask, judge, makeUpload, measure, MIB, startFlooded, type Flooded } from './flood.ts'
import { Entry, PATH } from './ledger.ts'
import { forEachOf, patch, send } from './process-client.ts'

/** As many addresses as a request line and headers hold that Node reads. */
const PARTS = 380
const CONCURRENCY = 10
/** What is written besides the bytes of uploads: sidecars, answers, the log. */
const MAX_OTHER_BYTES = 4 * MIB
const HEADS = 40
/** The cost of a HEAD of many parts, in HEADs of an upload. */
const MAX_HEAD_RATIO = 10
const ASKERS = 8
/** The cost of all those who ask at once for the same digest, in one. */
const MAX_DIGEST_RATIO = 3
const GETS_A_PIECE = 4

campaign('a concatenation writes no more than its distinct parts hold', { short: 1, long: 8 }, async (campaign) => {
  const { rounds } = campaign
  const flooded = await startFlooded(campaign.t)
  const part = await makeUpload(flooded, rounds * MIB, { headers: { 'Upload-Concat': 'partial' } })
  const writtenBefore = bytesWritten(flooded)
  let status: number | undefined
  const outcome = await measure(flooded, async (others) => {
    ;({ status } = await ask(flooded, { method: 'POST', path: PATH, headers: { 'Upload-Concat': finalOf(Array.from({ length: PARTS }, () => part)) } }))
    await others.visits(5)
  })
  const written = bytesWritten(flooded) - writtenBefore
  campaign.t.diagnostic(`answered ${status}, ${(written / MIB).toFixed(1)} MiB written`)
  await judge(campaign, flooded, { name: `a part of ${rounds} MiB named ${PARTS} times`, rounds: PARTS, outcome, limits: { memoryMiB: 64, descriptors: 32 } })
  assert.ok(written < rounds * MIB + MAX_OTHER_BYTES, `${(written / MIB).toFixed(1)} MiB were written`)
  assert.equal(status, 400)
})

campaign('to look at a concatenation that waits for one of many parts costs little more than to look at an upload', { short: 1, long: 20 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t, { args: ['--sync', 'none'] })
  const parts: string[] = []
  await forEachOf(Array.from({ length: PARTS }), CONCURRENCY, async (_, index) => void parts.push(await makeUpload(flooded, 1, { stored: index === 0 ? 0 : 1, headers: { 'Upload-Concat': 'partial' } })))
  const upload = await makeUpload(flooded, 1, { stored: 0 })
  const { headers: { location } } = await ask(flooded, { method: 'POST', path: PATH, headers: { 'Upload-Concat': finalOf(parts.sort(() => random.next() - 0.5)) } })
  let ratio = 0
  const outcome = await measure(flooded, async () => {
    await cpuOfHeads(flooded, location!, 2)
    const plainMs = await cpuOfHeads(flooded, upload, HEADS)
    const finalMs = await cpuOfHeads(flooded, location!, HEADS * rounds) / rounds
    ratio = finalMs / plainMs
    t.diagnostic(`CPU of a HEAD: ${(plainMs / HEADS).toFixed(2)} ms for an upload, ${(finalMs / HEADS).toFixed(2)} ms for ${PARTS} parts`)
  })
  await judge(campaign, flooded, { name: `HEADs of ${PARTS} parts`, rounds: HEADS * rounds, outcome, limits: { memoryMiB: 64, descriptors: 48 } })
  assert.ok(ratio < MAX_HEAD_RATIO, `A HEAD of ${PARTS} parts costs as much as ${Math.round(ratio)} of an upload`)
})

campaign('a digest that many ask for at once is made once', { short: 256, long: 1024 }, async (campaign) => {
  const { t, rounds } = campaign
  const flooded = await startFlooded(t)
  const askFor = (path: string): Promise<number | undefined> => askForDigest(flooded, path, rounds * MIB)
  const [one, other] = [await makeSparse(flooded, rounds * MIB), await makeSparse(flooded, rounds * MIB)]
  let [onceMs, manyMs] = [0, 0]
  const outcome = await measure(flooded, async () => {
    onceMs = await cpuOf(flooded, () => askFor(one))
    manyMs = await cpuOf(flooded, () => Promise.all(Array.from({ length: ASKERS }, () => askFor(other))))
  })
  t.diagnostic(`CPU: ${Math.round(onceMs)} ms for one who asks, ${Math.round(manyMs)} ms for ${ASKERS} at once`)
  await judge(campaign, flooded, { name: `${ASKERS} digests of ${rounds} MiB at once`, rounds: ASKERS, outcome, limits: { memoryMiB: 120, descriptors: 32 } })
  assert.ok(manyMs < MAX_DIGEST_RATIO * onceMs, `${ASKERS} who asked cost ${Math.round(manyMs)} ms, and one ${Math.round(onceMs)} ms`)
})

campaign('whoever looks at an unfinished upload as a browser does disturbs nobody who uploads', { short: 4, long: 64 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const length = rounds * MIB
  const entry = new Entry(await makeUpload(flooded, length, { stored: 0 }), length, 'looked at')
  const statuses = new Map<string, number>()
  let looks = 0
  let status: number | undefined
  const outcome = await measure(flooded, async () => {
    ;({ status } = await send(flooded.port, {
      ...patch(entry, 0, length),
      onSent: async () => {
        for (const seen of await Promise.all(Array.from({ length: GETS_A_PIECE }, () => look(flooded, random.pick(['GET', 'GET', 'HEAD']), entry.path)))) {
          looks++
          statuses.set(seen, (statuses.get(seen) ?? 0) + 1)
        }
      },
    }))
  })
  t.diagnostic(`the PATCH was answered ${status}; those who looked: ${JSON.stringify(Object.fromEntries(statuses))}`)
  await judge(campaign, flooded, { name: 'plain GETs and HEADs of an upload in progress', rounds: looks, outcome, limits: { memoryMiB: 120, descriptors: 48 } })
  assert.equal(status, 204)
  assert.ok(readFileSync(join(flooded.directory, entry.id)).equals(contentOf(entry.key, 0, length)))
})

/** The value of `Upload-Concat`, as short as can be. */
function finalOf(parts: readonly string[]): string {
  return `final;${parts.join(' ')}`
}

/** What the process has written to anything, in bytes. */
function bytesWritten({ server }: Flooded): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${server.process.pid}/io`, 'utf8'))?.[1])
}

async function cpuOf({ server }: Flooded, work: () => Promise<unknown>): Promise<number> {
  const { cpuMs } = await server.inspect()
  await work()
  return (await server.inspect()).cpuMs - cpuMs
}

async function cpuOfHeads(flooded: Flooded, path: string, count: number): Promise<number> {
  return cpuOf(flooded, async () => {
    for (let asked = 0; asked < count; asked++) await ask(flooded, { method: 'HEAD', path })
  })
}

/** Makes a finished upload of zeros, most of which are in no block of the disk, and has the system read it once. */
async function makeSparse(flooded: Flooded, length: number): Promise<string> {
  const path = await makeUpload(flooded, length, { stored: 0 })
  const file = join(flooded.directory, path.slice(path.lastIndexOf('/') + 1))
  truncateSync(file, length - 1)
  const { status } = await ask(flooded, { ...patch(new Entry(path, length, 'last byte'), length - 1, length) })
  assert.equal(status, 204)
  for await (const _ of createReadStream(file, { highWaterMark: MIB }));
  return path
}

/** Asks for the digest of a finished upload by completing it once more, with nothing; resolves with the status. */
function askForDigest({ port }: Flooded, path: string, length: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      port, host: '127.0.0.1', method: 'PATCH', path, agent: false,
      headers: {
        'Upload-Draft-Interop-Version': 8, 'Content-Type': 'application/partial-upload', 'Content-Length': 0,
        'Upload-Offset': length, 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=1',
      },
    })
    req.on('response', (res) => res.resume().on('end', () => resolve(res.statusCode)))
    req.on('error', reject)
    req.end()
  })
}

/** Asks without saying that it knows any protocol for uploads; resolves with the status, or the code of the error. */
function look({ port }: Flooded, method: string, path: string): Promise<string> {
  return new Promise((resolve) => {
    const req = httpRequest({ port, host: '127.0.0.1', method, path, agent: false })
    req.on('response', (res) => res.resume().on('close', () => resolve(String(res.statusCode))))
    req.on('error', ({ code = 'error' }: NodeJS.ErrnoException) => resolve(code))
    req.end()
  })
}
