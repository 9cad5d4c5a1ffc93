// SPDX-License-Identifier: MIT

/**
 * Tells where an upload stands.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Resolves with the upload, once the request that had it has let go: its client may be gone, and then
 * the offset counts every byte it received. An upload that looks complete is no exception, as long as
 * nothing but its size says so: a body that turns out too large is still taken back.
 *
 * @throws {UploadError} `NOT_FOUND`; whatever the store or the locker throws.
 */
export function inspectUpload(context: UploadContext, id: string, signal: AbortSignal): Promise<Upload> {
  return withLock(context, id, signal, async () => {
    const upload = await context.store.find(id)
    if (!upload) throw new UploadError('NOT_FOUND')
    return upload
  })
}
