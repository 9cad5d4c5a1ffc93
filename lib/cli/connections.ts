// SPDX-License-Identifier: MIT

/**
 * Keeps a server below a number of connections, in such a way that those with work to do stay.
 *
 * Node's own limit (`server.maxConnections`) closes the newcomer, so somebody who opens connections
 * and sends nothing could keep everybody else out.
 *
 * Design. When there is no place left, a connection that waits for nothing makes room: the one that
 * has been idle for the longest time, or else one whose request was refused already and whose client
 * goes on sending. Without either, the newcomer is answered 503.
 *
 * @module
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** The connections of one server. */
export class Connections {
  readonly #max: number
  /** Those without a request, in the order in which they became idle. */
  readonly #idle = new Set<Socket>()
  /** Those with one, and the response to the latest of theirs. */
  readonly #active = new Map<Socket, ServerResponse>()

  /** Limits the server, before it listens. */
  constructor(server: Server, max: number) {
    this.#max = max
    server.on('connection', (socket: Socket) => this.#onConnection(socket))
  }

  /** Takes note of a request. */
  onRequest({ socket }: IncomingMessage, res: ServerResponse): void {
    if (!this.#idle.delete(socket) && !this.#active.has(socket)) return // it was closed
    this.#active.set(socket, res)
    res.once('close', () => {
      if (this.#active.get(socket) === res && this.#active.delete(socket)) this.#idle.add(socket)
    })
  }

  #onConnection(socket: Socket): void {
    if (this.#idle.size + this.#active.size >= this.#max && !this.#makeRoom()) {
      socket.write(BUSY)
      socket.destroySoon()
      return
    }
    this.#idle.add(socket)
    socket.once('close', () => this.#forget(socket))
  }

  #makeRoom(): boolean {
    const [socket = this.#findRefused()] = this.#idle
    if (!socket) return false
    this.#forget(socket) // its 'close' comes later than the next connections
    socket.destroy()
    return true
  }

  #findRefused(): Socket | undefined {
    for (const [socket, { headersSent, statusCode }] of this.#active) {
      if (headersSent && statusCode >= 400) return socket
    }
    return undefined
  }

  #forget(socket: Socket): void {
    this.#idle.delete(socket)
    this.#active.delete(socket)
  }
}
