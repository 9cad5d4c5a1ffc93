// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  connect as connectHttp2,
  createSecureServer as createHttp2SecureServer,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Settings as Http2Settings,
} from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { getDefaultHighWaterMark } from 'node:stream'
import { describe, test, type TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { respondEarly, type EarlyResponse } from '../lib/early-response.ts'
import { certificate } from './support/fixtures/certificate.ts'
import { listen } from './support/listen.ts'
import { request, WireClient } from './support/wire.ts'

/** A broken guarantee often shows as an event that never comes. */
const LIMIT = { timeout: 30_000 }
const MIB = 1024 * 1024
const TOO_LARGE: EarlyResponse = { status: 413, headers: { 'X-Limit': 10 }, body: 'At most 10 bytes\n' }
/** Longer than any test may take: an end that comes has another cause. */
const PATIENT = { lingerMs: 1_000_000 }

describe('respondEarly to a client that is still sending', () => {
  test('the answer arrives at an HTTP client that sends 50 MB', LIMIT, async (t) => {
    const { port } = await serve(t, { response: TOO_LARGE, options: PATIENT })
    const req = httpRequest({ port, host: '127.0.0.1', method: 'POST', headers: { 'Content-Length': 50 * MIB } })
    req.on('error', () => {}) // where the sending ends is not the point
    const chunk = Buffer.alloc(MIB)
    for (let sent = 0; sent < 50; sent++) req.write(chunk)
    req.end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    assert.equal(res.statusCode, 413)
    assert.equal(res.headers['x-limit'], '10')
    assert.equal(res.headers['content-length'], '17')
    assert.equal(res.headers.connection, 'close')
    assert.equal((await res.setEncoding('utf8').toArray()).join(''), TOO_LARGE.body)
  })

  test('the answer arrives at a client that reads nothing before it has written 50 MB', LIMIT, async (t) => {
    const { port } = await serve(t, { response: TOO_LARGE, options: PATIENT })
    const socket = connectTcp(port, '127.0.0.1').pause()
    t.after(() => socket.destroy())
    socket.write(head(50 * MIB))
    const chunk = Buffer.alloc(MIB)
    for (let sent = 0; sent < 50; sent++) await new Promise<void>((resolve, reject) => socket.write(chunk, orThrow(resolve, reject)))
    const client = new WireClient(socket)
    socket.resume()
    const answer = await client.response()
    assert.equal(answer.status, 413)
    assert.equal(answer.headers.get('connection'), 'close')
    assert.equal(answer.body, TOO_LARGE.body)
    assert.equal(await client.closed(), '')
  })

  test('the answer arrives over TLS at a client that reads nothing before it has written 20 MB', LIMIT, async (t) => {
    const { port } = await serve(t, { response: TOO_LARGE, options: PATIENT }, createHttpsServer(certificate))
    const socket = connectTls({ port, host: '127.0.0.1', ca: certificate.cert })
    t.after(() => socket.destroy())
    await once(socket, 'secureConnect')
    socket.pause()
    socket.write(head(20 * MIB))
    const chunk = Buffer.alloc(MIB)
    for (let sent = 0; sent < 20; sent++) await new Promise<void>((resolve, reject) => socket.write(chunk, orThrow(resolve, reject)))
    const client = new WireClient(socket)
    socket.resume()
    assert.equal((await client.response()).status, 413)
    assert.equal(await client.closed(), '')
  })

  for (const [what, method, response] of [
    ['with a body', 'POST', { status: 413, body: 'no\n' }],
    ['without a body', 'POST', { status: 413 }],
    ['of status 204', 'POST', { status: 204 }],
    ['to HEAD', 'HEAD', { status: 413, body: 'no\n' }],
  ] as const) {
    test(`an answer ${what} is complete and says that the connection closes, before anything more was sent`, LIMIT, async (t) => {
      const { port, answered } = await serve(t, { response, options: PATIENT })
      const client = await connect(t, port)
      await client.send(request(`${method} /`, ['Content-Length: 10'], '12345'))
      const answer = await client.response({ toHead: method === 'HEAD' })
      assert.equal(answer.status, response.status)
      assert.equal(answer.headers.get('connection'), 'close')
      const length = response.status === 204 ? undefined : String('body' in response ? response.body.length : 0)
      assert.equal(answer.headers.get('content-length'), length)
      await client.send('67890')
      await answered()
      assert.equal(await client.closed(), '')
    })
  }

  test('a chunked body is discarded to its end, then the connection closes', LIMIT, async (t) => {
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: PATIENT })
    const client = await connect(t, port)
    await client.send(request('POST /', ['Transfer-Encoding: chunked'], '5\r\n12345\r\n'))
    assert.equal((await client.response()).headers.get('connection'), 'close')
    await client.send('0\r\n\r\n')
    await answered()
    assert.equal(await client.closed(), '')
  })

  test('a body that was read in part and paused is discarded as well', LIMIT, async (t) => {
    const server = createServer(async (req, res) => {
      await once(req, 'data')
      req.pause()
      await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
    })
    const client = await connect(t, await listen(t, server))
    await client.send(head(5 * MIB) + '12345')
    assert.equal((await client.response()).status, 413)
    await client.send(Buffer.alloc(5 * MIB - 5))
    assert.equal(await client.closed(), '')
  })

  test('with lingerMs 0 the connection closes at once, without a timer', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] }) // one would never fire
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: { lingerMs: 0 } })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    assert.equal((await client.response()).body, TOO_LARGE.body)
    await answered()
    assert.equal(await client.closed(), '')
  })

  test('the connection closes when lingerBytes were discarded, and not before', LIMIT, async (t) => {
    const { port, answered, requests } = await serve(t, { response: TOO_LARGE, options: { ...PATIENT, lingerBytes: 1000 } })
    const client = await connect(t, port)
    await client.send(head(1_000_000))
    await client.response()
    let received = 0
    requests[0]!.on('data', (chunk: Buffer) => (received += chunk.length))
    await client.send(Buffer.alloc(999))
    while (received < 999) await once(requests[0]!, 'data')
    let done = false
    const end = answered().then(() => (done = true))
    await turns()
    assert.equal(done, false)
    await client.send('!')
    await end
    await client.closed()
  })

  test('the connection closes when lingerMs have passed, and not before', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: { lingerMs: 700 } })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    await client.response()
    let done = false
    const end = answered().then(() => (done = true))
    await turns() // the answer is sent before the timer is set
    t.mock.timers.tick(699)
    await turns()
    assert.equal(done, false)
    t.mock.timers.tick(1)
    await end
    await client.closed()
  })

  test('with lingerMs Infinity it lingers without a timer', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: { lingerMs: Infinity } })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    await client.response()
    let done = false
    const end = answered().then(() => (done = true))
    await turns()
    t.mock.timers.tick(2 ** 31)
    await turns()
    assert.equal(done, false)
    await client.send('67890')
    await end
  })

  for (const lingerMs of [-1, NaN, -Infinity, 2 ** 31, '1000' as unknown as number]) {
    const name = typeof lingerMs === 'number' ? 'RangeError' : 'TypeError'
    test(`a lingerMs of ${lingerMs} (${typeof lingerMs}) is a ${name}, and nothing is sent`, async () => {
      const [req, res] = [{}, {}] as [IncomingMessage, ServerResponse] // neither is touched
      await assert.rejects(respondEarly(req, res, { ...TOO_LARGE, lingerMs }), { name, message: /^Cannot wait as lingerMs must be / })
    })
  }

  test('it lingers for 5 seconds by default', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { port, answered } = await serve(t, { response: TOO_LARGE })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    await client.response()
    let done = false
    const end = answered().then(() => (done = true))
    await turns()
    t.mock.timers.tick(4999)
    await turns()
    assert.equal(done, false)
    t.mock.timers.tick(1)
    await end
  })

  for (const [how, leave] of [
    ['closes its connection', (client: WireClient) => client.socket.end()],
    ['resets its connection', (client: WireClient) => client.socket.resetAndDestroy()],
  ] as const) {
    test(`it resolves at once, and not by its timer, when the client ${how} meanwhile`, LIMIT, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] }) // one would never fire
      const { port, answered, requests } = await serve(t, { response: TOO_LARGE, options: PATIENT })
      const client = await connect(t, port)
      await client.send(head(10) + '12345')
      assert.equal((await client.response()).status, 413)
      leave(client)
      await answered()
      assert.equal(requests[0]!.listenerCount('data'), 0)
    })
  }

  test('it resolves and does nothing when the client is gone already', LIMIT, async (t) => {
    const server = createServer()
    const port = await listen(t, server)
    const client = await connect(t, port)
    const arrived = once(server, 'request')
    await client.send(head(10) + '12345')
    const [req, res] = (await arrived) as [IncomingMessage, ServerResponse]
    req.on('error', () => {}).resume()
    const gone = once(res, 'close')
    client.destroy()
    await gone
    await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
    assert.equal(res.headersSent, false)
  })

  test('for a client that leaves in the same turn as it is answered, it resolves at once', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] }) // one would never fire
    const server = createServer()
    const port = await listen(t, server)
    const client = await connect(t, port)
    const arrived = once(server, 'request')
    await client.send(head(10) + '12345')
    const [req, res] = (await arrived) as [IncomingMessage, ServerResponse]
    const answered = respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
    client.destroy()
    assert.equal(await answered, undefined)
    assert.equal(req.listenerCount('data'), 0)
  })

  test('the timer and the listeners are gone when it has resolved', LIMIT, async (t) => {
    const server = createServer()
    const client = await connect(t, await listen(t, server))
    const arrived = once(server, 'request')
    await client.send(head(1_000_000))
    const [req, res] = (await arrived) as [IncomingMessage, ServerResponse]
    const before = [timers(), ...listenersOf(req)]
    const answered = respondEarly(req, res, { ...TOO_LARGE, ...PATIENT, lingerBytes: 1000 })
    await client.response()
    assert.deepEqual([timers(), ...listenersOf(req)], before.map((count) => count + 1))
    await client.send(Buffer.alloc(2000))
    await answered
    assert.deepEqual([timers(), ...listenersOf(req)], before)
  })
})

