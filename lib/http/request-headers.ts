// SPDX-License-Identifier: MIT

/**
 * What the headers of a request say, before any protocol is asked.
 *
 * @module
 */

import { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'

/** The value of a header. Node has joined repeated ones by then, so that a parser refuses them. */
export function header(req: UploadRequest, name: string): string | undefined {
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

/** Whether the request has a body, or may have one (RFC 9112 section 6.3). */
export function hasBody(req: UploadRequest): boolean {
  const length = header(req, 'content-length')
  if (length !== undefined) return length !== '0'
  return 'stream' in req ? !req.stream.endAfterHeaders : header(req, 'transfer-encoding') !== undefined
}

/**
 * The media type without its parameters (RFC 9110 section 8.3.1). It is in lower case, since media
 * types are compared without regard to case.
 */
export function mediaTypeOf(req: UploadRequest): string {
  const [mediaType = ''] = (header(req, 'content-type') ?? '').split(';', 1)
  return mediaType.trim().toLowerCase()
}

/** Refuses a feature that is not offered: a client that relies on it must not think it has it. */
export function refuseHeader(req: UploadRequest, name: string): void {
  if (header(req, name.toLowerCase()) === undefined) return
  throw new UploadError('BAD_REQUEST', { message: `${name} is not supported` })
}
