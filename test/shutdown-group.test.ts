// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { respondEarly } from '../lib/early-response.ts'
import { HappyReader } from '../lib/happy-reader.ts'
import { ShutdownGroup, type ShutdownError, type ShutdownGroupOptions, type ShutdownReport } from '../lib/shutdown-group.ts'
import { stopClock } from './support/clock.ts'
import { listen } from './support/listen.ts'
import { connectClient, connectSocket, connectWire, SERVER_KINDS } from './support/server-kinds.ts'
import { DEADLINE_MS, LIMIT, observe, serve, turns } from './support/shutdown.ts'
import { request, WireClient } from './support/wire.ts'

const GET = request('GET /')
const [HTTP1] = SERVER_KINDS as [typeof SERVER_KINDS[number]]

describe('ShutdownGroup', () => {
  test('the state is draining after the call, closing when the signal aborts, and closed when the report is there', LIMIT, async (t) => {
    const { group } = await serve(t, createServer())
    assert.equal(group.state, 'running')
    const report = group.shutdown()
    assert.equal(group.state, 'draining')
    assert.equal(group.signal.aborted, false)
    let stateAtAbort: string | undefined
    group.signal.addEventListener('abort', () => (stateAtAbort = group.state))
    await report
    assert.equal(stateAtAbort, 'closing')
    assert.equal(group.state, 'closed')
    void group.shutdown()
    assert.equal(group.state, 'closed')
  })

  test('a request that calls itself HTTP/2.0 on an HTTP/1 connection is answered, and the shutdown waits for it', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send('GET / HTTP/2.0\r\nHost: test\r\n\r\n')
    const { res } = await next()
    const report = group.shutdown()
    res.setHeader('Content-Length', 5).end('hello')
    assert.equal((await client.response()).body, 'hello')
    const { responses, forced } = await report
    assert.deepEqual({ responses, forced }, { responses: 1, forced: undefined })
  })

  test('every call of shutdown returns the same promise', LIMIT, async (t) => {
    const { group } = await serve(t, createServer())
    const first = group.shutdown('first')
    assert.equal(group.shutdown('second'), first)
    assert.equal((await first).reason, 'first')
    assert.equal(group.shutdown('third'), first)
  })

  test('the report holds the reason and counts what ended', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    const { res } = await next()
    const work = withResolvers<void>()
    void group.run(work.promise)
    const promise = group.shutdown('deploy')
    res.end('hello')
    work.resolve()
    const { durationMs, ...report } = await promise
    assert.ok(durationMs >= 0 && durationMs < DEADLINE_MS)
    assert.deepEqual(report, {
      reason: 'deploy', responses: 1, work: 1, forced: undefined, forcedConnections: 0, abandonedWork: 0, errors: [],
    })
  })

  test('the report does not count what ended before the shutdown', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    const { res } = await next()
    const closed = once(res, 'close')
    res.end('hello')
    await closed
    await group.run(Promise.resolve())
    const report = await group.shutdown()
    assert.equal(report.responses, 0)
    assert.equal(report.work, 0)
  })

  test('the signal aborts with the code SHUTDOWN and the reason as its cause', LIMIT, async () => {
    const group = new ShutdownGroup()
    assert.equal(group.signal.aborted, false)
    const reason = new Error('deploy')
    await group.shutdown(reason)
    const error = group.signal.reason as ShutdownError
    assert.equal(error.name, 'ShutdownError')
    assert.equal(error.code, 'SHUTDOWN')
    assert.equal(error.cause, reason)
  })

  test('the signal has no cause when shutdown was given no reason', LIMIT, async () => {
    const group = new ShutdownGroup()
    await group.shutdown()
    assert.equal('cause' in (group.signal.reason as ShutdownError), false)
  })

  test('the signal aborts with the reason even when the deadline passes during the readiness delay', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const group = new ShutdownGroup({ deadlineMs: 1000, readinessDelayMs: 5000 })
    const states: string[] = []
    group.signal.addEventListener('abort', () => states.push(group.state))
    const promise = group.shutdown('deploy')
    t.mock.timers.tick(1000)
    const report = await promise
    await turns()
    assert.equal(report.forced, 'deadline')
    assert.deepEqual(states, ['closed'])
    assert.equal(group.signal.aborted, true)
    assert.equal((group.signal.reason as ShutdownError).code, 'SHUTDOWN')
    assert.equal((group.signal.reason as ShutdownError).cause, 'deploy')
  })

  test('a thousand listeners on the signal give no warning', LIMIT, async (t) => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): number => warnings.push(warning)
    process.on('warning', onWarning)
    t.after(() => process.off('warning', onWarning))
    const { signal } = new ShutdownGroup()
    for (let count = 0; count < 1000; count++) signal.addEventListener('abort', () => count)
    await turns()
    assert.deepEqual(warnings, [])
  })

  test('add() returns the group, and throws when the shutdown has begun', LIMIT, async () => {
    const group = new ShutdownGroup()
    assert.equal(group.add(createServer()), group)
    const promise = group.shutdown()
    assert.throws(() => group.add(createServer()), /Cannot add a server as the group must be running: it is draining/)
    await promise
    assert.throws(() => group.add(createServer()), /it is closed/)
  })

  for (const name of ['deadlineMs', 'readinessDelayMs'] as const) {
    test(`${name} must be 0 to 2^31-1${name === 'deadlineMs' ? ', or Infinity' : ''}`, () => {
      const orNever = name === 'deadlineMs' ? ' or Infinity' : ''
      for (const value of [-1, NaN, orNever ? -Infinity : Infinity, 2 ** 31]) {
        assert.throws(() => new ShutdownGroup({ [name]: value }), (error: Error) => {
          assert.ok(error instanceof RangeError)
          assert.equal(error.message, `Cannot wait as ${name} must be 0 to 2147483647 milliseconds${orNever}: received ${value}`)
          return true
        })
      }
      assert.throws(() => new ShutdownGroup({ [name]: '10s' as never }), TypeError)
      for (const value of [0, 2 ** 31 - 1, undefined]) assert.equal(new ShutdownGroup({ [name]: value }).state, 'running')
    })
  }

  test('a group without servers closes', LIMIT, async () => {
    assert.equal((await new ShutdownGroup({ deadlineMs: DEADLINE_MS }).shutdown()).forced, undefined)
  })

  test('a group closes all its servers, and waits for the responses of each', LIMIT, async (t) => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    const served = await Promise.all([1, 2, 3].map(() => serve(t, createServer(), { group })))
    const clients: WireClient[] = []
    const responses: ServerResponse[] = []
    for (const { port, next } of served) {
      const client = await connectWire(t, HTTP1, port)
      await client.send(GET)
      responses.push((await next()).res)
      clients.push(client)
    }
    const outcome = observe(group.shutdown())
    for (const res of responses) {
      await turns()
      assert.equal(outcome.settled, false)
      res.end('hello')
    }
    const report = await outcome.promise
    for (const client of clients) assert.equal((await client.response()).body, 'hello')
    assert.equal(report.responses, 3)
    assert.equal(report.forced, undefined)
    assert.deepEqual(served.map(({ server }) => server.listening), [false, false, false])
  })

  test('with a deadline of Infinity the shutdown waits for as long as the work takes', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const group = new ShutdownGroup({ deadlineMs: Infinity })
    let finish = (): void => {}
    void group.run(new Promise<void>((resolve) => (finish = resolve)))
    const outcome = observe(group.shutdown())
    await turns()
    t.mock.timers.tick(2 ** 31)
    await turns()
    assert.equal(outcome.settled, false)
    finish()
    assert.equal((await outcome.promise).forced, undefined)
  })

  test('no timer is left, whether the shutdown ended by itself or by force', LIMIT, async (t) => {
    const timersBefore = timers()
    for (const deadlineMs of [DEADLINE_MS, 0]) {
      const { group, port, next } = await serve(t, createServer(), { deadlineMs, readinessDelayMs: deadlineMs === 0 ? 50_000 : 1 })
      const client = await connectWire(t, HTTP1, port)
      await client.send(GET)
      const { res } = await next()
      const promise = group.shutdown()
      if (deadlineMs > 0) res.end()
      assert.equal((await promise).forced, deadlineMs > 0 ? undefined : 'deadline')
      await client.closed()
    }
    await turns()
    assert.ok(timers() <= timersBefore, 'a timer is left')
  })
})

