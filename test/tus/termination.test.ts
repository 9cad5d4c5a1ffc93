// SPDX-License-Identifier: MIT

/** Checklist T.8: termination. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { snapshot } from '../support/snapshot.ts'
import { watched } from '../support/watched-store.ts'
import { chunked, exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, serve, V } from './support.ts'

test('T110, T111 · DELETE of a fresh, a partial and a complete upload is 204 without content, and leaves no file', async (t) => {
  const site = await serve(t)
  for (const content of ['', 'hello', 'helloworld']) {
    const upload = await make(site, 10, content)
    const answer = await ask(site, request(`DELETE ${upload}`, [V]))
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.has('content-length'), false)
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('DELETE takes one upload and leaves the others', async (t) => {
  const site = await serve(t)
  const kept = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  await ask(site, request(`DELETE ${await make(site, 10, 'world')}`, [V]))
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal((await ask(site, request(`HEAD ${kept}`, [V]), { toHead: true })).status, 200)
})

test('T112 · what was deleted is 404 for every method that needs it, and is not made again', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  await ask(site, request(`DELETE ${upload}`, [V]))
  const texts = [
    request(`HEAD ${upload}`, [V]),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 0']),
    request(`DELETE ${upload}`, [V]),
  ]
  for (const text of texts) assert.equal((await ask(site, text, { toHead: text.startsWith('HEAD') })).status, 404)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T113 · DELETE of an unknown upload is 404', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('DELETE /files/unknown', [V]))
  assert.equal(answer.status, 404)
  assertPlainRefusal(answer, site)
})

test('T114 · DELETE ends the PATCH that is in progress and leaves nothing, whatever that still sends', async (t) => {
  const site = await serve(t, { store: watched })
  const upload = await make(site, 1000)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 1000'], 'x'.repeat(500)))
  await site.store.arrived(500)
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal((await client.response()).status, 409)
  await client.send('x'.repeat(500))
  assert.equal(await client.closed(), '')
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
})

test('T114 · of two DELETEs at once one is 204 and the other 404', async (t) => {
  const site = await serve(t)
  for (let round = 0; round < 20; round++) {
    const upload = await make(site, 10, 'hello')
    const answers = await Promise.all([1, 2].map(() => exchange(site.port, request(`DELETE ${upload}`, [V]))))
    assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 404])
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('T114 · PATCH, HEAD and DELETE at once leave nothing behind', async (t) => {
  const site = await serve(t)
  for (let round = 0; round < 20; round++) {
    const upload = await make(site, 10, 'hello')
    const answers = await Promise.all([
      exchange(site.port, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')),
      exchange(site.port, request(`HEAD ${upload}`, [V]), { toHead: true }),
      exchange(site.port, request(`DELETE ${upload}`, [V])),
    ])
    const [patch, head, deletion] = answers.map(({ status }) => status)
    assert.ok([204, 404, 409].includes(patch ?? 0), String(patch))
    assert.ok([200, 404].includes(head ?? 0), String(head))
    assert.equal(deletion, 204)
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('T115 · DELETE with a body is served, and the connection stays in step or closes', async (t) => {
  const site = await serve(t)
  const framings: readonly (readonly [framing: string, body: Uint8Array])[] = [
    ['Content-Length: 5', Buffer.from('hello')],
    ['Transfer-Encoding: chunked', chunked('hello', 2)],
    ['Content-Length: 1000000', Buffer.alloc(1_000_000, 'GET / HTTP/1.1\r\n\r\n')],
  ]
  for (const [framing, body] of framings) {
    const upload = await make(site, 10, 'hello')
    assert.equal((await ask(site, withBody(request(`DELETE ${upload}`, [V, framing]), body))).status, 204)
    assert.equal(snapshot(site.folder).size, 0)
  }
})
