// SPDX-License-Identifier: MIT

/**
 * Terminates an upload: ends what is under way and removes it.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { publish } from './events.ts'
import { findStored } from './find.ts'
import { callHook } from './hooks.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Removes the upload once the request that was there before has let go.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, what `onTerminate` refuses with; whatever the store or
 * the locker throws.
 */
export function terminateUpload(context: UploadContext, id: string, signal: AbortSignal): Promise<void> {
  return withLock(context, id, signal, async ({ context }) => {
    await remove(context, await findStored(context, id), 'terminated')
  })
}

/** Removes an upload whose lock the caller holds. Of one that was moved away only the record expires, which concerns no hook. */
export async function remove(context: UploadContext, upload: Upload, reason: 'terminated' | 'expired'): Promise<void> {
  const { onTerminate } = context.hooks
  const isRecord = reason === 'expired' && upload.movedAt !== undefined
  if (onTerminate && !isRecord) await callHook(() => onTerminate(upload, reason))
  await context.store.terminate(upload)
  if (upload.partial) context.pendingParts.clear() // those that it was a part of are to notice
  publish(reason === 'expired' ? 'expire' : 'terminate', upload)
}