describe('ShutdownGroup and the readiness delay', () => {
  test('the readiness delay counts towards the deadline', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { group, port, next } = await serve(t, createServer(), { readinessDelayMs: 700, deadlineMs: 1000 })
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    await next()
    const outcome = observe(group.shutdown())
    t.mock.timers.tick(700)
    await turns()
    assert.equal(group.state, 'closing')
    t.mock.timers.tick(299)
    await turns()
    assert.equal(outcome.settled, false)
    t.mock.timers.tick(1)
    assert.equal((await outcome.promise).forced, 'deadline')
    await client.closed()
  })
})

describe('ShutdownGroup.force', () => {
  test('force() cuts the connections and gives up the work, even with a deadline of Infinity', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer(), { deadlineMs: Infinity })
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    await next()
    void group.run(new Promise(() => {}))
    const outcome = observe(group.shutdown())
    await once(group.signal, 'abort')
    await turns()
    assert.equal(outcome.settled, false)
    group.force()
    const { forced, forcedConnections, abandonedWork } = await outcome.promise
    assert.deepEqual({ forced, forcedConnections, abandonedWork }, { forced: 'call', forcedConnections: 1, abandonedWork: 1 })
    assert.equal(await client.closed(), '')
  })

  test('force() during the readiness delay ends the shutdown at once, and the signal aborts', LIMIT, async () => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS, readinessDelayMs: DEADLINE_MS })
    const report = group.shutdown()
    group.force()
    assert.equal((await report).forced, 'call')
    assert.equal((group.signal.reason as ShutdownError).code, 'SHUTDOWN')
  })

  test('force() without a shutdown in progress does nothing: a later one is not forced, an earlier report stays', LIMIT, async () => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    group.force()
    assert.equal(group.state, 'running')
    void group.run(turns())
    const report = await group.shutdown()
    assert.deepEqual([report.forced, report.work], [undefined, 1])
    group.force()
    assert.equal(await group.closed, report)
    assert.equal(report.forced, undefined)
  })
})

