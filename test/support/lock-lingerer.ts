// SPDX-License-Identifier: MIT

/**
 * Holds so many keys once, named 0, 1, 2 and so on, and releases them. Then it obeys: `again` holds the first key once
 * more and answers whether it was the same tenure, `leave` lets the process end by itself.
 *
 * @module
 */

import { LockFiles } from '../../lib/lock-files/lock-files.ts'

const [, , directory = '', count = ''] = process.argv

const locks = await LockFiles.open(directory)
const keys = Array.from({ length: Number(count) }, (_, index) => String(index))
const holds = await Promise.all(keys.map((key) => locks.acquire(key)))
process.on('message', async (command) => {
  if (command === 'leave') return process.disconnect?.() // all that kept it alive, if locks do not
  const hold = await locks.acquire('0')
  process.send?.(String(hold.tenure === holds[0]!.tenure))
  await hold.release()
})
for (const hold of holds) void hold.release()
process.send?.('released')
