// SPDX-License-Identifier: MIT

/**
 * HTTP/2 by hand: single frames (RFC 9113 section 4), which a client library would not send like
 * that.
 *
 * @module
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

const HEAD_BYTES = 9
/** What a window lets through at first. */
const WINDOW_BYTES = 65_535
/** In one piece. */
const MAX_FRAMES = 10_000

/** Of a frame. */
export const TYPE = {
  DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4,
  PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9,
} as const
/** Flags of a frame. */
export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Numbers of four bytes each, as most frames hold them. */
export function words(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length)
  for (const [index, number] of numbers.entries()) bytes.writeUInt32BE(number >>> 0, 4 * index)
  return bytes
}

/**
 * Fields in HPACK, each written out in full and put into no table (RFC 7541 section 6.2.2). Names
 * and values have up to 126 bytes.
 */
export function fields(entries: Fields): Buffer {
  const parts = Object.entries(entries).map(([name, value]) => [Buffer.of(0), text(name), text(String(value))])
  return Buffer.concat(parts.flat())
}

/** By name. */
export type Fields = Readonly<Record<string, string | number>>

function text(content: string): Buffer {
  return Buffer.concat([Buffer.of(content.length), Buffer.from(content, 'latin1')])
}

/** What a request begins with. */
export function target(method: string, path: string): Fields {
  return { ':method': method, ':scheme': 'http', ':authority': 'test', ':path': path }
}

/** The head of a request. */
export function headers(stream: number, method: string, path: string, others: Fields = {}, flags = 0): Buffer {
  const all = { ...target(method, path), 'tus-resumable': '1.0.0', ...others }
  return frame(TYPE.HEADERS, END_HEADERS | flags, stream, fields(all))
}

/**
 * A connection that has sent the preface and its settings. It follows the windows of flow
 * control.
 */
export class RawSession {
  readonly socket: Socket
  /** How many bytes each stream may send; 0 is the session. */
  readonly #windows = new Map<number, number>()
  #received: Buffer = Buffer.alloc(0)
  #wake: (() => void) | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {}) // it shows as an end
    socket.on('close', () => this.#wake?.())
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
  }

  static async connect(port: number): Promise<RawSession> {
    const session = new RawSession(connect(port, '127.0.0.1'))
    await once(session.socket, 'connect')
    session.socket.write(Buffer.concat([PREFACE, frame(TYPE.SETTINGS, 0, 0)]))
    return session
  }

  /** Sends so many bytes of a body, each in a frame of its own, or fewer if the connection ends. */
  async sendSingly(stream: number, count: number): Promise<void> {
    const data = frame(TYPE.DATA, 0, stream, Buffer.from('x'))
    for (let sent = 0; sent < count && this.socket.writable; ) {
      const most = Math.min(count - sent, MAX_FRAMES, this.#window(stream), this.#window(0))
      if (most === 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      for (const window of [stream, 0]) this.#windows.set(window, this.#window(window) - most)
      await new Promise<void>((resolve) => this.socket.write(Buffer.alloc(data.length * most, data), () => resolve()))
      sent += most
    }
  }

  #window(stream: number): number {
    return this.#windows.get(stream) ?? WINDOW_BYTES
  }

  #read(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    while (this.#received.length >= HEAD_BYTES) {
      const length = this.#received.readUIntBE(0, 3)
      if (this.#received.length < HEAD_BYTES + length) return
      const stream = this.#received.readUInt32BE(5)
      if (this.#received[3] === TYPE.WINDOW_UPDATE && length === 4) {
        this.#windows.set(stream, this.#window(stream) + this.#received.readUInt32BE(HEAD_BYTES))
        this.#wake?.()
      }
      this.#received = this.#received.subarray(HEAD_BYTES + length)
    }
  }
}