describe('ShutdownGroup.run', () => {
  test('run() returns what a promise or a function resolves with', LIMIT, async () => {
    const group = new ShutdownGroup()
    const promise = Promise.resolve(1)
    assert.equal(group.run(promise), promise)
    assert.equal(await group.run(async () => 2), 2)
  })

  test('run() passes a rejection on, and the shutdown does not fail', LIMIT, async () => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    const broken = new Error('broken')
    const work = withResolvers<void>()
    const passedOn = assert.rejects(group.run(work.promise), broken)
    const promise = group.shutdown()
    work.reject(broken)
    await passedOn
    assert.equal((await promise).work, 1)
    await assert.rejects(group.run(() => Promise.reject(broken)), broken)
  })

  test('run() takes a function that throws for a rejected promise, and a plain value for a resolved one', LIMIT, async () => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    const broken = new Error('broken')
    await assert.rejects(group.run(() => { throw broken }), broken)
    assert.equal(await group.run((() => 'plain') as unknown as () => Promise<string>), 'plain')
    assert.equal(await group.run(undefined as unknown as Promise<undefined>), undefined)
    assert.equal((await group.shutdown()).forced, undefined)
  })

  test('the shutdown waits for work, and for the work that it begins meanwhile', LIMIT, async () => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    const first = withResolvers<void>()
    const second = withResolvers<void>()
    void group.run(async () => {
      await first.promise
      void group.run(second.promise)
    })
    const outcome = observe(group.shutdown())
    await turns()
    assert.equal(outcome.settled, false)
    assert.equal(group.state, 'closing')
    first.resolve()
    await turns()
    assert.equal(outcome.settled, false)
    second.resolve()
    const report = await outcome.promise
    assert.equal(report.work, 2)
    assert.equal(report.abandonedWork, 0)
  })

  test('work that has not settled is given up at the deadline, and not before', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const group = new ShutdownGroup({ deadlineMs: 10_000 })
    void group.run(new Promise(() => {}))
    void group.run(() => new Promise(() => {}))
    const done = withResolvers<void>()
    void group.run(done.promise)
    const outcome = observe(group.shutdown())
    await turns()
    done.resolve()
    t.mock.timers.tick(9999)
    await turns()
    assert.equal(outcome.settled, false)
    t.mock.timers.tick(1)
    const { durationMs, ...report } = await outcome.promise
    assert.deepEqual(report, {
      reason: undefined, responses: 0, work: 1, forced: 'deadline', forcedConnections: 0, abandonedWork: 2, errors: [],
    })
  })

  test('the deadline is 10 seconds by default', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const group = new ShutdownGroup()
    void group.run(new Promise(() => {}))
    const outcome = observe(group.shutdown())
    t.mock.timers.tick(9999)
    await turns()
    assert.equal(outcome.settled, false)
    t.mock.timers.tick(1)
    assert.equal((await outcome.promise).forced, 'deadline')
  })
})

