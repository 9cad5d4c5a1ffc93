// SPDX-License-Identifier: MIT

/**
 * Keeps a server below a number of connections, in such a way that those with work to do stay.
 *
 * Node's own limit (`server.maxConnections`) closes the newcomer, so somebody who opens connections
 * and sends nothing could keep everybody else out.
 *
 * Design. When there is no place left, a connection that waits for nothing makes room: the one that
 * has been idle for the longest time, or else one whose request was refused and whose client goes on
 * sending. Without either, the newcomer is answered 503.
 *
 * A socket that is closed with bytes unread is reset, and its client never sees an answer. So an idle
 * connection stays for a moment, as its next request may be on its way; one that was refused has a
 * moment to read that; and of a newcomer that is turned away, the request is read and discarded. But
 * where a quarter of all are idle, or refused, the oldest of them goes at once: else a stranger with
 * many could keep others out.
 *
 * @module
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** How long a connection stays that is idle, or whose client was refused or turned away, in milliseconds. */
const LINGER_MS = 1000
/** Beyond this part of all connections, idle and refused ones do not stay. */
const LINGERING_PART = 1 / 4
/** How many of those that were turned away may stay at once. */
const MAX_LINGERING = 32

/** The connections of one server. */
export class Connections {
  readonly #max: number
  /** Those without a request, and since when, in that order. */
  readonly #idle = new Map<Socket, number>()
  /** Those with one, and the response to the latest of theirs. */
  readonly #active = new Map<Socket, ServerResponse>()
  /** How many of those that were turned away are still open. */
  #lingering = 0
  /** When a response was first seen to be a refusal. */
  readonly #refusedAtMs = new WeakMap<ServerResponse, number>()

  /** Limits the server, before it listens. */
  constructor(server: Server, max: number) {
    this.#max = max
    server.on('connection', (socket: Socket) => this.#onConnection(socket))
  }

  /** Takes note of a request. Returns false if its connection was turned away or closed: do not serve it. */
  onRequest(req: IncomingMessage, res: ServerResponse): boolean {
    const { socket } = req
    if (!this.#idle.delete(socket) && !this.#active.has(socket)) {
      req.resume()
      return false
    }
    this.#active.set(socket, res)
    res.once('close', () => {
      if (this.#active.get(socket) === res && this.#active.delete(socket)) this.#idle.set(socket, performance.now())
    })
    return true
  }

  #onConnection(socket: Socket): void {
    if (this.#idle.size + this.#active.size >= this.#max && !this.#makeRoom()) {
      this.#turnAway(socket)
      return
    }
    this.#idle.set(socket, performance.now())
    socket.once('close', () => this.#forget(socket))
  }

  #turnAway(socket: Socket): void {
    socket.end(BUSY)
    if (this.#lingering >= MAX_LINGERING) return socket.destroySoon()
    this.#lingering++
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => {
      clearTimeout(timer)
      this.#lingering--
    })
  }

  #makeRoom(): boolean {
    const socket = this.#findIdle() ?? this.#findRefused()
    if (!socket) return false
    this.#forget(socket) // its 'close' comes later than the next connections
    socket.destroy()
    return true
  }

  #findIdle(): Socket | undefined {
    const [[socket, sinceMs] = [undefined, Infinity]] = this.#idle
    return this.#areMany(this.#idle.size) || performance.now() - sinceMs >= LINGER_MS ? socket : undefined
  }

  #findRefused(): Socket | undefined {
    const nowMs = performance.now()
    let oldest: Socket | undefined
    let count = 0
    for (const [socket, res] of this.#active) {
      if (!res.headersSent || res.statusCode < 400) continue
      oldest ??= socket
      const sinceMs = this.#refusedAtMs.get(res)
      if (sinceMs === undefined) this.#refusedAtMs.set(res, nowMs)
      else if (nowMs - sinceMs >= LINGER_MS) return socket
      if (this.#areMany(++count)) return oldest
    }
    return undefined
  }

  #areMany(count: number): boolean {
    return count > this.#max * LINGERING_PART
  }

  #forget(socket: Socket): void {
    this.#idle.delete(socket)
    this.#active.delete(socket)
  }
}
