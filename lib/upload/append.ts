// SPDX-License-Identifier: MIT

/**
 * Appends a request's body to an upload.
 *
 * @module
 */

import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { planAppend } from './offset.ts'
import { receive, type Received } from './receive.ts'
import { withLock } from './with-lock.ts'

/**
 * Appends `body` at `claimedOffset`, once the request that was there before has let go.
 *
 * @throws {UploadError} `NOT_FOUND`, `OFFSET_CONFLICT`, `TOO_LARGE`, `MAX_SIZE_EXCEEDED` before
 * anything is read; whatever the store or the locker throws.
 */
export function appendToUpload(
  context: UploadContext,
  id: string,
  claimedOffset: number,
  body: IncomingBody,
  signal: AbortSignal,
): Promise<Received> {
  return withLock(context, id, signal, async (stop) => {
    const upload = await context.store.find(id)
    if (!upload) throw new UploadError('NOT_FOUND')
    const { offset, length } = upload
    const plan = planAppend({ offset, length, claimedOffset, bodyLength: body.length, maxSize: context.maxSize })
    if (plan.kind === 'refused') throw new UploadError(plan.code)
    body.accept()
    return receive(context, upload, body, { maxBytes: plan.maxBytes, stop, signal })
  })
}
