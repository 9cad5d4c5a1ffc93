// SPDX-License-Identifier: MIT

/**
 * Terminates an upload: ends what is under way and removes it.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { withLock } from './with-lock.ts'

/**
 * Removes the upload once the request that was there before has let go.
 *
 * @throws {UploadError} `NOT_FOUND`; whatever the store or the locker throws.
 */
export function terminateUpload(context: UploadContext, id: string, signal: AbortSignal): Promise<void> {
  return withLock(context, id, signal, async () => {
    const upload = await context.store.find(id)
    if (!upload) throw new UploadError('NOT_FOUND')
    await context.store.terminate(upload)
  })
}
