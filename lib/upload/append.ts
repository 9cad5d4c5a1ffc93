// SPDX-License-Identifier: MIT

/**
 * Appends a request's body to an upload.
 *
 * @module
 */

import { assertNotBusy } from './busy.ts'
import type { End } from './completion.ts'
import type { IncomingBody, UploadContext } from './context.ts'
import { endAt, endOfCut, isOverrun, overrun } from './end.ts'
import { UploadError } from './errors.ts'
import { findHeld, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { planAppend, remainingBytes } from './offset.ts'
import { receive, type Received } from './receive.ts'
import { isSettled } from './settle.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/** What a client says of the bytes it sends. */
export interface AppendClaims {
  /** Where they belong. */
  readonly offset: number
  /** How long the upload is in all, if the client says so only now. `later`: it will say so later. */
  readonly length?: number | 'later' | undefined
  /** How many there must be at least, if they are not the last ones. */
  readonly minBytes?: number | undefined
  /** Whether they are the last ones. */
  readonly end: End
}

/**
 * Appends `body` at the claimed offset, once the request that was there before has let go, and
 * finishes the upload if that was the last of it.
 *
 * With `body.excess` `cut`, more bytes than the upload was to have deactivate it, as its client has lost count;
 * one that is complete stays as it is.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`, `FINAL_UPLOAD`, `REFUSED` (it was rejected),
 * `OFFSET_CONFLICT`, `COMPLETED`, `LENGTH_CONFLICT`, `TOO_LARGE`, `MAX_SIZE_EXCEEDED`, `APPEND_TOO_LARGE`, `BUSY`
 * before anything is read; what {@link finishUpload}, the store or the locker throws.
 */
export function appendToUpload(
  context: UploadContext,
  id: string,
  claims: AppendClaims,
  body: IncomingBody,
  signal: AbortSignal,
): Promise<Received> {
  return withLock(context, id, signal, async ({ context, stop, signal }) => {
    const found = await findHeld(context, id)
    if (found.parts) throw new UploadError('FINAL_UPLOAD')
    if (found.state === 'rejected') throw rejectionOf(found)
    await context.store.flush?.(found) // whatever is answered may tell of its offset
    context.acknowledged.note(found)
    if (claims.offset !== found.offset) throw new UploadError('OFFSET_CONFLICT', undefined, undefined, { upload: found })
    if (body.excess === 'cut' && (body.length ?? 0) > remainingBytes(found.offset, found.length, Infinity)) throw await overrun(context, found, found)
    if (claims.end === 'later' && isSettled(found)) throw new UploadError('COMPLETED')
    if (claims.end === 'later' && (body.length ?? Infinity) < (claims.minBytes ?? 0)) throw new UploadError('TOO_SMALL', undefined, undefined, { upload: found })
    const upload = withLength(context, found, claims.length)
    const maxSize = upload.maxSize ?? context.maxSize
    const plan = planAppend({ ...upload, maxSize, maxAppendSize: context.maxAppendSize, claimedOffset: claims.offset, bodyLength: body.length })
    if (plan.kind === 'refused') throw new UploadError(plan.code, undefined, undefined, { upload: found })
    if (plan.maxBytes > 0) assertNotBusy(context) // with nothing left to receive, it is about what is received already

    const received = endAt(claims.end, await receive(context, upload, body, { maxBytes: plan.maxBytes, stop, signal }))
    if (isOverrun(body, received)) throw await overrun(context, found, received.upload)
    const kept = received.kind === 'received' || received.upload.offset > found.offset
    const grown = kept ? received.upload : found // a request of which nothing is kept changes nothing, the length neither
    if (grown.length !== undefined && grown.length !== found.length) await context.store.setLength?.(found, grown.length)
    context.acknowledged.note(grown)
    return { ...received, upload: await finishUpload(context, grown, received.kind === 'received' ? claims.end : endOfCut(claims.end)) }
  })
}

/** The upload as it will be if its length is what the client says now. */
function withLength(context: UploadContext, upload: Upload, length: AppendClaims['length']): Upload {
  if (length === 'later') {
    if (upload.length !== undefined) throw new UploadError('LENGTH_CONFLICT', 'The length of the upload is known')
    return upload
  }
  if (length === undefined || length === upload.length) return upload
  if (upload.length !== undefined || length < upload.offset) throw new UploadError('LENGTH_CONFLICT', undefined, undefined, { upload })
  if (length > (upload.maxSize ?? context.maxSize)) throw new UploadError('MAX_SIZE_EXCEEDED', undefined, undefined, { upload })
  return { ...upload, length }
}
