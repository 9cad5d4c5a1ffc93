// SPDX-License-Identifier: MIT

/**
 * Holds an upload's lock around some work, and tells the work when to stop.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { fence } from './fence.ts'

/** What work under a lock uses in place of what its caller has under the same names. */
export interface Held {
  /** With a store that changes nothing once the lock is lost. */
  readonly context: UploadContext
  /** Aborts when another request wants the lock, on shutdown, and when the lock is lost: save and return. */
  readonly stop: AbortSignal
  /** Aborts when the caller's signal does, or the lock is lost: store nothing more. */
  readonly signal: AbortSignal
}

/** Runs `work` while the lock is held. `signal` ends the wait for the lock, too. */
export async function withLock<T>(
  context: UploadContext,
  id: string,
  signal: AbortSignal,
  work: (held: Held) => Promise<T>,
): Promise<T> {
  const { locker, lockTimeoutMs, shutdownSignal, store } = context
  const stop = new AbortController()
  const end = new AbortController()
  const onReleaseRequest = (): void => stop.abort(new Error('Another request wants this upload'))
  const onShutdown = (): void => stop.abort(shutdownSignal?.reason)
  const onAbort = (): void => end.abort(signal.reason)
  const onLost = (): void => {
    const error = new UploadError('LOCK_LOST')
    end.abort(error) // first, or what the body has left would still be stored
    stop.abort(error)
  }

  const timeoutMs = lockTimeoutMs === Infinity ? undefined : lockTimeoutMs // a locker need not know of Infinity
  const lock = await locker.acquire(id, { signal, timeoutMs, onReleaseRequest, onLost })
  if (shutdownSignal?.aborted) onShutdown()
  else shutdownSignal?.addEventListener('abort', onShutdown)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  try {
    return await work({ context: { ...context, store: fence(store, lock) }, stop: stop.signal, signal: end.signal })
  } finally {
    shutdownSignal?.removeEventListener('abort', onShutdown)
    signal.removeEventListener('abort', onAbort)
    await lock.release()
  }
}
