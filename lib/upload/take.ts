// SPDX-License-Identifier: MIT

/**
 * The one way for a body into an upload, whether the request creates the upload or appends to it.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { finishUpload } from './finish.ts'
import { isComplete, settle, type End } from './lifecycle.ts'
import { receive, type BoundedBody, type Received } from './receive.ts'
import type { Upload } from './types.ts'

/** A body, and what its request says about the upload. */
export interface TakenBody extends BoundedBody {
  /** Whether this body is the last one. */
  readonly end: End
  /** The length that the upload gets if anything of the body is kept; `undefined`: unknown. */
  readonly length: number | undefined
}

/**
 * Takes a body into an upload; the caller holds the lock.
 *
 * 1. The body is received. If nothing of it may be kept, that is all: a refused request changes
 *    nothing.
 * 2. If the client sent more than the upload can hold, and `body.excess` is `cut`, the upload is
 *    deactivated.
 * 3. A length that is new is stored, and the offset counts as acknowledged.
 * 4. The upload is finished if this completes it.
 *
 * @throws {UploadError} `LENGTH_CONFLICT` after step 2; what {@link receive}, {@link finishUpload}
 * or the store throws.
 */
export async function take(context: UploadContext, found: Upload, taken: TakenBody): Promise<Received> {
  const { end, length } = taken
  const upload = length === found.length ? found : { ...found, length }
  const received = endOf(await receive(context, upload, taken), end)
  const isWhole = received.kind === 'received'
  if (isOverrun(taken, received)) throw await overrun(context, found, received.upload)
  if (received.kind === 'refused') return received
  const kept = isWhole || received.upload.offset > found.offset ? received.upload : found
  if (kept.length !== undefined && kept.length !== found.length) await context.store.setLength?.(found, kept.length)
  context.acknowledged.note(kept)
  // A request that was cut off says nothing about the end, unless the length alone decides.
  const said = isWhole || end === 'at-length' ? end : 'later'
  return { ...received, upload: await finishUpload(context, kept, { end: said, requester: taken }) }
}

/**
 * What the end of a body means for the upload. A complete last body sets the length if it was
 * unknown. If a different length was known, the upload is not complete, and what came is kept.
 */
function endOf(received: Received, end: End): Received {
  const { upload } = received
  if (received.kind !== 'received' || end !== 'here') return received
  if (upload.length === undefined) return { ...received, upload: { ...upload, length: upload.offset } }
  if (upload.length === upload.offset) return received
  return { kind: 'interrupted', upload, error: new UploadError('LENGTH_CONFLICT', { upload }) }
}

/** Whether more came than the upload can hold, and that is more than a mistake of one request. */
function isOverrun({ body }: TakenBody, received: Received): boolean {
  return body.excess === 'cut' && 'error' in received && received.error.code === 'TOO_LARGE'
}

/**
 * Deactivates an upload that was sent more than its length: its client has lost count. An upload
 * that was complete stays as it is. Resolves with the error to answer. `upload` is as it is now,
 * `before` as it was.
 */
export async function overrun(context: UploadContext, before: Upload, upload: Upload): Promise<UploadError> {
  const isOpen = before.state === 'receiving' && !isComplete(before, 'later')
  if (isOpen) await settle(context, upload, { state: 'deactivated' })
  return new UploadError('LENGTH_CONFLICT')
}
