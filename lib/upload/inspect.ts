// SPDX-License-Identifier: MIT

/**
 * Tells where an upload stands.
 *
 * @module
 */

import type { Requester, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findUpload, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { isSettled } from './settle.ts'
import type { Lock, Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Resolves with the upload, once the request that had it has let go: its client may be gone, and then
 * the offset counts every byte it received. If it is complete, finishing is tried again first, so
 * that nothing is called complete that is not.
 *
 * A finished upload waits for nobody. Nor does a concatenation while it is being put together, or
 * while the server has no place for that.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `REFUSED` if it was rejected; what {@link finishUpload},
 * the store or the locker throws.
 */
export async function inspectUpload(context: UploadContext, id: string, requester: Requester): Promise<Upload> {
  const upload = await look(context, id, requester)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return upload
}

async function look(context: UploadContext, id: string, requester: Requester): Promise<Upload> {
  const { store, locker } = context
  // With the lock in hand one look is enough. A lock that reaches other processes costs more than a second one.
  const free = store.shared ? undefined : await locker.tryAcquire(id)
  if (free) return lookAndRelease(context, id, free)

  const found = await findUpload(context, id)
  if (isSettled(found)) return found
  if (!found.parts) return withLock(context, id, requester.signal, () => lookHeld(context, id))
  const lock = await locker.tryAcquire(id)
  return lock ? lookAndRelease(context, id, lock) : found
}

async function lookAndRelease(context: UploadContext, id: string, lock: Lock): Promise<Upload> {
  try {
    return await lookHeld(context, id)
  } finally {
    await lock.release()
  }
}

/** The caller holds the lock. */
async function lookHeld(context: UploadContext, id: string): Promise<Upload> {
  const upload = await findUpload(context, id)
  if (isSettled(upload)) return upload
  if (!upload.parts) await context.store.flush?.(upload) // an offset that is told is a promise
  try {
    return await finishUpload(context, upload)
  } catch (error) {
    if (upload.parts && error instanceof UploadError && error.code === 'BUSY') return upload
    throw error
  }
}
