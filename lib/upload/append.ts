// SPDX-License-Identifier: MIT

/**
 * Appends a request's body to an upload.
 *
 * @module
 */

import { assertNotBusy } from './busy.ts'
import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findUpload, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { planAppend } from './offset.ts'
import { receive, type Received } from './receive.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/** What a client says of the bytes it sends. */
export interface AppendClaims {
  /** Where they belong. */
  readonly offset: number
  /** How long the upload is in all, if the client says so only now. */
  readonly length?: number | undefined
}

/**
 * Appends `body` at the claimed offset, once the request that was there before has let go, and
 * finishes the upload if that was the last of it.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `FINAL_UPLOAD`, `REFUSED` (it was rejected),
 * `LENGTH_CONFLICT`, `OFFSET_CONFLICT`, `TOO_LARGE`, `MAX_SIZE_EXCEEDED`, `APPEND_TOO_LARGE`, `BUSY`
 * before anything is read; what {@link finishUpload}, the store or the locker throws.
 */
export function appendToUpload(
  context: UploadContext,
  id: string,
  claims: AppendClaims,
  body: IncomingBody,
  signal: AbortSignal,
): Promise<Received> {
  return withLock(context, id, signal, async (stop) => {
    const found = await findUpload(context, id)
    if (found.parts) throw new UploadError('FINAL_UPLOAD')
    if (found.state === 'rejected') throw rejectionOf(found)
    const upload = withLength(context, found, claims.length)
    const maxSize = upload.maxSize ?? context.maxSize
    const plan = planAppend({ ...upload, maxSize, maxAppendSize: context.maxAppendSize, claimedOffset: claims.offset, bodyLength: body.length })
    if (plan.kind === 'refused') throw new UploadError(plan.code)
    if (plan.maxBytes > 0) assertNotBusy(context) // with nothing left to receive, it is about what is received already

    const received = await receive(context, upload, body, { maxBytes: plan.maxBytes, stop, signal })
    const kept = received.kind === 'received' || received.upload.offset > found.offset
    if (upload !== found && kept) await context.store.setLength?.(found, upload.length as number) // not sooner: a request of which nothing is kept changes nothing
    return { ...received, upload: await finishUpload(context, received.upload) }
  })
}

/** The upload as it will be if its length is what the client says now. */
function withLength(context: UploadContext, upload: Upload, length: number | undefined): Upload {
  if (length === undefined || length === upload.length) return upload
  if (upload.length !== undefined || length < upload.offset) throw new UploadError('LENGTH_CONFLICT')
  if (length > (upload.maxSize ?? context.maxSize)) throw new UploadError('MAX_SIZE_EXCEEDED')
  return { ...upload, length }
}