describe('respondEarly to a client that has sent everything', () => {
  for (const [what, text] of [
    ['without a body', request('GET /')],
    ['with a body of length 0', request('POST /', ['Content-Length: 0'])],
    ['with a small body in the packet of its head', request('POST /', ['Content-Length: 10'], '1234567890')],
    ['with a small chunked body in the packet of its head', request('POST /', ['Transfer-Encoding: chunked'], '5\r\n12345\r\n0\r\n\r\n')],
  ] as const) {
    test(`a request ${what} keeps the connection, and the next one on it is answered`, LIMIT, async (t) => {
      const { port, answered } = await serve(t, { response: TOO_LARGE, options: PATIENT })
      const client = await connect(t, port)
      for (let turn = 0; turn < 2; turn++) {
        await client.send(text)
        const answer = await client.response()
        assert.equal(answer.status, 413)
        assert.equal(answer.body, TOO_LARGE.body)
        assert.notEqual(answer.headers.get('connection'), 'close')
        await answered()
      }
    })

    test(`pipelined requests ${what} are all answered, in order`, LIMIT, async (t) => {
      const { port } = await serve(t, { response: TOO_LARGE, options: PATIENT })
      const client = await connect(t, port)
      await client.send(text + text + text)
      for (let turn = 0; turn < 3; turn++) assert.equal((await client.response()).status, 413)
    })
  }

  for (const [what, method, response] of [
    ['to HEAD', 'HEAD', { status: 404, body: 'not here\n' }],
    ['of status 204', 'POST', { status: 204 }],
    ['of status 304', 'GET', { status: 304 }],
    ['without a body', 'GET', { status: 404 }],
  ] as const) {
    test(`an answer ${what} keeps the connection`, LIMIT, async (t) => {
      const { port } = await serve(t, { response, options: PATIENT })
      const client = await connect(t, port)
      for (let turn = 0; turn < 2; turn++) {
        await client.send(request(`${method} /`))
        const answer = await client.response({ toHead: method === 'HEAD' })
        assert.equal(answer.status, response.status)
        assert.notEqual(answer.headers.get('connection'), 'close')
        // That of a 304 would be the length of what the client has (RFC 9110 section 8.6).
        assert.equal(answer.headers.has('content-length'), response.status === 404)
      }
    })
  }

  test('a body that was read before keeps the connection', LIMIT, async (t) => {
    const server = createServer(async (req, res) => {
      await req.toArray()
      await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
    })
    const client = await connect(t, await listen(t, server))
    for (let turn = 0; turn < 2; turn++) {
      await client.send(head(5 * MIB))
      await client.send(Buffer.alloc(5 * MIB))
      assert.notEqual((await client.response()).headers.get('connection'), 'close')
    }
  })

  test('a body that was received, but read in part only, does not keep the next request waiting', LIMIT, async (t) => {
    const length = getDefaultHighWaterMark(false) + 3 // so much that Node stops reading when it has it
    const server = createServer(async (req, res) => {
      await once(req, 'readable')
      req.read(2)
      while (!req.complete) await turns()
      await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
    })
    const client = await connect(t, await listen(t, server))
    for (let turn = 0; turn < 2; turn++) {
      await client.send(head(length) + 'x'.repeat(length))
      assert.notEqual((await client.response()).headers.get('connection'), 'close')
    }
  })
})

