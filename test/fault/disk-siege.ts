// SPDX-License-Identifier: MIT

/**
 * The life of a program on a disk that somebody harms while clients are at work, and what must be true of
 * it when the disk is well again.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { contentOf } from './content.ts'
import { DiskClient, send } from './disk-client.ts'
import { Ledger, PATH } from './ledger.ts'
import { finish } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { locksAtRest, Subject } from './subject.ts'

/** A disk, a program on it, and what is done to the disk. */
export interface DiskSiege {
  readonly dist: string
  readonly directory: string
  readonly sync: string
  readonly lock: string
  readonly nodeFlags?: readonly string[] | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly random: Random
  /** How many things each client does. */
  readonly steps: number
  /** Which failures may be answered. */
  readonly failures: readonly number[]
  /** Harms the disk while the clients are at work, which they are once `work` is called; leaves the disk well. */
  readonly harm: (program: Subject, work: () => Promise<void>) => Promise<void>
}

/** What a siege has come to. */
export interface Outcome {
  readonly acknowledgedBytes: number
  readonly lostBytes: number
  /** How often each answer came; 0 stands for none. */
  readonly statuses: ReadonlyMap<number, number>
}

const CLIENTS = 3
/** What may be left of an upload that is gone or never came to be: `removeLeftovers` knows it. */
const LEFTOVER = /^[0-9a-f]{32}(?:|\.info\.[0-9a-f]{12}\.tmp|\.info\.gone)$/

/** Besieges a disk, and then sees that all uploads can be finished and are right, and that nothing is left behind. */
export async function besiegeDisk(t: TestContext, siege: DiskSiege): Promise<Outcome> {
  const { dist, directory, sync, lock, random, steps, failures, nodeFlags, env, harm } = siege
  const program = await Subject.program(t, dist, directory, ['--sync', sync, '--lock', lock, '--download'], { nodeFlags, env })
  const { port } = program
  await program.start()
  const ledger = new Ledger()
  await warmUp(port, ledger)
  const before = await holdingsAtRest(program)

  const clients = Array.from(
    { length: CLIENTS },
    (_, index) => new DiskClient({ port, ledger, random: random.fork(index), name: `${directory} ${index}`, failures }),
  )
  await harm(program, async () => {
    await Promise.all(clients.map(async (client) => {
      for (let step = 0; step < steps; step++) await client.step()
    }))
  })

  for (const entry of ledger.entries.filter(({ terminated }) => !terminated)) await finish(port, entry)
  for (const { path, parts } of clients.flatMap(({ finals }) => finals)) {
    const answer = await send(port, { method: 'GET', path })
    assert.equal(answer?.status, 200)
    assert.ok(
      answer.body.equals(Buffer.concat(parts.map(({ key, length }) => contentOf(key, 0, length)))),
      `${path} is not what its parts are`,
    )
  }
  await assertSettles(program, before)
  assert.deepEqual({ inspected: (await program.inspect()).alarms, alarms: program.alarms }, { inspected: [], alarms: [] })
  assert.doesNotMatch(program.errors, /TypeError|RangeError|ReferenceError|Warning|ERR_/)
  assert.deepEqual(await program.stop(), { code: 0, signal: null })
  const audit = ledger.audit(directory)
  assertOnlyUploads(directory, ledger)

  await program.start() // which sweeps what a failed release has left
  assert.deepEqual(lock === 'memory' ? [] : (await locksAtRest(directory)).filter((name) => !name.endsWith('.sock')), [])
  assert.deepEqual(await program.stop(), { code: 0, signal: null })
  rmSync(directory, { recursive: true }) // or all sieges together would fill a disk
  return { ...audit, statuses: sumOf(clients.map(({ statuses }) => statuses)) }
}

/** How often something that is counted by name came in all. */
export function sumOf<K>(counts: Iterable<ReadonlyMap<K, number>>): Map<K, number> {
  const sum = new Map<K, number>()
  for (const each of counts) for (const [name, count] of each) sum.set(name, (sum.get(name) ?? 0) + count)
  return sum
}

/** How the answers were distributed, in a few words. */
export function tellStatuses(statuses: ReadonlyMap<number, number>): string {
  return `answers: ${Array.from(statuses).sort(([one], [other]) => one - other).map(([status, count]) => `${status || 'cut'} ${count}`).join(', ')}`
}

/** Uploads something, so that what a program makes only once is made. */
async function warmUp(port: number, ledger: Ledger): Promise<void> {
  const answer = await send(port, { method: 'POST', path: PATH, headers: { 'Upload-Length': 1000 } })
  const entry = ledger.created(answer!.headers.location!, 1000, 'warm-up')
  await finish(port, entry)
  await send(port, { method: 'GET', path: entry.path })
}

/** Sees that all uploads are there, and that what else is there is known as left over. */
function assertOnlyUploads(directory: string, ledger: Ledger): void {
  const names = readdirSync(directory).filter((name) => !name.startsWith('.'))
  const known = new Set(names.filter((name) => name.endsWith('.info')).map((name) => name.replace('.info', '')))
  for (const { id } of ledger.entries.filter(({ terminated }) => !terminated)) assert.ok(known.has(id), `${id} is gone`)
  for (const name of names) assert.ok(known.has(name.replace('.info', '')) || LEFTOVER.test(name), `${name} is left`)
}
