// SPDX-License-Identifier: MIT

/**
 * Enters critical sections, in an order that the seed decides, until a message stops it. Sends "section" for
 * each, "met <pid> …" if the mark of another process was in it, and "fault …" for what cannot be in any case. At its
 * end it sends "continued <n>": how many sections were in the tenure of the one before.
 *
 * @module
 */

import { LockFiles } from '../../lib/lock-files/lock-files.ts'
import { LockLedger } from './lock-ledger.ts'

const [, , directory = '', marks = '', seed = '', keys = ''] = process.argv

let state = Number(seed)
/** A whole number below `limit` (Numerical Recipes' generator). */
function random(limit: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}

let stopped = false
process.on('message', () => (stopped = true))

const locks = await LockFiles.open(directory)
const onFault = (fault: string): void => {
  const met = / met (.*)$/.exec(fault)?.[1]
  process.send?.(met ? `met ${met}` : `fault ${fault}`)
}
const ledger = new LockLedger({ directory, marks, name: String(process.pid), onFault })

async function enter(key: string): Promise<void> {
  const manner = random(4)
  const hold =
    manner === 0
      ? await locks.tryAcquire(key)
      : await locks.acquire(key, manner === 1 ? { timeoutMs: 1 + random(20) } : {}).catch((error: { code?: string }) => {
          if (error.code !== 'LOCK_TIMEOUT') throw error
        })
  if (!hold) return
  await ledger.section(key, hold, () => new Promise((resolve) => setTimeout(resolve, random(4))))
  process.send?.('section')
  if (random(2) === 0) await hold.release()
  else void hold.release()
}

async function work(): Promise<void> {
  while (!stopped) {
    // In phases it stays with one key, as clients do.
    const key = String(random(Number(keys)))
    for (let times = 1 + random(5); times > 0 && !stopped; times--) await enter(key)
    ledger.audit()
    await new Promise((resolve) => setTimeout(resolve, random(3)))
  }
}

await Promise.all([work(), work()])
await locks.close()
ledger.audit()
process.send?.(`continued ${ledger.continued}`)
process.disconnect?.()