describe('respondEarly beside others that look after headers', () => {
  /** What a middleware does to a response, and what the client then gets besides. */
  const others: readonly (readonly [what: string, prepare: (res: ServerResponse) => void, expected: Readonly<Record<string, string>>])[] = [
    ['sets headers before', (res) => res.setHeader('X-Frame', 'deny').setHeader('x-limit', 'another'), { 'x-frame': 'deny' }],
    ['replaces setHeader', (res) => {
      const { setHeader } = res
      const heard: string[] = []
      res.setHeader = (name, value) => {
        heard.push(name)
        return setHeader.call(setHeader.call(res, name, value), 'X-Heard', heard.join())
      }
    }, { 'x-heard': 'X-Limit,Content-Length' }],
    ['replaces writeHead, and looks at the headers then', (res) => {
      const { writeHead } = res
      res.writeHead = (...details: [number]) => {
        res.setHeader('X-Heard', res.getHeaderNames().join())
        return writeHead.apply(res, details)
      }
    }, { 'x-heard': 'x-limit,content-length' }],
    ['has a class of its own', (res) => {
      const { writeHead } = res
      const methods = {
        writeHead: (...details: [number]) => {
          res.setHeader('X-Heard', res.getHeaderNames().join())
          return writeHead.apply(res, details)
        },
      }
      Object.setPrototypeOf(res, Object.setPrototypeOf(methods, Object.getPrototypeOf(res) as object) as object)
    }, { 'x-heard': 'x-limit,content-length' }],
  ]
  for (const [what, prepare, expected] of others) {
    test(`where a middleware ${what}, it has its way, and each header goes out once`, LIMIT, async (t) => {
      const server = createServer((req, res) => {
        prepare(res)
        void respondEarly(req, res, TOO_LARGE)
      })
      const client = await connect(t, await listen(t, server))
      await client.send(request('GET /'))
      const { status, headers, body } = await client.response()
      const names = [...Object.keys(expected), 'x-limit', 'content-length']
      const values = [...Object.values(expected), '10', '17']
      assert.deepEqual([status, body, names.map((name) => headers.get(name))], [413, TOO_LARGE.body, values])
    })
  }

  test('of two spellings of a name the last one counts, and Content-Length is always its own', LIMIT, async (t) => {
    const headers = { 'content-type': 'text/html', 'Content-Type': 'text/plain', 'content-length': 5 }
    const { port } = await serve(t, { response: { ...TOO_LARGE, headers } })
    const client = await connect(t, port)
    await client.send(request('GET /'))
    const answer = await client.response()
    assert.deepEqual(['content-type', 'content-length'].map((name) => answer.headers.get(name)), ['text/plain', '17'])
    assert.equal(answer.body, TOO_LARGE.body)
  })

  test('a header that cannot be sent rejects before anything is sent, and another answer can be given', LIMIT, async (t) => {
    const codes: unknown[] = []
    const server = createServer(async (req, res) => {
      for (const headers of [{ 'X-Job': 'a\r\nb' }, { 'X Job': 'a' }, { 'X-Job': '\u540d' }]) {
        await respondEarly(req, res, { status: 204, headers }).catch(({ code }) => codes.push(code))
      }
      await respondEarly(req, res, TOO_LARGE)
    })
    const client = await connect(t, await listen(t, server))
    await client.send(request('GET /'))
    const answer = await client.response()
    assert.deepEqual([answer.status, answer.headers.has('x-job'), answer.body], [413, false, TOO_LARGE.body])
    assert.deepEqual(codes, ['ERR_INVALID_CHAR', 'ERR_INVALID_HTTP_TOKEN', 'ERR_INVALID_CHAR'])
  })
})

