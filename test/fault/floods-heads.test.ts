// SPDX-License-Identifier: MIT

/**
 * Request lines and heads as nobody should send them. Each is answered, or its connection closed.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { assertEnds, judge, measure } from './flood-toll.ts'
import { makeUpload, startFlooded } from './flood.ts'
import { head, HEADS } from './heads.ts'
import { forEachOf } from './process-client.ts'
import type { Random } from './random.ts'

const CONCURRENCY = 24
/** How many connections send half a head meanwhile, and no more. */
const HALVES = 100
/**
 * A server waits for the rest of what may be half a head. It learns after so long that no more
 * comes.
 */
const MAX_STAY_MS = 400
const DEADLINE_MS = 20_000
const ROUNDS = { short: 20 * HEADS.length, long: 2000 * HEADS.length }

campaign('a request is answered or its connection closed, whatever its head', ROUNDS, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const path = await makeUpload(flooded, 100)
  const statuses = new Map<number | 'closed', number>()
  const outcome = await measure(flooded, async (others) => {
    const halves = await sendHalves(flooded.port, path, HALVES, random.fork(-1))
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async (_, round) => {
      const [name, make] = HEADS[round % HEADS.length]!
      const [status, text] = await sendHead(flooded.port, (chance) => make(path, chance), random.fork(round))
      assert.ok(status !== undefined, `${name} was neither answered nor closed: ${JSON.stringify(text.slice(0, 200))}`)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    })
    await others.visits(3)
    for (const client of halves) client.destroy()
  })
  t.diagnostic(`answers: ${JSON.stringify(Object.fromEntries(statuses))}`)
  await judge(campaign, flooded, {
    name: 'heads that make no sense', rounds, outcome,
    limits: { memoryMiB: 120, descriptors: HALVES + 3 * CONCURRENCY + 32 },
  })
  assert.equal(statuses.get(500), undefined)
})

campaign('halves of heads do not keep a program that is to end', { short: 200, long: 5000 }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const halves = await sendHalves(flooded.port, '/files/', rounds, random)
  await assertEnds(flooded)
  for (const client of halves) client.destroy()
})

/** Sends a head on a connection of its own. Resolves with the first status, with what was sent. */
async function sendHead(
  port: number,
  make: (random: Random) => string,
  random: Random,
): Promise<readonly [status: number | 'closed' | undefined, text: string]> {
  const client = await FloodClient.connect(port, 'reads')
  const text = make(random)
  await client.send(Buffer.from(text, 'latin1'))
  await Promise.race([client.answers(1), delay(random.integer(0, MAX_STAY_MS))])
  client.socket.end()
  await Promise.race([client.answers(1), delay(DEADLINE_MS, undefined, { ref: false })])
  const [status] = client.statuses.keys()
  const isClosed = client.socket.closed
  client.destroy()
  return [status ?? (isClosed ? 'closed' : undefined), text]
}

/** Connections that have sent a part of a head, or nothing. */
function sendHalves(port: number, path: string, count: number, random: Random): Promise<FloodClient[]> {
  const text = head('GET', path)
  return Promise.all(Array.from({ length: count }, async () => {
    const client = await FloodClient.connect(port, 'reads')
    await client.send(text.slice(0, random.integer(0, text.length - 1)))
    return client
  }))
}
