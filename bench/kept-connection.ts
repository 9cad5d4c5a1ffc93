// SPDX-License-Identifier: MIT

/**
 * A connection that is kept, for one request after the other.
 *
 * Node's own client gives up its connection after an answer to HEAD that has no `Content-Length`, as
 * @tus/server's has none, and takes more CPU than some servers do. This one keeps it, as browsers do.
 *
 * @module
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What an answer says. */
export interface Answer {
  readonly status: number
  readonly head: string
}

/** A server that is silent for longer has failed. */
const DEADLINE_MS = 10_000

/** The request that waits for its answer. */
interface Waiting {
  readonly isHead: boolean
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

export class KeptConnection {
  readonly #socket: Socket
  #received = ''
  #waiting: Waiting | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').setTimeout(DEADLINE_MS)
    socket.on('data', (text: string) => this.#read(text))
    socket.on('timeout', () => this.#fail('did not answer'))
    socket.on('error', ({ message }) => this.#fail(message))
    socket.on('close', () => this.#fail('closed the connection'))
  }

  static async open(port: number): Promise<KeptConnection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new KeptConnection(socket)
  }

  /** Sends a request, and resolves with the head of its answer once its body is here too. It must not be called before that again. */
  ask(head: string, body = ''): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { isHead: head.startsWith('HEAD '), resolve, reject }
      this.#socket.write(head + body, 'latin1')
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#received += text
    const waiting = this.#waiting
    const head = waiting && completeHead(this.#received, waiting.isHead)
    if (head === undefined) return
    this.#received = ''
    this.#waiting = undefined
    waiting?.resolve({ status: Number(head.slice(9, 12)), head })
  }

  #fail(what: string): void {
    this.#waiting?.reject(new Error(`A server ${what} after: ${this.#received}`))
    this.#waiting = undefined
  }
}

/** The head of an answer that is here as a whole, in latin1; `undefined` while there is more to come. */
export function completeHead(received: string, isHead: boolean): string | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = received.slice(0, end)
  if (isHead || head.startsWith('HTTP/1.1 204')) return head
  if (/^transfer-encoding: *chunked$/im.test(head)) return received.endsWith('\r\n0\r\n\r\n') ? head : undefined
  const bodyBytes = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
  return received.length >= end + 4 + bodyBytes ? head : undefined
}
