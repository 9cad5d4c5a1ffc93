// SPDX-License-Identifier: MIT

/** What a shutdown guarantees for every kind of server. @module */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { describe, test } from 'node:test'
import { HappyReader } from '../lib/happy-reader.ts'
import { ShutdownGroup, type ShutdownError } from '../lib/shutdown-group.ts'
import { connectClient, connectSocket, PREFACE, SERVER_KINDS } from './support/server-kinds.ts'
import { DEADLINE_MS, LIMIT, observe, serve, turns } from './support/shutdown.ts'
import { request, WireClient } from './support/wire.ts'

for (const kind of SERVER_KINDS) {
  const http1 = kind.protocol === 'http/1.1'

  describe(`ShutdownGroup and ${kind.name}`, () => {
    test('the shutdown waits for responses in progress, one after the other, and then closes their connection', LIMIT, async (t) => {
      const { group, server, port, next } = await serve(t, kind.newServer())
      const client = await connectClient(t, kind, port)
      const answers = [client.send('GET'), client.send('GET')]
      const responses = [(await next()).res, (await next()).res]
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      assert.equal(server.listening, false)
      for (const [index, res] of responses.entries()) {
        await turns()
        assert.equal(outcome.settled, false)
        res.end(`answer ${index}`)
        const saysClose = http1 ? index === 1 : undefined
        assert.deepEqual(await answers[index], { status: 200, body: `answer ${index}`, saysClose })
      }
      await client.closed()
      const { responses: ended, forced, forcedConnections } = await outcome.promise
      assert.deepEqual({ ended, forced, forcedConnections }, { ended: 2, forced: undefined, forcedConnections: 0 })
    })

    test('a HEAD in progress is answered', LIMIT, async (t) => {
      const { group, port, next } = await serve(t, kind.newServer())
      const client = await connectClient(t, kind, port)
      const answer = client.send('HEAD')
      const { res } = await next()
      const report = group.shutdown()
      await turns()
      res.writeHead(204)
      res.end()
      assert.equal((await answer).status, 204)
      assert.equal((await report).forced, undefined)
    })

    test('a large response in progress arrives whole', LIMIT, async (t) => {
      const { group, port, next } = await serve(t, kind.newServer())
      const body = 'x'.repeat(5 * 1024 * 1024)
      const client = await connectClient(t, kind, port)
      const answer = client.send('GET')
      const { res } = await next()
      res.writeHead(200, { 'Content-Length': body.length + 3 }).write(body)
      const report = group.shutdown()
      await once(group.signal, 'abort')
      res.end('end')
      assert.equal((await answer).body, `${body}end`)
      assert.equal((await report).forced, undefined)
    })

    test('responses that ended before the shutdown are not counted', LIMIT, async (t) => {
      const { group, port, next } = await serve(t, kind.newServer())
      const client = await connectClient(t, kind, port)
      const answer = client.send('GET')
      const { res } = await next()
      const closed = once('stream' in res ? (res.stream as NodeJS.EventEmitter) : res, 'close')
      res.end('hello')
      await Promise.all([answer, closed])
      assert.equal((await group.shutdown()).responses, 0)
    })

    test('connections that are idle, or never sent a request, are closed at once', LIMIT, async (t) => {
      const { group, port } = await serve(t, kind.newServer(), { handler: (_req, res) => res.end('hello') })
      const idle = await connectClient(t, kind, port)
      await idle.send('GET')
      const unused = await connectClient(t, kind, port)
      if (http1) await turns() // the server accepts a connection a moment after the client has it
      const { forced, forcedConnections } = await group.shutdown()
      assert.deepEqual({ forced, forcedConnections }, { forced: undefined, forcedConnections: 0 })
      await Promise.all([idle.closed(), unused.closed()])
    })

    test('connections whose clients never close their own side are closed', LIMIT, async (t) => {
      const { group, server, port } = await serve(t, kind.newServer(), { handler: (_req, res) => res.end('hello') })
      const accepted = http1 ? (kind.secure ? 'secureConnection' : 'connection') : 'session'
      const emptySettings = '\0\0\0\x04\0\0\0\0\0'
      for (const text of ['', http1 ? request('GET /') : PREFACE + emptySettings]) {
        const known = once(server, accepted)
        const socket = connectSocket(t, kind, port, { allowHalfOpen: true }).resume()
        await known
        if (text === '') continue
        const answered = once(socket, 'data')
        socket.write(text, 'latin1')
        await answered
      }
      const { forced, forcedConnections } = await group.shutdown()
      assert.deepEqual({ forced, forcedConnections }, { forced: undefined, forcedConnections: 0 })
    })

    test('during the readiness delay requests are served, on open connections and on new ones', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, server, port } = await serve(t, kind.newServer(), {
        handler: (_req, res) => res.end('served'), readinessDelayMs: 1000,
      })
      const kept = await connectClient(t, kind, port)
      assert.equal((await kept.send('GET')).saysClose, http1 ? false : undefined)
      const report = group.shutdown()
      t.mock.timers.tick(999)
      await turns()
      for (const client of [kept, await connectClient(t, kind, port)]) {
        assert.deepEqual(await client.send('GET'), { status: 200, body: 'served', saysClose: http1 ? true : undefined })
        if (http1) await client.closed()
      }
      assert.deepEqual([group.state, group.signal.aborted, server.listening], ['draining', false, true])
      t.mock.timers.tick(1)
      const { responses, forced } = await report
      assert.deepEqual([responses, forced, group.state, server.listening], [2, undefined, 'closed', false])
    })

    for (const forcedBy of ['deadline', 'call'] as const) {
      const how = forcedBy === 'call' ? 'when force() is called' : 'at the deadline'
      test(`a response that never ends is cut ${how}, not before, and is reported as one connection`, LIMIT, async (t) => {
        t.mock.timers.enable({ apis: ['setTimeout'] })
        const { group, port, next } = await serve(t, kind.newServer())
        const client = await connectClient(t, kind, port)
        client.send('GET').catch(() => {})
        await next()
        const outcome = observe(group.shutdown())
        await once(group.signal, 'abort')
        t.mock.timers.tick(DEADLINE_MS - 1)
        await turns()
        assert.equal(outcome.settled, false)
        if (forcedBy === 'call') group.force()
        else t.mock.timers.tick(1)
        const { forced, forcedConnections } = await outcome.promise
        assert.deepEqual({ forced, forcedConnections }, { forced: forcedBy, forcedConnections: 1 })
        await client.closed()
      })
    }

    test("an endless upload that is read with the group's signal ends, and its client reads the answer 503", LIMIT, async (t) => {
      let saved = 0
      const { group, port } = await serve(t, kind.newServer(), {
        handler: async (req, res) => {
          const body = new HappyReader(req, { signal: group.signal })
          for await (const chunk of body) saved += (chunk as Buffer).length
          assert.equal((body.error?.cause as ShutdownError).code, 'SHUTDOWN')
          res.writeHead(503, { 'Content-Length': `${saved}`.length }).end(`${saved}`)
        },
      })
      const client = await connectClient(t, kind, port)
      const { answer, sent, stop } = client.upload()
      await sent(5 * 1024 * 1024)
      const report = group.shutdown()
      const { status, body } = await answer
      assert.deepEqual([status, body], [503, `${saved}`])
      assert.ok(saved > 0)
      stop()
      assert.equal((await report).forced, undefined)
    })

    test('an endless upload that is read without the signal goes on until the deadline, and is cut then', LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, port, next } = await serve(t, kind.newServer())
      const client = await connectClient(t, kind, port)
      const { answer, sent } = client.upload()
      answer.catch(() => {})
      const { req } = await next()
      const aborted = once(req.resume().on('error', () => {}), 'aborted')
      await sent(1024 * 1024)
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      t.mock.timers.tick(DEADLINE_MS - 1)
      await sent(1024 * 1024)
      assert.equal(outcome.settled, false)
      t.mock.timers.tick(1)
      const { forced, forcedConnections } = await outcome.promise
      assert.deepEqual({ forced, forcedConnections }, { forced: 'deadline', forcedConnections: 1 })
      await Promise.all([aborted, client.closed()])
    })

    test('a server that never listened does not delay the shutdown', LIMIT, async () => {
      const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
      group.add(kind.newServer())
      assert.equal((await group.shutdown()).forced, undefined)
    })

    if (kind.secure) {
      test('connections whose TLS handshake never ends are closed at once', LIMIT, async (t) => {
        const { group, server, port } = await serve(t, kind.newServer())
        const clients: WireClient[] = []
        for (const bytes of ['', '\x16\x03\x01']) {
          const accepted = once(server, 'connection')
          const client = new WireClient(connectTcp(port, '127.0.0.1'))
          t.after(() => client.destroy())
          await accepted
          if (bytes) await client.send(Buffer.from(bytes, 'latin1'))
          clients.push(client)
        }
        const { forced, forcedConnections } = await group.shutdown()
        assert.deepEqual({ forced, forcedConnections }, { forced: undefined, forcedConnections: 0 })
        for (const client of clients) assert.equal(await client.closed(), '')
      })
    }
  })
}
