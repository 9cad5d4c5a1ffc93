// SPDX-License-Identifier: MIT

/**
 * Tells where an upload stands.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { isComplete } from './offset.ts'
import type { Upload } from './types.ts'
import { UploadError } from './errors.ts'
import { withLock } from './with-lock.ts'

/**
 * Resolves with the upload. One that is not complete may be in the hands of a request whose client
 * has gone: that request is asked to let go, so that the offset counts every byte it received.
 *
 * @throws {UploadError} `NOT_FOUND`; whatever the store or the locker throws.
 */
export async function inspectUpload(context: UploadContext, id: string, signal: AbortSignal): Promise<Upload> {
  const { store } = context
  const upload = await store.find(id)
  if (upload && isComplete(upload)) return upload
  const settled = upload && (await withLock(context, id, signal, () => store.find(id)))
  if (!settled) throw new UploadError('NOT_FOUND')
  return settled
}
