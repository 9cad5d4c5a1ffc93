// SPDX-License-Identifier: MIT

/**
 * Everything that can go wrong with a request, in one table: code, HTTP status, message. A message
 * is sent as it stands, so none of them may say anything about the inside of the server.
 *
 * @module
 */

import type { Upload } from './types.ts'

/** A code for each row of the table. */
export type UploadErrorCode =
  | 'BAD_REQUEST' | 'LENGTH_CONFLICT' | 'COMPLETED' | 'TOO_SMALL' | 'FINAL_UPLOAD' | 'NOT_FOUND' | 'METHOD_NOT_ALLOWED'
  | 'SHORT' | 'IDLE' | 'OFFSET_CONFLICT' | 'TAKEN_OVER' | 'UPLOAD_EXISTS' | 'EXPIRED' | 'DEACTIVATED' | 'PART_GONE'
  | 'MOVED' | 'UNSUPPORTED_VERSION' | 'TOO_LARGE' | 'MAX_SIZE_EXCEEDED' | 'APPEND_TOO_LARGE' | 'UNSUPPORTED_MEDIA_TYPE'
  | 'LOCKED' | 'METADATA_TOO_LARGE'
  | 'CHECKSUM_MISMATCH' | 'REFUSED' | 'BODY_CONSUMED' | 'INTERNAL' | 'UPLOAD_CORRUPT' | 'UNSUPPORTED_CODING'
  | 'BUSY' | 'LOCK_LOST' | 'OVERDUE' | 'SHUTTING_DOWN' | 'STORE_FULL'

const TABLE: Readonly<Record<UploadErrorCode, readonly [status: number, message: string]>> = {
  BAD_REQUEST: [400, 'The request is malformed'],
  LENGTH_CONFLICT: [400, 'The length does not match the length of the upload'],
  COMPLETED: [400, 'The upload is already complete'],
  TOO_SMALL: [400, 'The upload or request is smaller than this server accepts'],
  SHORT: [400, 'The body ended before its announced length'],
  FINAL_UPLOAD: [403, 'A concatenation cannot be appended to'],
  REFUSED: [403, 'The request was refused'],
  NOT_FOUND: [404, 'There is no upload at this address'],
  METHOD_NOT_ALLOWED: [405, 'This method is not allowed here'],
  IDLE: [408, 'Timed out waiting for data'],
  OFFSET_CONFLICT: [409, 'The offset does not match the offset of the upload'],
  TAKEN_OVER: [409, 'Another request has taken over this upload'],
  UPLOAD_EXISTS: [409, 'An upload with this id already exists'],
  EXPIRED: [410, 'The upload has expired'],
  DEACTIVATED: [410, 'The upload can no longer be used'],
  PART_GONE: [410, 'A part of this concatenation no longer exists'],
  MOVED: [410, 'The upload has been moved and can no longer be downloaded here'],
  UNSUPPORTED_VERSION: [412, 'This protocol version is not supported'],
  TOO_LARGE: [413, 'The body exceeds the remaining length of the upload'],
  MAX_SIZE_EXCEEDED: [413, 'The upload is larger than this server allows'],
  APPEND_TOO_LARGE: [413, 'The body is larger than this server allows in one request'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'This content type is not supported'],
  LOCKED: [423, 'Another request is still using this upload'],
  METADATA_TOO_LARGE: [431, 'The metadata is larger than this server allows'],
  CHECKSUM_MISMATCH: [460, 'The checksum does not match the body'],
  BODY_CONSUMED: [500, 'The request body was already read: mount the upload handler before any body parser'],
  INTERNAL: [500, 'The server failed'],
  UPLOAD_CORRUPT: [500, 'The stored upload is damaged'],
  UNSUPPORTED_CODING: [501, 'This transfer coding is not supported'],
  BUSY: [503, 'Too many requests are in progress'],
  LOCK_LOST: [503, 'The server lost the lock on this upload'],
  OVERDUE: [503, 'The server is still working on this request'],
  SHUTTING_DOWN: [503, 'The server is shutting down'],
  STORE_FULL: [507, 'The server has no space left'],
}

/** The codes that stores, lockers and Node throw, and the row that each belongs to. */
const CODES: ReadonlyMap<unknown, UploadErrorCode> = new Map([
  ['LOCK_TIMEOUT', 'LOCKED'],
  ['LOCKS_CLOSED', 'SHUTTING_DOWN'], // the shutdown was forced while the request waited
  ['UPLOAD_EXISTS', 'UPLOAD_EXISTS'],
  ['UPLOAD_MOVED_ON', 'OFFSET_CONFLICT'],
  ['UPLOAD_CORRUPT', 'UPLOAD_CORRUPT'],
  ['STORE_FULL', 'STORE_FULL'],
  ['ENOSPC', 'STORE_FULL'], // from a locker or a flush: some systems check for space only then
  ['EDQUOT', 'STORE_FULL'],
  ['EMFILE', 'BUSY'], // the process or the system has no descriptor left
  ['ENFILE', 'BUSY'],
  ['ENOMEM', 'BUSY'],
])

/** What an error says besides its row. */
export interface UploadErrorDetails {
  /** A more precise text than the table's. It is sent to the client. */
  readonly message?: string | undefined
  /** Never sent. */
  readonly cause?: unknown
  /** Another status than the table's: what a hook decided. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly upload?: Upload
  /** The most that the upload could hold, in bytes, where it does not exist yet. */
  readonly maxSize?: number
}

/** A request that cannot be served; `code` decides the status. */
export class UploadError extends Error {
  override readonly name: string = 'UploadError'
  readonly code: UploadErrorCode
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The upload that it is about, as it is now, where that helps the client. */
  readonly upload: Upload | undefined
  readonly maxSize: number | undefined

  constructor(code: UploadErrorCode, details: UploadErrorDetails = {}) {
    const [status, message] = TABLE[code]
    super(details.message ?? message, details)
    this.code = code
    this.status = details.status ?? status
    this.headers = details.headers ?? {}
    this.upload = details.upload
    this.maxSize = details.maxSize
  }
}

/**
 * Finds the row for an error by its `code`; without one it is `INTERNAL`.
 *
 * Only an error of this very class keeps its message and status. Any other error, however similar
 * it looks, may contain what must not be sent.
 */
export function toUploadError(error: unknown): UploadError {
  if (error instanceof UploadError) return error
  const code = CODES.get((error as { code?: unknown } | null | undefined)?.code) ?? 'INTERNAL'
  return new UploadError(code, { cause: error })
}
