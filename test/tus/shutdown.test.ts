// SPDX-License-Identifier: MIT

/** What clients see of a server that shuts down: an answer, and every byte of theirs kept. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { request, WireClient, type WireResponse } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, offsetOf, serve, V } from './support.ts'

function assertShuttingDown(answer: WireResponse, site: { readonly folder: string }): void {
  assert.equal(answer.status, 503)
  assert.equal(answer.headers.get('connection'), 'close')
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
  assertPlainRefusal(answer, site)
}

test('a PATCH that is in progress is answered 503; a new server on the same store has what came', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal, store: watched })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)

  shutdown.abort()
  assertShuttingDown(await client.response(), site)
  assert.equal(await client.closed(), '')
  await site.settled()

  const next = await serve(t, { folder: site.folder })
  assert.equal(await offsetOf(next, upload), 5)
  const resumed = await ask(next, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.equal(resumed.status, 204)
  assert.equal(contentOf(next, upload).toString(), 'helloworld')
})

test('every byte that a client had sent when its 503 came is stored', async (t) => {
  const size = 256 * 1024 * 1024
  const source = pattern(1024 * 1024)
  for (let round = 0; round < 5; round++) {
    const shutdown = new AbortController()
    const site = await serve(t, { signal: shutdown.signal, store: watched })
    const upload = await make(site, size)
    const client = await WireClient.connect(site.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${size}`]))

    void site.store.arrived(1_000_000).then(() => shutdown.abort())
    let answer: WireResponse | undefined
    const answered = client.response().then((response) => (answer = response))
    let sent = 0
    while (!answer && sent < size) {
      const at = sent % source.length
      await client.send(source.subarray(at, at + 16 * 1024))
      if (!answer) sent += 16 * 1024
    }
    assertShuttingDown(await answered, site)
    await client.closed()
    await site.settled()

    const next = await serve(t, { folder: site.folder })
    const offset = await offsetOf(next, upload)
    assert.ok(offset >= sent, `${sent} bytes were sent and ${offset} stored`)
    const content = contentOf(next, upload)
    for (let at = 0; at < content.length; at += source.length) {
      const piece = content.subarray(at, at + source.length)
      assert.ok(piece.equals(source.subarray(0, piece.length)))
    }
  }
})

test('a PATCH whose body is complete when the server shuts down is 204', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal })
  const upload = await make(site, 10)
  shutdown.abort()
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'helloworld'))
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '10')
})

test('a PATCH that begins after the shutdown is answered 503, with what came of it stored', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal })
  const upload = await make(site, 10)
  shutdown.abort()
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  assertShuttingDown(await client.response(), site)
  assert.equal(await client.closed(), '')
  await site.settled()
  assert.equal(await offsetOf(site, upload), 5)
})

test('a client that sends too much while it is told of the shutdown does not get it stored', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal, store: watched })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Transfer-Encoding: chunked'], '5\r\nhello\r\n'))
  await site.store.arrived(5)
  shutdown.abort()
  await client.response()
  await client.send('14\r\nxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n')
  await client.closed()
  await site.settled()
  assert.ok(contentOf(site, upload).length <= 10)
  assert.ok((await offsetOf(site, upload)) <= 10)
})

test('what needs no body is served until the server is closed', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal })
  const upload = await make(site, 10, 'hello')
  shutdown.abort()
  assert.equal((await ask(site, request('OPTIONS /files/'))).status, 204)
  assert.equal(await offsetOf(site, upload), 5)
  assert.equal((await ask(site, request('POST /files/', [V, 'Upload-Length: 1', 'Content-Length: 0']))).status, 201)
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
})

test('a creation with upload that a shutdown interrupts is 201 with its address and the offset: it can be resumed', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal, store: watched })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)

  shutdown.abort()
  const answer = await client.response()
  assert.equal(answer.status, 201)
  assert.equal(answer.headers.get('upload-offset'), '5')
  assert.equal(answer.headers.get('connection'), 'close')
  const location = locationOf(answer)
  assert.equal(await client.closed(), '')
  await site.settled()

  const next = await serve(t, { folder: site.folder })
  assert.equal(await offsetOf(next, location), 5)
  assert.equal((await ask(next, request(`PATCH ${location}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))).status, 204)
  assert.equal(contentOf(next, location).toString(), 'helloworld')
})

test('a hundred PATCHes that are in progress are all answered 503, with what came of each stored and no warning', async (t) => {
  const warnings: string[] = []
  const onWarning = ({ name }: Error): unknown => warnings.push(name)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal, store: watched })
  const clients = await Promise.all(Array.from({ length: 100 }, async (_, n) => {
    const upload = await make(site, 1000)
    const client = await WireClient.connect(site.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 1000'], 'x'.repeat(n + 1)))
    return { upload, client, sent: n + 1 }
  }))
  await site.store.arrived(5050)
  shutdown.abort()
  const before = snapshot(site.folder).size
  for (const { client, upload, sent } of clients) {
    assertShuttingDown(await client.response(), site)
    assert.equal(contentOf(site, upload).length, sent)
  }
  await Promise.all(clients.map(({ client }) => client.closed()))
  assert.equal(snapshot(site.folder).size, before)
  assert.deepEqual(warnings, [])
})
