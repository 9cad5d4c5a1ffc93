// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import { Connections } from '../../lib/cli/connections.ts'
import { respondEarly } from '../../lib/early-response.ts'
import { stopClock } from '../support/clock.ts'
import { listen } from '../support/listen.ts'
import { request, WireClient } from '../support/wire.ts'

test('the connection that has been idle for the longest time makes room, whether or not it ever sent a request', async (t) => {
  const site = await serve(t, 3)
  const [first, silent, third] = [await site.open(), await site.open(), await site.open()]
  await site.ask(third, '/')
  await site.ask(first, '/')
  const fourth = await site.open()
  assert.equal(await silent.closed(), '')
  const fifth = await site.open()
  assert.equal(await third.closed(), '')
  for (const client of [first, fourth, fifth]) assert.equal(await site.ask(client, '/'), 200)
})

test('of a few idle connections, one that has become so just now stays, as its next request may be on its way; the newcomer gets 503', async (t) => {
  const advance = stopClock(t)
  const site = await serve(t, 8)
  await site.occupy(6)
  const [silent, asking] = [await site.open(), await site.open()]
  advance(500)
  await site.ask(asking, '/')
  advance(499)
  assert.equal((await (await WireClient.connect(site.port)).response()).status, 503)
  assert.equal(await site.ask(silent, '/'), 200)
  advance(501)
  const newcomer = await site.open()
  assert.equal(await asking.closed(), '')
  for (const client of [silent, newcomer]) assert.equal(await site.ask(client, '/'), 200)
})

test('a connection with a request stays, and so does its answer', async (t) => {
  const site = await serve(t, 2)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  for (let count = 0; count < 5; count++) assert.equal(await site.ask(await site.open(), '/'), 200)
  res.end()
  assert.equal((await waiting.response()).status, 200)
})

test('where all have a request, one that was refused and goes on sending makes room, when it has had time to read the answer', async (t) => {
  const advance = stopClock(t)
  const site = await serve(t, 8)
  await site.occupy(7)
  const refused = await site.open()
  await refused.send(request('POST /refuse', ['Content-Length: 1000']))
  assert.equal((await refused.response()).status, 413)
  assert.equal((await (await site.open()).response()).status, 503)
  advance(999)
  assert.equal((await (await site.open()).response()).status, 503)
  advance(1)
  const newcomer = await site.open()
  assert.equal(await site.ask(newcomer, '/'), 200)
  assert.equal(await refused.closed(), '')
})

test('where many were refused and go on sending, the one that was so first makes room at once', async (t) => {
  const site = await serve(t, 8)
  await site.occupy(5)
  const refused = [await site.open(), await site.open(), await site.open()]
  for (const client of refused) {
    await client.send(request('POST /refuse', ['Content-Length: 1000']))
    assert.equal((await client.response()).status, 413)
  }
  assert.equal(await site.ask(await site.open(), '/'), 200)
  assert.equal(await refused[0]!.closed(), '')
})

test('where all receive an answer, none of them makes room, however long it takes: a newcomer gets 503', async (t) => {
  const advance = stopClock(t)
  const site = await serve(t, 4)
  const downloads = [await site.open(), await site.open(), await site.open(), await site.open()]
  for (const client of downloads) await client.send(request('GET /begin'))
  const answers = [await site.waiting(), await site.waiting(), await site.waiting(), await site.waiting()]
  for (let count = 0; count < 2; count++) {
    assert.equal((await (await WireClient.connect(site.port)).response()).status, 503)
    advance(1000)
  }
  for (const res of answers) res.end('hello')
  for (const client of downloads) assert.equal((await client.response()).body, 'hello')
})

test('where all wait for an answer, a newcomer gets 503, and a place as soon as one is free', async (t) => {
  const site = await serve(t, 1)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  const refused = await WireClient.connect(site.port)
  const { status, headers } = await refused.response()
  assert.deepEqual([status, headers.get('retry-after'), headers.get('connection')], [503, '1', 'close'])
  refused.socket.end()
  await refused.closed()
  await Promise.all([once(res, 'close'), res.end()])
  assert.equal((await waiting.response()).status, 200)
  assert.equal(await site.ask(await site.open(), '/'), 200)
})

test('a newcomer that sends its request at once reads the 503, and is not reset; what it sends is not served', async (t) => {
  const site = await serve(t, 1)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  for (let round = 0; round < 20; round++) {
    const newcomer = await WireClient.connect(site.port)
    await newcomer.send(request('POST /wait', ['Content-Length: 200000'], 'x'.repeat(200_000)))
    assert.equal((await newcomer.response()).status, 503)
    newcomer.socket.end()
    assert.equal(await newcomer.closed(), '')
  }
  res.end()
  assert.equal((await waiting.response()).status, 200)
  assert.equal(site.late.length, 0)
})

test('of pipelined requests the last answer makes a connection idle', async (t) => {
  const site = await serve(t, 1)
  const pipelining = await site.open()
  await pipelining.send(request('GET /') + request('GET /wait'))
  assert.equal((await pipelining.response()).status, 200)
  const res = await site.waiting()
  assert.equal((await (await WireClient.connect(site.port)).response()).status, 503)
  res.end()
  assert.equal((await pipelining.response()).status, 200)
})

/** A server that answers at once, late or no, and how to use it. */
async function serve(t: TestContext, max: number) {
  const late: ServerResponse[] = []
  const closing = new Set<Promise<unknown>>()
  const server = createServer((req, res) => {
    const closed: Promise<unknown> = once(res, 'close').then(() => closing.delete(closed))
    if (req.url !== '/wait' && req.url !== '/begin') closing.add(closed)
    if (!connections.onRequest(req, res)) return
    if (req.url === '/begin') res.writeHead(200, { 'Content-Length': 5 }).flushHeaders()
    if (req.url === '/wait' || req.url === '/begin') late.push(res)
    else if (req.url === '/refuse') void respondEarly(req, res, { status: 413 })
    else res.end()
  })
  const connections = new Connections(server, max)
  const port = await listen(t, server)
  return {
    port,
    late,
    /** Opens a connection that the server knows of. */
    async open(): Promise<WireClient> {
      const [client] = await Promise.all([WireClient.connect(port), once(server, 'connection')])
      t.after(() => client.destroy())
      return client
    },
    async ask(client: WireClient, path: string): Promise<number> {
      await client.send(request(`GET ${path}`))
      const { status } = await client.response()
      await Promise.all(closing) // the server has noticed that the connection is idle
      return status
    },
    /** Opens connections whose requests wait for their answers. */
    async occupy(count: number): Promise<void> {
      for (let index = 0; index < count; index++) {
        await (await this.open()).send(request('GET /wait'))
        await this.waiting()
      }
    },
    /** The next response that waits. */
    async waiting(): Promise<ServerResponse> {
      while (late.length === 0) await new Promise(setImmediate)
      return late.shift()!
    },
  }
}
