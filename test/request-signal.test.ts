// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  connect as connectHttp2,
  createSecureServer as createHttp2SecureServer,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { describe, test, type TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { requestSignal, type RequestAbortedError } from '../lib/request-signal.ts'
import { certificate } from './support/fixtures/certificate.ts'
import { listen } from './support/listen.ts'
import { request, WireClient } from './support/wire.ts'

/** A broken guarantee often shows as an event that never comes. */
const LIMIT = { timeout: 20_000 }
const HALF_A_BODY = request('POST /', ['Content-Length: 10'], '12345')
const WHOLE_BODY = request('POST /', ['Content-Length: 10'], '1234567890')
/** More than the socket buffers of both ends hold. */
const LARGE = Buffer.alloc(32 * 1024 * 1024)

describe('requestSignal over HTTP/1.1', () => {
  for (const [how, leave] of [
    ['closes its connection', (client: WireClient) => client.socket.end()],
    ['resets its connection', (client: WireClient) => client.socket.resetAndDestroy()],
  ] as const) {
    test(`it aborts with REQUEST_ABORTED when the client ${how} in the middle of its body`, LIMIT, async (t) => {
      const { port, exchange } = await serve(t)
      const client = await connect(t, port)
      await client.send(HALF_A_BODY)
      const { req, signal } = await exchange()
      req.resume()
      await once(req, 'data')
      leave(client)
      const reason = await abortOf(signal)
      assert.equal(reason.code, 'REQUEST_ABORTED')
      assert.equal(reason.name, 'RequestAbortedError')
      assert.match(reason.message, /before its request was received/)
      assert.equal((reason.cause as NodeJS.ErrnoException).code, 'ECONNRESET')
    })

    test(`it aborts with RESPONSE_ABORTED when the client ${how} after its body was read and before the answer`, LIMIT, async (t) => {
      const { port, exchange } = await serve(t)
      const client = await connect(t, port)
      await client.send(WHOLE_BODY)
      const { req, signal } = await exchange()
      await once(req.resume(), 'end')
      leave(client)
      const reason = await abortOf(signal)
      assert.equal(reason.code, 'RESPONSE_ABORTED')
      assert.match(reason.message, /before its response was finished/)
    })

    test(`it aborts with RESPONSE_ABORTED when the client of a request without a body ${how}`, LIMIT, async (t) => {
      const { port, exchange } = await serve(t)
      const client = await connect(t, port)
      await client.send(request('GET /'))
      const { signal } = await exchange()
      leave(client)
      assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
    })
  }

  test('it aborts with RESPONSE_ABORTED when the whole body had arrived, though nobody read it', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(WHOLE_BODY + request('GET /second'))
    const { signal } = await exchange()
    await exchange() // so the first was complete
    client.destroy()
    assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
  })

  test('it aborts with RESPONSE_ABORTED when the client leaves in the middle of a large answer', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(request('GET /'))
    const { res, signal } = await exchange()
    res.end(LARGE)
    await once(client.socket, 'data')
    client.destroy()
    assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
  })

  test('it aborts when the server itself destroys the response', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(request('GET /'))
    const { res, signal } = await exchange()
    res.destroy()
    assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
  })

  test('it aborts for a pipelined request that waits for its turn when its body is cut', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(request('GET /first') + HALF_A_BODY)
    const first = await exchange()
    const second = await exchange()
    second.req.resume()
    client.destroy()
    assert.equal((await abortOf(second.signal)).code, 'REQUEST_ABORTED')
    assert.equal(requestSignal(second.req, second.res).reason.code, 'REQUEST_ABORTED', 'also if it is asked for only now')
    await abortOf(first.signal)
  })

  for (const [what, head, answer] of [
    ['with a body', 'GET /', (res: ServerResponse) => res.end('hello')],
    ['without a body', 'GET /', (res: ServerResponse) => res.end()],
    ['of status 204', 'GET /', (res: ServerResponse) => res.writeHead(204).end()],
    ['to HEAD', 'HEAD /', (res: ServerResponse) => res.end('hello')],
  ] as const) {
    test(`it never aborts after an answer ${what}, on a connection that is used again and then closed`, LIMIT, async (t) => {
      const { port, exchange } = await serve(t)
      const client = await connect(t, port)
      const signals: AbortSignal[] = []
      for (let turn = 0; turn < 2; turn++) {
        await client.send(request(head))
        const { res, signal } = await exchange()
        const closed = once(res, 'close')
        answer(res)
        await closed
        await client.response({ toHead: head === 'HEAD /' })
        signals.push(signal)
      }
      await client.send(request('GET /last'))
      const last = await exchange()
      client.destroy()
      await abortOf(last.signal)
      assert.deepEqual(signals.map((signal) => signal.aborted), [false, false])
    })
  }

  test('it never aborts after an answer that was finished before the body was received', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(HALF_A_BODY)
    const { req, res, signal } = await exchange()
    const closed = once(res, 'close')
    res.end('no thanks')
    await closed
    assert.equal((await client.response()).body, 'no thanks')
    const connectionClosed = new Promise((resolve) => req.socket.once('close', resolve))
    client.destroy()
    await connectionClosed
    assert.equal(signal.aborted, false)
  })

  test('it is aborted from the start when it is asked for after the client left in the middle of its body', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(HALF_A_BODY)
    const { req, res } = await exchange()
    req.on('error', () => {}).resume()
    const closed = once(res, 'close')
    client.destroy()
    await closed
    const signal = requestSignal(req, res)
    assert.equal(signal.aborted, true)
    assert.equal((signal.reason as RequestAbortedError).code, 'REQUEST_ABORTED')
    assert.equal((signal.reason.cause as NodeJS.ErrnoException).code, 'ECONNRESET')
  })

  test('it is aborted from the start when it is asked for after the client left before the answer', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(WHOLE_BODY)
    const { req, res } = await exchange()
    await once(req.resume(), 'end')
    const closed = once(res, 'close')
    client.destroy()
    await closed
    const signal = requestSignal(req, res)
    assert.equal(signal.aborted, true)
    assert.equal((signal.reason as RequestAbortedError).code, 'RESPONSE_ABORTED')
  })

  test('it is not aborted when it is asked for after a finished answer', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    const client = await connect(t, port)
    await client.send(request('GET /', ['Connection: close']))
    const { req, res } = await exchange()
    const connectionClosed = once(req.socket, 'close')
    res.end('hello')
    await client.closed()
    await connectionClosed
    assert.equal(requestSignal(req, res).aborted, false)
  })

  test('it leaves no listener on the request and the response, however the exchange ended', LIMIT, async (t) => {
    const { port, exchange } = await serve(t)
    for (const finish of [true, false]) {
      const client = await connect(t, port)
      await client.send(WHOLE_BODY)
      const { req, res, signal, listenersBefore } = await exchange()
      assert.notDeepEqual(listeners(req, res), listenersBefore)
      await once(req.resume(), 'end')
      const closed = new Promise<void>((resolve) => res.once('close', resolve))
      if (finish) res.end('hello')
      else client.destroy()
      await closed
      assert.equal(signal.aborted, !finish)
      assert.deepEqual(listeners(req, res), listenersBefore)
    }
  })

  test('over TLS it tells an answer that was finished from one that was not', LIMIT, async (t) => {
    const { port, exchange } = await serve(t, createHttpsServer(certificate))
    const client = new WireClient(connectTls({ port, host: '127.0.0.1', ca: certificate.cert }))
    t.after(() => client.destroy())
    await once(client.socket, 'secureConnect')
    await client.send(request('GET /'))
    const first = await exchange()
    first.res.end('hello')
    assert.equal((await client.response()).body, 'hello')
    await client.send(HALF_A_BODY)
    const second = await exchange()
    second.req.resume()
    client.destroy()
    assert.equal((await abortOf(second.signal)).code, 'REQUEST_ABORTED')
    assert.equal(first.signal.aborted, false)
  })
})

