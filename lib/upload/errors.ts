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
  | 'BAD_REQUEST' | 'LENGTH_CONFLICT' | 'COMPLETED' | 'TOO_SMALL' | 'FINAL_UPLOAD' | 'NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'SHORT' | 'IDLE'
  | 'OFFSET_CONFLICT' | 'TAKEN_OVER' | 'UPLOAD_EXISTS' | 'EXPIRED' | 'DEACTIVATED' | 'PART_GONE' | 'MOVED' | 'UNSUPPORTED_VERSION'
  | 'TOO_LARGE' | 'MAX_SIZE_EXCEEDED' | 'APPEND_TOO_LARGE' | 'UNSUPPORTED_MEDIA_TYPE' | 'LOCKED' | 'METADATA_TOO_LARGE'
  | 'CHECKSUM_MISMATCH' | 'REFUSED' | 'BODY_CONSUMED' | 'INTERNAL' | 'UPLOAD_CORRUPT' | 'UNSUPPORTED_CODING'
  | 'BUSY' | 'LOCK_LOST' | 'OVERDUE' | 'SHUTTING_DOWN' | 'STORE_FULL'

const TABLE: Readonly<Record<UploadErrorCode, readonly [status: number, message: string]>> = {
  BAD_REQUEST: [400, 'The request is malformed'],
  LENGTH_CONFLICT: [400, 'The upload has another length'],
  COMPLETED: [400, 'The upload is complete'],
  TOO_SMALL: [400, 'This is less than this server takes'],
  SHORT: [400, 'The body ended before its announced length'],
  FINAL_UPLOAD: [403, 'A concatenation takes no bytes of its own'],
  REFUSED: [403, 'The request was refused'],
  NOT_FOUND: [404, 'There is no such upload'],
  METHOD_NOT_ALLOWED: [405, 'This method is not allowed here'],
  IDLE: [408, 'Nothing was received for too long'],
  OFFSET_CONFLICT: [409, 'The upload is at another offset'],
  TAKEN_OVER: [409, 'Another request for this upload took over'],
  UPLOAD_EXISTS: [409, 'There is such an upload already'],
  EXPIRED: [410, 'The upload has expired'],
  DEACTIVATED: [410, 'The upload can no longer be used'],
  PART_GONE: [410, 'A part of the upload is gone'],
  MOVED: [410, 'The bytes of this upload are no longer here'],
  UNSUPPORTED_VERSION: [412, 'This version of the protocol is not supported'],
  TOO_LARGE: [413, 'The body is larger than what is left of the upload'],
  MAX_SIZE_EXCEEDED: [413, 'The upload is larger than this server allows'],
  APPEND_TOO_LARGE: [413, 'The body is larger than this server allows in one request'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'This content type is not supported here'],
  LOCKED: [423, 'Another request for this upload is still being served'],
  METADATA_TOO_LARGE: [431, 'The metadata are larger than this server allows'],
  CHECKSUM_MISMATCH: [460, 'The checksum does not match the body'],
  BODY_CONSUMED: [500, 'The request body was read before it reached the upload handler'],
  INTERNAL: [500, 'The server failed'],
  UPLOAD_CORRUPT: [500, 'The stored upload is damaged'],
  UNSUPPORTED_CODING: [501, 'This transfer coding is not supported here'],
  BUSY: [503, 'Too many requests are in progress'],
  LOCK_LOST: [503, 'The lock of this upload was lost'],
  OVERDUE: [503, 'The server is still at work on this request'],
  SHUTTING_DOWN: [503, 'The server is shutting down'],
  STORE_FULL: [507, 'There is no space left'],
}

/** What stores and lockers throw, and the row it belongs to. */
const CODES: ReadonlyMap<unknown, UploadErrorCode> = new Map([
  ['LOCK_TIMEOUT', 'LOCKED'],
  ['LOCKS_CLOSED', 'SHUTTING_DOWN'], // while the request waited, as the shutdown was forced
  ['UPLOAD_EXISTS', 'UPLOAD_EXISTS'],
  ['UPLOAD_MOVED_ON', 'OFFSET_CONFLICT'],
  ['UPLOAD_CORRUPT', 'UPLOAD_CORRUPT'],
  ['STORE_FULL', 'STORE_FULL'],
  ['ENOSPC', 'STORE_FULL'], // a locker's, or a flush's: some systems look for space only then
  ['EDQUOT', 'STORE_FULL'],
  ['EMFILE', 'BUSY'], // the process or the system has no descriptor left
  ['ENFILE', 'BUSY'],
  ['ENOMEM', 'BUSY'],
])

/** What is to be known besides the table's row. */
export interface ErrorDetails {
  /** Another answer than the table's: what a hook decided. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly upload?: Upload
  /** The most that the upload may hold, in bytes, where there is none yet. */
  readonly maxSize?: number
}

/** A request that cannot be served; `code` decides the status. `cause` is never sent. */
export class UploadError extends Error {
  override readonly name: string = 'UploadError'
  readonly code: UploadErrorCode
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The upload that it is about, as it stands, where that is of use to its client. */
  readonly upload: Upload | undefined
  readonly maxSize: number | undefined

  constructor(code: UploadErrorCode, message: string = TABLE[code][1], cause?: unknown, details: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = details.status ?? TABLE[code][0]
    this.headers = details.headers ?? {}
    this.upload = details.upload
    this.maxSize = details.maxSize
  }
}

/**
 * What stores and lockers throw, by its `code`, in the words of the table; all else is `INTERNAL`.
 *
 * Only an error of this very class keeps its message and status: those of anybody else's, however
 * alike it looks, may say what must not be sent.
 */
export function toUploadError(error: unknown): UploadError {
  if (error instanceof UploadError) return error
  return new UploadError(CODES.get((error as { code?: unknown } | null | undefined)?.code) ?? 'INTERNAL', undefined, error)
}
