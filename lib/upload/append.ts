// SPDX-License-Identifier: MIT

/**
 * Appends a request's body to an upload.
 *
 * @module
 */

import type { Asked, IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findHeld, rejectionOf } from './find.ts'
import { isSettled, type End } from './lifecycle.ts'
import { planAppend, remainingBytes } from './offset.ts'
import type { Received } from './receive.ts'
import { overrun, take } from './take.ts'
import type { Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/** A body, and what its client says about it. */
export interface AppendRequest extends Asked {
  readonly body: IncomingBody
  /** Where the bytes belong. */
  readonly offset: number
  /** The length of the whole upload, if it is given only now. `later`: a later request gives it. */
  readonly length?: number | 'later' | undefined
  /** The least that the body must bring if it is not the last one, in bytes. Default: 0. */
  readonly minBytes?: number | undefined
  /** Whether it is the last one. */
  readonly end: End
}

/**
 * Appends `body` at the claimed offset, once the request that held the upload has released it, and
 * finishes the upload if this completes it.
 *
 * With `body.excess` `cut`, a body of more bytes than the upload can hold deactivates it, as its
 * client has lost count. An upload that is complete stays as it is.
 *
 * @throws {UploadError} before anything is read: `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`,
 * `FINAL_UPLOAD`, `REFUSED` (it was rejected), `OFFSET_CONFLICT`, `COMPLETED`, `TOO_SMALL`,
 * `LENGTH_CONFLICT`, `TOO_LARGE`, `MAX_SIZE_EXCEEDED`, `APPEND_TOO_LARGE`, `BUSY`. After that, what
 * {@link take} or the locker throws.
 */
export function appendToUpload(context: UploadContext, id: string, asked: AppendRequest): Promise<Received> {
  const { body, offset, end, minBytes = 0, requester } = asked
  return withLock(context, { id, requester }, async ({ context, stop, signal }) => {
    const { limits, store } = context
    const found = await findHeld(context, id)
    if (found.parts) throw new UploadError('FINAL_UPLOAD')
    if (found.state === 'rejected') throw rejectionOf(found)
    await store.flush?.(found) // any answer may contain its offset
    context.acknowledged.note(found)
    if (offset !== found.offset) throw new UploadError('OFFSET_CONFLICT', { upload: found })
    if (body.excess === 'cut' && (body.length ?? 0) > remainingBytes(offset, found.length, Infinity)) {
      throw await overrun(context, found, found)
    }
    if (end === 'later' && isSettled(found)) throw new UploadError('COMPLETED')
    if (end === 'later' && (body.length ?? Infinity) < minBytes) throw new UploadError('TOO_SMALL', { upload: found })
    const { maxSize = limits.maxSize } = found
    const { maxAppendSize } = limits
    const length = lengthOf(found, asked.length, maxSize)
    const plan = planAppend({ offset, length, claimedOffset: offset, bodyLength: body.length, maxSize, maxAppendSize })
    if (plan.kind === 'refused') throw new UploadError(plan.code, { upload: found })
    return take(context, found, { body, end, length, maxBytes: plan.maxBytes, stop, signal })
  })
}

/** The length that the upload will have if the claim is right. */
function lengthOf(upload: Upload, claimed: AppendRequest['length'], maxSize: number): number | undefined {
  if (claimed === undefined || claimed === upload.length) return upload.length
  if (claimed === 'later') {
    if (upload.length === undefined) return undefined
    throw new UploadError('LENGTH_CONFLICT', { message: 'The length of the upload is already set' })
  }
  if (upload.length !== undefined || claimed < upload.offset) throw new UploadError('LENGTH_CONFLICT', { upload })
  if (claimed > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED', { upload })
  return claimed
}
