// SPDX-License-Identifier: MIT

/**
 * Makes signals that follow one living parent after a delay, uses each, and lets go of it: prints how long that
 * took and what is left of it on the heap. Run it with `--expose-gc`.
 *
 * @module
 */

import { setImmediate } from 'node:timers/promises'
import { delayedSignal } from '../../lib/delayed-signal.ts'

const DELAY_MS = 10_000

const [, , way = '', amount = ''] = process.argv
const parent = new AbortController()
const onAbort = (): void => {}

const ways: Record<string, () => void> = {
  delayedSignal: () => {
    const signal = delayedSignal(parent.signal, DELAY_MS)
    signal.addEventListener('abort', onAbort)
    signal.removeEventListener('abort', onAbort)
    signal.dispose()
  },

  /** The nearest thing among Node's own; with `AbortSignal.timeout` the timer could not even be cleared. */
  any: () => {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), DELAY_MS)
    const signal = AbortSignal.any([parent.signal, late.signal])
    signal.addEventListener('abort', onAbort)
    signal.removeEventListener('abort', onAbort)
    clearTimeout(timer)
  },
}

const use = ways[way]
if (!use) throw new Error(`Cannot make signals as the way must be one of ${Object.keys(ways).join(', ')}: received ${way}`)
for (let i = 0; i < 10_000; i++) use() // warms up
const heapBefore = await heapBytes()
const start = process.hrtime.bigint()
for (let i = 0; i < Number(amount); i++) use()
const nanoseconds = Number(process.hrtime.bigint() - start)
console.log(JSON.stringify({ nanoseconds, bytes: (await heapBytes()) - heapBefore }))

/** What is in use once all is collected that can be: finalizers run between collections, and free more. */
async function heapBytes(): Promise<number> {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    await setImmediate()
  }
  return process.memoryUsage().heapUsed
}
