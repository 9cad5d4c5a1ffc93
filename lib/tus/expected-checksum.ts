// SPDX-License-Identifier: MIT

/**
 * The checksum that a body has to match (tus section "Checksum", with the trailer of
 * "checksum-trailer").
 *
 * @module
 */

import { header } from '../http/request-headers.ts'
import type { ExpectedChecksum } from '../upload/context.ts'
import { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { announcesChecksum, CHECKSUM_ALGORITHMS, parseChecksum, type Checksum } from './checksum.ts'

/**
 * What the request says of it; `undefined` if it says nothing.
 *
 * @throws {UploadError} `BAD_REQUEST`; so does `read`, if a trailer did not hold what it was to
 * hold.
 */
export function expectedChecksum(req: UploadRequest): ExpectedChecksum | undefined {
  const text = header(req, 'upload-checksum')
  const inTrailer = announcesChecksum(header(req, 'trailer'))
  if (text === undefined && !inTrailer) return undefined
  if (text !== undefined && inTrailer) {
    throw new UploadError('BAD_REQUEST', { message: 'Upload-Checksum must be a header or a trailer, not both' })
  }
  if (text !== undefined) {
    const checksum = readChecksum(text)
    return { algorithms: [checksum.algorithm], read: () => checksum }
  }
  // HTTP/1.1 has trailers only in a chunked body (RFC 9112 section 7.1.2).
  if (header(req, 'content-length') !== undefined && !('stream' in req)) {
    throw new UploadError('BAD_REQUEST', { message: 'A trailer requires a chunked body' })
  }
  return { algorithms: CHECKSUM_ALGORITHMS, read: () => readChecksum(String(req.trailers['upload-checksum'] ?? '')) }
}

function readChecksum(text: string): Checksum {
  const checksum = parseChecksum(text)
  if (checksum) return checksum
  const algorithm = `an algorithm (${CHECKSUM_ALGORITHMS.join(', ')})`
  throw new UploadError('BAD_REQUEST', { message: `Upload-Checksum must be ${algorithm}, a space and a base64 digest` })
}
