// SPDX-License-Identifier: MIT

/**
 * What the end of a body means for its upload.
 *
 * @module
 */

import { isComplete, type End } from './completion.ts'
import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Received } from './receive.ts'
import { settle } from './settle.ts'
import type { Upload } from './types.ts'

/**
 * A body that was received as a whole and is the last one decides the length, if nobody knew it. If it
 * was known and is another one, the upload is not complete; what came of it is kept.
 */
export function endAt(end: End, received: Received): Received {
  const { upload } = received
  if (received.kind !== 'received' || end !== 'here') return received
  if (upload.length === undefined) return { ...received, upload: { ...upload, length: upload.offset } }
  if (upload.length === upload.offset) return received
  return { kind: 'interrupted', upload, error: new UploadError('LENGTH_CONFLICT', undefined, undefined, { upload }) }
}

/** What a request that did not come to its end still says: nothing, unless the length alone decides. */
export function endOfCut(end: End): End {
  return end === 'at-length' ? end : 'later'
}

/** Whether more came than the upload was to have, and that is more than a mistake of one request. */
export function isOverrun(body: IncomingBody | undefined, received: Received): boolean {
  return body?.excess === 'cut' && (received.kind === 'interrupted' || received.kind === 'refused') && received.error.code === 'TOO_LARGE'
}

/**
 * Deactivates an upload that was sent more than its length, unless it was complete before; resolves with what to
 * answer. `upload` is as it is now. The caller holds the lock.
 */
export async function overrun(context: UploadContext, before: Upload, upload: Upload): Promise<UploadError> {
  if (before.state === 'receiving' && !isComplete(before)) await settle(context, upload, 'deactivated')
  return new UploadError('LENGTH_CONFLICT')
}
