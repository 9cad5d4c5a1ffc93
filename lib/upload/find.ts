// SPDX-License-Identifier: MIT

/**
 * Finds an upload that can still be used.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isExpired } from './expiration.ts'
import { isSettled, settle } from './settle.ts'
import type { Upload } from './types.ts'

/**
 * Resolves with the upload as it is now, even if it is of no use any more.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`; whatever the store throws.
 */
export async function findStored(context: UploadContext, id: string): Promise<Upload> {
  const upload = await context.store.find(id)
  if (!upload) throw new UploadError('NOT_FOUND')
  if (isExpired(upload, context.expiration)) throw new UploadError('EXPIRED')
  return upload
}

/**
 * Resolves with the upload as it is now.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`; whatever the store throws.
 */
export async function findUpload(context: UploadContext, id: string): Promise<Upload> {
  const upload = await findStored(context, id)
  if (upload.state === 'deactivated') throw new UploadError('DEACTIVATED')
  return upload
}

/**
 * As {@link findUpload}, for whoever holds the lock: an upload that has lost bytes of which a client was
 * told is deactivated, and stays so.
 */
export async function findHeld(context: UploadContext, id: string): Promise<Upload> {
  const upload = await findUpload(context, id)
  if (isSettled(upload) || !context.acknowledged.exceed(upload)) return upload
  await settle(context, upload, 'deactivated')
  throw new UploadError('DEACTIVATED')
}

/** The error with which a rejected upload answers from now on. */
export function rejectionOf(upload: Upload): UploadError {
  const { status = 403, headers = {}, body } = upload.outcome ?? {}
  return new UploadError('REFUSED', body, undefined, { status, headers, upload })
}
