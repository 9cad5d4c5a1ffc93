// SPDX-License-Identifier: MIT

/**
 * Answers a request, once.
 *
 * Every answer goes through `respondEarly`, because any request may have a body that is still on
 * its way.
 *
 * @module
 */

import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import { respondEarly, type EarlyResponse } from '../early-response.ts'
import { UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { Answer, Exchange, Headers, UploadResponse } from './exchange.ts'

/**
 * How long to go on reading from a client that held its body back, in milliseconds. It may lose
 * patience at any moment; most clients wait as long for `100 Continue`.
 */
const CONTINUE_LINGER_MS = 1000

/** No cache keeps an answer, unless a hook says otherwise. */
const UNCACHED: Headers = { 'Cache-Control': 'no-store' }

const TEXT: Headers = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }

/** These have no body, whatever a hook wants. */
const BODYLESS: readonly number[] = [204, 205, 304]

/**
 * Fields about the connection, which are not for hooks to set. A proxy removes them too (RFC 9110
 * section 7.6.1).
 */
const HOP_BY_HOP =
  /^(?:connection|content-length|http2-settings|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i

/**
 * The most that the headers of an answer may be over HTTP/2, in bytes. Beyond 65,536, Node closes
 * the stream without an answer, and ends the session with all other streams on it.
 */
const MAX_HTTP2_HEADERS = 60_000

/** How to treat a body that is still being sent. */
type Lingering = Pick<EarlyResponse, 'lingerMs' | 'drain'>

/** Errors that pass by themselves. */
const TRANSIENT: readonly UploadErrorCode[] = [
  'SHORT', 'IDLE', 'LOCKED', 'BUSY', 'LOCK_LOST', 'OVERDUE', 'SHUTTING_DOWN',
]

/**
 * Refuses to begin what changes an upload once the client has been answered: an answer cannot be
 * taken back.
 *
 * @throws {UploadError} `OVERDUE`.
 */
export function assertUnanswered({ answered }: Exchange): void {
  if (answered) throw new UploadError('OVERDUE')
}

/** Answers an error as the protocol of the request wants it. */
export function respondError(exchange: Exchange, error: UploadError, lingering?: Lingering): Promise<void> {
  const { status = error.status, headers, text = error.message } = exchange.protocol.refuse(exchange, error)
  const retry: Headers = TRANSIENT.includes(error.code) ? { 'Retry-After': '1' } : {}
  return respond(exchange, { status, headers: { ...retry, ...headers, ...error.headers }, text }, lingering)
}

/**
 * Answers, unless there was an answer already. Does not reject. A store or a hook may have brought
 * in a header that cannot be sent: then the answer is `INTERNAL`, and that is published.
 */
export async function respond(
  exchange: Exchange,
  answer: Answer,
  lingering: Lingering = holdsBodyBack(exchange) ? { lingerMs: CONTINUE_LINGER_MS } : {},
): Promise<void> {
  if (exchange.answered || exchange.res.headersSent) return
  exchange.answered = true
  exchange.watchdog.stop()
  const { req, res } = exchange
  try {
    await respondEarly(req, res, toResponse(exchange, answer, lingering))
  } catch (cause) {
    if (res.headersSent) { // the application has begun an answer of its own
      publishError(cause as Error, req)
      return hangUp(res)
    }
    const error = new UploadError('INTERNAL', { cause })
    publishError(error, req)
    for (const name of Object.keys(answer.headers ?? {})) res.removeHeader(name)
    const failure = toResponse(exchange, { status: error.status, text: error.message }, lingering)
    await respondEarly(req, res, failure).catch(() => hangUp(res))
  }
}

/**
 * Throws if the status or the headers cannot be sent. Over HTTP/1, Node itself looks at the headers.
 */
function toResponse(exchange: Exchange, answer: Answer, { lingerMs, drain }: Lingering): EarlyResponse {
  const { status, headers = {}, text = '' } = answer
  if (!(status >= 200 && status <= 599)) {
    throw new RangeError(`Cannot answer as the status must be 200 to 599: received ${status}`)
  }
  const { protocol, method, req } = exchange
  const hasText = text !== ''
  const bodyless = method === 'HEAD' || req.method === 'HEAD' || BODYLESS.includes(status)
  const all = join([protocol.headers, UNCACHED, hasText ? TEXT : {}, exchange.headers, headers])
  if ('stream' in req) assertFitsHttp2(all)
  return {
    status,
    statusMessage: status === 460 ? 'Checksum Mismatch' : STATUS_CODES[status],
    headers: all,
    body: !hasText || bodyless ? '' : text.endsWith('\n') ? text : `${text}\n`,
    lingerMs,
    drain,
  }
}

/** All of the headers but those about the connection. Of a name that comes again the last one counts. */
function join(parts: readonly Headers[]): Headers {
  const all: Record<string, string> = {} // filled one by one: to spread objects of many members is slow
  for (const part of parts) {
    for (const name of Object.keys(part)) {
      if (!HOP_BY_HOP.test(name)) all[name] = part[name]!
    }
  }
  return all
}

/** Checks what Node does not check over HTTP/2. Counts as HTTP/2 does (RFC 9113 section 6.5.2). */
function assertFitsHttp2(headers: Headers): void {
  let size = 0
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    size += name.length + value.length + 32
  }
  if (size <= MAX_HTTP2_HEADERS) return
  throw new RangeError(`Cannot answer as the headers must be at most ${MAX_HTTP2_HEADERS} bytes: they are ${size}`)
}

function hangUp(res: UploadResponse): void {
  if ('stream' in res) res.stream.close()
  else res.destroy()
}

/** Whether a client still waits for `100 Continue`, and has not sent any of its body. */
function holdsBodyBack({ awaitsContinue, req }: Exchange): boolean {
  return awaitsContinue && req.readableLength === 0
}
