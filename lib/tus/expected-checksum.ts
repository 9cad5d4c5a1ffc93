// SPDX-License-Identifier: MIT

/**
 * The checksum that a body has to match (tus section "Checksum", with the trailer of "checksum-trailer").
 *
 * @module
 */

import { header } from '../http/exchange.ts'
import type { ExpectedChecksum } from '../upload/context.ts'
import { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { announcesChecksum, CHECKSUM_ALGORITHMS, parseChecksum } from './checksum.ts'

/**
 * What the request says of it; `undefined` if it says nothing.
 *
 * @throws {UploadError} `BAD_REQUEST`; so does `read`, if a trailer did not hold what it was to hold.
 */
export function expectedChecksum(req: UploadRequest): ExpectedChecksum | undefined {
  const text = header(req, 'upload-checksum')
  const inTrailer = announcesChecksum(header(req, 'trailer'))
  if (text === undefined && !inTrailer) return undefined
  if (text !== undefined && inTrailer) throw new UploadError('BAD_REQUEST', 'Upload-Checksum must be a header or a trailer: received both')
  if (text !== undefined) {
    const checksum = readChecksum(text)
    return { algorithms: [checksum.algorithm], read: () => checksum }
  }
  if (header(req, 'content-length') !== undefined && !('stream' in req)) throw new UploadError('BAD_REQUEST', 'A trailer needs a chunked body')
  return { algorithms: CHECKSUM_ALGORITHMS, read: () => readChecksum(String(req.trailers['upload-checksum'] ?? '')) }
}

function readChecksum(text: string): { readonly algorithm: string; readonly digest: Uint8Array } {
  const checksum = parseChecksum(text)
  if (!checksum) throw new UploadError('BAD_REQUEST', `Upload-Checksum must be the digest of one of ${CHECKSUM_ALGORITHMS.join(', ')} in base64`)
  return checksum
}
