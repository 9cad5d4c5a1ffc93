// SPDX-License-Identifier: MIT

/**
 * A request's body as the core wants it: its length, its checksum, and how to talk to its sender.
 *
 * @module
 */

import type { ExpectedChecksum, IncomingBody } from '../upload/context.ts'
import { UploadError } from '../upload/errors.ts'
import { parseByteCount } from './byte-count.ts'
import { announcesChecksum, CHECKSUM_ALGORITHMS, parseChecksum } from './checksum.ts'
import { hasBody, header, respond, respondError, type Exchange, type TusRequest } from './exchange.ts'

/** How long a client may go on sending to a server that shuts down, after it was told so. */
const SHUTDOWN_LINGER_MS = 250

/** What answers a client whose body a shutdown ended, in place of 503. */
export type ShutdownAnswer = (upload: { readonly id: string; readonly offset: number }) => readonly [status: number, headers: Readonly<Record<string, string>>]

/**
 * Describes the body of a request.
 *
 * @throws {UploadError} `BAD_REQUEST` if a header about it is malformed, `BODY_CONSUMED` if somebody
 * has read it.
 */
export function incomingBody(exchange: Exchange, onShutdown?: ShutdownAnswer): IncomingBody {
  const { req, res, watchdog } = exchange
  const announced = header(req, 'content-length')
  const length = announced === undefined ? undefined : parseByteCount(announced)
  if (announced !== undefined && length === undefined) throw new UploadError('BAD_REQUEST', 'Content-Length must be a whole number of bytes')
  if (hasBody(req) && (req.readableDidRead || req.readableEnded)) throw new UploadError('BODY_CONSUMED')
  req.pause() // the lock comes first; an abort meanwhile throws away what HTTP/2 holds for a request that is not paused
  return {
    source: req,
    length: length ?? (hasBody(req) ? undefined : 0),
    checksum: expectedChecksum(req),
    accept: () => {
      if (exchange.answered) throw new UploadError('OVERDUE') // what was said cannot be taken back
      watchdog.stop()
      if (exchange.awaitsContinue) res.writeContinue()
      exchange.awaitsContinue = false
    },
    stored: () => watchdog.start(),
    answerShutdown: (upload, drain) => {
      const linger = { lingerMs: SHUTDOWN_LINGER_MS, drain }
      return onShutdown ? respond(exchange, ...onShutdown(upload), '', linger) : respondError(exchange, new UploadError('SHUTTING_DOWN'), linger)
    },
  }
}

/** tus section "Checksum", with the trailer of "checksum-trailer". */
function expectedChecksum(req: TusRequest): ExpectedChecksum | undefined {
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
