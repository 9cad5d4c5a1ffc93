// SPDX-License-Identifier: MIT

/**
 * Removes an upload: when a client asks for it, or when it expires.
 *
 * @module
 */

import type { Asked, UploadContext } from './context.ts'
import { publish } from './events.ts'
import { findStored } from './find.ts'
import { callHook } from './hooks.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Removes the upload, once the request that held it has released it.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, what `onTerminate` refuses with; whatever the store
 * or the locker throws.
 */
export function terminateUpload(context: UploadContext, id: string, { requester }: Asked): Promise<void> {
  return withLock(context, { id, requester }, async ({ context }) => {
    await remove(context, await findStored(context, id), 'terminated')
  })
}

/**
 * Removes an upload; the caller holds its lock. If its bytes were moved away, only the record
 * expires, and no hook runs.
 */
export async function remove(
  context: UploadContext,
  upload: Upload,
  reason: 'terminated' | 'expired',
): Promise<void> {
  const { onTerminate } = context.hooks
  const isRecord = reason === 'expired' && upload.movedAt !== undefined
  if (onTerminate && !isRecord) await callHook(() => onTerminate(upload, reason))
  await context.store.terminate(upload)
  if (upload.partial) context.pendingParts.clear() // concatenations of which it was a part have to notice
  publish(reason === 'expired' ? 'expire' : 'terminate', upload)
}
