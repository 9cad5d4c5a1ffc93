// SPDX-License-Identifier: MIT

/** A connection that sends as much as the server lets it, and reads all answers or none. @module */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** The end of a piece may hold the beginning of a status line, of so many characters at most. */
const CARRIED = 'HTTP/1.1 000'.length - 1

/** One connection of a flood. */
export class FloodClient {
  readonly socket: Socket
  /** How often each status came. */
  readonly statuses: Map<number, number> = new Map()
  #answers = 0
  #carried = ''
  #waiting: (() => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {}) // it shows as an end
    socket.on('close', () => this.#wake())
  }

  /** Connects; `reads` decides whether anything that the server sends is ever read. */
  static async connect(port: number, reads: 'reads' | 'reads nothing'): Promise<FloodClient> {
    const socket = connect(port, '127.0.0.1')
    const client = new FloodClient(socket)
    await once(socket, 'connect')
    if (reads === 'reads') socket.setEncoding('latin1').on('data', (text: string) => client.#count(text))
    return client
  }

  /** Resolves when the system has taken the bytes, or the connection has ended. */
  send(bytes: string | Uint8Array): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()))
  }

  /**
   * Sends the same piece many times. Each waits for the one before, so that only one is in
   * memory.
   */
  async sendOften(piece: Uint8Array, times: number): Promise<void> {
    for (let sent = 0; sent < times && this.socket.writable; sent++) await this.send(piece)
  }

  /** Resolves when so many answers came, or the connection has ended. */
  async answers(count: number): Promise<void> {
    while (this.#answers < count && !this.socket.closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  destroy(): void {
    this.socket.destroy()
  }

  #count(text: string): void {
    const all = this.#carried + text
    for (const [, digits] of all.matchAll(/HTTP\/1\.1 (\d{3})/g)) {
      const status = Number(digits)
      if (status < 200) continue
      this.#answers++
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    }
    this.#carried = all.slice(-CARRIED)
    this.#wake()
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
