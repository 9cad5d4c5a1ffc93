// SPDX-License-Identifier: MIT

/**
 * Sends an interim (1xx) response: a message to a client that is still sending, or waiting for the
 * final response.
 *
 * Node has one method each for 100, 102 and 103. A method for the rest, such as the 104 of resumable
 * uploads, came with 26.2 and with late releases of 24. None of them checks whether the client accepts
 * interim responses, whether it is still connected, or whether it reads.
 *
 * Design. Where Node has no public method for HTTP/1, the bytes are written as its own
 * `writeContinue()` writes them, with `_writeRaw`. `socket.write()` was rejected: with pipelining, the
 * interim response would land before, or inside, the final response to an earlier request. Nothing is
 * queued for a client that does not keep up: the message is dropped and `false` returned, since the
 * next one supersedes it anyway.
 *
 * Self-contained: this file uses `node:http` only, and types of `node:`.
 *
 * @module
 */

import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2'

/** The interim response. It has no body. */
export interface InterimResponse {
  /** 100 to 199, but not 101, which changes the protocol. */
  readonly status: number
  /** Default: none. A number is sent in decimal. */
  readonly headers?: Readonly<Record<string, string | number>> | undefined
}

/** What Node's types may lack: `writeInformation` before Node 26, and what is not public. */
interface Http1Writer {
  writeInformation?(status: number, headers: Readonly<Record<string, string | number>>): unknown
  _writeRaw(data: string, encoding: 'latin1'): unknown
}

/** Enough for a head and an interim response on each of the 100 concurrent streams that RFC 9113 suggests. */
const MAX_QUEUED_FRAMES = 256

/** RFC 9110 section 8.6, RFC 9112 section 6.1, RFC 9113 section 8.2.2. */
const FRAMING =
  /^(?:connection|content-length|http2-settings|keep-alive|proxy-connection|te|transfer-encoding|upgrade)$/i

/**
 * Sends an interim response ahead of the final one, over HTTP/1.1 or HTTP/2, and returns whether it did.
 *
 * 1. It sends nothing to a client of HTTP/1.0 or older, which would take it for the final response.
 * 2. It sends nothing once the head of the final response is sent (`res.headersSent`), and nothing when
 *    the connection or the HTTP/2 stream is closed.
 * 3. It sends nothing while the client does not keep up: while more bytes wait than the high water mark
 *    of the response. Over HTTP/2, where Node does not count bytes: more than 256 frames.
 * 4. Otherwise it sends the response at once. With pipelining, it follows the final responses to
 *    earlier requests. A corked response holds it until it is uncorked.
 *
 * It may be called any number of times and does not change the final response. It does not replace
 * `res.writeContinue()`: after a 100 that was sent with this function, Node still closes an HTTP/1
 * connection when it has answered. `true` does not mean that the client has received the response. The
 * reason phrase is Node's, which is "unknown" for a status that it does not know. Over HTTP/2 Node keeps
 * each one until the stream closes (`stream.sentInfoHeaders`), so report a long upload by time, not by
 * chunk.
 *
 * @throws {RangeError} if the status is not 100 or 102 to 199; {@link TypeError} if a header is about the
 *   connection or the content; Node's own errors for a header that cannot be sent. The state of the
 *   client never makes it throw, and never hides these errors. Source: RFC 9110 section 15.2.
 *
 * @example Report the progress of an upload
 * ```ts
 * import { createServer } from 'node:http'
 * import { sendInterim } from 'longhaul/interim-response'
 *
 * createServer((req, res) => {
 *   let offset = 0
 *   req.on('data', (chunk) => {
 *     offset += chunk.length
 *     sendInterim(req, res, { status: 104, headers: { 'Upload-Offset': offset } })
 *   })
 *   req.on('end', () => res.end(`${offset} bytes\n`))
 * }).listen(8080)
 * ```
 */
export function sendInterim(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  response: InterimResponse,
): boolean {
  validate(response)
  if (res.headersSent) return false
  return 'stream' in res ? sendOverHttp2(res.stream, response) : sendOverHttp1(req, res, response)
}

function validate({ status, headers = {} }: InterimResponse): void {
  if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) {
    throw new RangeError(`Cannot send an interim response as its status must be 100 or 102 to 199: received ${status}`)
  }
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value as string) // takes a number as well
    if (FRAMING.test(name)) {
      const what = 'its headers must not be about the connection or the content'
      throw new TypeError(`Cannot send an interim response as ${what}: received ${name}`)
    }
  }
}

/** The socket is the request's: a response that waits in a pipeline has none, and never learns that it closed. */
function sendOverHttp1(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse,
  { status, headers = {} }: InterimResponse,
): boolean {
  if (Number(req.httpVersion) < 1.1) return false
  if (res.destroyed || !req.socket.writable) return false
  if (res.writableLength > res.writableHighWaterMark) return false

  const writer = res as unknown as Http1Writer
  if (writer.writeInformation) {
    writer.writeInformation(status, headers)
  } else {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    writer._writeRaw(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n${lines.join('')}\r\n`, 'latin1')
  }
  return true
}

/** `additionalHeaders` is what `writeInformation` calls there, and every Node has it. */
function sendOverHttp2(stream: ServerHttp2Stream, { status, headers = {} }: InterimResponse): boolean {
  if (stream.closed || !stream.session) return false
  if ((stream.session.state.outboundQueueSize ?? 0) > MAX_QUEUED_FRAMES) return false
  stream.additionalHeaders({ ...headers, ':status': status })
  return true
}
