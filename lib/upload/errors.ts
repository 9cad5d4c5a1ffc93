// SPDX-License-Identifier: MIT

/**
 * Everything that can go wrong with a request, in one table: code, HTTP status, message. A message
 * is sent as it stands, so none of them may say anything about the inside of the server.
 *
 * @module
 */

/** A code for each row of the table. */
export type UploadErrorCode =
  | 'BAD_REQUEST' | 'NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'IDLE' | 'OFFSET_CONFLICT' | 'TAKEN_OVER' | 'UNSUPPORTED_VERSION'
  | 'TOO_LARGE' | 'MAX_SIZE_EXCEEDED' | 'UNSUPPORTED_MEDIA_TYPE' | 'LOCKED' | 'BODY_CONSUMED' | 'INTERNAL' | 'UPLOAD_CORRUPT'
  | 'SHUTTING_DOWN' | 'STORE_FULL'

const TABLE: Readonly<Record<UploadErrorCode, readonly [status: number, message: string]>> = {
  BAD_REQUEST: [400, 'The request is malformed'],
  NOT_FOUND: [404, 'There is no such upload'],
  METHOD_NOT_ALLOWED: [405, 'This method is not allowed here'],
  IDLE: [408, 'Nothing was received for too long'],
  OFFSET_CONFLICT: [409, 'The upload is at another offset'],
  TAKEN_OVER: [409, 'Another request for this upload took over'],
  UNSUPPORTED_VERSION: [412, 'This version of the protocol is not supported'],
  TOO_LARGE: [413, 'The body is larger than what is left of the upload'],
  MAX_SIZE_EXCEEDED: [413, 'The upload is larger than this server allows'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'This content type is not supported here'],
  LOCKED: [423, 'Another request for this upload is still being served'],
  BODY_CONSUMED: [500, 'The request body was read before it reached the upload handler'],
  INTERNAL: [500, 'The server failed'],
  UPLOAD_CORRUPT: [500, 'The stored upload is damaged'],
  SHUTTING_DOWN: [503, 'The server is shutting down'],
  STORE_FULL: [507, 'There is no space left'],
}

/** A request that cannot be served; `code` decides the status. `cause` is never sent. */
export class UploadError extends Error {
  override readonly name: string = 'UploadError'
  readonly code: UploadErrorCode
  readonly status: number

  constructor(code: UploadErrorCode, message: string = TABLE[code][1], cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = TABLE[code][0]
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
  switch ((error as { code?: unknown } | null | undefined)?.code) {
    case 'LOCK_TIMEOUT':
      return new UploadError('LOCKED', undefined, error)
    case 'UPLOAD_MOVED_ON':
      return new UploadError('OFFSET_CONFLICT', undefined, error)
    case 'UPLOAD_CORRUPT':
      return new UploadError('UPLOAD_CORRUPT', undefined, error)
    case 'STORE_FULL':
      return new UploadError('STORE_FULL', undefined, error)
    default:
      return new UploadError('INTERNAL', undefined, error)
  }
}