describe('respondEarly with drain', () => {
  test('drain reads the rest in place of discarding it, after the answer was sent', LIMIT, async (t) => {
    const received: Buffer[] = []
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: (req) => ({
      ...PATIENT,
      drain: async () => {
        for await (const chunk of req) received.push(chunk as Buffer)
      },
    }) })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    assert.equal((await client.response()).headers.get('connection'), 'close')
    await client.send('67890')
    await answered()
    assert.equal(Buffer.concat(received).toString(), '1234567890')
    await client.closed()
  })

  test('drain is given a body that was received but not read', LIMIT, async (t) => {
    const received: Buffer[] = []
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: (req) => ({
      ...PATIENT,
      drain: async () => {
        for await (const chunk of req) received.push(chunk as Buffer)
      },
    }) })
    const client = await connect(t, port)
    await client.send(head(10) + '1234567890')
    assert.equal((await client.response()).status, 413)
    await answered()
    assert.equal(Buffer.concat(received).toString(), '1234567890')
  })

  test('its signal aborts after lingerMs, and not before', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let signal: AbortSignal | undefined
    const { port, answered } = await serve(t, { response: TOO_LARGE, options: {
      lingerMs: 700,
      drain: async (given) => {
        signal = given
        await once(given, 'abort')
      },
    } })
    const client = await connect(t, port)
    await client.send(head(10) + '12345')
    await client.response()
    await turns()
    t.mock.timers.tick(699)
    assert.equal(signal?.aborted, false)
    t.mock.timers.tick(1)
    assert.equal(signal?.aborted, true)
    await answered()
    await client.closed()
  })

  test('what it rejects with is passed on after the response has ended', LIMIT, async (t) => {
    const broken = new Error('disk full')
    let ended: boolean | undefined
    const rejection = new Promise<unknown>((resolve, reject) => {
      const server = createServer((req, res) => {
        respondEarly(req, res, { ...TOO_LARGE, ...PATIENT, drain: () => Promise.reject(broken) }).then(reject, (error: unknown) => {
          ended = res.writableEnded
          resolve(error)
        })
      })
      void listen(t, server).then(async (port) => {
        const client = await connect(t, port)
        await client.send(head(10) + '12345')
        assert.equal((await client.response()).body, TOO_LARGE.body)
        await client.closed()
      }).catch(reject)
    })
    assert.equal(await rejection, broken)
    assert.equal(ended, true)
  })
})

