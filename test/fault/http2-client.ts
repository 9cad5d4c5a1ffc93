// SPDX-License-Identifier: MIT

/** Sessions of HTTP/2 that can be treated badly, and streams that are answered or not. @module */

import { once } from 'node:events'
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import type { Heard } from './attack.ts'
import type { Courier } from './connection-uploads.ts'

/** A session, and the socket below it, for those who want to pull it away. */
export interface Session {
  readonly session: ClientHttp2Session
  readonly socket: Socket
}

/** A request under way. */
export interface Exchange {
  readonly stream: ClientHttp2Stream
  /** The answer with its text; `undefined` if the stream ends without one. */
  readonly answer: Promise<Heard | undefined>
}

export async function openSession(port: number, settings: SecureClientSessionOptions['settings'] = {}): Promise<Session> {
  const socket = connectSocket(port, '127.0.0.1')
  await once(socket, 'connect')
  const session = connect(`http://127.0.0.1:${port}`, { createConnection: () => socket, settings })
  session.on('error', () => {}) // a session that fails shows in its streams
  return { session, socket }
}

/** Begins a request; its body, if it has one, is written to the stream. */
export function begin(
  { session }: Session,
  headers: OutgoingHttpHeaders,
  options: { readonly endStream?: boolean; readonly waitForTrailers?: boolean } = {},
): Exchange {
  const stream = session.request({ 'tus-resumable': '1.0.0', ...headers }, { endStream: false, ...options })
  stream.on('error', () => {}) // it shows as an answer that does not come
  const answer = new Promise<Heard | undefined>((resolve) => {
    let heard: Heard | undefined
    stream.on('response', (response: IncomingHttpHeaders & { ':status'?: number }) => {
      const fields = Object.entries(response)
        .filter(([name]) => !name.startsWith(':'))
        .map(([name, value]) => [name, String(value)] as const)
      heard = { status: response[':status']!, headers: new Map(fields), body: '' }
    })
    stream.setEncoding('utf8').on('data', (chunk: string) => (heard = { ...heard!, body: heard!.body + chunk }))
    stream.once('close', () => resolve(heard))
    stream.once('end', () => {
      if (!heard) return
      resolve(heard)
      stream.destroy() // a client of Node 20 to 24 waits for ever to send a body that was not wanted
    })
  })
  return { stream, answer }
}

/** Writes bytes, and waits until they are on their way, or the stream was answered or has ended, so that they are not wanted. */
export function write({ stream, answer }: Exchange, bytes: Uint8Array): Promise<unknown> {
  if (stream.destroyed || stream.writableEnded) return answer
  return Promise.race([answer, new Promise((resolve) => stream.write(bytes, resolve))])
}

/** A client that does everything right, on a session of its own for each request. */
export function http2Courier(port: number): Courier {
  return async ({ method, path, headers = {}, body }) => {
    const session = await openSession(port)
    try {
      const { stream, answer } = begin(session, { ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
      if (body) stream.end(body.take(0, body.length))
      const heard = await answer
      if (!heard) throw new Error(`${method} ${path} was not answered`)
      return { status: heard.status, headers: Object.fromEntries(heard.headers) }
    } finally {
      session.session.destroy()
    }
  }
}
