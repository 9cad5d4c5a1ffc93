// SPDX-License-Identifier: MIT

/**
 * Answers a request before its body was read, so that the answer arrives.
 *
 * A server that refuses an upload after reading its head has two bad choices in plain Node: end the
 * response and have Node read and discard the body, however long it is; or close the connection,
 * which resets it while the client is still sending, and the reset destroys the answer in transit.
 *
 * Design. The third choice is to linger: send the whole answer with `Connection: close`, keep
 * reading for a bounded time and number of bytes, and only then close. A client that reads its
 * answer closes first, so lingering costs nothing; the bounds are for the others. Over HTTP/2 closing
 * a stream does not harm the connection (RFC 9113 section 8.1), so there is no need to linger.
 *
 * Self-contained: this file imports `node:http` only, and types of `node:`.
 *
 * @module
 */

import { ServerResponse, validateHeaderName, validateHeaderValue, type IncomingMessage } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2'

/**
 * The answer, which is sent with a `Content-Length`, and with `Connection: close` where needed; and
 * how to treat a body that is still being sent.
 */
export interface EarlyResponse {
  readonly status: number
  /** The reason phrase, for a status for which Node has none; HTTP/2 does not send one. Default: Node's. */
  readonly statusMessage?: string | undefined
  /** Default: none. */
  readonly headers?: Readonly<Record<string, string | number>> | undefined
  /** Default: empty. */
  readonly body?: string | undefined
  /**
   * How long to keep reading, in milliseconds: 0 to 2^31-1, or Infinity. 0 does not linger. With
   * Infinity it waits forever for a client that neither sends nor closes. Default: 5000.
   */
  readonly lingerMs?: number | undefined
  /** The most bytes to discard; it does not bound `drain`. Default: 64 MiB. */
  readonly lingerBytes?: number | undefined
  /** Reads the rest of the body instead of discarding it. Must settle soon after `signal` aborts. Default: none. */
  readonly drain?: ((signal: AbortSignal) => Promise<unknown>) | undefined
}

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** RFC 9113 section 7: the stream is closed, nothing is wrong. */
const HTTP2_NO_ERROR = 0

/**
 * Sends an answer to a client that may still be sending its body.
 *
 * 1. If the whole body was received, this is an ordinary answer; the connection can be used again.
 *    (With `drain` it is not: what was received may not have been read.)
 * 2. Otherwise the answer goes out at once, complete, with `Connection: close`.
 * 3. The rest of the body is discarded (or given to `drain`) until it ends, the client closes,
 *    `lingerMs` have passed or `lingerBytes` were discarded.
 * 4. The response ends and the connection closes. Over HTTP/2 only the stream does.
 *
 * Headers that were set on the response before are sent as well. `res.getHeaders()` need not have
 * those of the answer afterwards.
 *
 * Resolves after step 4. If the client is gone already it does nothing. It does not wait until the
 * client has read the answer. It cannot help a client that reads nothing before it has sent
 * everything, and sends more than the bounds allow.
 *
 * @throws {TypeError} if `lingerMs` is not a number; {@link RangeError} if it is out of bounds. Both
 * before anything is sent. Whatever `drain` rejects with, after the response was ended. Source: RFC
 * 9112 section 9.6.
 *
 * @example Refuse an upload that is too large
 * ```ts
 * import { createServer } from 'node:http'
 * import { respondEarly } from 'longhaul/early-response'
 *
 * createServer(async (req, res) => {
 *   if (Number(req.headers['content-length']) > 1_000_000) {
 *     await respondEarly(req, res, { status: 413, body: 'At most 1 MB\n' })
 *   } else {
 *     req.resume().on('end', () => res.end('thank you\n'))
 *   }
 * }).listen(8080)
 * ```
 */
export async function respondEarly(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  response: EarlyResponse,
): Promise<void> {
  const { body = '', lingerBytes = 64 * 1024 * 1024, drain } = response
  const lingerMs = duration('lingerMs', response.lingerMs ?? 5000, { leastMs: 0, never: Infinity })
  const out = res as ServerResponse // the HTTP/2 compatibility API has the same methods
  const http2Stream = 'stream' in res ? res.stream : undefined
  // Node emits a request while it still parses the packet that brought it, which may hold all of the body.
  if (!isReceived(req)) await new Promise(setImmediate)
  if (http2Stream ? http2Stream.closed : out.destroyed) return void req.resume()

  const isOrdinary = isReceived(req) && !drain
  setHead(out, response, isOrdinary || http2Stream ? undefined : 'close')
  if (isOrdinary) {
    req.resume() // what is buffered would keep the next request on this connection waiting
    out.end(body)
    return
  }
  if (http2Stream) {
    out.end(body)
  } else {
    if (body !== '') out.write(body)
    out.flushHeaders() // write() sends nothing at all where an answer has no body, as to HEAD
  }
  try {
    if (lingerMs > 0 && (drain || !http2Stream)) await linger(req, { lingerMs, lingerBytes, drain })
  } finally {
    if (http2Stream) discardUntilClosed(req, http2Stream, lingerBytes)
    req.resume()
    if (!http2Stream) out.end()
    else if (http2Stream.writableFinished) http2Stream.close(HTTP2_NO_ERROR)
    else http2Stream.once('finish', () => http2Stream.close(HTTP2_NO_ERROR))
  }
}

