// SPDX-License-Identifier: MIT

/**
 * HTTP/1.1 by hand: sends what a test wrote, byte for byte, and reads answers without interpreting more
 * than it must. A client library would mend the very things that the tests are about.
 *
 * @module
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** An answer as it came over the wire. */
export interface WireResponse {
  readonly status: number
  /** Names in lower case; the values of repeated fields joined with a comma. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** A connection that reads answers one after the other. */
export class WireClient {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.socket = socket
    const onEnd = (): void => {
      this.#ended = true
      this.#wake?.()
    }
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake?.()
    })
    socket.on('error', () => {}) // a reset shows as the end of the answers
    socket.on('end', onEnd)
    socket.on('close', onEnd)
  }

  static async connect(port: number): Promise<WireClient> {
    const client = new WireClient(connect(port, '127.0.0.1'))
    await once(client.socket, 'connect')
    return client
  }

  /** Sends text or bytes; resolves when the system has taken them. */
  send(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.socket.write(data, () => resolve()))
  }

  /** Reads the next answer. `toHead` says that the request was one whose answer has no body. */
  async response(options: { readonly toHead?: boolean } = {}): Promise<WireResponse> {
    const head = await this.#take((buffer) => {
      const end = buffer.indexOf('\r\n\r\n')
      return end < 0 ? undefined : end + 4
    })
    const [statusLine = '', ...lines] = head.toString('latin1').trimEnd().split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
    if (!status) throw new Error(`Not a status line: ${statusLine}`)
    const headers = new Map<string, string>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).toLowerCase()
      const value = line.slice(colon + 1).trim()
      headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value)
    }
    const length = Number(headers.get('content-length') ?? 0)
    const bodyless = options.toHead || status === 204 || status === 304 || status < 200
    const body = bodyless ? Buffer.alloc(0) : await this.#take((buffer) => (buffer.length >= length ? length : undefined))
    return { status, headers, body: body.toString('utf8') }
  }

  /** Resolves when the server has closed the connection; with what it sent that no answer accounts for. */
  async closed(): Promise<string> {
    while (!this.#ended) await this.#more()
    this.socket.destroy()
    return this.#received.toString('latin1')
  }

  destroy(): void {
    this.socket.destroy()
  }

  async #take(measure: (buffer: Buffer) => number | undefined): Promise<Buffer> {
    for (;;) {
      const length = measure(this.#received)
      if (length !== undefined) {
        const taken = this.#received.subarray(0, length)
        this.#received = this.#received.subarray(length)
        return taken
      }
      if (this.#ended) throw new Error(`The connection ended inside an answer, after ${JSON.stringify(this.#received.toString('latin1'))}`)
      await this.#more()
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }
}

/** Sends one request on a connection of its own and returns the answer. */
export async function exchange(port: number, request: string | Uint8Array, options?: { readonly toHead?: boolean }): Promise<WireResponse> {
  const client = await WireClient.connect(port)
  try {
    await client.send(request)
    return await client.response(options)
  } finally {
    client.destroy()
  }
}

/** A request as text: the request line, header lines and a body, with the line ends that HTTP wants. */
export function request(startLine: string, headers: readonly string[] = [], body = ''): string {
  return [`${startLine} HTTP/1.1`, 'Host: test', ...headers, '', body].join('\r\n')
}

/** A request with a body of bytes. */
export function withBody(head: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(head, 'latin1'), body])
}

/** A body in chunked coding, in chunks of at most `size` bytes. */
export function chunked(body: string | Uint8Array, size = Infinity): Buffer {
  const bytes = Buffer.from(body as Uint8Array)
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, Math.min(at + size, bytes.length))
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}
