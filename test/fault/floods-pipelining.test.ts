// SPDX-License-Identifier: MIT

/**
 * Very many requests on one connection. Each costs its client a few bytes. It must not cost the
 * server much more until it is its turn to be answered.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from '../support/wire.ts'
import { campaign, type Campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { inMiB, judge, measure, type Outcome } from './flood-toll.ts'
import { forAll, makeUpload, MIB, slowDown, startFlooded, type Flooded } from './flood.ts'
import { forEachOf } from './process-client.ts'

const LARGE_BYTES = 20 * MIB
const CONCURRENCY = 50
const TUS = 'Tus-Resumable: 1.0.0'
const APPEND = [TUS, 'Content-Type: application/offset+octet-stream']
const MAX_MEMORY_MIB = 120
const MAX_DESCRIPTORS = 64
/** So many times as many requests may take so much more memory. */
const TIMES = 5
const MAX_GROWTH_BYTES = 40 * MIB
/** How many requests are in one piece. */
const PIECE = 500
/** How long a client stays at most that leaves without its answers. */
const MAX_STAY_MS = 500
const POLL_MS = 10
/** How long somebody else holds the lock that the first request waits for. */
const LOCKED_MS = { short: 3000, long: 20_000 }
/** How long a flood is watched at most. */
const PATIENCE_MS = { short: 4000, long: 120_000 }

campaign('pipelined GETs that nobody reads cost little', { short: 1000, long: 5000 }, async (campaign) => {
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
  await judge(campaign, flooded, {
    name: 'pipelined GETs, not read', rounds, outcome,
    limits: { memoryMiB: MAX_MEMORY_MIB, descriptors: MAX_DESCRIPTORS },
  })
})

campaign('pipelined GETs end when their client leaves, all of them', { short: 250, long: 2500 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async () => {
      const client = await FloodClient.connect(flooded.port, 'reads nothing')
      await client.send(request(`GET ${path}`).repeat(2))
      if (random.chance(0.8)) await once(client.socket, 'readable') // the first is being answered
      if (random.chance(0.3)) await delay(random.integer(0, MAX_STAY_MS))
      client.destroy()
    })
    await others.visits(5)
  })
  await judge(campaign, flooded, {
    name: 'two pipelined GETs, and the client leaves', rounds, outcome,
    limits: { memoryMiB: 160, descriptors: 3 * CONCURRENCY + MAX_DESCRIPTORS },
  })
})

const METHODS = ['HEAD', 'POST', 'PATCH'] as const
type Method = (typeof METHODS)[number]

/** What becomes of the answers, and what is in front of the requests. */
interface Variant {
  readonly name: string
  readonly reads: 'reads' | 'reads nothing'
  /**
   * Sends a request that takes long. Resolves with the connection that has to be closed in the
   * end.
   */
  readonly first?: (flooded: Flooded, client: FloodClient, long: boolean) => Promise<FloodClient>
}

const VARIANTS: readonly Variant[] = [
  { name: 'not read', reads: 'reads nothing' },
  { name: 'read', reads: 'reads' },
  { name: 'behind a GET that is not read', reads: 'reads nothing', first: getLarge },
  { name: 'behind a HEAD that waits for a lock', reads: 'reads', first: waitForLock },
]

const COUNTS = { short: 1200, long: 20_000 }

campaign('the memory of pipelined requests does not grow with their number', COUNTS, async (campaign) => {
  const all = METHODS.flatMap((method) => VARIANTS.map((variant) => ({ method, variant })))
  const picked = campaign.long ? all : [campaign.random.pick(all)]
  await forAll(picked, ({ method, variant }) => compare(campaign, method, variant))
})

async function compare(campaign: Campaign, method: Method, variant: Variant): Promise<void> {
  const few = await flood(campaign, method, campaign.rounds, variant)
  await few.flooded.server.kill()
  const rounds = TIMES * campaign.rounds
  const { flooded, outcome } = await flood(campaign, method, rounds, variant)
  const name = `pipelined ${method}${method === 'PATCH' ? 'es' : 's'}, ${variant.name}`
  const [before, after] = [few.outcome.toll.peakMemoryBytes, outcome.toll.peakMemoryBytes]
  campaign.t.diagnostic(`${name}: ${inMiB(before)} for ${campaign.rounds}, ${inMiB(after)} for ${rounds}`)
  const limits = { memoryMiB: MAX_MEMORY_MIB, descriptors: MAX_DESCRIPTORS }
  await judge(campaign, flooded, { name, rounds, outcome, limits })
  assert.ok(after - before < MAX_GROWTH_BYTES, `${TIMES} times as many took ${inMiB(after - before)} more`)
}

async function flood(
  { t, long }: Campaign,
  method: Method,
  count: number,
  { reads, first }: Variant,
): Promise<{ readonly flooded: Flooded; readonly outcome: Outcome }> {
  const flooded = await startFlooded(t, { args: ['--sync', 'none'], slowDisk: first === waitForLock })
  const path = await makeUpload(flooded, count, { stored: 0 })
  const outcome = await measure(flooded, async (others) => {
    const client = await FloodClient.connect(flooded.port, reads)
    const second = await first?.(flooded, client, long)
    const sent = sendAll(client, method, path, count)
    const answered = async (): Promise<void> => {
      await sent
      await client.answers(count)
    }
    if (reads === 'reads') await Promise.race([answered(), delay(patience(long), undefined, { ref: false })])
    else await others.quiet(patience(long))
    await others.visits(5)
    for (const each of [client, second]) each?.destroy()
  })
  return { flooded, outcome }
}

/** Sends so many requests, or as many as the server takes. */
async function sendAll(client: FloodClient, method: Method, path: string, count: number): Promise<void> {
  const make = (index: number): string => {
    if (method === 'HEAD') return request(`HEAD ${path}`, [TUS])
    if (method === 'POST') return request('POST /files/', [TUS, 'Upload-Length: 1', 'Content-Length: 0'])
    return request(`PATCH ${path}`, [...APPEND, `Upload-Offset: ${index}`, 'Content-Length: 1'], 'x')
  }
  for (let from = 0; from < count && client.socket.writable; from += PIECE) {
    const length = Math.min(PIECE, count - from)
    await client.send(Array.from({ length }, (_, index) => make(from + index)).join(''))
  }
}

async function getLarge(flooded: Flooded, client: FloodClient): Promise<FloodClient> {
  await client.send(request(`GET ${await makeUpload(flooded, LARGE_BYTES)}`))
  return client
}

/** Asks for an upload that another connection writes to, while the disk is slow for that upload. */
async function waitForLock(flooded: Flooded, client: FloodClient, long: boolean): Promise<FloodClient> {
  const path = await makeUpload(flooded, 2, { stored: 0 })
  const writer = await FloodClient.connect(flooded.port, 'reads')
  const slow = (): Promise<number> => slowDown(flooded, long ? LOCKED_MS.long : LOCKED_MS.short, path)
  await slow()
  await writer.send(request(`PATCH ${path}`, [...APPEND, 'Upload-Offset: 0', 'Content-Length: 2'], 'x'))
  while (await slow() === 0) await delay(POLL_MS)
  await client.send(request(`HEAD ${path}`, [TUS]))
  return writer
}

function patience(long: boolean): number {
  return long ? PATIENCE_MS.long : PATIENCE_MS.short
}
