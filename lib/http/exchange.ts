// SPDX-License-Identifier: MIT

/**
 * One request on its way through the tus handler: what its headers say, and how it is answered.
 *
 * Every answer goes through `respondEarly`, because any request may have a body that is still on
 * its way.
 *
 * @module
 */

import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { respondEarly, type EarlyResponse, type EarlyResponseOptions } from '../early-response.ts'
import type { Requester } from '../upload/context.ts'
import { UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import type { Addresses } from './location.ts'
import { APPEND_MEDIA_TYPE, TUS_VERSION } from './protocol.ts'

/** A request of `node:http`, or of the compatibility API of `node:http2`. */
export type TusRequest = UploadRequest
/** The response that belongs to a {@link TusRequest}. */
export type TusResponse = ServerResponse | Http2ServerResponse

/** One request on its way through the handler. */
export interface Exchange extends Requester {
  readonly req: TusRequest
  readonly res: TusResponse
  readonly addresses: Addresses
  /** Answers in the server's place if that takes too long; runs only while the client waits for the server. */
  readonly watchdog: { readonly start: () => void; readonly stop: () => void }
  /** Whether the client holds its body back until it hears `100 Continue`. */
  awaitsContinue: boolean
  /** Whether an answer has been decided, if not sent yet. */
  answered: boolean
  /** What every answer to this request says, whatever it is. */
  headers: Readonly<Record<string, string>>
}

/** How long a body may still begin to come that was held back; most clients wait as long for `100 Continue`. */
const CONTINUE_LINGER_MS = 1000

/** Errors that go away by themselves. */
const TRANSIENT: readonly UploadErrorCode[] = ['LOCKED', 'BUSY', 'OVERDUE', 'SHUTTING_DOWN']

export function respondError(exchange: Exchange, error: UploadError, options?: EarlyResponseOptions): Promise<void> {
  const headers: Record<string, string> = {}
  if (error.code === 'UNSUPPORTED_VERSION') headers['Tus-Version'] = TUS_VERSION
  if (TRANSIENT.includes(error.code)) headers['Retry-After'] = '1'
  return respond(exchange, error.status, { ...headers, ...error.headers }, error.message, options)
}

/** Answers, unless somebody has already. Does not reject. */
export async function respond(
  exchange: Exchange,
  status: number,
  headers: Readonly<Record<string, string>>,
  text = '',
  options: EarlyResponseOptions = holdsBodyBack(exchange) ? { lingerMs: CONTINUE_LINGER_MS } : {},
): Promise<void> {
  if (exchange.answered || exchange.res.headersSent) return
  exchange.answered = true
  exchange.watchdog.stop()
  const response: EarlyResponse = {
    status,
    statusMessage: status === 460 ? 'Checksum Mismatch' : undefined,
    headers: {
      'Tus-Resumable': TUS_VERSION,
      'Cache-Control': 'no-store',
      ...(text === '' ? {} : { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }),
      ...exchange.headers,
      ...headers,
    },
    body: text === '' || isHead(exchange.req) ? '' : text.endsWith('\n') ? text : `${text}\n`,
  }
  try {
    await respondEarly(exchange.req, exchange.res, response, options)
  } catch (error) { // somebody else has begun an answer
    publishError(error as Error, exchange.req)
    if ('stream' in exchange.res) exchange.res.stream.close()
    else exchange.res.destroy()
  }
}

/** Whether a client still waits to be told to send its body; it may lose patience at any moment. */
function holdsBodyBack({ awaitsContinue, req }: Exchange): boolean {
  return awaitsContinue && req.readableLength === 0
}

/** Whether an answer must not have content: HEAD, meant or sent. */
function isHead(req: TusRequest): boolean {
  return req.method === 'HEAD' || header(req, 'x-http-method-override') === 'HEAD'
}

/** A feature that is not offered is refused: a client that relies on it must not think it was heard. */
export function refuseHeader(req: TusRequest, name: string): void {
  if (header(req, name.toLowerCase()) !== undefined) throw new UploadError('BAD_REQUEST', `${name} is not supported here`)
}

/** Media types are compared without regard to case, and without parameters (RFC 9110 section 8.3.1). */
export function isAppendMediaType(req: TusRequest): boolean {
  const [mediaType = ''] = (header(req, 'content-type') ?? '').split(';', 1)
  return mediaType.trim().toLowerCase() === APPEND_MEDIA_TYPE
}

/** Whether the request has a body, or may have one (RFC 9112 section 6.3). */
export function hasBody(req: TusRequest): boolean {
  const length = header(req, 'content-length')
  if (length !== undefined) return length !== '0'
  return 'stream' in req ? !req.stream.endAfterHeaders : header(req, 'transfer-encoding') !== undefined
}

/** A header's value. Node has joined repeated ones by then, so that a parser refuses them. */
export function header(req: TusRequest, name: string): string | undefined {
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
