// SPDX-License-Identifier: MIT

/**
 * Finds an upload that can still be used.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isExpired } from './expiration.ts'
import type { Upload } from './types.ts'

/**
 * Resolves with the upload as it is now.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`; whatever the store throws.
 */
export async function findUpload(context: UploadContext, id: string): Promise<Upload> {
  const upload = await context.store.find(id)
  if (!upload) throw new UploadError('NOT_FOUND')
  if (isExpired(upload, context.expiration)) throw new UploadError('EXPIRED')
  return upload
}

/** The error with which a rejected upload answers from now on. */
export function rejectionOf(upload: Upload): UploadError {
  const { status = 403, headers = {}, body } = upload.outcome ?? {}
  return new UploadError('REFUSED', body, undefined, { status, headers })
}
