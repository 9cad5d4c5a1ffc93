// SPDX-License-Identifier: MIT

/**
 * Holds an upload's lock around some work, and tells the work when to stop.
 *
 * Design. A lock that reaches other processes can be lost: somebody removes its file, or its
 * process is stopped for so long that it counts as dead. The work then gets a signal, but a call
 * that the store has begun cannot be taken back. So the work gets the store behind a *fence*, which
 * checks the lock right before each change, and again before an append is acknowledged.
 *
 * @module
 */

import type { Requester, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Lock, UploadStore } from './types.ts'

/** What work under a lock uses in place of what its caller has under the same names. */
export interface Held {
  /** With a store that changes nothing once the lock is lost. */
  readonly context: UploadContext
  /** Aborts on shutdown, and when another request wants the lock or it is lost: save and return. */
  readonly stop: AbortSignal
  /** Aborts when the caller's signal does, or the lock is lost: store nothing more. */
  readonly signal: AbortSignal
}

/** Whose lock, and for whom. */
export interface LockRequest {
  readonly id: string
  /** Its signal also ends the wait for the lock. */
  readonly requester: Requester
}

/** What changes an upload. */
const CHANGES: ReadonlySet<PropertyKey> = new Set<keyof UploadStore>([
  'create', 'createWhole', 'append', 'appendVerified', 'truncate', 'setState', 'setLength', 'setDigest', 'flush',
  'terminate',
])

/** Runs `work` under the lock. First asks the holder to save and release, and waits for that. */
export async function withLock<T>(
  context: UploadContext,
  { id, requester: { signal } }: LockRequest,
  work: (held: Held) => Promise<T>,
): Promise<T> {
  const { locker, limits: { lockTimeoutMs }, shutdownSignal } = context
  const stop = new AbortController()
  const end = new AbortController()
  const onReleaseRequest = (): void => stop.abort(new Error('Another request wants this upload'))
  const onShutdown = (): void => stop.abort(shutdownSignal?.reason)
  const onAbort = (): void => end.abort(signal.reason)
  const onLost = (): void => {
    const error = new UploadError('LOCK_LOST')
    end.abort(error) // first, or the rest of the body would still be stored
    stop.abort(error)
  }

  const timeoutMs = lockTimeoutMs === Infinity ? undefined : lockTimeoutMs // a locker need not know of Infinity
  const lock = await locker.acquire(id, { signal, timeoutMs, onReleaseRequest, onLost })
  if (shutdownSignal?.aborted) onShutdown()
  else shutdownSignal?.addEventListener('abort', onShutdown)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  try {
    return await work({ context: behindFence(context, id, lock), stop: stop.signal, signal: end.signal })
  } finally {
    shutdownSignal?.removeEventListener('abort', onShutdown)
    signal.removeEventListener('abort', onAbort)
    await lock.release()
  }
}

/** Runs `work` under the lock if it is free, else resolves with `undefined`. Disturbs no holder. */
export async function whileFree<T>(
  context: UploadContext,
  id: string,
  work: (context: UploadContext) => Promise<T>,
): Promise<T | undefined> {
  const lock = await context.locker.tryAcquire(id)
  if (!lock) return undefined
  try {
    return await work(behindFence(context, id, lock))
  } finally {
    await lock.release()
  }
}

function behindFence(context: UploadContext, id: string, lock: Lock): UploadContext {
  if (lock.tenure) context.store.trust?.(id, lock.tenure)
  const store = fence(context.store, lock)
  return store === context.store ? context : { ...context, store }
}

/**
 * Returns the store with all that it can do. Once the lock is lost, calls that change an upload
 * reject with `LOCK_LOST`. So does an append during which it was lost, even if its bytes are
 * stored.
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
