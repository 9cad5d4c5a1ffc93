// SPDX-License-Identifier: MIT

/**
 * Finds an upload whose bytes may be read.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findUpload, rejectionOf } from './find.ts'
import type { Upload } from './types.ts'

/**
 * Resolves with a finished upload; no lock is taken, as its bytes never change. One that is not
 * finished, or a mere part, has no representation yet.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `REFUSED`, `MOVED`; whatever the store throws.
 */
export async function findReadable(context: UploadContext, id: string): Promise<Upload & { readonly length: number }> {
  const upload = await findUpload(context, id)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  if (upload.state !== 'finished' || upload.partial || upload.length === undefined) throw new UploadError('NOT_FOUND')
  if (upload.movedAt) throw new UploadError('MOVED')
  return { ...upload, length: upload.length }
}
