// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
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
import { ShutdownGroup } from '../lib/shutdown-group.ts'
import { END_STREAM, frame, headers, TYPE, words } from './fault/http2-frames.ts'
import { listen } from './support/listen.ts'
import {
  answerOf, connectClient, connectSocket, connectSession, connectWire, newServerOfBoth, PREFACE, SERVER_KINDS, writeEndlessly,
  type ServerKind,
} from './support/server-kinds.ts'
import { DEADLINE_MS, LIMIT, observe, serve, turns, type ServeOptions } from './support/shutdown.ts'
import type { WireClient } from './support/wire.ts'

for (const kind of SERVER_KINDS.filter(({ protocol }) => protocol === 'h2')) {
  describe(`ShutdownGroup over HTTP/2 (${kind.name})`, () => {
    test('streams of an application that uses the stream API finish', LIMIT, async (t) => {
      const { group, server, session } = await serveSession(t, kind, { handler: 'none' })
      const answer = answerOf(get(session))
      const [stream] = (await once(server, 'stream')) as [ServerHttp2Stream]
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      await turns()
      assert.equal(outcome.settled, false)
      stream.respond({ ':status': 200 })
      stream.end('hello')
      assert.equal((await answer).body, 'hello')
      const { responses, forced } = await outcome.promise
      assert.deepEqual({ responses, forced }, { responses: 1, forced: undefined })
    })

    test('connections that send nothing, or half of what begins a session, are closed at once', LIMIT, async (t) => {
      const { group, server, port } = await serve(t, kind.newServer())
      const clients: WireClient[] = []
      for (const text of ['', PREFACE.slice(0, 10), PREFACE]) {
        const begun = once(server, 'session')
        const client = await connectWire(t, kind, port)
        await begun
        if (text) await client.send(text)
        clients.push(client)
      }
      const report = await group.shutdown()
      assert.equal(report.forced, undefined)
      for (const client of clients) await client.closed()
    })

    test('a client that reads nothing any more is cut a second after its streams are gone', LIMIT, async (t) => {
      const { group, server, port, session, next } = await serveSession(t, kind)
      session.destroy()
      const socket = unreadClient(t, kind, port)
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
      const { group, port, session, next } = await serveSession(t, kind)
      session.destroy()
      const socket = unreadClient(t, kind, port)
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

    for (const reading of ['still reads', 'has paused'] as const) {
      test(`the stream of an answered upload is closed while its client still sends, if its handler ${reading} it`, LIMIT, async (t) => {
        const { group, session, next } = await serveSession(t, kind)
        const stream = session.request({ ':method': 'POST' }, { endStream: false }).on('error', () => {})
        writeEndlessly(stream)
        const answer = answerOf(stream)
        const { req, res } = await next()
        const received = once(req, 'data')
        res.writeHead(409).end()
        assert.equal((await answer).status, 409)
        await received
        if (reading === 'has paused') {
          req.pause()
          while (req.stream.readableLength === 0) await turns()
        }
        assert.equal(req.stream.destroyed, false)
        assert.equal((await group.shutdown()).forced, undefined)
      })
    }

    test('nothing is left open after the deadline, not even by a client that never closes its side', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, server, port, session, next } = await serveSession(t, kind)
      session.destroy()
      const socket = connectSocket(t, kind, port, { allowHalfOpen: true }).resume()
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

    test('the shutdown waits for a CONNECT in progress, and reports it as one connection when it is cut', LIMIT, async (t) => {
      for (const forced of [undefined, 'call'] as const) {
        const { group, server, session } = await serveSession(t, kind)
        const connected = once(server.on('connect', () => {}), 'connect')
        const stream = session.request({ ':method': 'CONNECT', ':authority': 'test:80' }).on('error', () => {})
        const closed = once(stream.resume(), 'close')
        const [, res] = (await connected) as [unknown, Http2ServerResponse]
        const outcome = observe(group.shutdown())
        await once(group.signal, 'abort')
        await turns()
        assert.equal(outcome.settled, false)
        if (forced) group.force()
        else stream.end(() => res.end('hello'))
        const [report] = await Promise.all([outcome.promise, closed])
        assert.deepEqual([report.forced, report.forcedConnections], forced ? ['call', 1] : [undefined, 0])
      }
    })

    test("without a 'checkContinue' listener the server still sends 100 by itself, and with one it does not", LIMIT, async (t) => {
      for (const listens of [false, true]) {
        const { server, session, next } = await serveSession(t, kind)
        if (listens) server.on('checkContinue', (_req: Http2ServerRequest, res: Http2ServerResponse) => res.writeHead(417).end())
        const stream = session.request({ ':method': 'POST', expect: '100-continue' }, { endStream: false })
        let continued = false
        stream.on('continue', () => (continued = true))
        const answer = answerOf(stream)
        if (!listens) (await next()).res.end('hello')
        assert.equal((await answer).status, listens ? 417 : 200)
        assert.equal(continued, !listens)
      }
    })
  })
}

test('one group waits for clients of HTTP/1 and of HTTP/2 that share a server', LIMIT, async (t) => {
  const { group, port, next } = await serve(t, newServerOfBoth())
  const outcome = [] as Promise<{ status: number }>[]
  const responses: { end(): void }[] = []
  for (const kind of SERVER_KINDS.filter(({ name }) => name.endsWith('allowHTTP1'))) {
    outcome.push((await connectClient(t, kind, port)).send('GET'))
    responses.push((await next()).res)
  }
  const report = observe(group.shutdown())
  await once(group.signal, 'abort')
  for (const [index, res] of responses.entries()) {
    await turns()
    assert.equal(report.settled, false)
    res.end()
    assert.equal((await outcome[index])!.status, 200)
  }
  const { responses: ended, forced } = await report.promise
  assert.deepEqual([responses.length, ended, forced], [2, 2, undefined])
})

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

/** A server in a group, and a session with it. */
async function serveSession(t: TestContext, kind: ServerKind, options: ServeOptions = {}): Promise<{
  readonly group: ShutdownGroup
  readonly server: Http2Server | Http2SecureServer
  readonly port: number
  readonly session: ClientHttp2Session
  readonly next: () => Promise<{ readonly req: Http2ServerRequest; readonly res: Http2ServerResponse }>
}> {
  const { next, ...served } = await serve(t, kind.newServer() as Http2Server, options)
  const session = await connectSession(t, kind, served.port)
  return { ...served, session, next: next as unknown as () => Promise<{ req: Http2ServerRequest; res: Http2ServerResponse }> }
}

/** A client whose windows let the server send what it likes. It has sent a GET, and reads nothing until it is told to. */
function unreadClient(t: TestContext, kind: ServerKind, port: number): Socket {
  const socket = connectSocket(t, kind, port)
  const settings = '\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff' // INITIAL_WINDOW_SIZE
  const windowUpdate = '\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0'
  const headers = '\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x' // GET, scheme http, path /, authority x
  socket.write(PREFACE + settings + windowUpdate + headers, 'latin1')
  return socket
}

function get(session: ClientHttp2Session): ClientHttp2Stream {
  return session.request({ ':method': 'GET' })
}