for (const protocol of ['h2c', 'h2 over TLS'] as const) {
  describe(`respondEarly over HTTP/2 (${protocol})`, () => {
    test('the answer arrives at a client that is still sending, the stream closes without an error, the session serves on', LIMIT, async (t) => {
      const { session, requests } = await serveHttp2(t, protocol, { response: TOO_LARGE })
      for (let turn = 0; turn < 3; turn++) {
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.write(Buffer.alloc(MIB)) // more than the windows of stream and session hold, and no end
        const answer = await answerOf(stream)
        assert.deepEqual(answer, { status: 413, length: '17', body: TOO_LARGE.body })
        const serverStream = (requests[turn] as Http2ServerRequest).stream
        if (!serverStream.destroyed) await once(serverStream, 'close')
        assert.equal(serverStream.rstCode, 0)
        stream.destroy() // a client of Node 20 to 24 waits for its writes for ever
      }
      const stream = session.request({ ':method': 'PUT', ':path': '/echo' }, { endStream: false })
      stream.end(Buffer.alloc(MIB))
      assert.equal((await answerOf(stream)).body, `${MIB}`)
      assert.equal(session.destroyed, false)
    })

    for (const [what, method, response] of [
      ['with a body', 'POST', { status: 413, body: 'no\n' }],
      ['without a body', 'POST', { status: 413 }],
      ['of status 204', 'POST', { status: 204 }],
      ['to HEAD', 'HEAD', { status: 413, body: 'no\n' }],
      ['to a request without a body', 'GET', { status: 413, body: 'no\n' }],
    ] as const) {
      test(`an answer ${what} ends its stream`, LIMIT, async (t) => {
        const { session, answered } = await serveHttp2(t, protocol, { response })
        const stream = session.request({ ':method': method }, { endStream: method === 'GET' })
        const closed = once(stream, 'close')
        const answer = await answerOf(stream)
        assert.equal(answer.status, response.status)
        assert.equal(answer.body, method !== 'HEAD' && 'body' in response ? response.body : '')
        await answered()
        await closed
        assert.equal(stream.rstCode, 0)
      })
    }

    for (const [when, leave] of [
      ['after the answer', async (stream: ClientHttp2Stream) => void (await answerOf(stream))],
      ['when the client has given it up', (stream: ClientHttp2Stream) => stream.close(0)],
      ['when the client gives it up in the middle of the answer', async (stream: ClientHttp2Stream) => {
        await once(stream, 'response')
        stream.close(0)
      }],
    ] as const) {
      test(`a body that was paused does not keep its stream, and with it the session, ${when}`, LIMIT, async (t) => {
        const server = protocol === 'h2c' ? createHttp2Server() : createHttp2SecureServer(certificate)
        const session = await connectSession(t, protocol, server)
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.on('error', () => {}).write('12345')
        const [req, res] = (await once(server, 'request')) as [Http2ServerRequest, Http2ServerResponse]
        req.pause()
        const left = leave(stream)
        if (left === undefined) await once(req, 'aborted')
        const ended = once(req.stream.session!, 'close')
        await respondEarly(req, res, { status: 409, body: 'x'.repeat(5 * MIB), ...PATIENT })
        await left
        session.destroy()
        await ended
        assert.equal(req.stream.destroyed, true)
      })
    }

    test('a client that has no room for the answer cannot go on sending for ever', LIMIT, async (t) => {
      const server = protocol === 'h2c' ? createHttp2Server() : createHttp2SecureServer(certificate)
      const session = await connectSession(t, protocol, server, { initialWindowSize: 0 })
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.on('error', () => {})
      const send = (): void => void (stream.destroyed || stream.write(Buffer.alloc(64 * 1024), () => setImmediate(send)))
      send()
      const [req, res] = (await once(server, 'request')) as [Http2ServerRequest, Http2ServerResponse]
      let bytes = 0
      req.on('data', (chunk: Buffer) => (bytes += chunk.length)).pause()
      const closed = once(req.stream, 'close')
      await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT, lingerBytes: MIB })
      await closed
      assert.ok(bytes > MIB && bytes < 3 * MIB, `${bytes} bytes were discarded`)
    })

    test('a large answer is complete although the body is still being sent', LIMIT, async (t) => {
      const body = 'x'.repeat(5 * MIB)
      const { session } = await serveHttp2(t, protocol, { response: { status: 409, body } })
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.write(Buffer.alloc(100_000))
      assert.equal((await answerOf(stream)).body.length, body.length)
    })

    test('drain reads the rest, while the answer is on its way', LIMIT, async (t) => {
      const received: Buffer[] = []
      const { session, answered } = await serveHttp2(t, protocol, { response: TOO_LARGE, options: (req) => ({
        ...PATIENT,
        drain: async () => {
          for await (const chunk of req) received.push(chunk as Buffer)
        },
      }) })
      const stream = session.request({ ':method': 'POST' }, { endStream: false })
      stream.write('12345')
      assert.equal((await answerOf(stream)).status, 413)
      stream.end('67890')
      await answered()
      assert.equal(Buffer.concat(received).toString(), '1234567890')
    })

    for (const [how, leave] of [
      ['resets its stream', (stream: ClientHttp2Stream) => stream.close(8)], // CANCEL
      ['destroys its session', (stream: ClientHttp2Stream) => stream.session?.destroy()],
    ] as const) {
      test(`it resolves and does nothing when the client ${how} before`, LIMIT, async (t) => {
        const server = protocol === 'h2c' ? createHttp2Server() : createHttp2SecureServer(certificate)
        const session = await connectSession(t, protocol, server)
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.on('error', () => {}).write('12345')
        const [req, res] = (await once(server, 'request')) as [Http2ServerRequest, Http2ServerResponse]
        const gone = once(req.stream, 'close')
        leave(stream)
        await gone
        await respondEarly(req, res, { ...TOO_LARGE, ...PATIENT })
        assert.equal(res.headersSent, false)
      })

      test(`for a client that ${how} while it is answered, it resolves at once and keeps no listener`, LIMIT, async (t) => {
        t.mock.timers.enable({ apis: ['setTimeout'] }) // one would never fire
        const { session, answered, requests } = await serveHttp2(t, protocol, { response: { status: 409, body: 'x'.repeat(5 * MIB) } })
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.on('error', () => {}).write('12345')
        await once(stream, 'response')
        leave(stream)
        await answered()
        const { stream: ours } = requests[0] as Http2ServerRequest
        if (!ours.destroyed) await once(ours, 'close')
        assert.deepEqual([ours.writableFinished, ours.listenerCount('finish') < 3], [false, true])
      })
    }
  })
}