describe('ShutdownGroup and responses', () => {
  test('a response whose head was sent before the shutdown finishes, and then its connection closes', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    const { res } = await next()
    res.writeHead(200, { 'Content-Length': 10 }).write('12345')
    const answer = client.response()
    const promise = group.shutdown()
    await once(group.signal, 'abort')
    await turns()
    res.end('67890')
    assert.equal((await answer).body, '1234567890')
    assert.equal(await client.closed(), '')
    assert.equal((await promise).forced, undefined)
  })

  test('three pipelined requests are all answered, and only the last answer says Connection: close', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET + GET + GET)
    const exchanges = [await next(), await next(), await next()]
    const promise = group.shutdown()
    await once(group.signal, 'abort')
    for (const [index, { res }] of exchanges.entries()) res.end(String(index))
    const answers = [await client.response(), await client.response(), await client.response()]
    assert.deepEqual(answers.map(({ body }) => body), ['0', '1', '2'])
    assert.deepEqual(answers.map(({ headers }) => headers.get('connection') === 'close'), [false, false, true])
    assert.equal(await client.closed(), '')
    assert.equal((await promise).responses, 3)
  })

  test('of pipelined requests that arrive one after the other only the last answer says Connection: close', LIMIT, async (t) => {
    const { group, port, next } = await serve(t, createServer())
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    const first = await next()
    const promise = group.shutdown()
    await client.send(GET)
    const second = await next()
    await client.send(GET)
    const third = await next()
    for (const { res } of [third, first, second]) res.end('hello')
    const answers = [await client.response(), await client.response(), await client.response()]
    assert.deepEqual(answers.map(({ headers }) => headers.get('connection') === 'close'), [false, false, true])
    assert.equal((await promise).responses, 3)
  })

  test('three pipelined requests that arrive while the group drains are all answered, by a handler that takes a turn', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const answer = (_req: unknown, res: ServerResponse): void => void setImmediate(() => res.end('served'))
    const { group, port } = await serve(t, createServer(), { handler: answer, readinessDelayMs: 1000 })
    const client = await connectWire(t, HTTP1, port)
    const promise = group.shutdown()
    await client.send(GET + GET + GET)
    for (let turn = 0; turn < 3; turn++) assert.equal((await client.response()).body, 'served')
    t.mock.timers.tick(1000)
    assert.equal((await promise).responses, 3)
  })

  test('a request that had arrived when the shutdown began is answered, although Node had not read it yet', LIMIT, async (t) => {
    const { group, port } = await serve(t, createServer(), { handler: (_req, res) => res.end('served') })
    const client = await connectWire(t, HTTP1, port)
    await client.send(GET)
    await client.response()
    client.socket.write(GET)
    const promise = group.shutdown()
    const answer = await client.response()
    assert.equal(answer.body, 'served')
    assert.equal(answer.headers.get('connection'), 'close')
    await promise
  })

  for (const when of ['before', 'during'] as const) {
    test(`a large response that ended ${when} the shutdown arrives whole, although its client reads slowly`, LIMIT, async (t) => {
      const { group, port, next } = await serve(t, createServer())
      const socket = connectSocket(t, HTTP1, port)
      socket.write(GET)
      const { res } = await next()
      const body = Buffer.alloc(16 * 1024 * 1024)
      if (when === 'before') res.end(body)
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      if (when === 'during') res.end(body)
      await turns()
      assert.equal(outcome.settled, false)
      let received = 0
      socket.on('data', (chunk: Buffer) => (received += chunk.length))
      await once(socket, 'end')
      assert.ok(received > body.length, `${received} bytes`)
      assert.equal((await outcome.promise).forced, undefined)
    })
  }
})

