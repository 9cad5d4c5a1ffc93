// SPDX-License-Identifier: MIT

/**
 * What all handlers of one store have in common.
 *
 * Two handlers that each had a lock of their own would write over each other's bytes, and what one has
 * acknowledged the other would not know. So this belongs to the store, not to the handler.
 *
 * @module
 */

import { KeyedLock } from '../keyed-lock.ts'
import { AcknowledgedOffsets } from './acknowledged.ts'
import { RecentMap } from './recent-map.ts'
import type { UploadContext } from './context.ts'
import type { Locker, UploadStore } from './types.ts'

/** How many concatenations are remembered for the part that they wait for, and how many digests. */
const REMEMBERED = 1000

/** The part of a context that is the same for all handlers of a store. */
export type Shared = Pick<UploadContext, 'locker' | 'acknowledged' | 'inFlight' | 'pendingParts' | 'digests'>

const sharedByStore = new WeakMap<UploadStore, Shared>()

/**
 * Returns what the handlers of `store` share. The first one decides on the locker: without one it is a
 * `KeyedLock`, which serves one process.
 *
 * @throws {TypeError} if another handler of the store has another locker, or if the store is shared between
 * processes and there is no locker.
 */
export function sharedOf(store: UploadStore, locker: Locker | undefined): Shared {
  const known = sharedByStore.get(store)
  if (known) {
    if (locker && locker !== known.locker) throw new TypeError('Cannot keep requests apart as all handlers of one store must have the same locker')
    return known
  }
  if (store.shared && !locker) throw new TypeError('Cannot keep requests apart as a store that is shared between processes must come with a locker that reaches them')
  const shared: Shared = {
    locker: locker ?? new KeyedLock(),
    acknowledged: new AcknowledgedOffsets(),
    inFlight: { count: 0 },
    pendingParts: new RecentMap(REMEMBERED),
    digests: { results: new RecentMap(REMEMBERED), computing: 0, waiting: [] },
  }
  sharedByStore.set(store, shared)
  return shared
}
