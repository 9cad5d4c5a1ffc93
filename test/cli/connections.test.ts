// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { test, type TestContext } from 'node:test'
import { Connections } from '../../lib/cli/connections.ts'
import { respondEarly } from '../../lib/early-response.ts'
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

test('a connection with a request stays, and so does its answer', async (t) => {
  const site = await serve(t, 2)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  for (let count = 0; count < 5; count++) assert.equal(await site.ask(await site.open(), '/'), 200)
  res.end()
  assert.equal((await waiting.response()).status, 200)
})

test('where all have a request, one that was refused and goes on sending makes room', async (t) => {
  const site = await serve(t, 2)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  const refused = await site.open()
  await refused.send(request('POST /refuse', ['Content-Length: 1000']))
  assert.equal((await refused.response()).status, 413)
  const newcomer = await site.open()
  assert.equal(await site.ask(newcomer, '/'), 200)
  assert.equal(await refused.closed(), '')
  res.end()
  assert.equal((await waiting.response()).status, 200)
})

test('where all wait for an answer, a newcomer gets 503, and a place as soon as one is free', async (t) => {
  const site = await serve(t, 1)
  const waiting = await site.open()
  await waiting.send(request('GET /wait'))
  const res = await site.waiting()
  const refused = await WireClient.connect(site.port)
  const { status, headers } = await refused.response()
  assert.deepEqual([status, headers.get('retry-after'), headers.get('connection')], [503, '1', 'close'])
  await refused.closed()
  res.end()
  assert.equal((await waiting.response()).status, 200)
  assert.equal(await site.ask(await site.open(), '/'), 200)
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
  const server = createServer((req, res) => {
    connections.onRequest(req, res)
    if (req.url === '/wait') late.push(res)
    else if (req.url === '/refuse') void respondEarly(req, res, { status: 413 })
    else res.end()
  })
  const connections = new Connections(server, max)
  const port = await listen(t, server)
  return {
    port,
    /** Opens a connection that the server knows of. */
    async open(): Promise<WireClient> {
      const [client] = await Promise.all([WireClient.connect(port), once(server, 'connection')])
      t.after(() => client.destroy())
      return client
    },
    async ask(client: WireClient, path: string): Promise<number> {
      await client.send(request(`GET ${path}`))
      return (await client.response()).status
    },
    /** The next response that waits. */
    async waiting(): Promise<ServerResponse> {
      while (late.length === 0) await new Promise(setImmediate)
      return late.shift()!
    },
  }
}