/**
 * Prepares the head, or throws if it cannot be sent.
 *
 * A `writeHead` with all headers saves a fifth of the time that Node needs for a short request. But
 * it does not merge two spellings of a name, and does not call `setHeader`. So it is used only if
 * there is nothing to merge, and nobody who expects that call: middleware that replaced a method, or
 * a framework with a class of its own.
 */
function setHead(res: ServerResponse, response: EarlyResponse, connection: 'close' | undefined): void {
  const { status, statusMessage, headers = {}, body = '' } = response
  const all: Record<string, string | number> = {}
  for (const name of Object.keys(headers)) all[name] = headers[name]!
  if (status !== 204 && status !== 304) all['Content-Length'] = Buffer.byteLength(body)
  if (connection !== undefined) all['Connection'] = connection

  res.statusCode = status
  if (statusMessage !== undefined && !('stream' in res)) res.statusMessage = statusMessage
  const names = Object.keys(all)
  const areDistinct = new Set(names.map((name) => name.toLowerCase())).size === names.length
  if (!areDistinct || !isUntouched(res)) {
    for (const name of names) res.setHeader(name, all[name]!)
    return
  }
  // A `writeHead` that throws has decided already whether there is a body, also for the answer that comes instead.
  for (const name of names) {
    validateHeaderName(name)
    validateHeaderValue(name, all[name] as string)
  }
  res.writeHead(status, all)
}

/** Whether a response is as `node:http` made it: with its own methods, and without a header. */
function isUntouched(res: ServerResponse): boolean {
  if (Object.getPrototypeOf(res) !== ServerResponse.prototype) return false
  return !Object.hasOwn(res, 'setHeader') && !Object.hasOwn(res, 'writeHead') && res.getHeaderNames().length === 0
}

/**
 * A paused body keeps its HTTP/2 stream open forever, even after a close; the stream keeps the session,
 * and the session the connection. So does an answer that the client cut off without an error, or has
 * no room for. Then what still comes must have a limit, too.
 */
function discardUntilClosed(
  req: IncomingMessage | Http2ServerRequest,
  stream: ServerHttp2Stream,
  maxBytes: number,
): void {
  let bytes = 0
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length
    if (bytes > maxBytes) stream.destroy()
  }
  const onEnd = (): void => {
    if (stream.closed) stream.destroy()
  }
  req.on('data', onData)
  stream.once('end', onEnd)
  stream.once('close', () => {
    req.off('data', onData)
    stream.off('end', onEnd)
  })
}

function isReceived(req: IncomingMessage | Http2ServerRequest): boolean {
  if ('stream' in req) return req.readableEnded || req.stream.endAfterHeaders // `complete` is not to be trusted here
  const { 'content-length': length = '0', 'transfer-encoding': coding } = req.headers
  return req.complete || (length === '0' && coding === undefined)
}

async function linger(
  req: IncomingMessage | Http2ServerRequest,
  { lingerMs = 0, lingerBytes = 0, drain }: Partial<EarlyResponse>,
): Promise<void> {
  const controller = new AbortController()
  const timer = lingerMs === Infinity ? undefined : setTimeout(() => controller.abort(), lingerMs)
  try {
    await (drain?.(controller.signal) ?? discard(req, lingerBytes, controller.signal))
  } finally {
    clearTimeout(timer)
  }
}

function discard(req: IncomingMessage | Http2ServerRequest, maxBytes: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes >= maxBytes) stop()
    }
    const stop = (): void => {
      req.off('data', onData).off('end', stop).off('close', stop)
      signal.removeEventListener('abort', stop)
      resolve()
    }
    if (req.readableEnded || req.destroyed) return resolve()
    req.on('data', onData).on('end', stop).on('close', stop)
    signal.addEventListener('abort', stop)
    req.resume() // a 'data' listener alone does not restart a source that was paused explicitly
  })
}

/** Milliseconds that a timer can count; Infinity only where `never` allows it. */
function duration(name: string, value: number, bounds: { leastMs: 0 | 1; never?: typeof Infinity }): number {
  const { leastMs, never } = bounds
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const range = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${range}: received ${value}`)
}
