// SPDX-License-Identifier: MIT

/**
 * Sends a stream as the body of a response, and distinguishes how it ended.
 *
 * Design. `pipeline` moves the bytes. It does not say who ended it: a source that fails takes the
 * response with it, a client that leaves takes the source, and either way both are closed and there
 * is an error. So the first one to end is noted here, before `pipeline` notices. Over HTTP/2 it
 * does not even notice: a response that was cut off emits 'finish' first.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'

/** A request of `node:http`, or of the compatibility API of `node:http2`. */
export type DownloadRequest = IncomingMessage | Http2ServerRequest
/** The response that belongs to a {@link DownloadRequest}. */
export type DownloadResponse = ServerResponse | Http2ServerResponse

/** A request for a download, and its response. */
export interface DownloadExchange {
  readonly req: DownloadRequest
  readonly res: DownloadResponse
}

/** Options of {@link sendBody}. */
export interface SendBodyOptions {
  /** Bytes that the source holds: more than 0, and as many as `Content-Length` says. */
  readonly length: number
  /** Sends status and headers. It is called once, when the source has its first bytes. */
  readonly writeHead: () => void
  /** Stops sending. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Sends all of a stream of bytes.
 *
 * 1. It waits for the first bytes. Until then nothing is sent, and if there are none it rejects, so
 *    that another answer can be given.
 * 2. Then come the head and the body. It resolves when the response is finished.
 * 3. If the client leaves, it resolves: nobody is left to be answered.
 * 4. If the source fails, or holds fewer or more bytes than `length`, or the signal aborts, it
 *    rejects and closes the response: the client sees that it is cut off. On a connection that
 *    stayed open, a missing byte would be waited for, and a surplus one be read as the next answer.
 *
 * The source is destroyed and closed however it ends. A client that stays and does not read is
 * waited for, until the signal aborts.
 *
 * @throws the error of the source; `signal.reason`; {@link RangeError} if the length is wrong.
 */
export async function sendBody(exchange: DownloadExchange, source: Readable, options: SendBodyOptions): Promise<void> {
  const { req, res } = exchange
  const { length, writeHead, signal } = options
  const stop = new AbortController()
  let endedBy: 'client' | 'signal' | 'source' | undefined

  const onGone = (): void => {
    endedBy ??= 'client'
    stop.abort() // it comes after a success too, when there is nothing left to stop
  }
  const onAbort = (): void => {
    endedBy ??= isGone(exchange) ? 'client' : 'signal' // a signal may abort because the client left, and before 'close'
    stop.abort()
  }
  const onSourceOver = (): void => {
    if (!source.readableEnded) endedBy ??= 'source'
  }
  // Never removed: a file may fail to open after it was given up.
  source.on('error', onSourceOver).on('close', onSourceOver)
  req.on('aborted', onGone) // a response that waits for its turn in a pipeline never hears 'close'
  res.on('close', onGone)
  signal?.addEventListener('abort', onAbort)
  if (isGone(exchange)) onGone()
  else if (signal?.aborted) onAbort()

  const body = async function* (): AsyncGenerator<Buffer> {
    let missing = length
    for await (const chunk of source as AsyncIterable<Buffer>) {
      missing -= chunk.length
      if (missing < 0) break
      yield chunk
    }
    if (missing === 0) return
    endedBy ??= 'source'
    const held = missing > 0 ? length - missing : 'more'
    throw new RangeError(`Cannot send the body as its source must hold ${length} bytes: it holds ${held}`)
  }

  try {
    await firstBytes(source, stop.signal)
    writeHead()
    const sent = pipeline(source, body, res as ServerResponse, { signal: stop.signal })
    await Promise.race([sent, endOfWait(res, stop.signal)])
  } catch (error) {
    if (endedBy === 'client') return
    if (endedBy === 'signal') throw signal?.reason
    throw error
  } finally {
    source.destroy()
    await finished(source).catch(() => {}) // a file that is still being opened is work in progress
    req.off('aborted', onGone)
    res.off('close', onGone)
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Whether the client is known to have left. The socket knows before the response does. */
export function isGone({ req, res }: DownloadExchange): boolean {
  return 'stream' in res ? res.stream.closed : req.socket.destroyed
}

/**
 * Rejects a turn after the signal has aborted, for the two responses for which `pipeline` never
 * settles: one whose turn never came, and one over HTTP/2 whose stream closed before `pipeline`
 * began. For all others `pipeline` knows the error better.
 */
function endOfWait(res: DownloadResponse, signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => {
      if ('stream' in res || res.socket === null) setImmediate(reject, signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
  })
}

const NO_BYTES = 'Cannot send the body as its source must hold bytes: it ended without any'

/** Resolves when there are bytes to read; rejects when it is clear that there will be none. */
function firstBytes(source: Readable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onOutcome = (): void => {
      source.off('readable', onOutcome).off('error', onOutcome).off('close', onOutcome)
      signal.removeEventListener('abort', onOutcome)
      if (source.readableLength > 0 && source.readable && !signal.aborted) resolve()
      else reject(source.errored ?? new RangeError(NO_BYTES))
    }
    // 'readable' comes at the end as well.
    source.on('readable', onOutcome).on('error', onOutcome).on('close', onOutcome)
    signal.addEventListener('abort', onOutcome)
    if (source.destroyed || signal.aborted) onOutcome()
  })
}
