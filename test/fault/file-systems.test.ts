// SPDX-License-Identifier: MIT

/**
 * Real file systems, under the program while clients are at work: a small one that fills up and is
 * cleared, one that becomes read-only, a directory that is moved away and back, and one that is removed.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { temporaryFolder } from '../support/temporary.ts'
import { WireClient } from '../support/wire.ts'
import { campaign, type Campaign } from './campaign.ts'
import { tus } from './connection-attack.ts'
import { besiegeDisk, sumOf, tellStatuses } from './disk-siege.ts'
import { send } from './disk-client.ts'
import { Ledger, PATH, type Entry } from './ledger.ts'
import { MountedFolder } from './mounted-folder.ts'
import { finish } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { compileLibrary, Subject } from './subject.ts'

const MIB = 1024 * 1024
const SIZE = { bytes: 96 * MIB, names: 3000 }
const SYNCS = ['finish', 'append', 'none'] as const
const STEPS_EACH = 90
/** The longest time that a disk is well, or ill, in milliseconds. */
const MAX_SPELL_MS = 60

/** Harms a disk once, and mends it: resolves when it is well again. */
type Harm = (random: Random) => Promise<void>

/** Runs programs on disks that are harmed again and again, until so many requests have failed of it. */
async function wearDown(
  { t, random, rounds, report }: Campaign,
  fault: string,
  failures: readonly number[],
  lay: () => { readonly directory: string; readonly harm: Harm },
): Promise<void> {
  const dist = await compileLibrary()
  const total = { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 }
  let statuses = new Map<number, number>()
  for (let era = 0; total.rounds < rounds; era++) {
    const chance = random.fork(era)
    const { directory, harm } = lay()
    const outcome = await besiegeDisk(t, {
      dist, directory, sync: SYNCS[era % SYNCS.length]!, lock: era % 2 === 0 ? 'file' : 'memory', random: chance, steps: STEPS_EACH,
      failures,
      harm: async (_, work) => {
        let atWork = true
        const working = work().finally(() => (atWork = false))
        working.catch(() => {}) // it is awaited below
        while (atWork) {
          await delay(chance.integer(0, MAX_SPELL_MS))
          await harm(chance)
        }
        await working
      },
    })
    total.acknowledgedBytes += outcome.acknowledgedBytes
    total.lostBytes += outcome.lostBytes
    for (const status of failures) total.rounds += outcome.statuses.get(status) ?? 0
    statuses = sumOf([statuses, outcome.statuses])
  }
  t.diagnostic(tellStatuses(statuses))
  report({ fault, ...total })
}

campaign('a file system that fills up takes nothing that was acknowledged, and uploads go on when there is space', { short: 60, long: 2000 }, async (campaign) => {
  const folder = MountedFolder.mount(campaign.t, SIZE)
  if (!folder) return
  await wearDown(campaign, 'full file system (space, and names)', [503, 507], () => ({
    directory: folder.uploads,
    harm: async (random) => {
      if (random.chance(0.7)) folder.fillBytes(random.pick([0, 0, random.integer(0, 300_000)]))
      else folder.fillNames()
      await delay(random.integer(0, MAX_SPELL_MS))
      folder.clear()
    },
  }))
})

campaign('a file system that becomes read-only takes nothing that was acknowledged, and uploads go on when it can be written to', { short: 40, long: 1000 }, async (campaign) => {
  const folder = MountedFolder.mount(campaign.t, SIZE)
  if (!folder) return
  await wearDown(campaign, 'file system that becomes read-only', [500, 503], () => ({
    directory: folder.uploads,
    harm: async (random) => {
      if (!(await folder.remount('ro'))) return // a body was coming
      await delay(random.integer(0, MAX_SPELL_MS))
      assert.ok(await folder.remount('rw'))
    },
  }))
})

campaign('a directory that is moved away and back takes nothing that was acknowledged with it', { short: 60, long: 1000 }, async (campaign) => {
  await wearDown(campaign, 'directory that is moved away and back', [400, 404, 500, 503], () => {
    const home = temporaryFolder(campaign.t)
    const [directory, elsewhere] = [join(home, 'uploads'), join(home, 'elsewhere')]
    return {
      directory,
      harm: async (random) => {
        renameSync(directory, elsewhere)
        await delay(random.integer(0, MAX_SPELL_MS))
        renameSync(elsewhere, directory)
      },
    }
  })
})

campaign(
  'when the directory is removed nothing is acknowledged any more, nothing is made elsewhere, and the program ends well',
  { short: 3, long: 60 },
  async ({ t, random, rounds, report }) => {
    const dist = await compileLibrary()
    let [acknowledgedBytes, lostBytes] = [0, 0]
    for (let round = 0; round < rounds; round++) {
      const home = temporaryFolder(t)
      const directory = join(home, 'uploads')
      const program = await Subject.program(t, dist, directory, [
        '--sync',
        random.pick(SYNCS),
        '--lock',
        random.pick(['file', 'memory']),
        '--download',
      ])
      const { port } = program
      await program.start()
      let ledger = new Ledger()
      const create = async (): Promise<Entry> => {
        const answer = await send(port, { method: 'POST', path: PATH, headers: { 'Upload-Length': 100_000 } })
        return ledger.created(answer!.headers.location!, 100_000, String(ledger.entries.length))
      }
      const [finished, partial, coming] = [await create(), await create(), await create()]
      await finish(port, finished)
      const before = await holdingsAtRest(program)

      // One body is on its way, and its end comes when there is nowhere left for it.
      const end = random.pick([coming.length, coming.length - 1])
      const client = await WireClient.connect(port)
      await client.send(
        tus(`PATCH ${coming.path}`, ['Content-Type: application/offset+octet-stream', 'Upload-Offset: 0', `Content-Length: ${end}`]),
      )
      await client.send(coming.take(0, 50_000))
      while (statSync(join(directory, coming.id)).size < 50_000) await delay(5)
      rmSync(directory, { recursive: true })
      await client.send(coming.take(50_000, end))
      assert.equal((await client.response()).status, 500)
      client.destroy()
      for (const { path } of [finished, partial, coming]) {
        for (const method of ['HEAD', 'GET', 'DELETE'] as const) {
          const { status } = (await send(port, { method, path }))!
          assert.ok([404, method === 'HEAD' ? 423 : 500].includes(status), `${method} ${path} was answered ${status}`)
        }
      }
      assert.equal((await send(port, { method: 'POST', path: PATH, headers: { 'Upload-Length': 10 } }))!.status, 500)
      assert.deepEqual(readdirSync(home), [])
      await assertSettles(program, before)
      assert.deepEqual(await program.stop(), { code: 0, signal: null })
      assert.deepEqual(program.alarms, [])
      assert.doesNotMatch(program.errors, /TypeError|RangeError|ReferenceError|Warning|ERR_/)

      ledger = new Ledger() // what was in the directory was removed by its owner
      await program.start() // with a new one, as on the first day
      await finish(port, await create())
      assert.deepEqual(await program.stop(), { code: 0, signal: null })
      const audit = ledger.audit(directory)
      acknowledgedBytes += audit.acknowledgedBytes
      lostBytes += audit.lostBytes
      rmSync(directory, { recursive: true })
    }
    report({ fault: 'directory that is removed (what is acknowledged afterwards)', rounds, acknowledgedBytes, lostBytes })
  },
)
