// SPDX-License-Identifier: MIT

/**
 * Tells where an upload stands.
 *
 * @module
 */

import type { End } from './completion.ts'
import type { Requester, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { fence } from './fence.ts'
import { findHeld, findUpload, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { isSettled } from './settle.ts'
import type { Lock, Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Resolves with the upload, once the request that had it has let go: its client may be gone, and then
 * the offset counts every byte it received. If it is complete, or for a client of this kind it is, finishing
 * is tried again first, so that nothing is called complete that is not.
 *
 * A finished upload waits for nobody. Nor does a concatenation while it is being put together, or
 * while the server has no place for that.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`, `REFUSED` if it was rejected; what {@link finishUpload},
 * the store or the locker throws.
 */
export async function inspectUpload(context: UploadContext, id: string, requester: Requester, end: End): Promise<Upload> {
  const upload = await look(context, id, requester, end)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return upload
}

/**
 * As {@link inspectUpload}, but the request that has the upload is not disturbed. While there is one, the offset is the
 * last one that this process has acknowledged, as no other is a promise; one in another process may have acknowledged more.
 */
export async function peekUpload(context: UploadContext, id: string, requester: Requester): Promise<Upload> {
  const { acknowledged, locker } = context
  const found = await findUpload(context, id)
  const lock = isSettled(found) ? undefined : await locker.tryAcquire(id)
  const upload = lock ? await lookAndRelease(context, id, lock, requester, 'later') : found
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return lock || isSettled(upload) ? upload : { ...upload, offset: Math.min(upload.offset, acknowledged.of(upload)) }
}

async function look(context: UploadContext, id: string, requester: Requester, end: End): Promise<Upload> {
  const { store, locker } = context
  // With the lock in hand one look is enough. A lock that reaches other processes costs more than a second one.
  const free = store.shared ? undefined : await locker.tryAcquire(id)
  if (free) return lookAndRelease(context, id, free, requester, end)

  const found = await findUpload(context, id)
  if (isSettled(found)) return found
  if (!found.parts) return withLock(context, id, requester.signal, ({ context, signal }) => lookHeld(context, id, { signal }, end))
  const lock = await locker.tryAcquire(id)
  return lock ? lookAndRelease(context, id, lock, requester, end) : found
}

async function lookAndRelease(context: UploadContext, id: string, lock: Lock, requester: Requester, end: End): Promise<Upload> {
  try {
    return await lookHeld({ ...context, store: fence(context.store, lock) }, id, requester, end)
  } finally {
    await lock.release()
  }
}

/** The caller holds the lock. */
async function lookHeld(context: UploadContext, id: string, requester: Requester, end: End): Promise<Upload> {
  const upload = await findHeld(context, id)
  if (isSettled(upload)) return upload
  if (!upload.parts) { // the bytes of a concatenation are those of its parts
    await context.store.flush?.(upload) // an offset that is told is a promise
    context.acknowledged.note(upload)
  }
  try {
    return await finishUpload(context, upload, end, requester)
  } catch (error) {
    if (upload.parts && error instanceof UploadError && error.code === 'BUSY') return upload
    throw error
  }
}