describe('ShutdownGroup and connections', () => {
  for (const [what, open] of [
    ['half a request head', async (client: WireClient) => client.send('GET / HTTP/1.1\r\nHost: te')],
    ['half of its second request head', async (client: WireClient) => {
      await client.send(GET)
      await client.response()
      await client.send('GET / HTTP/1.1\r\nHost: te')
    }],
  ] as const) {
    test(`a connection with ${what} is closed at once`, LIMIT, async (t) => {
      const { group, port, server } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
      const accepted = once(server, 'connection')
      const client = await connectWire(t, HTTP1, port)
      await accepted
      await open(client)
      const report = await group.shutdown()
      assert.equal(report.forced, undefined)
      assert.equal(report.forcedConnections, 0)
      assert.equal(await client.closed(), '')
    })
  }

  for (const [event, head] of [
    ['upgrade', request('GET /', ['Connection: Upgrade', 'Upgrade: test'])],
    ['connect', 'CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n'],
  ] as const) {
    for (const order of ['before', 'after'] as const) {
      test(`the shutdown waits for a socket that '${event}' handed out to a listener added ${order} add()`, LIMIT, async (t) => {
        const { group, client, socket } = await serveUpgraded(t, event, order, head)
        const outcome = observe(group.shutdown())
        await once(group.signal, 'abort')
        await turns()
        assert.equal(outcome.settled, false)
        const echo = once(client.socket, 'data')
        socket.write('still here')
        assert.equal(String((await echo)[0]), 'still here')
        socket.end()
        client.socket.end()
        const report = await outcome.promise
        assert.equal(report.forced, undefined)
      })
    }

    test(`a socket that '${event}' handed out is cut at the deadline`, LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { group, client } = await serveUpgraded(t, event, 'after', head)
      const promise = group.shutdown()
      await once(group.signal, 'abort')
      t.mock.timers.tick(DEADLINE_MS)
      const report = await promise
      assert.equal(report.forced, 'deadline')
      assert.equal(report.forcedConnections, 1)
      await client.closed()
    })
  }

  for (const order of ['before', 'after'] as const) {
    test(`the shutdown waits for a request that 'checkContinue' handed out to a listener added ${order} add()`, LIMIT, async (t) => {
      const server = createServer()
      const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
      const exchange = withResolvers<{ req: IncomingMessage; res: ServerResponse }>()
      const onCheck = (req: IncomingMessage, res: ServerResponse): void => exchange.resolve({ req, res })
      if (order === 'before') server.on('checkContinue', onCheck)
      group.add(server)
      if (order === 'after') server.on('checkContinue', onCheck)
      const client = await connectWire(t, HTTP1, await listen(t, server))
      await client.send(request('POST /', ['Content-Length: 5', 'Expect: 100-continue']))
      const { req, res } = await exchange.promise
      const outcome = observe(group.shutdown())
      await once(group.signal, 'abort')
      await turns()
      assert.equal(outcome.settled, false)
      res.writeContinue()
      assert.equal((await client.response()).status, 100)
      await client.send('12345')
      await once(req.resume(), 'end')
      res.end('hello')
      const answer = await client.response()
      assert.equal(answer.body, 'hello')
      assert.equal(answer.headers.get('connection'), 'close')
      assert.equal((await outcome.promise).responses, 1)
    })
  }

  test("a request that a 'checkContinue' listener hands on to 'request' counts once", LIMIT, async (t) => {
    const { group, port, server, next } = await serve(t, createServer())
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      res.writeContinue()
      server.emit('request', req, res)
    })
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('POST /', ['Content-Length: 0', 'Expect: 100-continue']))
    const { res } = await next()
    const promise = group.shutdown()
    res.end('hello')
    assert.equal((await client.response()).status, 100)
    assert.equal((await client.response()).headers.get('connection'), 'close')
    assert.equal((await promise).responses, 1)
  })

  test("a request that a 'checkContinue' listener hands on after its client has left holds nothing, and counts for nothing", LIMIT, async (t) => {
    const { group, port, server, next } = await serve(t, createServer())
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      res.once('close', () => setImmediate(() => server.emit('request', req, res)))
    })
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('POST /', ['Content-Length: 5', 'Expect: 100-continue']))
    client.destroy()
    await next()
    void group.run(new Promise(() => {}))
    const promise = group.shutdown()
    await once(group.signal, 'abort')
    group.force()
    const { responses, forced, forcedConnections, abandonedWork } = await promise
    assert.deepEqual({ responses, forced, forcedConnections, abandonedWork }, {
      responses: 0, forced: 'call', forcedConnections: 0, abandonedWork: 1,
    })
  })
})