type Lingering = Pick<EarlyResponse, 'lingerMs' | 'lingerBytes' | 'drain'>
type Options = Lingering | ((req: IncomingMessage | Http2ServerRequest) => Lingering)

interface Answering {
  readonly response: EarlyResponse
  readonly options?: Options
}

interface Served {
  /** Resolves when one more call of `respondEarly` has; rejects as it does. */
  readonly answered: () => Promise<void>
  readonly requests: readonly (IncomingMessage | Http2ServerRequest)[]
}

/** A server that answers every request early. */
async function serve(t: TestContext, answering: Answering, server = createServer()): Promise<Served & { readonly port: number }> {
  const { onRequest, ...served } = answerer(answering)
  server.on('request', onRequest)
  return { ...served, port: await listen(t, server) }
}

/** A session with a server that answers every request early, except that `/echo` says how much it received. */
async function serveHttp2(
  t: TestContext,
  protocol: 'h2c' | 'h2 over TLS',
  answering: Answering,
): Promise<Served & { readonly session: ClientHttp2Session }> {
  const { onRequest, ...served } = answerer(answering)
  const server = protocol === 'h2c' ? createHttp2Server() : createHttp2SecureServer(certificate)
  server.on('request', async (req: Http2ServerRequest, res: Http2ServerResponse) => {
    if (req.url === '/echo') res.end(String(((await req.toArray()) as Buffer[]).reduce((sum, chunk) => sum + chunk.length, 0)))
    else onRequest(req, res)
  })
  return { ...served, session: await connectSession(t, protocol, server) }
}

