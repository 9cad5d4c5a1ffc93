// SPDX-License-Identifier: MIT

/**
 * Notices a client that does not read its download: it would hold a file and a connection forever.
 *
 * @module
 */

import type { DownloadExchange } from './send-body.ts'

/**
 * Returns a signal that aborts when bytes wait to be sent and the client takes none of them for
 * `timeoutMs`. Time does not count while nothing waits, as when the store is slow.
 *
 * With Infinity it never aborts. It uses the timer that the connection has anyway, which sees every
 * byte that leaves, and leaves it as it was for the next request.
 */
export function stallSignal({ req, res }: DownloadExchange, timeoutMs: number): AbortSignal {
  const controller = new AbortController()
  const out = 'stream' in res ? res.stream : res
  const idleMs = timeoutMs === Infinity ? 0 : timeoutMs // Node's word for never
  res.setTimeout(idleMs, () => {
    if (out.writableLength > 0) controller.abort(new Error('The client stopped reading'))
    else res.setTimeout(idleMs) // it fires once
  })
  const { server } = req.socket as { server?: { readonly timeout?: number } }
  // It runs before Node's own listener, which takes the connection away from the response.
  if (!('stream' in res)) res.prependOnceListener('finish', () => res.setTimeout(server?.timeout ?? 0))
  return controller.signal
}