for (const protocol of ['h2c', 'h2 over TLS'] as const) {
  describe(`requestSignal over HTTP/2 (${protocol})`, () => {
    for (const [how, leave] of [
      ['resets its stream', ({ reset }: Http2Client) => reset()],
      ['destroys its session', ({ session }: Http2Client) => session.destroy()],
    ] as const) {
      test(`it aborts with REQUEST_ABORTED when the client ${how} in the middle of its body`, LIMIT, async (t) => {
        const { exchange, ...client } = await serveHttp2(t, protocol)
        client.request('POST').write('12345')
        const { req, signal } = await exchange()
        await once(req, 'data')
        leave(client)
        assert.equal((await abortOf(signal)).code, 'REQUEST_ABORTED')
      })

      test(`it aborts with RESPONSE_ABORTED when the client ${how} after its body was read and before the answer`, LIMIT, async (t) => {
        const { exchange, ...client } = await serveHttp2(t, protocol)
        client.request('POST').end('1234567890')
        const { req, signal } = await exchange()
        await once(req.resume(), 'end')
        leave(client)
        assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
      })

      test(`it aborts with RESPONSE_ABORTED when the client of a request without a body ${how}`, LIMIT, async (t) => {
        const { exchange, ...client } = await serveHttp2(t, protocol)
        client.request('GET')
        const { signal } = await exchange()
        leave(client)
        assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
      })

      test(`it aborts when the client ${how} in the middle of a large answer`, LIMIT, async (t) => {
        const { exchange, ...client } = await serveHttp2(t, protocol)
        const stream = client.request('GET')
        const { res, signal } = await exchange()
        res.end(LARGE)
        await once(stream, 'response')
        leave(client)
        assert.equal((await abortOf(signal)).code, 'RESPONSE_ABORTED')
      })
    }

    for (const [what, method, answer] of [
      ['with a body', 'GET', (res: Http2ServerResponse) => res.end('hello')],
      ['without a body', 'GET', (res: Http2ServerResponse) => res.end()],
      ['of status 204', 'GET', (res: Http2ServerResponse) => res.writeHead(204).end()],
      ['to HEAD', 'HEAD', (res: Http2ServerResponse) => res.end('hello')],
    ] as const) {
      test(`it never aborts after an answer ${what}, on a session that is closed afterwards`, LIMIT, async (t) => {
        const { exchange, ...client } = await serveHttp2(t, protocol)
        const stream = client.request(method)
        const { req, res, signal } = await exchange()
        const closed = once(res, 'close')
        const sessionClosed = once(req.stream.session!, 'close')
        answer(res)
        await once(stream.resume(), 'close')
        await closed
        client.session.destroy()
        await sessionClosed
        assert.equal(signal.aborted, false)
      })
    }

    test('it is aborted from the start when it is asked for after the stream was reset', LIMIT, async (t) => {
      const { exchange, ...client } = await serveHttp2(t, protocol)
      client.request('POST').write('12345')
      const { req, res } = await exchange()
      await once(req, 'data')
      const closed = once(req.stream, 'close')
      client.reset()
      await closed
      const signal = requestSignal(req, res)
      assert.equal(signal.aborted, true)
      assert.equal((signal.reason as RequestAbortedError).code, 'REQUEST_ABORTED')
    })

    test('it is not aborted when it is asked for after a finished answer', LIMIT, async (t) => {
      const { exchange, ...client } = await serveHttp2(t, protocol)
      const stream = client.request('GET')
      const { req, res } = await exchange()
      const closed = once(req.stream, 'close')
      res.end('hello')
      await once(stream.resume(), 'close')
      await closed
      assert.equal(requestSignal(req, res).aborted, false)
    })

    test('it leaves no listener on the request and the response, however the exchange ended', LIMIT, async (t) => {
      const { exchange, ...client } = await serveHttp2(t, protocol)
      for (const finish of [true, false]) {
        client.request('GET').resume()
        const { req, res, signal, listenersBefore } = await exchange()
        assert.notDeepEqual(listeners(req, res), listenersBefore)
        const closed = new Promise<void>((resolve) => req.stream.once('close', resolve))
        if (finish) res.end('hello')
        else client.reset()
        await closed
        assert.equal(signal.aborted, !finish)
        assert.deepEqual(listeners(req, res), listenersBefore)
      }
    })
  })
}