async function connectSession(
  t: TestContext,
  protocol: 'h2c' | 'h2 over TLS',
  server: ReturnType<typeof createHttp2Server>,
  settings: Http2Settings = {},
): Promise<ClientHttp2Session> {
  const port = await listen(t, server)
  const session = protocol === 'h2c'
    ? connectHttp2(`http://127.0.0.1:${port}`, { settings })
    : connectHttp2(`https://127.0.0.1:${port}`, { ca: certificate.cert, settings })
  t.after(() => session.destroy())
  return session
}

function answerer({ response, options = {} }: Answering): Served & {
  readonly onRequest: (req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse) => void
} {
  const requests: (IncomingMessage | Http2ServerRequest)[] = []
  const ends: Promise<void>[] = []
  let awaited = 0
  let wake: (() => void) | undefined
  return {
    requests,
    onRequest: (req, res) => {
      requests.push(req)
      ends.push(respondEarly(req, res, { ...response, ...(typeof options === 'function' ? options(req) : options) }))
      wake?.()
    },
    answered: async () => {
      const index = awaited++
      while (ends.length <= index) await new Promise<void>((resolve) => (wake = resolve))
      await ends[index]
    },
  }
}

async function answerOf(stream: ClientHttp2Stream): Promise<{ status: number | undefined; length: string | undefined; body: string }> {
  const body: Buffer[] = []
  stream.on('data', (chunk: Buffer) => body.push(chunk)).on('error', () => {})
  const [[headers]] = await Promise.all([once(stream, 'response'), new Promise((resolve) => stream.once('end', resolve))])
  const { ':status': status, 'content-length': length } = headers as Record<string, string> & { ':status'?: number }
  return { status, length, body: Buffer.concat(body).toString() }
}

function head(length: number): string {
  return request('POST /', [`Content-Length: ${length}`])
}

function orThrow(resolve: () => void, reject: (error: Error) => void): (error?: Error | null) => void {
  return (error) => (error ? reject(error) : resolve())
}

async function connect(t: TestContext, port: number): Promise<WireClient> {
  const client = await WireClient.connect(port)
  t.after(() => client.destroy())
  return client
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
}

function listenersOf(req: IncomingMessage): number[] {
  return ['data', 'end', 'close'].map((event) => req.listenerCount(event))
}

/** Lets everything happen that is ready to. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}
