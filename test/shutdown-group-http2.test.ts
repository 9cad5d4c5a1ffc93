// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  connect as connectHttp2,
  createSecureServer,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Stream,
} from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { HappyReader } from '../lib/happy-reader.ts'
import { ShutdownGroup, type ShutdownGroupOptions } from '../lib/shutdown-group.ts'
import { END_STREAM, frame, headers, TYPE, words } from './fault/http2-frames.ts'
import { certificate } from './support/fixtures/certificate.ts'
import { listen } from './support/listen.ts'
import { request, WireClient } from './support/wire.ts'

/** A broken guarantee often shows as an event that never comes. */
const LIMIT = { timeout: 20_000 }
/** Later than any test may last: what ends before was not forced. */
const DEADLINE_MS = 60_000
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

for (const [protocol, newServer] of [
  ['h2c', () => createServer()],
  ['h2 over TLS', () => createSecureServer(certificate)],
  ['h2 over TLS with allowHTTP1', () => createSecureServer({ ...certificate, allowHTTP1: true })],
] as const) {
  describe(`ShutdownGroup over HTTP/2 (${protocol})`, () => {
    test('open streams finish, then their session closes', LIMIT, async (t) => {
      const { group, server, session, next } = await serve(t, newServer())
      const closed = once(session, 'close')
      const goaway = once(session, 'goaway')
      const streams = [get(session), get(session)]
      const answers = streams.map(answerOf)
      const responses = [(await next()).res, (await next()).res]
      const outcome = observe(group.shutdown())
      assert.equal((await goaway)[0], 0)
      await turns()
      assert.equal(outcome.settled, false)
      assert.equal(server.listening, false)
      responses[0]!.end('first')
      assert.equal(await answers[0], '200 first')
      await turns()
      assert.equal(outcome.settled, false)
      responses[1]!.end('second')
      assert.equal(await answers[1], '200 second')
      await closed
      const report = await outcome.promise
      assert.equal(report.forced, undefined)
      assert.equal(report.forcedConnections, 0)
    })

    test('a HEAD that is under way is answered, although its stream has no writable side from the beginning', LIMIT, async (t) => {
      const { group, session, next } = await serve(t, newServer())
      const stream = session.request({ ':method': 'HEAD' })
      const answer = answerOf(stream)
      const { res } = await next()
      const report = group.shutdown()
      await turns()
      res.writeHead(204)
      res.end()
      assert.equal(await answer, '204 ')
      assert.equal((await report).forced, undefined)
    })

    test('a large answer under way is complete', LIMIT, async (t) => {
      const { group, session, next } = await serve(t, newServer())
      const body = 'x'.repeat(5 * 1024 * 1024)
      const stream = get(session)
      const answer = answerOf(stream)
      const { res } = await next()
      res.write(body)
      await once(stream, 'response')
      const promise = group.shutdown()
      await once(group.signal, 'abort')
      res.end('end')
      assert.equal(await answer, `200 ${body}end`)
      assert.equal((await promise).forced, undefined)
    })

    test('streams of an application that uses the stream API finish', LIMIT, async (t) => {
      const server = newServer()
      const { group, session } = await serve(t, server, { requests: 'none' })
      const answer = answerOf(get(session))
      const [stream] = (await once(server, 'stream')) as [ServerHttp2Stream]
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      await turns()
      assert.equal(outcome.settled, false)
      stream.respond({ ':status': 200 })
      stream.end('hello')
      assert.equal(await answer, '200 hello')
      assert.equal((await outcome.promise).forced, undefined)
    })

    test('sessions that are idle, or were never used, do not hold it', LIMIT, async (t) => {
      const { group, port, session, next } = await serve(t, newServer())
      const answer = answerOf(get(session))
      const { res } = await next()
      res.end('hello')
      await answer
      const unused = await connectSession(t, protocol, port)
      const closed = Promise.all([once(session, 'close'), once(unused, 'close')])
      const report = await group.shutdown()
      assert.equal(report.forced, undefined)
      assert.equal(report.forcedConnections, 0)
      await closed
    })

    test('connections that say nothing, or half of what begins a session, do not hold it', LIMIT, async (t) => {
      const server = newServer()
      const { group, port } = await serve(t, server)
      const clients: WireClient[] = []
      for (const text of ['', PREFACE.slice(0, 10), PREFACE]) {
        const begun = once(server, 'session')
        const client = protocol === 'h2c' ? await WireClient.connect(port) : await secureConnect(port, 'h2')
        t.after(() => client.destroy())
        await begun
        if (text) await client.send(text)
        clients.push(client)
      }
      const report = await group.shutdown()
      assert.equal(report.forced, undefined)
      for (const client of clients) await client.closed()
    })

    test('a client that never closes its side of the connection does not hold it', LIMIT, async (t) => {
      const server = newServer()
      const { group, port } = await serve(t, server)
      for (const text of ['', `${PREFACE}\0\0\0\x04\0\0\0\0\0`]) { // and an empty SETTINGS frame
        const begun = once(server, 'session')
        const bare = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true })
        const socket = protocol === 'h2c' ? bare : connectTls({ socket: bare, ca: certificate.cert, ALPNProtocols: ['h2'] })
        t.after(() => socket.destroy())
        socket.resume().on('error', () => {})
        await begun
        if (text) await new Promise((resolve) => socket.write(text, 'latin1', resolve))
      }
      const report = await group.shutdown()
      assert.equal(report.forced, undefined)
      assert.equal(report.forcedConnections, 0)
    })

    test('a client that reads nothing any more does not hold it when its streams are gone', LIMIT, async (t) => {
      const server = newServer()
      const { group, port, session, next } = await serve(t, server)
      session.destroy()
      const socket = unreadClient(t, protocol, port)
      const { res } = await next()
      res.end(Buffer.alloc(30 * 1024 * 1024)) // more than the system takes
      await once(socket, 'readable')
      const gone = once(res.stream, 'close')
      res.stream.destroy()
      await gone
      const closed = once(server, 'close')
      const { forced, forcedConnections } = await group.shutdown()
      assert.deepEqual({ forced, forcedConnections }, { forced: undefined, forcedConnections: 0 })
      await closed
    })

    test('a client that is silent for half a second still gets all of its last answer', LIMIT, async (t) => {
      const { group, port, session, next } = await serve(t, newServer())
      session.destroy()
      const socket = unreadClient(t, protocol, port)
      const { res } = await next()
      const body = Buffer.alloc(2 * 1024 * 1024)
      const finished = once(res, 'finish')
      res.end(body)
      await finished
      const report = group.shutdown()
      await delay(500) // the silence that the test is about
      socket.write('\0\0\x08\x06\0\0\0\0\0a frame ', 'latin1') // PING: what comes for a closed socket is answered by a reset
      await turns()
      let received = 0
      socket.on('data', (chunk: Buffer) => (received += chunk.length))
      await once(socket, 'close')
      assert.ok(received > body.length, `${received} bytes`)
      assert.equal((await report).forced, undefined)
    })

    test('a request on an open session is served during the readiness delay', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, session, next } = await serve(t, newServer(), { readinessDelayMs: 1000 })
      const promise = group.shutdown()
      const answer = answerOf(get(session))
      const { res } = await next()
      res.end('served')
      assert.equal(await answer, '200 served')
      assert.equal(group.state, 'draining')
      t.mock.timers.tick(1000)
      assert.equal((await promise).forced, undefined)
    })

    test('a stuck stream is cut at the deadline and its session reported', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, session, next } = await serve(t, newServer())
      const stream = get(session).resume().on('error', () => {})
      const closed = once(stream, 'close')
      await next()
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      t.mock.timers.tick(DEADLINE_MS - 1)
      await turns()
      assert.equal(outcome.settled, false)
      t.mock.timers.tick(1)
      const report = await outcome.promise
      assert.equal(report.forced, 'deadline')
      assert.equal(report.forcedConnections, 1)
      await closed
    })

    test("an endless upload read with the group's signal ends, is answered 503, and does not hold it", LIMIT, async (t) => {
      const { group, session, next } = await serve(t, newServer())
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      endlessUpload(stream)
      const answer = answerOf(stream)
      const { req, res } = await next()
      const body = new HappyReader(req, { signal: group.signal })
      let saved = 0
      let promise: ReturnType<ShutdownGroup['shutdown']> | undefined
      for await (const chunk of body) {
        saved += (chunk as Buffer).length
        if (saved > 1024 * 1024) promise ??= group.shutdown()
      }
      assert.equal(body.error?.code, 'INTERRUPTED')
      res.writeHead(503).end(`${saved}`)
      assert.equal(await answer, `503 ${saved}`)
      assert.equal((await promise)?.forced, undefined)
    })

    test('an upload that was answered before the shutdown, but goes on, does not hold it', LIMIT, async (t) => {
      const { group, session, next } = await serve(t, newServer())
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.on('error', () => {})
      endlessUpload(stream)
      const answer = answerOf(stream)
      const { req, res } = await next()
      const received = once(req, 'data')
      res.writeHead(409).end()
      assert.equal(await answer, '409 ')
      await received
      assert.equal(req.stream.destroyed, false)
      assert.equal((await group.shutdown()).forced, undefined)
    })

    test('nothing is left open after the deadline, not even by a client that never closes its side', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const server = newServer()
      const { group, port, session, next } = await serve(t, server)
      session.destroy()
      const bare = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true })
      const socket = protocol === 'h2c' ? bare : connectTls({ socket: bare, ca: certificate.cert, ALPNProtocols: ['h2'] })
      t.after(() => socket.destroy())
      socket.resume().on('error', () => {})
      // An empty SETTINGS frame, then HEADERS: GET, scheme http, path /, authority x.
      socket.write(`${PREFACE}\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x`, 'latin1')
      await next()
      const closed = once(server, 'close')
      const promise = group.shutdown()
      await once(group.signal, 'abort')
      t.mock.timers.tick(DEADLINE_MS)
      assert.equal((await promise).forced, 'deadline')
      await closed
    })

    test('an endless upload read without it is cut at the deadline', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, session, next } = await serve(t, newServer())
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.on('error', () => {})
      endlessUpload(stream)
      const { req } = await next()
      await once(req, 'data')
      const promise = group.shutdown()
      await once(group.signal, 'abort')
      t.mock.timers.tick(DEADLINE_MS)
      const report = await promise
      assert.equal(report.forced, 'deadline')
      assert.equal(report.forcedConnections, 1)
    })

    test('a server that does not listen is no hindrance', LIMIT, async () => {
      const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
      group.add(newServer())
      assert.equal((await group.shutdown()).forced, undefined)
    })

    test("without a 'checkContinue' listener the server still sends 100 by itself, and with one it does not", LIMIT, async (t) => {
      for (const listens of [false, true]) {
        const server = newServer()
        const { session, next } = await serve(t, server)
        if (listens) server.on('checkContinue', (_req: Http2ServerRequest, res: Http2ServerResponse) => res.writeHead(417).end())
        const stream = session.request({ ':method': 'POST', expect: '100-continue' }, { endStream: false })
        let continued = false
        stream.on('continue', () => (continued = true))
        const answer = answerOf(stream)
        if (!listens) (await next()).res.end('hello')
        assert.equal(await answer, listens ? '417 ' : '200 hello')
        assert.equal(continued, !listens)
      }
    })
  })
}

