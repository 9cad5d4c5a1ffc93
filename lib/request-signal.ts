// SPDX-License-Identifier: MIT

/**
 * An `AbortSignal` that follows one request: what Go calls `r.Context()`, and Node lacks.
 *
 * Design. The one event that every way of losing a client has in common is the response's 'close'.
 * It comes after a success too, so the response's own state decides. 'finish' was rejected, because it
 * also comes for a response that was cut off. The events of `req` do not serve: none of them comes when
 * the client leaves after its body was read.
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
export type RequestAbortedErrorCode = 'REQUEST_ABORTED' | 'RESPONSE_ABORTED'

/** The reason with which a request's signal aborts. Compare `code`, not the class. */
export class RequestAbortedError extends Error {
  override readonly name: string = 'RequestAbortedError'
  readonly code: RequestAbortedErrorCode

  constructor(code: RequestAbortedErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
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
 * It cannot notice a client that has gone while nothing is read from it and nothing is written to it;
 * no server can. Over HTTP/2 a body counts as received when it was read. A pipelined request that
 * waits for its turn aborts only if its body was not complete. "Finished" means passed to the operating
 * system, not received by the client.
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
    const message = `The client went away before its ${received ? 'response was finished' : 'request was received'}`
    controller.abort(new RequestAbortedError(code, message, req.errored ? { cause: req.errored } : undefined))
  }
  const onClose = (): void => {
    req.off('aborted', onClose)
    res.off('close', onClose)
    settle(wasReceived(req))
  }

  if (isClosed(res) || req.aborted) { // where a response waits in a pipeline, only the request knows
    settle(wasReceived(req) && !('stream' in req && req.aborted))
  } else {
    req.on('aborted', onClose) // a response that waits for its turn in a pipeline emits no 'close'
    res.on('close', onClose)
  }
  return controller.signal
}

/**
 * The two properties are not enough: over HTTP/1, Node 20 and 22 call a response finished whose socket
 * failed in the middle of it. Over HTTP/2 both are needed.
 */
function wasFinished(req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse): boolean {
  return res.writableEnded && res.writableFinished && ('stream' in req || !req.socket.errored)
}

/** `aborted` does not decide: an unread request without a body counts as aborted as well. */
function wasReceived(req: IncomingMessage | Http2ServerRequest): boolean {
  return 'stream' in req ? req.readableEnded || req.stream.endAfterHeaders : req.complete
}

function isClosed(res: ServerResponse | Http2ServerResponse): boolean {
  return 'stream' in res ? res.stream.closed : res.destroyed
}
