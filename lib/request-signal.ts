// SPDX-License-Identifier: MIT

/**
 * An `AbortSignal` that follows one request: what Go calls `r.Context()`, and Node lacks.
 *
 * Design. The one event that every way of losing a client has in common is the response's
 * 'close'. It comes after a success too, so the response is asked whether it was written out: 'finish'
 * was rejected, because it comes for a response that was cut off as well. `req`'s own events do not
 * serve: none of them comes when the client leaves after its body was read.
 *
 * Self-contained: this file uses Node's globals only, and types of `node:`.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'

/**
 * When the client went away.
 *
 * - `REQUEST_ABORTED`: while its request was still being received.
 * - `RESPONSE_ABORTED`: the request was complete; its answer was not.
 */
export type RequestAbortedCode = 'REQUEST_ABORTED' | 'RESPONSE_ABORTED'

/** The reason with which a request's signal aborts. Compare `code`, not the class. */
export class RequestAbortedError extends Error {
  override readonly name: string = 'RequestAbortedError'
  readonly code: RequestAbortedCode

  constructor(code: RequestAbortedCode, cause?: unknown) {
    const during = code === 'REQUEST_ABORTED' ? 'its request was received' : 'its response was finished'
    super(`The client went away before ${during}`, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/**
 * Returns a signal that aborts when the client goes away before the response was finished.
 *
 * 1. It aborts with a {@link RequestAbortedError} when the connection or the HTTP/2 stream closes
 *    before the response was written out; also if that happened before the call.
 * 2. It never aborts after a response that was finished: there is nothing to dispose of.
 *
 * It does not notice a client that is gone while nothing is read from it and nothing written to it: no server can.
 * Over HTTP/2 a body counts as received when it was read. A pipelined request that waits for its turn aborts only
 * if its body was not complete. "Finished" means handed to the operating system, not received by the client.
 *
 * @example Stop a query whose client has left
 * ```ts
 * import { createServer } from 'node:http'
 * import { setTimeout as query } from 'node:timers/promises'
 * import { requestSignal } from 'longhaul/request-signal'
 *
 * createServer(async (req, res) => {
 *   const signal = requestSignal(req, res)
 *   const rows = await query(1000, 'rows', { signal }).catch(() => undefined)
 *   if (rows === undefined) console.log(`stopped: ${signal.reason.message}`)
 *   res.end(rows)
 * }).listen(8080)
 * ```
 */
export function requestSignal(
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
): AbortSignal {
  const controller = new AbortController()
  const settle = (received: boolean): void => {
    if (wasFinished(req, res)) return
    const code = received ? 'RESPONSE_ABORTED' : 'REQUEST_ABORTED'
    controller.abort(new RequestAbortedError(code, req.errored ?? undefined))
  }
  const onClose = (): void => {
    req.off('aborted', onClose)
    res.off('close', onClose)
    settle(wasReceived(req))
  }

  if (isClosed(res) || req.aborted) { // of a response that waits in a pipeline only the request tells
    settle(wasReceived(req) && !('stream' in req && req.aborted))
  } else {
    req.on('aborted', onClose) // a response that waits for its turn in a pipeline never hears 'close'
    res.on('close', onClose)
  }
  return controller.signal
}

/**
 * The two properties are not enough: over HTTP/1, Node 20 and 22 call a response finished whose socket
 * failed in the middle of it. Over HTTP/2 they tell the truth only together.
 */
function wasFinished(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse): boolean {
  return res.writableEnded && res.writableFinished && ('stream' in req || !req.socket.errored)
}

/** `aborted` does not tell: a request without a body that nobody read counts as aborted as well. */
function wasReceived(req: IncomingMessage | Http2ServerRequest): boolean {
  return 'stream' in req ? req.readableEnded || req.stream.endAfterHeaders : req.complete
}

function isClosed(res: ServerResponse | Http2ServerResponse): boolean {
  return 'stream' in res ? res.stream.closed : res.destroyed
}
