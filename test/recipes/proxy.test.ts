// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { buffer, text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { respondEarly } from '../../lib/early-response.ts'
import { HappyReader } from '../../lib/happy-reader.ts'
import { requestSignal } from '../../lib/request-signal.ts'
import { listen } from '../support/listen.ts'
import { exchange, request, WireClient } from '../support/wire.ts'
import { startRecipe, startRecipeWithout } from './program.ts'

const MIB = 1024 * 1024
const BODY = randomBytes(MIB)

/** How a body can be framed of which `BODY` is only the beginning. */
const HEADS = {
  'with a Content-Length': request('PUT /photo', [`Content-Length: ${2 * MIB}`]),
  'in chunks': `${request('PUT /photo', ['Transfer-Encoding: chunked'])}${(2 * MIB).toString(16)}\r\n`,
}

/** A server whose requests are answered by the test, and its address. */
async function startUpstream(t: TestContext): Promise<{ readonly server: Server; readonly origin: string }> {
  const server = createServer()
  return { server, origin: `http://127.0.0.1:${await listen(t, server)}` }
}

async function nextRequest(
  server: Server,
): Promise<{ readonly req: IncomingMessage; readonly res: ServerResponse; readonly body: HappyReader; readonly signal: AbortSignal }> {
  const [req, res] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  return { req, res, body: new HappyReader(req), signal: requestSignal(req, res) }
}

/** Sends a request whose body is whole, and leaves once the upstream server has all of it. */
async function sendAndLeave(server: Server, port: number): Promise<{ readonly res: ServerResponse; readonly signal: AbortSignal }> {
  const client = await WireClient.connect(port)
  const arrival = nextRequest(server)
  void client.send(request('POST /orders', ['Content-Length: 5'], 'hello'))
  const { res, body, signal } = await arrival
  assert.equal(await text(body), 'hello')
  client.destroy()
  await once(client.socket, 'close')
  return { res, signal }
}

for (const [framing, head] of Object.entries(HEADS)) {
  test(`a proxy passes on all that came ${framing} from a client that is cut off, and the upstream server sees that it is not the whole`, async (t) => {
    const { server, origin } = await startUpstream(t)
    const { port } = await startRecipe(t, 'proxy', [origin])
    const client = await WireClient.connect(port)
    const arrival = nextRequest(server)
    void client.send(Buffer.concat([Buffer.from(head), BODY]))
    const { body } = await arrival
    client.socket.end()
    const received = await buffer(body)
    assert.ok(received.equals(BODY), `${received.length} bytes came`)
    assert.equal(body.error?.code, 'ABORTED')
  })

  test(`a proxy that is stopped passes on all that came ${framing}, and answers its client 503`, async (t) => {
    const { server, origin } = await startUpstream(t)
    const proxy = await startRecipe(t, 'proxy', [origin])
    const client = await WireClient.connect(proxy.port)
    const arrival = nextRequest(server)
    await client.send(Buffer.concat([Buffer.from(head), BODY]))
    const { body } = await arrival
    proxy.process.kill('SIGTERM')
    const received = await buffer(body)
    assert.ok(received.equals(BODY), `${received.length} bytes came`)
    assert.equal(body.error?.code, 'ABORTED')
    assert.equal((await client.response()).status, 503)
    client.destroy()
    assert.deepEqual(await proxy.exit, { code: 0, signal: null })
  })
}

test('a proxy leaves the upstream server its time to answer a request that was sent whole, though its client has gone', async (t) => {
  const { server, origin } = await startUpstream(t)
  const { port } = await startRecipe(t, 'proxy', [origin])
  const { res, signal } = await sendAndLeave(server, port)
  await passThrough(server, port) // the proxy has seen the client leave by now
  assert.equal(signal.aborted, false)
  res.end('paid')
  await once(res, 'close')
  assert.equal(signal.aborted, false)
})

test('without delayedSignal a proxy cuts off an upstream request that was sent whole', async (t) => {
  const { server, origin } = await startUpstream(t)
  const naive = [['delayedSignal(requestSignal(req, res), 10_000)', 'Object.assign(requestSignal(req, res), { dispose() {} })']] as const
  const { port } = await startRecipeWithout(t, 'proxy', naive, [origin])
  const { signal } = await sendAndLeave(server, port)
  if (!signal.aborted) await once(signal, 'abort')
  assert.equal((signal.reason as { readonly code?: unknown }).code, 'RESPONSE_ABORTED')
})

test('without a look at the error a proxy passes off a part of a body as the whole', async (t) => {
  const { server, origin } = await startUpstream(t)
  const { port } = await startRecipeWithout(
    t,
    'proxy',
    [['if (body.error) upstream.socket?.end()\n  else if (!isOver) upstream.end()', 'upstream.end()']],
    [origin],
  )
  const client = await WireClient.connect(port)
  const arrival = nextRequest(server)
  void client.send(Buffer.concat([Buffer.from(HEADS['in chunks']), BODY]))
  const { body } = await arrival
  client.socket.end()
  assert.equal((await buffer(body)).length, MIB)
  assert.equal(body.error, undefined)
})

test('a proxy passes on requests and answers, also one that comes before the body was read', async (t) => {
  const { server, origin } = await startUpstream(t)
  const { port } = await startRecipe(t, 'proxy', [origin])
  await passThrough(server, port)

  const client = await WireClient.connect(port)
  server.once('request', (req, res) => respondEarly(req, res, { status: 413, body: 'too large' }))
  await client.send(Buffer.concat([Buffer.from(request('PUT /photo', [`Content-Length: ${20 * MIB}`])), ...Array<Buffer>(20).fill(BODY)]))
  const { status, body } = await client.response()
  assert.deepEqual([status, body], [413, 'too large'])
  client.destroy()
})

test('a proxy says 502 when there is no upstream server', async (t) => {
  const { port } = await startRecipe(t, 'proxy', ['http://127.0.0.1:1'])
  assert.equal((await exchange(port, request('GET /'))).status, 502)
  assert.equal((await exchange(port, request('PUT /', ['Content-Length: 5'], 'hello'))).status, 502)
})

async function passThrough(server: Server, port: number): Promise<void> {
  server.once('request', (req, res) => res.writeHead(201, { 'X-Method': req.method, 'Content-Length': 4 }).end('done'))
  const { status, headers, body } = await exchange(port, request('GET /'))
  assert.deepEqual([status, headers.get('x-method'), body], [201, 'GET', 'done'])
}
