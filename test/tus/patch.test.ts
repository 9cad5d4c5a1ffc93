// SPDX-License-Identifier: MIT

/** Checklist T.3: PATCH, as long as nothing interrupts it. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { heldBytes } from '../support/held-bytes.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { chunked, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, make, OCT, offsetOf, serve, V } from './support.ts'

const MiB = 1024 * 1024

test('T30, T31 · PATCH appends: 204 without content, and the new offset', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const first = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello'))
  assert.equal(first.status, 204)
  assert.equal(first.headers.get('upload-offset'), '5')
  assert.equal(first.headers.has('content-length'), false)
  const second = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.equal(second.status, 204)
  assert.equal(second.headers.get('upload-offset'), '10')
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T32 · 200 PATCHes of all sizes on one connection make up the source', async (t) => {
  const site = await serve(t)
  const sizes = Array.from({ length: 200 }, (_, n) => (n * n * 7919) % (64 * 1024))
  const source = pattern(sizes.reduce((sum, size) => sum + size, 0))
  const upload = await make(site, source.length)
  const client = await WireClient.connect(site.port)
  let offset = 0
  for (const [n, size] of sizes.entries()) {
    const body = source.subarray(offset, offset + size)
    const [framing, bytes] = n % 2 === 0 ? [`Content-Length: ${size}`, body] : ['Transfer-Encoding: chunked', chunked(body, 10_000)]
    await client.send(withBody(request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, framing]), bytes))
    const answer = await client.response()
    offset += size
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.get('upload-offset'), String(offset))
  }
  client.destroy()
  assert.ok(contentOf(site, upload).equals(source))
})

for (const framing of ['Content-Length: 104857600', 'Transfer-Encoding: chunked']) {
  test(`T33 · one PATCH of 100 MiB (${framing}) is streamed: it is stored whole and never held in memory`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 100 * MiB)
    const piece = pattern(MiB)
    const before = await heldBytes()
    const client = await WireClient.connect(site.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', framing]))
    const wire = framing.startsWith('T') ? chunked(piece).subarray(0, -'0\r\n\r\n'.length) : piece
    let most = 0
    for (let n = 0; n < 100; n++) {
      await client.send(wire)
      if (n % 10 === 9) most = Math.max(most, (await heldBytes()) - before)
    }
    if (framing.startsWith('T')) await client.send('0\r\n\r\n')
    const answer = await client.response()
    client.destroy()
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.get('upload-offset'), String(100 * MiB))
    assert.ok(most < 32 * MiB, `${most} bytes were held`)

    const expected = createHash('sha256')
    for (let n = 0; n < 100; n++) expected.update(piece)
    const actual = createHash('sha256')
    await pipeline(createReadStream(join(site.folder, upload.slice('/files/'.length))), actual)
    assert.equal(actual.digest('hex'), expected.digest('hex'))
  })
}

test('T34 · PATCH with another content type, or none, is 415 and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const types = [
    'text/plain', 'application/octet-stream', 'application/partial-upload', 'application/offset octet-stream', '',
    'application/offset+octet-stream, text/plain', 'application/offset+octet-streams', 'text/plain; x=application/offset+octet-stream',
  ]
  for (const headers of [[], ...types.map((type) => [`Content-Type: ${type}`])]) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, ...headers, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
    assert.equal(answer.status, 415, headers.join())
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T35 · the content type is compared without regard to case, and without its parameters', async (t) => {
  const site = await serve(t)
  const types = [
    'Application/Offset+Octet-Stream',
    'application/offset+octet-stream; charset=utf-8',
    'application/offset+octet-stream ;a=b',
  ]
  for (const type of types) {
    const upload = await make(site, 10)
    const answer = await ask(
      site,
      request(`PATCH ${upload}`, [V, `Content-Type: ${type}`, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello'),
    )
    assert.equal(answer.status, 204, type)
    assert.equal(answer.headers.get('upload-offset'), '5')
  }
})

test('T36 · PATCH at another offset is 409 and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  for (const offset of [0, 4, 6, 10, 11, Number.MAX_SAFE_INTEGER]) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, 'Content-Length: 1'], 'x'))
    assert.equal(answer.status, 409)
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T37 · the 409 arrives while a body of 50 MiB is still being sent, which is not held in memory', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 100 * MiB, 'hello')
  const before = snapshot(site.folder)
  const piece = pattern(MiB)
  const heldBefore = await heldBytes()
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${50 * MiB}`]))
  await client.send(piece)

  const answer = await client.response() // 49 MiB have not been sent by now
  assert.equal(answer.status, 409)
  assert.equal(answer.headers.get('connection'), 'close')
  assertPlainRefusal(answer, site)

  for (let n = 1; n < 50; n++) await client.send(piece)
  const held = (await heldBytes()) - heldBefore
  assert.ok(held < 16 * MiB, `${held} bytes are held`)
  assert.equal(await client.closed(), '')
  assert.deepEqual(snapshot(site.folder), before)
})

test('T38 · an Upload-Offset that is missing or no number is 400, is not read as 0, and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const before = snapshot(site.folder)
  const values = ['', '-1', '-0', '+0', '0x0', '1e1', '0.0', '1.0', 'abc', '0 0', '0, 0', '00', '9007199254740993', '18446744073709551616']
  const rows = [[], ['Upload-Offset: 0', 'Upload-Offset: 0'], ...values.map((value) => [`Upload-Offset: ${value}`])]
  for (const headers of rows) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, ...headers, 'Content-Length: 5'], 'hello'))
    assert.equal(answer.status, 400, headers.join())
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T39 · PATCH of an upload that does not exist is 404 and creates nothing', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('PATCH /files/unknown', [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello'))
  assert.equal(answer.status, 404)
  assertPlainRefusal(answer, site)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T43 · a body that is announced as larger than what is left is 413, and none of it is stored', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 20'], 'x'.repeat(20)))
  assert.equal(answer.status, 413)
  assertPlainRefusal(answer, site)
  assert.equal(await offsetOf(site, upload), 0)
  assert.equal(contentOf(site, upload).length, 0)
})

test('T44 · a chunked body that turns out larger than what is left is 413, and all of it is taken back', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  for (const body of [chunked('x'.repeat(6)), chunked('x'.repeat(20), 1), chunked(pattern(300_000), 1000)]) {
    const answer = await ask(site, withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked']), body))
    assert.equal(answer.status, 413)
    assertPlainRefusal(answer, site)
    assert.equal(await offsetOf(site, upload), 5)
    assert.deepEqual(snapshot(site.folder), before)
  }
})

test('T45 · a complete upload takes an empty PATCH at its end, and nothing else', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 5, 'hello')
  const before = snapshot(site.folder)
  const rows = [[204, 5, ''], [413, 5, '!'], [409, 0, 'hello'], [409, 0, ''], [204, 5, '']] as const
  for (const [status, offset, body] of rows) {
    const headers = [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${body.length}`]
    const answer = await ask(site, request(`PATCH ${upload}`, headers, body))
    assert.equal(answer.status, status)
    assert.equal(answer.headers.get('upload-offset'), status === 413 ? undefined : '5')
  }
  const coded = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked'], '1\r\n!\r\n0\r\n\r\n')
  const tooMuch = await ask(site, coded)
  assert.equal(tooMuch.status, 413)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T46 · an empty PATCH at the right offset is 204 and leaves the offset', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const texts = [
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 0']),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5']),
    withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked']), chunked('')),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.get('upload-offset'), '5')
  }
})

test('T47 · a client that expects 100-continue gets it before it sends, when its request is right', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue']))
  assert.equal((await client.response()).status, 100)
  await client.send('hello')
  const answer = await client.response()
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '5')
  client.destroy()
})

test('T47 · a client that expects 100-continue gets only the refusal, and the connection closes, when its request is wrong', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const rows: readonly (readonly [status: number, text: string])[] = [
    [409, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 3', 'Content-Length: 5', 'Expect: 100-continue'])],
    [413, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 11', 'Expect: 100-continue'])],
    [400, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: x', 'Content-Length: 5', 'Expect: 100-continue'])],
    [404, request('PATCH /files/unknown', [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue'])],
    [412, request(`PATCH ${upload}`, [OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue'])],
    [415, request(`PATCH ${upload}`, [V, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue'])],
    [405, request(`PUT ${upload}`, [V, 'Content-Length: 5', 'Expect: 100-continue'])],
    [417, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 200-ok'])],
  ]
  for (const [status, text] of rows) {
    const client = await WireClient.connect(site.port)
    await client.send(text)
    const answer = await client.response()
    assert.equal(answer.status, status)
    if (status === 417) client.destroy()
    else {
      assert.equal(answer.headers.get('connection'), 'close')
      assert.equal(await client.closed(), '')
    }
  }
  assert.equal(await offsetOf(site, upload), 0)
})

test('T50 · what is no method of a URL is 405 with those that are, and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const rows = [
    ...['GET', 'PUT', 'POST', 'TRACE', 'PROPFIND', 'MOVE', 'LOCK'].map(
      (method) => [method, upload, 'OPTIONS, HEAD, PATCH, DELETE'] as const,
    ),
    ...['GET', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND'].map((method) => [method, '/files/', 'OPTIONS, POST'] as const),
  ]
  for (const [method, target, allow] of rows) {
    const headers = [V, OCT, 'Upload-Offset: 5', 'Upload-Length: 5', 'Content-Length: 5']
    const answer = await ask(site, request(`${method} ${target}`, headers, 'world'))
    assert.equal(answer.status, 405, `${method} ${target}`)
    assert.equal(answer.headers.get('allow'), allow)
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T67 · a length that was said at the creation cannot become another one', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const length of [20, 11, 9, 5, 3]) {
    const headers = [V, OCT, 'Upload-Offset: 5', `Upload-Length: ${length}`, 'Content-Length: 5']
    assert.equal((await ask(site, request(`PATCH ${upload}`, headers, 'world'))).status, 400)
  }
  const answer = await head(site, upload)
  assert.equal(answer.headers.get('upload-length'), '10')
  assert.equal(answer.headers.get('upload-offset'), '5')
  assert.equal(statSync(join(site.folder, upload.slice('/files/'.length))).size, 5)
})
