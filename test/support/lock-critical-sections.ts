// SPDX-License-Identifier: MIT

/**
 * Enters critical sections, in an order that the seed decides, until a message stops it. Sends "section" for
 * each, and "met <pid>" if the mark of another process was in it.
 *
 * @module
 */

import { readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'

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

async function enter(key: string): Promise<void> {
  const manner = random(4)
  const hold =
    manner === 0
      ? await locks.tryAcquire(key)
      : await locks.acquire(key, manner === 1 ? { timeoutMs: 1 + random(20) } : {}).catch((error: { code?: string }) => {
          if (error.code !== 'LOCK_TIMEOUT') throw error
        })
  if (!hold) return
  const mark = join(marks, key)
  try {
    symlinkSync(String(process.pid), mark) // exclusive, and never without its content
  } catch {
    process.send?.(`met ${readlinkSync(mark)}`)
    unlinkSync(mark)
    symlinkSync(String(process.pid), mark)
  }
  await new Promise((resolve) => setTimeout(resolve, random(4)))
  unlinkSync(mark)
  process.send?.('section')
  if (random(2) === 0) await hold.release()
  else void hold.release()
}

async function work(): Promise<void> {
  while (!stopped) {
    await enter(String(random(Number(keys))))
    await new Promise((resolve) => setTimeout(resolve, random(3)))
  }
}

await Promise.all([work(), work()])
await locks.close()
process.disconnect?.()
