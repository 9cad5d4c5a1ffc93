// SPDX-License-Identifier: MIT

/**
 * Begins the work for a request only when its answer can be sent.
 *
 * Node hands over the requests that a client pipelines at once, long before the answers in front of
 * them are out. Work that begins then has no bound: 5,000 requests of 65 bytes open 5,000 files.
 *
 * Design. A response of HTTP/1 gets its socket when it is its turn, and emits 'socket' at that
 * moment. Until then its request waits in the line of its connection. A long line pauses the
 * connection: Node itself stops reading only when answers pile up, and nobody answers here. Over
 * HTTP/2 there are no turns. A session may have a number of streams in progress, and each one above
 * that is refused.
 *
 * @module
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { UploadRequest } from '../upload/hooks.ts'
import type { UploadResponse } from './exchange.ts'

/**
 * How a request's work may begin.
 *
 * - `answerable`: an answer can be sent.
 * - `gone`: the client has left before that. What came of the body can still be stored.
 * - `refused`: its HTTP/2 session has too many streams in progress.
 */
export type Turn = 'answerable' | 'gone' | 'refused'

/** What serves a request once it may. */
type Serve = (turn: Turn) => Promise<void>

/**
 * A connection with this many waiting requests is not read until fewer wait. One packet may bring
 * more. If it ends inside a head, the server's `headersTimeout` keeps running, and may cut off a
 * client that has so many requests waiting for so long.
 */
const MAX_WAITING = 64

/** The least that a server should allow (RFC 9113 section 6.5.2). */
const MAX_STREAMS = 100

const lines = new WeakMap<Socket, Line>()
const inProgress = new WeakMap<Http2Session, number>()

/**
 * Calls `work` when the request may begin, at once if that is now. Resolves or rejects as `work`
 * does. Requests whose connection has closed are served one after the other. Those without a body
 * are dropped.
 */
export function inTurn(req: UploadRequest, res: UploadResponse, work: Serve): Promise<void> {
  if (!('stream' in res) && (res.socket !== null || res.writableEnded)) return work('answerable')
  const serve: Serve = (turn) => (turn === 'gone' && !holdsBody(req) ? Promise.resolve() : work(turn))
  if ('stream' in res) return inSession(req, res.stream, serve)
  const { socket } = req as IncomingMessage
  const line = lines.get(socket) ?? new Line(socket)
  lines.set(socket, line)
  return line.wait(res, serve)
}

/**
 * Whether Node holds something of the body. Over HTTP/2 the stream holds it until somebody reads;
 * after an abort, Node 26 reads it by itself.
 */
function holdsBody(req: UploadRequest): boolean {
  if (req.readableDidRead || req.readableEnded) return false
  return req.readableLength > 0 || ('stream' in req && req.stream.readableLength > 0)
}

/**
 * A client can reset streams as fast as it opens them. So the work begins a turn of the event loop
 * later, when a reset that came with the head is known. A stream counts until it is closed and its
 * work has ended.
 */
async function inSession(req: UploadRequest, stream: ServerHttp2Stream, serve: Serve): Promise<void> {
  const { session } = stream
  if (!session || stream.closed) return serve('gone')
  const change = (by: number): number => {
    const count = (inProgress.get(session) ?? 0) + by
    inProgress.set(session, count)
    return count
  }
  const turn = change(1) > MAX_STREAMS ? 'refused' : 'answerable'
  const closed = new Promise<void>((resolve) => stream.once('close', resolve))
  req.pause() // an abort throws away what Node holds for a request that is not paused
  await new Promise((resolve) => setImmediate(resolve))
  const isGone = stream.closed || stream.aborted
  const served = serve(isGone && turn !== 'refused' ? 'gone' : turn)
  const onServed = (): void => {
    if (stream.closed || stream.aborted) req.resume() // a paused request keeps its stream and its session
    else closeWhenSent(req, stream)
  }
  served.then(onServed, onServed)
  void Promise.allSettled([served, closed]).then(() => change(-1))
  return served
}

/**
 * Closes a stream once its answer is out, if nobody reads the body of its request. Node does so by
 * itself, but not for a paused request.
 */
export function closeWhenSent(req: UploadRequest, stream: ServerHttp2Stream): void {
  const close = (): void => {
    // The stream of a HEAD is finished before its answer.
    if (!stream.headersSent || req.readableDidRead || stream.destroyed) return
    stream.close()
    req.resume() // a paused request keeps its stream, even after a close
  }
  if (stream.writableFinished) setImmediate(close)
  else stream.once('finish', () => setImmediate(close))
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
