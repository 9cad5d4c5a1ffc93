// SPDX-License-Identifier: MIT

/**
 * Tells where an upload stands.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findUpload, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { isSettled } from './settle.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Resolves with the upload, once the request that had it has let go: its client may be gone, and then
 * the offset counts every byte it received. If it is complete, finishing is tried again first, so
 * that nothing is called complete that is not.
 *
 * A finished upload takes no lock. Nor does a concatenation wait while it is being put together, or
 * while the server has no place for that.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `REFUSED` if it was rejected; what {@link finishUpload},
 * the store or the locker throws.
 */
export async function inspectUpload(context: UploadContext, id: string, signal: AbortSignal): Promise<Upload> {
  const found = await findUpload(context, id)
  const upload = isSettled(found) ? found : await inspectUnsettled(context, found, signal)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return upload
}

async function inspectUnsettled(context: UploadContext, found: Upload, signal: AbortSignal): Promise<Upload> {
  const { id, parts } = found
  if (!parts) {
    return withLock(context, id, signal, async () => {
      const upload = await findUpload(context, id)
      await context.store.flush?.(upload) // an offset that is told is a promise
      return finishUpload(context, upload)
    })
  }
  const lock = await context.locker.tryAcquire(id)
  if (!lock) return found
  try {
    return await finishUpload(context, await findUpload(context, id))
  } catch (error) {
    if (error instanceof UploadError && error.code === 'BUSY') return found
    throw error
  } finally {
    await lock.release()
  }
}
