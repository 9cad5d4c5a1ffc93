// SPDX-License-Identifier: MIT

/**
 * Holds an upload's lock around some work, and tells the work when to stop.
 *
 * @module
 */

import type { UploadContext } from './context.ts'

/**
 * Runs `work` while the lock is held. The signal it is given aborts when another request wants the
 * lock or the server shuts down: save and return. `signal` ends the wait for the lock.
 */
export async function withLock<T>(
  context: UploadContext,
  id: string,
  signal: AbortSignal,
  work: (stop: AbortSignal) => Promise<T>,
): Promise<T> {
  const { locker, lockTimeoutMs, shutdownSignal } = context
  const stop = new AbortController()
  const onReleaseRequest = (): void => stop.abort(new Error('Another request wants this upload'))
  const onShutdown = (): void => stop.abort(shutdownSignal?.reason)

  const timeoutMs = lockTimeoutMs === Infinity ? undefined : lockTimeoutMs // a locker need not know of Infinity
  const lock = await locker.acquire(id, { signal, timeoutMs, onReleaseRequest })
  if (shutdownSignal?.aborted) onShutdown()
  else shutdownSignal?.addEventListener('abort', onShutdown)
  try {
    return await work(stop.signal)
  } finally {
    shutdownSignal?.removeEventListener('abort', onShutdown)
    await lock.release()
  }
}
