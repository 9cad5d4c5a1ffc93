// SPDX-License-Identifier: MIT

/**
 * A disk whose every operation may fail, be slow or do half of it.
 *
 * @module
 */

import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../support/temporary.ts'
import { campaign } from './campaign.ts'
import { besiegeDisk, sumOf, tellStatuses } from './disk-siege.ts'
import type { Random } from './random.ts'
import { compileLibrary, type Subject } from './subject.ts'

const LAYER = fileURLToPath(new URL('file-layer.mjs', import.meta.url))
const SYNCS = ['append', 'finish', 'none'] as const
/** Faults of one life of the program, one or two of which come with every other request. */
const FAULTS_EACH = 120
/** Enough steps to meet nearly all the faults. */
const STEPS_EACH = 250

/** One of the file system's calls, and what happens to it in place of what should. */
interface Fault {
  readonly operation: string
  readonly skip: number
  /** The code of an error, `short`, or a delay in milliseconds. */
  readonly kind: string | number
}

/** A way for a disk to fail, and the answers to that. */
interface Illness {
  readonly errors: readonly string[]
  readonly failures: readonly number[]
}

const ILLNESSES: readonly Illness[] = [
  { errors: ['EIO'], failures: [500, 503] },
  { errors: ['ENOSPC', 'EDQUOT'], failures: [503, 507] },
  { errors: ['EIO', 'EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'EROFS'], failures: [500, 503, 507] },
]

/** Calls that fail, by how many others of their kind come between two of them at most. */
const OPERATIONS: Readonly<Record<string, number>> = {
  open: 40, write: 6, writev: 4, writeFile: 4, sync: 10, truncate: 1, stat: 8, lstat: 20, read: 40, close: 60, rename: 6, rm: 2,
  symlink: 12, readlink: 12, unlink: 12, utimes: 16,
}

campaign(
  'a disk that fails at any call takes nothing that was acknowledged, and the program goes on',
  { short: 90, long: 6000 },
  async ({ t, random, rounds, report }) => {
    const dist = await compileLibrary()
    const total = { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 }
    let met = new Map<string, number>()
    let statuses = new Map<number, number>()
    for (let era = 0; total.rounds < rounds; era++) {
      const directory = temporaryFolder(t)
      const sync = SYNCS[era % SYNCS.length]!
      const illness = ILLNESSES[Math.floor(era / SYNCS.length + era) % ILLNESSES.length]!
      const chance = random.fork(era)
      const outcome = await besiegeDisk(t, {
        dist, directory, sync, lock: era % 4 === 3 ? 'memory' : 'file', random: chance, steps: STEPS_EACH, failures: illness.failures,
        nodeFlags: ['--import', LAYER],
        env: { FAULT_DIRECTORY: directory, ...(sync === 'append' ? { FAULT_FORGETS: 'yes' } : {}) },
        harm: async (program, work) => {
          await orderFaults(program, faultsOf(illness, chance))
          await work()
          const injected = await orderFaults(program, []) // from here on it is well
          for (const count of injected.values()) total.rounds += count
          met = sumOf([met, injected])
        },
      })
      total.acknowledgedBytes += outcome.acknowledgedBytes
      total.lostBytes += outcome.lostBytes
      statuses = sumOf([statuses, outcome.statuses])
    }
    t.diagnostic(`faults: ${Array.from(met, ([name, count]) => `${name} ${count}`).sort().join(', ')}`)
    t.diagnostic(tellStatuses(statuses))
    report({ fault: 'failing disk (EIO, full, short and slow writes, fsync)', ...total })
  },
)

function faultsOf({ errors }: Illness, random: Random): Fault[] {
  return Array.from({ length: FAULTS_EACH }, () => {
    const operation = random.pick(Object.keys(OPERATIONS))
    const mayBePartial = operation === 'write' || operation === 'writev'
    const kind = !mayBePartial ? random.pick(errors) : random.pick(['short', 'short', random.integer(1, 200), ...errors])
    return { operation, skip: random.integer(0, OPERATIONS[operation]!), kind }
  })
}

/** Tells the layer what is to happen from now on, and resolves with what has happened. */
function orderFaults({ process }: Subject, faults: readonly Fault[]): Promise<ReadonlyMap<string, number>> {
  return new Promise((resolve) => {
    const onMessage = ({ injected }: { injected?: Record<string, number> }): void => {
      if (!injected) return
      process.off('message', onMessage)
      resolve(new Map(Object.entries(injected)))
    }
    process.on('message', onMessage)
    process.send({ faults })
  })
}