interface Exchange<Req, Res> {
  readonly req: Req
  readonly res: Res
  /** Asked for in the request handler, as an application would. */
  readonly signal: AbortSignal
  readonly listenersBefore: readonly number[]
}

/** A server whose exchanges are handed to the test, in the order of their arrival. */
async function serve(t: TestContext, server = createServer()): Promise<{
  readonly port: number
  readonly exchange: () => Promise<Exchange<IncomingMessage, ServerResponse>>
}> {
  const exchange = exchangesOf<IncomingMessage, ServerResponse>((listener) => server.on('request', listener))
  return { port: await listen(t, server), exchange }
}

interface Http2Client {
  readonly session: ClientHttp2Session
  readonly request: (method: string) => ClientHttp2Stream
  /** Resets the streams with CANCEL; unlike `stream.close()`, without ending their bodies first. */
  readonly reset: () => void
}

/** A session with such a server. */
async function serveHttp2(t: TestContext, protocol: 'h2c' | 'h2 over TLS'): Promise<Http2Client & {
  readonly exchange: () => Promise<Exchange<Http2ServerRequest, Http2ServerResponse>>
}> {
  const server = protocol === 'h2c' ? createHttp2Server() : createHttp2SecureServer(certificate)
  const exchange = exchangesOf<Http2ServerRequest, Http2ServerResponse>((listener) => server.on('request', listener))
  const port = await listen(t, server)
  const session = protocol === 'h2c'
    ? connectHttp2(`http://127.0.0.1:${port}`)
    : connectHttp2(`https://127.0.0.1:${port}`, { ca: certificate.cert })
  t.after(() => session.destroy())
  const controller = new AbortController()
  return {
    exchange,
    session,
    request: (method) => {
      const stream = session.request({ ':method': method }, { endStream: method !== 'POST', signal: controller.signal })
      return stream.on('error', () => {})
    },
    reset: () => controller.abort(),
  }
}

type AnyRequest = IncomingMessage | Http2ServerRequest
type AnyResponse = ServerResponse | Http2ServerResponse

function exchangesOf<Req extends AnyRequest, Res extends AnyResponse>(
  subscribe: (listener: (req: Req, res: Res) => void) => void,
): () => Promise<Exchange<Req, Res>> {
  const arrived: Exchange<Req, Res>[] = []
  let wake: (() => void) | undefined
  subscribe((req, res) => {
    const listenersBefore = listeners(req, res)
    arrived.push({ req, res, signal: requestSignal(req, res), listenersBefore })
    wake?.()
  })
  return async () => {
    for (;;) {
      const exchange = arrived.shift()
      if (exchange) return exchange
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
}

function listeners(req: AnyRequest, res: AnyResponse): number[] {
  return [req.listenerCount('aborted'), req.listenerCount('close'), res.listenerCount('close'), res.listenerCount('finish')]
}

async function connect(t: TestContext, port: number): Promise<WireClient> {
  const client = await WireClient.connect(port)
  t.after(() => client.destroy())
  return client
}

async function abortOf(signal: AbortSignal): Promise<RequestAbortedError> {
  if (!signal.aborted) await once(signal, 'abort')
  return signal.reason as RequestAbortedError
}
