// SPDX-License-Identifier: MIT

/**
 * The kinds of servers that Node has, each with a client that speaks to it. A guarantee that holds for
 * all of them is one test in a loop over `SERVER_KINDS`.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connectHttp2, createSecureServer, createServer as createHttp2Server } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import type { ShutdownServer } from '../../lib/shutdown-group.ts'
import { certificate } from './fixtures/certificate.ts'
import { request, WireClient } from './wire.ts'

/** What a client of HTTP/2 sends first. */
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export interface ServerKind {
  readonly name: string
  /** What the client speaks. */
  readonly protocol: 'http/1.1' | 'h2'
  readonly secure: boolean
  readonly newServer: () => ShutdownServer
}

export const SERVER_KINDS: readonly ServerKind[] = [
  { name: 'HTTP/1', protocol: 'http/1.1', secure: false, newServer: () => createServer() },
  { name: 'HTTPS', protocol: 'http/1.1', secure: true, newServer: () => createHttpsServer(certificate) },
  { name: 'HTTP/1 with allowHTTP1', protocol: 'http/1.1', secure: true, newServer: newServerOfBoth },
  { name: 'h2c', protocol: 'h2', secure: false, newServer: () => createHttp2Server() },
  { name: 'h2 over TLS', protocol: 'h2', secure: true, newServer: () => createSecureServer(certificate) },
  { name: 'h2 over TLS with allowHTTP1', protocol: 'h2', secure: true, newServer: newServerOfBoth },
]

/** A server to which clients of HTTP/1 and HTTP/2 can connect. */
export function newServerOfBoth(): ShutdownServer {
  return createSecureServer({ ...certificate, allowHTTP1: true })
}

export interface Answer {
  readonly status: number
  readonly body: string
  /** Whether it says `Connection: close`; `undefined` with HTTP/2, which has no such header. */
  readonly saysClose: boolean | undefined
}

/** One connection. Several requests can be sent before their answers are awaited. */
export interface KindClient {
  readonly send: (method: 'GET' | 'HEAD') => Promise<Answer>
  /** Sends a body that never ends, as fast as the server takes it. */
  readonly upload: () => { readonly answer: Promise<Answer>; readonly sent: (bytes: number) => Promise<void>; readonly stop: () => void }
  /** Resolves when the server has closed the connection, after no bytes but those of answers. */
  readonly closed: () => Promise<void>
}

/** A port of the loopback interface, the path of a Unix socket, or a stream whose other side the server has. */
export type Place = number | string | Duplex

/** Connects a client, which is gone when the test is. */
export async function connectClient(t: TestContext, kind: ServerKind, place: Place): Promise<KindClient> {
  return kind.protocol === 'h2' ? http2Client(await connectSession(t, kind, place)) : http1Client(await connectWire(t, kind, place))
}

function http1Client(client: WireClient): KindClient {
  let before: Promise<unknown> = Promise.resolve()
  const answerTo = (method: string): Promise<Answer> => {
    const answer = before.then(() => client.response({ toHead: method === 'HEAD' })).then(({ status, body, headers }) => {
      return { status, body, saysClose: headers.get('connection') === 'close' }
    })
    before = answer.catch(() => {})
    return answer
  }
  return {
    send: (method) => {
      void client.send(request(`${method} /`))
      return answerTo(method)
    },
    upload: () => {
      void client.send(request('POST /', ['Content-Length: 1000000000000']))
      return { answer: answerTo('POST'), ...writeEndlessly(client.socket) }
    },
    closed: async () => assert.equal(await client.closed(), ''),
  }
}

function http2Client(session: ClientHttp2Session): KindClient {
  const closed = once(session, 'close')
  return {
    send: (method) => answerOf(session.request({ ':method': method })),
    upload: () => {
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.on('error', () => {})
      return { answer: answerOf(stream), ...writeEndlessly(stream) }
    },
    closed: async () => void (await closed),
  }
}

/** Rejects if the stream is cut. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const body: Buffer[] = []
  stream.on('data', (chunk: Buffer) => body.push(chunk))
  const [[headers]] = await Promise.all([once(stream, 'response'), once(stream, 'end')])
  assert.equal(stream.aborted && stream.rstCode !== 0, false)
  return { status: (headers as { ':status': number })[':status'], body: Buffer.concat(body).toString(), saysClose: undefined }
}

/** Resolves when the server has answered the settings, so that the session is known to it. */
export async function connectSession(t: TestContext, kind: ServerKind, place: Place): Promise<ClientHttp2Session> {
  const authority = kind.secure ? 'https://localhost' : 'http://localhost'
  const session = connectHttp2(authority, { createConnection: () => connectSocket(t, kind, place) })
  t.after(() => session.destroy())
  session.on('error', () => {})
  await Promise.all([once(session, 'localSettings'), once(session, 'remoteSettings')])
  return session
}

/** A client that sends bytes by hand, after the handshake of TLS if there is one. */
export async function connectWire(t: TestContext, kind: ServerKind, place: Place): Promise<WireClient> {
  const socket = connectSocket(t, kind, place)
  const client = new WireClient(socket)
  if (kind.secure) await once(socket, 'secureConnect')
  else if (socket.connecting) await once(socket, 'connect')
  return client
}

/** A socket from which nobody reads yet. With `allowHalfOpen` its side stays open when the server ends the other one. */
export function connectSocket(t: TestContext, kind: ServerKind, place: Place, options: { readonly allowHalfOpen?: true } = {}): Socket {
  const address = typeof place === 'number' ? { port: place, host: '127.0.0.1' } : { path: String(place) }
  const bare = typeof place === 'object' ? (place as Socket) : connectTcp({ ...options, ...address })
  const tls = { ca: certificate.cert, servername: 'localhost', ALPNProtocols: [kind.protocol] }
  const socket = kind.secure ? connectTls({ ...tls, socket: bare }) : bare
  t.after(() => socket.destroy())
  return socket.on('error', () => {})
}

/** Sends zeros as fast as the server takes them. */
export function writeEndlessly(stream: Writable): { readonly sent: (bytes: number) => Promise<void>; readonly stop: () => void } {
  const chunk = Buffer.alloc(64 * 1024)
  let bytes = 0
  let stopped = false
  let wake: (() => void) | undefined
  const write = (): void => {
    stream.write(chunk, (error) => {
      if (error || stopped || stream.closed || stream.destroyed) return
      bytes += chunk.length
      wake?.()
      setImmediate(write) // without it a client that is never kept waiting would not let others run
    })
  }
  write()
  return {
    sent: async (more) => {
      for (const goal = bytes + more; bytes < goal; ) await new Promise<void>((resolve) => (wake = resolve))
    },
    stop: () => {
      stopped = true
      stream.destroy()
    },
  }
}
