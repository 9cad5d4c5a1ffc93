// SPDX-License-Identifier: MIT

/**
 * One request on its way through the handler: what its headers say, and how it is answered.
 *
 * Every answer goes through `respondEarly`, because any request may have a body that is still on
 * its way.
 *
 * @module
 */

import { STATUS_CODES, validateHeaderName, validateHeaderValue, type ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { respondEarly, type EarlyResponse, type EarlyResponseOptions } from '../early-response.ts'
import type { Requester } from '../upload/context.ts'
import { UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import type { Addresses } from './location.ts'
import type { Headers, Protocol } from './protocol.ts'

/** The response that belongs to an `UploadRequest`. */
export type UploadResponse = ServerResponse | Http2ServerResponse

/** One request on its way through the handler. */
export interface Exchange extends Requester {
  readonly req: UploadRequest
  readonly res: UploadResponse
  readonly addresses: Addresses
  /** The protocol that the request is in. */
  readonly protocol: Protocol
  /** What it asks for, which its own method need not say. */
  readonly method: string | undefined
  /** Answers in the server's place if that takes too long; runs only while the client waits for the server. */
  readonly watchdog: { readonly start: () => void; readonly stop: () => void }
  /** Whether the client holds its body back until it hears `100 Continue`. */
  awaitsContinue: boolean
  /** Whether an answer has been decided, if not sent yet. */
  answered: boolean
  /** What every answer to this request says, whatever it is. */
  headers: Headers
}

/** How long a body may still begin to come that was held back; most clients wait as long for `100 Continue`. */
const CONTINUE_LINGER_MS = 1000

/** These have no body, whatever a hook wants. */
const BODYLESS: readonly number[] = [204, 205, 304]

/** Fields about the connection, which is ours. A proxy removes them too (RFC 9110 section 7.6.1). */
const HOP_BY_HOP =
  /^(?:connection|content-length|http2-settings|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i

/**
 * The most that the headers of an answer may be over HTTP/2, in bytes. Beyond 65,536, Node closes the stream without
 * an answer, and ends the session with all that others have on it.
 */
const MAX_HTTP2_HEADERS = 60_000

/** Errors that go away by themselves. */
const TRANSIENT: readonly UploadErrorCode[] = ['SHORT', 'IDLE', 'LOCKED', 'BUSY', 'LOCK_LOST', 'OVERDUE', 'SHUTTING_DOWN']

/** Answers an error, in the words of the protocol. */
export function respondError(exchange: Exchange, error: UploadError, options?: EarlyResponseOptions): Promise<void> {
  const { status = error.status, headers = {}, text = error.message } = exchange.protocol.refuse(exchange, error)
  const retry: Headers = TRANSIENT.includes(error.code) ? { 'Retry-After': '1' } : {}
  return respond(exchange, status, { ...retry, ...headers, ...error.headers }, text, options)
}

/**
 * Answers, unless somebody has already. Does not reject. A store or a hook may have brought in a
 * header that cannot be sent: then the answer is `INTERNAL`, and that is published.
 */
export async function respond(
  exchange: Exchange,
  status: number,
  headers: Headers,
  text = '',
  options: EarlyResponseOptions = holdsBodyBack(exchange) ? { lingerMs: CONTINUE_LINGER_MS } : {},
): Promise<void> {
  if (exchange.answered || exchange.res.headersSent) return
  exchange.answered = true
  exchange.watchdog.stop()
  const { req, res } = exchange
  try {
    await respondEarly(req, res, responseTo(exchange, status, headers, text), options)
  } catch (cause) {
    if (res.headersSent) { // somebody else has begun an answer
      publishError(cause as Error, req)
      return hangUp(res)
    }
    const error = new UploadError('INTERNAL', undefined, cause)
    publishError(error, req)
    for (const name of Object.keys(headers)) res.removeHeader(name)
    const failure = responseTo(exchange, error.status, {}, error.message)
    await respondEarly(req, res, failure, options).catch(() => hangUp(res))
  }
}

/** Throws if the status or the headers cannot be sent. */
function responseTo(exchange: Exchange, status: number, headers: Headers, text: string): EarlyResponse {
  if (!(status >= 200 && status <= 599)) {
    throw new RangeError(`Cannot answer as the status must be 200 to 599: received ${status}`)
  }
  const { protocol, method, req } = exchange
  const own = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.test(name))
  for (const [name, value] of own) { // over HTTP/2, Node does not look
    validateHeaderName(name)
    validateHeaderValue(name, value)
  }
  const hasText = text !== ''
  const bodyless = method === 'HEAD' || req.method === 'HEAD' || BODYLESS.includes(status)
  const all = {
    ...protocol.headers,
    'Cache-Control': 'no-store',
    ...(hasText ? { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' } : {}),
    ...exchange.headers,
    ...Object.fromEntries(own),
  }
  if ('stream' in req && sizeOf(all) > MAX_HTTP2_HEADERS) {
    throw new RangeError(`Cannot answer as the headers must be ${MAX_HTTP2_HEADERS} bytes at most: they are ${sizeOf(all)}`)
  }
  return {
    status,
    statusMessage: status === 460 ? 'Checksum Mismatch' : STATUS_CODES[status],
    headers: all,
    body: !hasText || bodyless ? '' : text.endsWith('\n') ? text : `${text}\n`,
  }
}

/** As HTTP/2 counts (RFC 9113 section 6.5.2). */
function sizeOf(headers: Headers): number {
  return Object.entries(headers).reduce((size, [name, value]) => size + name.length + value.length + 32, 0)
}

function hangUp(res: UploadResponse): void {
  if ('stream' in res) res.stream.close()
  else res.destroy()
}

/** Whether a client still waits to be told to send its body; it may lose patience at any moment. */
function holdsBodyBack({ awaitsContinue, req }: Exchange): boolean {
  return awaitsContinue && req.readableLength === 0
}

/** A feature that is not offered is refused: a client that relies on it must not think it was heard. */
export function refuseHeader(req: UploadRequest, name: string): void {
  if (header(req, name.toLowerCase()) !== undefined) throw new UploadError('BAD_REQUEST', `${name} is not supported here`)
}

/** The media type, in lower case as they are compared without regard to case, and without parameters (RFC 9110 section 8.3.1). */
export function mediaTypeOf(req: UploadRequest): string {
  const [mediaType = ''] = (header(req, 'content-type') ?? '').split(';', 1)
  return mediaType.trim().toLowerCase()
}

/** Whether the request has a body, or may have one (RFC 9112 section 6.3). */
export function hasBody(req: UploadRequest): boolean {
  const length = header(req, 'content-length')
  if (length !== undefined) return length !== '0'
  return 'stream' in req ? !req.stream.endAfterHeaders : header(req, 'transfer-encoding') !== undefined
}

/** A header's value. Node has joined repeated ones by then, so that a parser refuses them. */
export function header(req: UploadRequest, name: string): string | undefined {
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
