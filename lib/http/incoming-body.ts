// SPDX-License-Identifier: MIT

/**
 * A request's body as the core wants it: whether there is one, its length, and how to talk to its
 * sender.
 *
 * Who calls whom while a body comes. The core does not know HTTP, so the body carries callbacks.
 *
 *  1. The protocol describes the body (`incomingBody`) and calls a use case of `../upload`.
 *  2. A small body that has arrived (`body.whole`) is stored as a whole, by `../upload/whole.ts`.
 *     Otherwise the use case takes the lock. A creation calls `announce`, which may send a 104.
 *  3. `take` calls `receive`, which occupies a slot or throws `BUSY`.
 *  4. `body.accept()` stops the watchdog, and sends `100 Continue` to a client that waits for it.
 *  5. A `HappyReader` reads the request, and the store reads from it. Each failure is a clean end.
 *  6. The store reports offsets: `onProgress` runs, and `body.progress` may send a 104.
 *  7. `stop` ends the reader if another request wants the upload, or if the server shuts down.
 *  8. On shutdown, `body.answerShutdown` answers, and calls `drain` to store what still comes.
 *  9. `body.stored()` starts the watchdog again: from here on the client waits for the server.
 * 10. `take` decides what the end means, stores the length, and finishes the upload.
 * 11. `onFinish` runs, and the lock is released.
 * 12. The protocol turns the `Received` into the answer.
 *
 * @module
 */

import { finished } from 'node:stream/promises'
import { HappyReader } from '../happy-reader.ts'
import type { IncomingBody, UploadContext } from '../upload/context.ts'
import { UploadError } from '../upload/errors.ts'
import { parseByteCount } from './byte-count.ts'
import type { Answer, Exchange } from './exchange.ts'
import { hasBody, header } from './request-headers.ts'
import { assertUnanswered, respond, respondError } from './respond.ts'

/** The most that a body may have to be taken as a whole, in bytes: what Node reads of a socket at a time. */
const MAX_WHOLE_BYTES = 64 * 1024

/** How long a client may continue to send after the 503 of a shutdown, in milliseconds. */
const SHUTDOWN_LINGER_MS = 250

/** What a protocol adds to the description of a body. */
export interface BodyDetails extends Pick<IncomingBody, 'checksum' | 'excess' | 'progress'> {
  /** What answers a client whose body a shutdown ended. Default: the error `SHUTTING_DOWN`. */
  readonly onShutdown?: ((upload: { readonly id: string; readonly offset: number }) => Answer) | undefined
}

/**
 * Whether a request has a body. Headers do not always say: got, axios and `node:http2` frame a
 * request without one as `Transfer-Encoding: chunked` and no chunk, or as HEADERS and an empty DATA
 * frame.
 *
 * 1. If the headers leave it open, this waits for the first
 *    bytes or the end, as long as for any body.
 * 2. The bytes that came are gone. So ask only if a body will be refused.
 * 3. A client that waits for `100 Continue` has a body: it must not ask for that otherwise (RFC
 *    9110 section 10.1.1).
 *
 * A request that stays silent counts as one with a body, so that it is refused as its head says.
 *
 * @throws {UploadError} `SHUTTING_DOWN`.
 */
export async function hasContent(exchange: Exchange, context: UploadContext): Promise<boolean> {
  const { req, watchdog, awaitsContinue } = exchange
  if (!hasBody(req) || awaitsContinue || header(req, 'content-length') !== undefined) return hasBody(req)
  if (req.readableDidRead) return true
  const { limits: { idleTimeoutMs }, shutdownSignal: signal } = context
  watchdog.stop()
  const reader = new HappyReader(req, { maxBytes: 0, idleTimeoutMs, signal })
  await finished(reader.resume())
  watchdog.start()
  if (reader.error?.code === 'INTERRUPTED') throw new UploadError('SHUTTING_DOWN')
  return reader.error !== undefined
}

/**
 * Describes the body of a request.
 *
 * @throws {UploadError} `BAD_REQUEST` if a header about it is malformed, `BODY_CONSUMED` if
 * somebody has read it.
 */
export function incomingBody(exchange: Exchange, details: BodyDetails): IncomingBody {
  const { onShutdown, ...others } = details
  const { req, res, watchdog } = exchange
  const announced = header(req, 'content-length')
  const length = announced === undefined ? undefined : parseByteCount(announced)
  if (announced !== undefined && length === undefined) {
    throw new UploadError('BAD_REQUEST', { message: 'Content-Length must be a whole number of bytes' })
  }
  if (hasBody(req) && req.readableDidRead) throw new UploadError('BODY_CONSUMED')
  // The lock comes first. Over HTTP/2, an abort meanwhile would throw away what Node holds for a
  // request that is not paused.
  req.pause()
  return {
    source: req,
    length: length ?? (hasBody(req) ? undefined : 0),
    ...others,
    whole: () => wholeBody(exchange, length),
    accept: () => {
      assertUnanswered(exchange)
      watchdog.stop()
      if (exchange.awaitsContinue) res.writeContinue()
      exchange.awaitsContinue = false
    },
    stored: () => {
      if (!exchange.answered) watchdog.start()
    },
    answerShutdown: (upload, drain) => {
      const linger = { lingerMs: SHUTDOWN_LINGER_MS, drain }
      if (onShutdown) return respond(exchange, onShutdown(upload), linger)
      return respondError(exchange, new UploadError('SHUTTING_DOWN'), linger)
    },
  }
}

/**
 * Takes the body of a request of HTTP/1, if it is small and all of it has arrived.
 *
 * Node emits a request while it still parses the packet that brought it, so this waits for a turn
 * if need be. A client that waits for `100 Continue` is asked for its body in the ordinary way:
 * without that, Node would close its connection after the answer.
 */
async function wholeBody({ req, awaitsContinue }: Exchange, length = 0): Promise<Uint8Array | undefined> {
  if (awaitsContinue || 'stream' in req || length === 0 || length > MAX_WHOLE_BYTES) return undefined
  if (!req.complete) await new Promise((resolve) => setImmediate(resolve))
  // One that was aborted, was read in part, or has an encoding is left as it is.
  const isWhole = req.complete && !req.destroyed && req.readableLength === length && !req.readableEncoding
  return isWhole && !req.readableObjectMode ? (req.read() as Buffer) : undefined
}
