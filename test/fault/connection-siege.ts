// SPDX-License-Identifier: MIT

/**
 * Attacks side by side on one server, and what must be true of it when they are over.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Attack, Scene } from './attack.ts'
import type { Campaign } from './campaign.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { locksIn, type Subject } from './subject.ts'

/** Does one thing wrong, and sees that the server does nothing wrong. */
export type Fault<A extends Attack> = readonly [name: string, run: (attack: A) => Promise<void>]

/** A server and what is done to it. */
export interface Siege<A extends Attack> {
  /** A few words, for the table. */
  readonly fault: string
  readonly server: Subject
  readonly scene: Scene
  /** What is done, and under which name it counts; what is there twice is done twice as often. */
  readonly faults: readonly Fault<A>[]
  readonly begin: (random: Random) => A
}

const CLIENTS = 24
/** No attack lasts as long; one that does hangs. In milliseconds. */
const DEADLINE_MS = 60_000
/** Much longer than a released lock lingers, in milliseconds. */
const LINGERING_MS = 20_000

/**
 * Attacks a server that has been used already, and then sees that it let go of everything, that all uploads
 * can be finished and consist of the right bytes, and that the server ends well.
 */
export async function besiege<A extends Attack>(campaign: Campaign, siege: Siege<A>): Promise<void> {
  const { server } = siege
  try {
    await attackAndJudge(campaign, siege)
  } catch (error) {
    await server.kill() // nobody may write into the folder when it is removed
    campaign.t.diagnostic(`the server ended with ${JSON.stringify(await server.exit)} ${[...server.alarms, server.errors].join('\n')}`)
    throw error
  }
}

async function attackAndJudge<A extends Attack>({ t, random, rounds, report }: Campaign, siege: Siege<A>): Promise<void> {
  const { fault, server, scene } = siege
  const { directory, uploads } = scene
  const before = await holdingsAtRest(server)
  const locksBefore = locksIn(directory)

  t.diagnostic(tell(await attackAll(siege, random, rounds)))
  t.diagnostic(tell(scene.statuses))

  await assertSettles(server, before)
  await assertLocksAreLeft(directory, locksBefore)
  const strangers = uploads.adopt(directory)
  t.diagnostic(`${uploads.ledger.entries.length} uploads, ${strangers} of them unknown to their clients, ${uploads.removed.size} removed`)
  await uploads.finishAll()
  uploads.audit(directory)
  const { alarms } = await server.inspect()
  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  assert.deepEqual({ alarms: [...alarms, ...server.alarms], errors: server.errors }, { alarms: [], errors: '' })
  assert.deepEqual(locksIn(directory), [])
  const { acknowledgedBytes, lostBytes } = uploads.ledger.audit(directory)
  report({ fault, rounds, acknowledgedBytes, lostBytes })
}

/** Waits until no other locks are there. One that was released lingers for up to a second. */
async function assertLocksAreLeft(directory: string, expected: readonly string[]): Promise<void> {
  const deadlineMs = performance.now() + LINGERING_MS
  while (!isDeepStrictEqual(locksIn(directory), expected) && performance.now() < deadlineMs) await delay(50)
  assert.deepEqual(locksIn(directory), expected, 'locks are left')
}

/** Attacks in so many rounds, in an order that chance decides, and counts what was done. */
async function attackAll<A extends Attack>({ faults, begin }: Siege<A>, random: Random, rounds: number): Promise<Map<string, number>> {
  const order: Fault<A>[] = []
  while (order.length < rounds) order.push(...shuffle(faults, random))
  const counts = new Map<string, number>()
  const queue = order.slice(0, rounds).entries()
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    for (const [round, [name, run]] of queue) {
      const attack = begin(random.fork(round))
      try {
        await within(run(attack))
      } catch (cause) {
        for (const _ of queue); // the others need not go on
        throw new Error(`Round ${round}, ${name}: ${(cause as Error).stack}`)
      } finally {
        attack.close()
      }
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
  }))
  return counts
}

async function within(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`It has not ended after ${DEADLINE_MS} ms`)), DEADLINE_MS).unref()),
  )
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function tell(counts: ReadonlyMap<string, number>): string {
  return Array.from(counts, ([name, count]) => `${name} ${count}`).sort().join(', ')
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  return items.map((item) => ({ item, rank: random.next() })).sort((one, other) => one.rank - other.rank).map(({ item }) => item)
}
