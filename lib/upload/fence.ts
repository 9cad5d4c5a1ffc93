// SPDX-License-Identifier: MIT

/**
 * Keeps a request that has lost its upload's lock from changing the upload.
 *
 * A lock that reaches other processes can be lost: somebody removes its file, or its process is
 * stopped for so long that it counts as dead. A call that the store has begun cannot be taken back.
 * So the lock is checked right before each call, and again before an append is acknowledged.
 *
 * @module
 */

import { UploadError } from './errors.ts'
import type { Lock, UploadStore } from './types.ts'

/** What changes an upload. */
const CHANGES: ReadonlySet<PropertyKey> = new Set<keyof UploadStore>([
  'create', 'append', 'appendVerified', 'truncate', 'setState', 'setLength', 'setDigest', 'flush', 'terminate',
])

/**
 * Returns the store with all that it can do. Once the lock is lost, calls that change an upload reject
 * with `LOCK_LOST`. So does an append during which it was lost, even if its bytes are stored.
 *
 * Returns the store itself if the lock has no `isHeld`.
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