describe('ShutdownGroup and HTTP/2 servers over TLS', () => {
  test('handshakes that never end do not hold it', LIMIT, async (t) => {
    const server = createSecureServer({ ...certificate, allowHTTP1: true })
    const { group, port } = await serve(t, server)
    const clients: WireClient[] = []
    for (const bytes of ['', '\x16\x03\x01']) {
      const accepted = once(server, 'connection')
      const client = new WireClient(connectTcp(port, '127.0.0.1'))
      t.after(() => client.destroy())
      await accepted
      if (bytes) await client.send(Buffer.from(bytes, 'latin1'))
      clients.push(client)
    }
    const report = await group.shutdown()
    assert.equal(report.forced, undefined)
    assert.equal(report.forcedConnections, 0)
    for (const client of clients) assert.equal(await client.closed(), '')
  })

  test('with allowHTTP1 the response of an HTTP/1.1 client finishes and says Connection: close', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createSecureServer({ ...certificate, allowHTTP1: true }))
    const client = await secureConnect(port, 'http/1.1')
    t.after(() => client.destroy())
    await client.send(request('GET /'))
    const { res } = await next()
    const outcome = observe(group.shutdown())
    await once(group.signal, 'abort')
    await turns()
    assert.equal(outcome.settled, false)
    res.end('finished')
    const answer = await client.response()
    assert.equal(answer.headers.get('connection'), 'close')
    assert.equal(answer.status, 200)
    const report = await outcome.promise
    assert.equal(report.forced, undefined)
    assert.equal(report.responses, 1)
  })

  test('with allowHTTP1 the idle and the silent connections of HTTP/1.1 clients do not hold it', LIMIT, async (t) => {
    const server = createSecureServer({ ...certificate, allowHTTP1: true })
    const { group, port, next } = await serve(t, server)
    const secured = once(server, 'secureConnection')
    const silent = await secureConnect(port, 'http/1.1')
    await secured
    const idle = await secureConnect(port, 'http/1.1')
    t.after(() => [silent, idle].forEach((client) => client.destroy()))
    await idle.send(request('GET /'))
    const { res } = await next()
    res.writeHead(204).end()
    await idle.response()
    const report = await group.shutdown()
    assert.equal(report.forced, undefined)
    assert.equal(report.forcedConnections, 0)
    assert.equal(await idle.closed(), '')
    assert.equal(await silent.closed(), '')
  })

  test('one group closes HTTP/1.1 and HTTP/2 clients of one server together', LIMIT, async (t) => {
    const { group, port, session, next } = await serve(t, createSecureServer({ ...certificate, allowHTTP1: true }))
    const answer = answerOf(get(session))
    const first = await next()
    const client = await secureConnect(port, 'http/1.1')
    t.after(() => client.destroy())
    await client.send(request('GET /'))
    const second = await next()
    const outcome = observe(group.shutdown())
    await once(group.signal, 'abort')
    first.res.end('over HTTP/2')
    assert.equal(await answer, '200 over HTTP/2')
    await turns()
    assert.equal(outcome.settled, false)
    second.res.writeHead(204).end()
    assert.equal((await client.response()).status, 204)
    assert.equal((await outcome.promise).forced, undefined)
  })
})

