// SPDX-License-Identifier: MIT

/**
 * A network that breaks where a test wants it to.
 *
 * Forwards TCP connections to a port and counts the bytes that clients send, over all connections
 * together. When the count reaches a cut, exactly that many bytes have been handed to the server,
 * and the connection that carried them ends in one of three ways; later ones are not affected.
 *
 * @module
 */

import { EventEmitter, once } from 'node:events'
import { connect, createServer } from 'node:net'

/**
 * - `FIN`: both sides see an orderly end.
 * - `RST`: both sides see a reset.
 * - `silence`: nothing goes to the server any more, and nobody is told, as when a phone leaves the network.
 *
 * @typedef {object} Cut
 * @property {number} atBytes sent by all clients so far
 * @property {'FIN' | 'RST' | 'silence'} by
 */

/** Emits 'cut' with each {@link Cut} that it has made. */
export class CuttingProxy extends EventEmitter {
  /** @type {Cut[]} what has been done */
  made = []
  /** @type {number | undefined} while it is undefined, new connections are closed at once */
  targetPort
  #forwardedBytes = 0
  /** @type {Cut[]} what is still to be done, in order */
  #planned
  /** @type {Set<import('node:net').Socket>} */
  #sockets = new Set()
  // what waits for more to send would hold back HTTP/2's windows
  #server = createServer({ noDelay: true }, (client) => this.#accept(client))

  /**
   * @param {number} targetPort
   * @param {readonly Cut[]} cuts in ascending order
   */
  constructor(targetPort, cuts) {
    super()
    this.targetPort = targetPort
    this.#planned = [...cuts]
  }

  /** @returns {Promise<number>} the port that clients connect to */
  async listen() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this.#server.address().port
  }

  close() {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept(client) {
    if (this.targetPort === undefined) return void client.destroy()
    const server = connect({ port: this.targetPort, host: '127.0.0.1', noDelay: true })
    for (const [socket, peer] of [[client, server], [server, client]]) {
      this.#sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        this.#sockets.delete(socket)
        peer.destroySoon()
      })
    }
    server.pipe(client)
    client.on('end', () => server.end())
    client.on('data', (chunk) => this.#forward(client, server, chunk))
    server.on('drain', () => client.resume())
  }

  #forward(client, server, chunk) {
    const [cut] = this.#planned
    const room = cut ? cut.atBytes - this.#forwardedBytes : Infinity
    const part = chunk.subarray(0, room)
    this.#forwardedBytes += part.length
    if (part.length < room) {
      if (!server.write(part)) client.pause()
      return
    }
    this.#planned.shift()
    client.removeAllListeners('data')
    server.removeAllListeners('drain')
    server.write(part, () => {
      this.#end(client, server, cut.by)
      this.made.push(cut)
      this.emit('cut', cut)
    })
  }

  #end(client, server, by) {
    if (by === 'silence') return void client.pause()
    server.unpipe(client)
    if (by === 'RST') {
      client.resetAndDestroy()
      server.resetAndDestroy()
    } else {
      for (const socket of [client, server]) socket.resume().end() // unread data would turn the end into a reset
    }
  }
}
