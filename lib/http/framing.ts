// SPDX-License-Identifier: MIT

/**
 * What `node:http` lets through although HTTP/1.1 forbids it, or it cannot undo it.
 *
 * @module
 */

import { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'

/**
 * Refuses a request of HTTP/1 that a proxy in front may have read differently.
 *
 * - Two `Host` lines, of which Node keeps the first: RFC 9112 section 3.2 wants 400.
 * - A transfer coding besides `chunked`. Node undoes that one only,
 *   so the coded bytes would be taken for the body: RFC 9112 section
 *   6.1 wants 501. Node refuses those that do not end with `chunked`.
 *
 * HTTP/2 has neither.
 *
 * @throws {UploadError} `BAD_REQUEST`, `UNSUPPORTED_CODING`.
 */
export function assertFraming(req: UploadRequest): void {
  if ('stream' in req) return
  const { rawHeaders } = req
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
  }
  if (hosts > 1) throw new UploadError('BAD_REQUEST', { message: 'The request must have exactly one Host header' })
  const coding = req.headers['transfer-encoding']
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') throw new UploadError('UNSUPPORTED_CODING')
}