describe('ShutdownGroup does not change what a server does', () => {
  test("without a 'checkContinue' listener the server still sends 100 by itself", LIMIT, async (t) => {
    const { port } = await serve(t, createServer(), { handler: (req, res) => req.resume().on('end', () => res.end('hello')) })
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('POST /', ['Content-Length: 5', 'Expect: 100-continue']))
    assert.equal((await client.response()).status, 100)
    await client.send('12345')
    assert.equal((await client.response()).body, 'hello')
  })

  test("without a 'checkExpectation' listener the server still answers 417", LIMIT, async (t) => {
    const { port } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('GET /', ['Expect: miracles']))
    assert.equal((await client.response()).status, 417)
  })

  test("without an 'upgrade' listener a request to upgrade is still an ordinary one", LIMIT, async (t) => {
    const { port } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('GET /', ['Connection: Upgrade', 'Upgrade: test']))
    assert.equal((await client.response()).body, 'hello')
  })

  test("without a 'connect' listener the connection is still closed", LIMIT, async (t) => {
    const { port } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
    const client = await connectWire(t, HTTP1, port)
    await client.send('CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n')
    assert.equal(await client.closed(), '')
  })

  test("after the last 'upgrade' listener was removed a request to upgrade is an ordinary one again", LIMIT, async (t) => {
    const { port, server } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
    const onUpgrade = (_req: IncomingMessage, socket: Socket): void => void socket.destroy()
    server.on('upgrade', onUpgrade)
    server.off('upgrade', onUpgrade)
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('GET /', ['Connection: Upgrade', 'Upgrade: test']))
    assert.equal((await client.response()).body, 'hello')
  })

  test("after one of two 'upgrade' listeners was removed the group still knows the sockets that the other one gets", LIMIT, async (t) => {
    const { group, port, server } = await serve(t, createServer())
    const removed = (): void => assert.fail('was removed')
    const upgraded = once(server.on('upgrade', () => {}), 'upgrade')
    server.on('upgrade', removed).off('upgrade', removed)
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('GET /', ['Connection: Upgrade', 'Upgrade: test']))
    await upgraded
    const report = group.shutdown()
    await once(group.signal, 'abort')
    group.force()
    assert.equal((await report).forcedConnections, 1)
    assert.equal(await client.closed(), '')
  })

  test("after the last 'checkContinue' listener was removed the server sends 100 by itself again", LIMIT, async (t) => {
    const { port, server } = await serve(t, createServer(), { handler: (_req, res) => res.end('hello') })
    const onCheck = (_req: IncomingMessage, res: ServerResponse): void => void res.destroy()
    server.on('checkContinue', onCheck)
    server.off('checkContinue', onCheck)
    const client = await connectWire(t, HTTP1, port)
    await client.send(request('POST /', ['Content-Length: 0', 'Expect: 100-continue']))
    assert.equal((await client.response()).status, 100)
  })
})

describe('ShutdownGroup and respondEarly', () => {
  test("an endless upload that is read with the group's signal can be answered early: the client reads the answer", LIMIT, async (t) => {
    let saved = 0
    const { group, port } = await serve(t, createServer(), {
      handler: async (req, res) => {
        const body = new HappyReader(req, { signal: group.signal })
        for await (const chunk of body) saved += (chunk as Buffer).length
        assert.equal(body.error?.code, 'INTERRUPTED')
        await respondEarly(req, res, { status: 503, body: `${saved}` })
      },
    })
    const client = await connectClient(t, HTTP1, port)
    const { answer, sent, stop } = client.upload()
    await sent(5 * 1024 * 1024)
    const report = group.shutdown()
    assert.deepEqual(await answer, { status: 503, body: `${saved}`, saysClose: true })
    assert.ok(saved > 0)
    stop()
    assert.equal((await report).forced, undefined)
  })
})

