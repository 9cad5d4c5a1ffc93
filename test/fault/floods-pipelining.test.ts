// SPDX-License-Identifier: MIT

/**
 * Very many requests on one connection: each costs its client some bytes, and must not cost the server
 * much more before it is its turn to be answered.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from '../support/wire.ts'
import { campaign, type Campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { forAll, judge, makeUpload, measure, MIB, slowDown, startFlooded, type Flooded, type Outcome } from './flood.ts'
import { forEachOf } from './process-client.ts'

const LARGE_BYTES = 20 * MIB
const CONCURRENCY = 50
const TUS = 'Tus-Resumable: 1.0.0'
/** So many times as many requests must not take so much more memory. */
const TIMES = 5
const MAX_GROWTH_BYTES = 40 * MIB
const POLL_MS = 10
/** How long a client stays at most that has not come to stay. */
const MAX_STAY_MS = 100
/** How long a lock is held in front of all others. */
const LOCKED_MS = { short: 3000, long: 20_000 }
/** As long as a flood is watched at most. */
const PATIENCE = { short: 4000, long: 120_000 }

campaign('pipelined GETs whose answers nobody reads cost little more than one', { short: 1000, long: 5000 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const flooded = await startFlooded(t)
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    const client = await FloodClient.connect(flooded.port, 'reads nothing')
    void client.send(request(`GET ${path}`).repeat(rounds))
    await others.quiet(patience(long))
    await others.visits(5)
    client.destroy()
  })
  await judge(campaign, flooded, { name: 'pipelined GETs, not read', rounds, outcome, limits: { memoryMiB: 120, descriptors: 64 } })
})

campaign('pipelined GETs whose client has left are over at once, all of them', { short: 250, long: 2500 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async () => {
      const client = await FloodClient.connect(flooded.port, 'reads nothing')
      await client.send(request(`GET ${path}`).repeat(2))
      if (random.chance(0.8)) await once(client.socket, 'readable') // the first is being answered
      if (random.chance(0.5)) await delay(random.integer(0, MAX_STAY_MS))
      client.destroy()
    })
    await others.visits(5)
  })
  await judge(campaign, flooded, { name: 'two pipelined GETs, and the client leaves', rounds, outcome, limits: { memoryMiB: 160, descriptors: 3 * CONCURRENCY + 64 } })
})

interface Variant {
  readonly name: string
  readonly reads: 'reads' | 'reads nothing'
  /** Sends a request that takes long; resolves with the connection that has to be closed in the end. */
  readonly first?: (flooded: Flooded, client: FloodClient, long: boolean) => Promise<FloodClient>
}

const VARIANTS: readonly Variant[] = [
  { name: 'not read', reads: 'reads nothing' },
  { name: 'read', reads: 'reads' },
  { name: 'behind a GET that is not read', reads: 'reads nothing', first: getLarge },
  { name: 'behind a HEAD that waits for a lock', reads: 'reads', first: waitForLock },
]

const METHODS = ['HEAD', 'POST', 'PATCH'] as const
type Method = (typeof METHODS)[number]

campaign('the memory of pipelined requests does not grow with their number', { short: 800, long: 20_000 }, async (campaign) => {
  const all = METHODS.flatMap((method) => VARIANTS.map((variant) => ({ method, variant })))
  await forAll(campaign.long ? all : [campaign.random.pick(all)], ({ method, variant }) => compare(campaign, method, variant))
})

async function compare(campaign: Campaign, method: Method, variant: Variant): Promise<void> {
  const { t, rounds } = campaign
  const few = await flood(campaign, method, rounds, variant)
  const many = await flood(campaign, method, rounds * TIMES, variant)
  const name = `pipelined ${method}${method === 'PATCH' ? 'es' : 's'}, ${variant.name}`
  t.diagnostic(`${name}: ${Math.round(few.outcome.toll.peakMemoryBytes / MIB)} MiB for ${rounds}, ${Math.round(many.outcome.toll.peakMemoryBytes / MIB)} MiB for ${rounds * TIMES}`)
  await few.flooded.server.kill()
  await judge(campaign, many.flooded, { name, rounds: rounds * TIMES, outcome: many.outcome, limits: { memoryMiB: 120, descriptors: 64 } })
  const grown = many.outcome.toll.peakMemoryBytes - few.outcome.toll.peakMemoryBytes
  assert.ok(grown < MAX_GROWTH_BYTES, `${TIMES} times as many took ${Math.round(grown / MIB)} MiB more`)
}

async function flood({ t, long }: Campaign, method: Method, count: number, { reads, first }: Variant): Promise<{ readonly flooded: Flooded; readonly outcome: Outcome }> {
  const flooded = await startFlooded(t, { args: ['--sync', 'none'], slowDisk: first === waitForLock })
  const path = await makeUpload(flooded, count, { stored: 0 })
  const outcome = await measure(flooded, async (others) => {
    const client = await FloodClient.connect(flooded.port, reads)
    const second = await first?.(flooded, client, long)
    const sent = sendAll(client, method, path, count)
    if (reads === 'reads') await Promise.race([sent.then(() => client.answers(count)), delay(patience(long), undefined, { ref: false })])
    else await others.quiet(patience(long))
    await others.visits(5)
    for (const each of [client, second]) each?.destroy()
  })
  return { flooded, outcome }
}

/** Sends requests in pieces, or as many as the server takes. */
async function sendAll(client: FloodClient, method: Method, path: string, count: number): Promise<void> {
  const piece = 500
  for (let from = 0; from < count && client.socket.writable; from += piece) {
    await client.send(Array.from({ length: Math.min(piece, count - from) }, (_, index) => {
      if (method === 'HEAD') return request(`HEAD ${path}`, [TUS])
      if (method === 'POST') return request('POST /files/', [TUS, 'Upload-Length: 1', 'Content-Length: 0'])
      return request(`PATCH ${path}`, [TUS, 'Content-Type: application/offset+octet-stream', `Upload-Offset: ${from + index}`, 'Content-Length: 1'], 'x')
    }).join(''))
  }
}

async function getLarge(flooded: Flooded, client: FloodClient): Promise<FloodClient> {
  await client.send(request(`GET ${await makeUpload(flooded, LARGE_BYTES)}`))
  return client
}

/** Asks for an upload that another connection writes to, on a disk that takes its time with that write. */
async function waitForLock(flooded: Flooded, client: FloodClient, long: boolean): Promise<FloodClient> {
  const path = await makeUpload(flooded, 2, { stored: 0 })
  const writer = await FloodClient.connect(flooded.port, 'reads')
  const slow = (): Promise<number> => slowDown(flooded, long ? LOCKED_MS.long : LOCKED_MS.short, path)
  await slow()
  await writer.send(request(`PATCH ${path}`, [TUS, 'Content-Type: application/offset+octet-stream', 'Upload-Offset: 0', 'Content-Length: 2'], 'x'))
  while (await slow() === 0) await delay(POLL_MS)
  await client.send(request(`HEAD ${path}`, [TUS]))
  return writer
}

function patience(long: boolean): number {
  return long ? PATIENCE.long : PATIENCE.short
}
