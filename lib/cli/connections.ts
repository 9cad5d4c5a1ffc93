// SPDX-License-Identifier: MIT

/**
 * Limits the connections of a server, and keeps those that have work to do.
 *
 * Node's own limit (`server.maxConnections`) closes the newcomer. So a client that opens
 * connections and sends nothing could keep everybody else out.
 *
 * Design. At the limit, a connection without work makes room: the one that has been idle for
 * longest, or else one whose request was refused and whose client is still sending. If there is
 * neither, the newcomer gets 503.
 *
 * If a socket is closed with bytes unread, it is reset and its client never sees an answer. So an
 * idle connection stays for a moment, as its next request may be on the way. A refused one has a
 * moment to read its answer. The request of a newcomer that is turned away is read and discarded.
 * But when more than a quarter of all connections are idle, or refused, the oldest of them is
 * closed at once: otherwise one client with many connections could keep others out.
 *
 * @module
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** How long a connection stays that is idle, refused or turned away, in milliseconds. */
const LINGER_MS = 1000
/** Beyond this share of all connections, idle or refused ones do not stay. */
const LINGERING_PART = 1 / 4
/** How many connections that were turned away may stay at once. */
const MAX_LINGERING = 32

/** The connections of one server. */
export class Connections {
  readonly #max: number
  /** Connections without a request, and since when; the oldest first. */
  readonly #idle = new Map<Socket, number>()
  /** Connections with a request, and the response to their latest one. */
  readonly #active = new Map<Socket, ServerResponse>()
  /** How many connections that were turned away are still open. */
  #lingering = 0
  /** When a response was first seen to be a refusal. */
  readonly #refusedAtMs = new WeakMap<ServerResponse, number>()

  /** Limits a server. Call it before the server listens. */
  constructor(server: Server, max: number) {
    this.#max = max
    server.on('connection', (socket: Socket) => this.#onConnection(socket))
  }

  /**
   * Records a request. Returns false if its connection was turned away or closed: do not serve it.
   */
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
    this.#forget(socket) // its 'close' may come after the next connections
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
