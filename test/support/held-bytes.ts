// SPDX-License-Identifier: MIT

/** How much memory is really in use, without what is only waiting to be collected. @module */

import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Collects garbage and resolves with the bytes that are still held, in the heap and in buffers outside of it. */
export async function heldBytes(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    gc()
    await setImmediate() // buffers outside of the heap are given back in a later turn
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
