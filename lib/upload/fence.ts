// SPDX-License-Identifier: MIT

/**
 * Keeps whoever has lost an upload's lock from changing the upload.
 *
 * A lock that reaches other processes can be lost: somebody removes its file, or a process is stopped
 * for so long that it counts as dead. Nobody can take back a call that the store has begun; so the
 * lock is asked right before each one, and again before the bytes of an append are acknowledged.
 *
 * @module
 */

import { UploadError } from './errors.ts'
import type { Lock, UploadStore } from './types.ts'

/** What changes an upload. */
const CHANGES: ReadonlySet<PropertyKey> = new Set<keyof UploadStore>([
  'create', 'append', 'appendVerified', 'truncate', 'setState', 'setLength', 'terminate',
])

/**
 * Returns the store with all that it can do. Calls that change an upload reject with `LOCK_LOST` once
 * the lock is lost; so does an append during which it was lost, whatever became of its bytes.
 *
 * A locker that cannot say whether a lock is held is believed that it is.
 */
export function fence(store: UploadStore, lock: Lock): UploadStore {
  if (!lock.isHeld) return store
  const assertHeld = async (): Promise<void> => {
    if (!(await lock.isHeld?.())) throw new UploadError('LOCK_LOST')
  }
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      if (!CHANGES.has(name)) return member.bind(target)
      return async (...args: unknown[]): Promise<unknown> => {
        await assertHeld()
        const result: unknown = await member.apply(target, args)
        if (name === 'append' || name === 'appendVerified') await assertHeld()
        return result
      }
    },
  })
}
