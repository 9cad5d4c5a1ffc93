// SPDX-License-Identifier: MIT

/**
 * A request's body as the core wants it: its length, and how to talk to its sender.
 *
 * @module
 */

import type { IncomingBody } from '../upload/context.ts'
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
  if (hasBody(req) && (req.readableDidRead || req.readableEnded)) throw new UploadError('BODY_CONSUMED')
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
