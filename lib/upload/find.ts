// SPDX-License-Identifier: MIT

/**
 * Finds an upload that can still be used, and asks whether a request may use it.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { callHook, type UploadOperation, type UploadRequest } from './hooks.ts'
import { isExpired, isSettled, settle } from './lifecycle.ts'
import type { Upload } from './types.ts'

/** Asks `authorize` about an upload, whether or not it exists. Does nothing without that hook. */
export async function authorize(
  context: UploadContext,
  operation: Omit<UploadOperation, 'upload'>,
  request: UploadRequest,
): Promise<void> {
  const { authorize } = context.hooks
  if (!authorize) return
  const upload = await context.store.find(operation.id)
  await callHook(() => authorize({ ...operation, upload }, request))
}

/**
 * Resolves with the upload as it is now, even if it is deactivated.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`; whatever the store throws.
 */
export async function findStored(context: UploadContext, id: string): Promise<Upload> {
  const upload = await context.store.find(id)
  if (!upload) throw new UploadError('NOT_FOUND')
  if (isExpired(upload, context.limits.expiration)) throw new UploadError('EXPIRED')
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
 * As {@link findUpload}, for a caller that holds the lock. An upload that has lost acknowledged
 * bytes is deactivated for good.
 */
export async function findHeld(context: UploadContext, id: string): Promise<Upload> {
  const upload = await findUpload(context, id)
  if (isSettled(upload) || !context.acknowledged.exceed(upload)) return upload
  await settle(context, upload, { state: 'deactivated' })
  throw new UploadError('DEACTIVATED')
}

/**
 * Resolves with a finished upload. No lock is taken, as its bytes never change. An upload that is
 * not finished, or is only a part of others, cannot be read.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`, `REFUSED` (it was rejected),
 * `MOVED`; whatever the store throws.
 */
export async function findReadable(
  context: UploadContext,
  id: string,
): Promise<Upload & { readonly length: number }> {
  const upload = await findUpload(context, id)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  if (upload.state !== 'finished' || upload.partial || upload.length === undefined) throw new UploadError('NOT_FOUND')
  if (upload.movedAt) throw new UploadError('MOVED')
  return { ...upload, length: upload.length }
}

/** The error with which a rejected upload answers from then on. */
export function rejectionOf(upload: Upload): UploadError {
  const { status = 403, headers = {}, body } = upload.outcome ?? {}
  return new UploadError('REFUSED', { message: body, status, headers, upload })
}
