// SPDX-License-Identifier: MIT

/**
 * Begins the work for a request only when its answer can be sent.
 *
 * Node hands over the requests that a client pipelines at once, long before the answers in front of
 * them are out. Work that begins then has no bound: 5,000 requests of 65 bytes open 5,000 files.
 *
 * Design. A response of HTTP/1 has a socket when it is its turn, and emits 'socket' at that moment. Until
 * then its request waits in the line of its connection. A long line pauses the connection, as Node
 * stops reading only when answers pile up, and nobody answers here. Over HTTP/2 there are no turns:
 * a client may have so many streams open, and each one above is refused.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { UploadRequest } from '../upload/hooks.ts'
import type { UploadResponse } from './exchange.ts'

/**
 * How a request's work may begin.
 *
 * - `answerable`: an answer can be sent.
 * - `gone`: the connection has closed before the request's turn came; what it brought can still be stored.
 * - `refused`: its HTTP/2 session has too many streams open.
 */
export type Turn = 'answerable' | 'gone' | 'refused'

/** What serves a request once it may. */
type Serve = (turn: Turn) => Promise<void>

/** The connection is read on when fewer requests wait. What one packet brought may be more. */
const MAX_WAITING = 64

/** As many as RFC 9113 section 6.5.2 would have a server allow at the least. */
const MAX_STREAMS = 100

const lines = new WeakMap<Socket, Line>()
const streamsOpen = new WeakMap<Http2Session, number>()

/**
 * Calls `serve` when the request may begin, at once if that is now. Requests whose connection has closed
 * are served one after the other. Resolves or rejects as `serve` does.
 */
export function inTurn(req: UploadRequest, res: UploadResponse, serve: Serve): Promise<void> {
  if ('stream' in res) return serve(countStream(res) > MAX_STREAMS ? 'refused' : 'answerable')
  if (res.socket !== null || res.writableEnded) return serve('answerable')
  const { socket } = req as IncomingMessage
  const line = lines.get(socket) ?? new Line(socket)
  lines.set(socket, line)
  return line.wait(res, serve)
}

/** How many streams of the session are open, with this one. */
function countStream({ stream }: Extract<UploadResponse, { readonly stream: unknown }>): number {
  const { session } = stream
  if (!session || stream.closed) return 0
  const change = (by: number): number => {
    const count = (streamsOpen.get(session) ?? 0) + by
    streamsOpen.set(session, count)
    return count
  }
  stream.once('close', () => change(-1))
  return change(1)
}

/** The requests of a connection that wait for their turn. */
class Line {
  readonly #socket: Socket
  readonly #waiting = new Set<(turn: Turn) => Promise<void>>()
  #servesRest = false

  constructor(socket: Socket) {
    this.#socket = socket
    // Node resumes it as well, whenever an answer is out.
    socket.on('resume', () => this.#pauseIfLong())
    socket.once('close', () => void this.#serveRest())
  }

  wait(res: ServerResponse, serve: Serve): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = (turn: Turn): Promise<void> => {
        res.off('socket', onTurn)
        this.#waiting.delete(begin)
        const served = serve(turn)
        served.then(resolve, reject)
        return served
      }
      const onTurn = (): void => {
        void begin('answerable')
        if (this.#waiting.size === MAX_WAITING - 1) this.#socket.resume()
      }
      this.#waiting.add(begin)
      res.once('socket', onTurn)
      if (this.#socket.closed) void this.#serveRest()
      else this.#pauseIfLong()
    })
  }

  #pauseIfLong(): void {
    if (this.#waiting.size >= MAX_WAITING) this.#socket.pause()
  }

  async #serveRest(): Promise<void> {
    if (this.#servesRest) return
    this.#servesRest = true
    for (const begin of this.#waiting) await begin('gone').catch(() => {}) // `wait` has passed it on
    this.#servesRest = false
  }
}
