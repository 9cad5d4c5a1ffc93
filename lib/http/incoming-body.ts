// SPDX-License-Identifier: MIT

/**
 * A request's body as the core wants it: whether there is one, its length, and how to talk to its sender.
 *
 * @module
 */

import { finished } from 'node:stream/promises'
import { HappyReader } from '../happy-reader.ts'
import type { IncomingBody, UploadContext } from '../upload/context.ts'
import { UploadError } from '../upload/errors.ts'
import { parseByteCount } from './byte-count.ts'
import { hasBody, header, respond, respondError, type Exchange } from './exchange.ts'
import type { Headers } from './protocol.ts'

/** How long a client may go on sending to a server that shuts down, after it was told so. */
const SHUTDOWN_LINGER_MS = 250

/** What answers a client whose body a shutdown ended, in place of 503. */
export type ShutdownAnswer = (upload: { readonly id: string; readonly offset: number }) => readonly [status: number, headers: Headers]

/** What a protocol has to say of a body. */
export interface BodyDetails extends Pick<IncomingBody, 'checksum' | 'excess' | 'progress'> {
  readonly onShutdown?: ShutdownAnswer | undefined
}

/**
 * Whether a request has a body. Headers do not always say: got, axios and `node:http2` frame a request
 * without one as `Transfer-Encoding: chunked` and no chunk, or as HEADERS and an empty DATA frame.
 *
 * 1. If the headers leave it open, this waits for the first bytes or the end, as long as for any body.
 * 2. The bytes that came are gone. So ask only if a body will be refused.
 * 3. A client that waits for `100 Continue` has a body; without one it must not (RFC 9110 section
 *    10.1.1).
 *
 * One that stays silent is taken to have one, so that it is refused as its head says.
 *
 * @throws {UploadError} `SHUTTING_DOWN`.
 */
export async function hasContent(exchange: Exchange, context: UploadContext): Promise<boolean> {
  const { req, watchdog, awaitsContinue } = exchange
  if (!hasBody(req) || awaitsContinue || header(req, 'content-length') !== undefined) return hasBody(req)
  if (req.readableDidRead) return true
  const { idleTimeoutMs, shutdownSignal: signal } = context
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
 * @throws {UploadError} `BAD_REQUEST` if a header about it is malformed, `BODY_CONSUMED` if somebody
 * has read it.
 */
export function incomingBody(exchange: Exchange, details: BodyDetails): IncomingBody {
  const { onShutdown, ...others } = details
  const { req, res, watchdog } = exchange
  const announced = header(req, 'content-length')
  const length = announced === undefined ? undefined : parseByteCount(announced)
  if (announced !== undefined && length === undefined) throw new UploadError('BAD_REQUEST', 'Content-Length must be a whole number of bytes')
  if (hasBody(req) && req.readableDidRead) throw new UploadError('BODY_CONSUMED')
  req.pause() // the lock comes first; an abort meanwhile throws away what HTTP/2 holds for a request that is not paused
  return {
    source: req,
    length: length ?? (hasBody(req) ? undefined : 0),
    ...others,
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