describe('ShutdownGroup.listen', () => {
  test('listen() listens to SIGTERM and SIGINT by default, until its result is disposed of', LIMIT, () => {
    const before = signalListeners()
    const group = new ShutdownGroup()
    for (const end of ['dispose', Symbol.dispose] as const) {
      const listening = group.listen()
      assert.deepEqual(signalListeners(), before.map((count, index) => count + (index < 2 ? 1 : 0)))
      listening[end]()
      assert.deepEqual(signalListeners(), before)
    }
    process.emit('SIGHUP', 'SIGHUP')
    assert.equal(group.state, 'running')
  })

  for (const beganBy of ['SIGHUP', 'the program'] as const) {
    test(`after a shutdown that ${beganBy} began the listeners are removed, but not within its first half second`, LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      for (const lastsMs of [400, 500]) {
        const before = signalListeners()
        const group = new ShutdownGroup()
        group.listen(['SIGHUP'])
        const nowMs = t.mock.method(performance, 'now', () => 1000)
        if (beganBy === 'SIGHUP') process.emit('SIGHUP', 'SIGHUP')
        else void group.shutdown(beganBy)
        assert.equal(group.state, 'draining')
        nowMs.mock.mockImplementation(() => 1000 + lastsMs)
        assert.equal((await group.closed).reason, beganBy)
        nowMs.mock.restore()
        await turns()
        if (lastsMs < 500) {
          process.emit('SIGHUP', 'SIGHUP') // its copy, which would end the process by default
          t.mock.timers.tick(99)
          assert.notDeepEqual(signalListeners(), before)
        }
        t.mock.timers.tick(1)
        assert.deepEqual(signalListeners(), before)
      }
    })
  }

  test('closed resolves with the report when the shutdown has ended, whoever began it, and not before', LIMIT, async () => {
    const group = new ShutdownGroup()
    let closed = false
    const report = group.closed.then((report) => ((closed = true), report))
    await turns()
    assert.equal(closed, false)
    assert.equal(await group.shutdown('because'), await report)
    assert.equal((await report).reason, 'because')
  })

  for (const [forces, signals, when, forcing] of [
    [false, ['SIGTERM', 'SIGTERM', 'SIGTERM'], 'as Heroku, Nest and stop scripts send it'],
    [false, ['SIGHUP', 'SIGHUP'], 'as a closing terminal sends it'],
    [false, ['SIGINT', 'SIGTERM'], 'as of somebody who presses Ctrl-C in the terminal of a process manager'],
    [false, ['SIGINT', 'SIGHUP', 'SIGTERM'], 'as of somebody who closes the terminal then'],
    [true, ['SIGINT', 'SIGINT'], 'as of somebody who does not want to wait'],
    [true, ['SIGTERM', 'SIGINT'], 'as of somebody who does not want to wait either'],
    [true, ['SIGTERM', 'SIGTERM', 'SIGINT'], 'however often SIGTERM came before'],
    [true, ['SIGTERM', 'SIGTERM'], 'if it was given as one that does', ['SIGTERM']],
    [false, ['SIGTERM', 'SIGINT'], 'if only another one was given', ['SIGTERM']],
    [false, ['SIGINT', 'SIGINT'], 'if none was given', []],
  ] as const) {
    test(`${signals.join(', ')}, 600 ms apart, ${forces ? 'forces' : 'does not force'}, ${when}`, LIMIT, async (t) => {
      const { report, emit, end } = listenToAll(t, forcing)
      for (const [index, signal] of signals.entries()) emit(signal, 600 * index)
      await turns()
      end()
      const { forced, reason } = await report
      assert.deepEqual({ forced, reason }, { forced: forces ? 'signal' : undefined, reason: signals[0] })
    })
  }

  for (const signals of [['SIGINT', 'SIGINT'], ['SIGTERM', 'SIGINT'], ['SIGINT', 'SIGTERM', 'SIGINT']] as const) {
    test(`${signals.join(', ')} within half a second count as one signal: under npm a Ctrl-C arrives twice`, LIMIT, async (t) => {
      const { report, emit, end } = listenToAll(t)
      for (const [index, signal] of signals.entries()) emit(signal, index === 0 ? 0 : 499)
      await turns()
      end()
      assert.equal((await report).forced, undefined)
    })
  }

  test('a shutdown that took longer than half a second removes its listeners at once, and sets no timer in the past', LIMIT, async (t) => {
    const pass = stopClock(t)
    const delays: unknown[] = []
    const original = setTimeout
    t.mock.method(globalThis, 'setTimeout', (callback: () => void, delayMs?: number) => {
      delays.push(delayMs)
      return original(callback, delayMs)
    })
    const group = new ShutdownGroup({ deadlineMs: Infinity })
    const before = process.listenerCount('SIGTERM')
    group.listen()
    const report = group.shutdown()
    pass(60_000)
    await report
    while (process.listenerCount('SIGTERM') > before) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(delays, [0])
  })

  test('a SIGINT for which another listener has already begun the shutdown does not force it', LIMIT, async (t) => {
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
    const framework = (): void => void group.shutdown('hooks')
    process.once('SIGINT', framework)
    t.after(() => process.off('SIGINT', framework))
    group.listen()
    void group.run(turns())
    process.emit('SIGINT', 'SIGINT')
    const { forced, reason } = await group.closed
    assert.deepEqual({ forced, reason }, { forced: undefined, reason: 'hooks' })
  })

  test('a second SIGINT forces the shutdown even during the readiness delay', LIMIT, async (t) => {
    const { report, emit, group } = listenToAll(t, undefined, { readinessDelayMs: DEADLINE_MS })
    emit('SIGINT', 0)
    emit('SIGINT', 500)
    assert.equal(group.state, 'draining')
    const { forced, abandonedWork } = await report
    assert.deepEqual({ forced, abandonedWork }, { forced: 'signal', abandonedWork: 1 })
    assert.equal((group.signal.reason as ShutdownError).code, 'SHUTDOWN')
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`on ${signal} a process finishes its responses, closes idle connections, and exits with 0`, LIMIT, async (t) => {
      const program = await startShutdownProgram(t)
      const idle = await connectWire(t, HTTP1, program.port)
      await idle.send(request('GET /idle'))
      await idle.response()
      await connectWire(t, HTTP1, program.port) // never says anything
      const client = await connectWire(t, HTTP1, program.port)
      await client.send(request('GET /slow'))
      await program.line('request /slow')
      program.process.kill(signal)
      const answer = await client.response()
      assert.equal(answer.body, 'finished')
      assert.equal(answer.headers.get('connection'), 'close')
      const report = JSON.parse(await program.line('report ')) as ShutdownReport
      assert.deepEqual(await program.exit, [0, null])
      assert.equal(report.reason, signal)
      assert.equal(report.forced, undefined)
      assert.equal(report.responses, 1)
      assert.ok(report.durationMs < 20_000)
    })
  }

  test('a SIGINT after a SIGTERM cuts what is left, and the process ends by itself', LIMIT, async (t) => {
    const program = await startShutdownProgram(t)
    const client = await connectWire(t, HTTP1, program.port)
    await client.send(request('GET /stuck'))
    await program.line('request /stuck')
    program.process.kill('SIGTERM')
    await program.line('state closing')
    const pressing = setInterval(() => program.process.kill('SIGINT'), 50) // those of the first half second do not count
    t.after(() => clearInterval(pressing))
    assert.equal(await client.closed(), '')
    clearInterval(pressing)
    const report = JSON.parse(await program.line('report ')) as ShutdownReport
    assert.deepEqual(await program.exit, [0, null])
    assert.equal(report.reason, 'SIGTERM')
    assert.equal(report.forced, 'signal')
    assert.equal(report.forcedConnections, 1)
    assert.ok(report.durationMs < 20_000)
  })
})