interface Exchange {
  readonly req: Http2ServerRequest
  readonly res: Http2ServerResponse
}

interface ServeOptions extends ShutdownGroupOptions {
  /** `none`: no 'request' listener, for the stream API. Default: they are handed to the test. */
  readonly requests?: 'handed on' | 'none'
}

/** A server in a group, and a session with it. */
async function serve(t: TestContext, server: Http2Server | Http2SecureServer, options: ServeOptions = {}): Promise<{
  readonly group: ShutdownGroup
  readonly server: Http2Server | Http2SecureServer
  readonly port: number
  readonly session: ClientHttp2Session
  readonly next: () => Promise<Exchange>
}> {
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS, ...options })
  const arrived: Exchange[] = []
  let wake: (() => void) | undefined
  if (options.requests !== 'none') {
    server.on('request', (req: Http2ServerRequest, res: Http2ServerResponse) => {
      arrived.push({ req, res })
      wake?.()
    })
  }
  group.add(server)
  const next = async (): Promise<Exchange> => {
    for (;;) {
      const exchange = arrived.shift()
      if (exchange) return exchange
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const port = await listen(t, server)
  const session = await connectSession(t, 'ALPNProtocols' in server || 'addContext' in server ? 'h2' : 'h2c', port)
  return { group, server, port, session, next }
}

/** Resolves when the server has answered the settings, so that the session is known to it. */
async function connectSession(t: TestContext, protocol: string, port: number): Promise<ClientHttp2Session> {
  const session = protocol === 'h2c'
    ? connectHttp2(`http://127.0.0.1:${port}`)
    : connectHttp2(`https://127.0.0.1:${port}`, { ca: certificate.cert })
  t.after(() => session.destroy())
  session.on('error', () => {})
  await Promise.all([once(session, 'localSettings'), once(session, 'remoteSettings')])
  return session
}

async function secureConnect(port: number, protocol: 'h2' | 'http/1.1'): Promise<WireClient> {
  const socket = connectTls({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: [protocol] })
  const client = new WireClient(socket)
  await once(socket, 'secureConnect')
  return client
}

/** A client whose windows let the server send what it likes. It has sent a GET, and reads nothing until it is told to. */
function unreadClient(t: TestContext, protocol: string, port: number): Socket {
  const socket = protocol === 'h2c'
    ? connectTcp(port, '127.0.0.1')
    : connectTls({ port, host: '127.0.0.1', ca: certificate.cert, ALPNProtocols: ['h2'] })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  const settings = '\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff' // INITIAL_WINDOW_SIZE
  const windowUpdate = '\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0'
  const headers = '\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x' // GET, scheme http, path /, authority x
  socket.write(PREFACE + settings + windowUpdate + headers, 'latin1')
  return socket
}

function get(session: ClientHttp2Session): ClientHttp2Stream {
  return session.request({ ':method': 'GET' })
}

/** Status and body in one text; rejects if the stream is cut. */
async function answerOf(stream: ClientHttp2Stream): Promise<string> {
  const body: Buffer[] = []
  stream.on('data', (chunk: Buffer) => body.push(chunk))
  const [[headers]] = await Promise.all([once(stream, 'response'), once(stream, 'end')])
  assert.equal(stream.aborted && stream.rstCode !== 0, false)
  return `${(headers as { ':status'?: number })[':status']} ${Buffer.concat(body).toString()}`
}

/** Sends zeros as fast as the server takes them. */
function endlessUpload(stream: ClientHttp2Stream): void {
  const chunk = Buffer.alloc(64 * 1024)
  const send = (): void => {
    stream.write(chunk, (error) => {
      if (!error && !stream.closed && !stream.destroyed) setImmediate(send)
    })
  }
  send()
}

/** A promise, and whether it has settled. */
function observe<T>(promise: Promise<T>): { readonly promise: Promise<T>; settled: boolean } {
  const outcome = { promise, settled: false }
  void promise.finally(() => (outcome.settled = true))
  return outcome
}

/** Lets everything happen that is ready to. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('an HTTP/2 client that reads slowly gets the end of its answer, and no reset in its place', LIMIT, async (t) => {
  const length = 32 * 1024 * 1024 // more than the buffers of a socket hold
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
  const server = createServer((_req, res) => void res.end(Buffer.alloc(length)))
  group.add(server)
  const socket = connectTcp(await listen(t, server), '127.0.0.1')
  t.after(() => socket.destroy())
  const requested = once(server, 'request')
  socket.write(Buffer.concat([
    Buffer.from(PREFACE),
    frame(TYPE.SETTINGS, 0, 0, Buffer.concat([Buffer.of(0, 4), words(2 ** 30)])), // SETTINGS_INITIAL_WINDOW_SIZE
    frame(TYPE.SETTINGS, 1, 0),
    frame(TYPE.WINDOW_UPDATE, 0, 0, words(2 ** 30)),
    headers(1, 'GET', '/', {}, END_STREAM),
  ]))
  await requested
  const stopped = group.shutdown()
  await once(group.signal, 'abort')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end')
  const received = Buffer.concat(chunks)
  let [bytes, ended] = [0, false]
  for (let at = 0; at < received.length; at += 9 + received.readUIntBE(at, 3)) {
    if (received[at + 3] !== TYPE.DATA) continue
    bytes += received.readUIntBE(at, 3)
    ended ||= received[at + 4] === END_STREAM
  }
  assert.deepEqual({ bytes, ended }, { bytes: length, ended: true })
  assert.equal((await stopped).forced, undefined)
})