/** A group that listens and whose work goes on until `end`. `emit` has a signal come this long after the first one. */
function listenToAll(t: TestContext, forcing?: readonly NodeJS.Signals[], options: ShutdownGroupOptions = {}): {
  readonly group: ShutdownGroup
  readonly report: Promise<ShutdownReport>
  readonly emit: (signal: NodeJS.Signals, atMs: number) => void
  readonly end: () => void
} {
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS, ...options })
  const listening = group.listen(['SIGTERM', 'SIGINT', 'SIGHUP'], forcing)
  t.after(() => listening.dispose())
  const { promise, resolve: end } = withResolvers<void>()
  void group.run(promise)
  const emit = (signal: NodeJS.Signals, atMs: number): void => {
    const now = t.mock.method(performance, 'now', () => 1000 + atMs)
    process.emit(signal, signal)
    now.mock.restore()
  }
  return { group, report: group.closed, emit, end }
}

/** A connection that has left HTTP. */
async function serveUpgraded(t: TestContext, event: 'upgrade' | 'connect', order: 'before' | 'after', head: string): Promise<{
  readonly group: ShutdownGroup
  readonly client: WireClient
  readonly socket: Socket
}> {
  const server = createServer()
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS })
  const upgraded = withResolvers<Socket>()
  const onUpgrade = (_req: IncomingMessage, socket: Socket): void => {
    socket.resume().write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    upgraded.resolve(socket)
  }
  if (order === 'before') server.on(event, onUpgrade)
  group.add(server)
  if (order === 'after') server.on(event, onUpgrade)
  const client = await connectWire(t, HTTP1, await listen(t, server))
  await client.send(head)
  assert.equal((await client.response()).status, 101)
  return { group, client, socket: await upgraded.promise }
}

interface ShutdownProgram {
  readonly process: ChildProcess
  readonly port: number
  /** Resolves with the rest of the first line that begins so. */
  readonly line: (beginning: string) => Promise<string>
  readonly exit: Promise<[code: number | null, signal: NodeJS.Signals | null]>
}

async function startShutdownProgram(t: TestContext): Promise<ShutdownProgram> {
  const path = fileURLToPath(new URL('./support/fixtures/shutdown-program.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', path], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const lines: string[] = []
  let wake: (() => void) | undefined
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(text)
    wake?.()
  })
  const line = async (beginning: string): Promise<string> => {
    for (;;) {
      const found = lines.find((text) => text.startsWith(beginning))
      if (found !== undefined) return found.slice(beginning.length)
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const exit = once(child, 'exit') as ShutdownProgram['exit']
  return { process: child, port: Number(await line('port ')), line, exit }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

function signalListeners(): number[] {
  return (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).map((signal) => process.listenerCount(signal))
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}
