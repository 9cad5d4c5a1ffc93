// SPDX-License-Identifier: MIT

/** Checklist T.4 and T.5: creation, and creation with upload. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { chunked, exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, make, OCT, offsetOf, serve, V, type SiteOptions } from './support.ts'

test('T55, T56 · POST creates an upload and tells where it is', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', 'Content-Length: 0']))
  assert.equal(answer.status, 201)
  assert.equal(answer.body, '')
  const location = answer.headers.get('location') ?? ''
  assert.match(location, /^\/files\/[\w-]+$/)
  assert.equal(answer.headers.has('upload-offset'), false)
  const { headers } = await head(site, location)
  assert.equal(headers.get('upload-offset'), '0')
  assert.equal(headers.get('upload-length'), '10')
})

test('T56 · a thousand uploads have a thousand addresses, each of which answers HEAD', async (t) => {
  const site = await serve(t)
  const client = await WireClient.connect(site.port)
  const locations = new Set<string>()
  for (let n = 0; n < 1000; n++) {
    await client.send(request('POST /files/', [V, `Upload-Length: ${n}`, 'Content-Length: 0']))
    const location = (await client.response()).headers.get('location') ?? ''
    locations.add(location)
    await client.send(request(`HEAD ${location}`, [V]))
    const { status, headers } = await client.response({ toHead: true })
    assert.deepEqual([status, headers.get('upload-offset'), headers.get('upload-length')], [200, '0', String(n)])
  }
  assert.equal(locations.size, 1000)
  client.destroy()
})

test('T58 · POST without a length is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('POST /files/', [V, 'Content-Length: 0']))
  assert.equal(answer.status, 400)
  assertPlainRefusal(answer, site)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T59, T60 · an Upload-Defer-Length other than 1, or beside an Upload-Length, is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const rows = [
    ...['0', '2', 'true', '', '01', '1, 1', '1;x'].map((value) => [`Upload-Defer-Length: ${value}`]),
    ['Upload-Defer-Length: 1', 'Upload-Defer-Length: 1'],
    ...['0', '1', 'x', ''].map((length) => ['Upload-Defer-Length: 1', `Upload-Length: ${length}`]),
    ['Upload-Defer-Length: 0', 'Upload-Length: 1'],
  ]
  for (const headers of rows) {
    for (const body of [[], [OCT]]) {
      const answer = await ask(site, request('POST /files/', [V, ...headers, ...body, 'Content-Length: 0']))
      assert.equal(answer.status, 400, headers.join())
      assertPlainRefusal(answer, site)
    }
  }
  assert.equal(snapshot(site.folder).size, 0)
})

test('T61 · an Upload-Length that is no number is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const values = [
    '-1', '+1', '1.5', '1e3', '0x10', 'abc', '', '5, 5', '5 5', '05', '9007199254740992', '9007199254740993', '9223372036854775808',
  ]
  const rows = [['Upload-Length: 5', 'Upload-Length: 5'], ...values.map((value) => [`Upload-Length: ${value}`])]
  for (const headers of rows) {
    const answer = await ask(site, request('POST /files/', [V, ...headers, 'Content-Length: 0']))
    assert.equal(answer.status, 400, headers.join())
    assertPlainRefusal(answer, site)
  }
  assert.equal(snapshot(site.folder).size, 0)
})

test('T62 · an upload of no bytes is complete at once', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 0', 'Content-Length: 0']))
  assert.equal(answer.status, 201)
  const location = answer.headers.get('location') ?? ''
  const { headers } = await head(site, location)
  assert.equal(headers.get('upload-offset'), '0')
  assert.equal(headers.get('upload-length'), '0')
  assert.equal(contentOf(site, location).length, 0)
})

test('T63 · an upload as large as the maximum is created; one byte more is 413 and creates nothing', async (t) => {
  for (const maxSize of [0, 10, Number.MAX_SAFE_INTEGER - 1]) {
    const site = await serve(t, { maxSize })
    const tooLarge = await ask(site, request('POST /files/', [V, `Upload-Length: ${maxSize + 1}`, 'Content-Length: 0']))
    assert.equal(tooLarge.status, 413)
    assertPlainRefusal(tooLarge, site)
    assert.equal(snapshot(site.folder).size, 0)
    assert.equal((await ask(site, request('POST /files/', [V, `Upload-Length: ${maxSize}`, 'Content-Length: 0']))).status, 201)
  }
})

test('T63 · the largest length that can be counted is created and told exactly', async (t) => {
  const site = await serve(t, { maxSize: Number.MAX_SAFE_INTEGER })
  const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 9007199254740991', 'Content-Length: 0']))
  assert.equal((await head(site, answer.headers.get('location') ?? '')).headers.get('upload-length'), '9007199254740991')
})

test('T68 · HEAD of an upload that was created with a length does not speak of a later one', async (t) => {
  const site = await serve(t)
  assert.equal((await head(site, await make(site, 10))).headers.has('upload-defer-length'), false)
})

const metadata = [
  'filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential',
  'k', 'a ,b eA==', 'k w6k=', `k ${Buffer.from(Array.from({ length: 256 }, (_, n) => n)).toString('base64')}`,
  '__proto__ eA==,constructor eQ==,toString', 'k eB==',
]

test('T72, T74 · HEAD reports the metadata byte for byte as they came, also from a new server on the same store', async (t) => {
  const site = await serve(t)
  const later = await serve(t, { folder: site.folder })
  for (const value of metadata) {
    const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', `Upload-Metadata: ${value}`, 'Content-Length: 0']))
    assert.equal(answer.status, 201, value)
    const location = answer.headers.get('location') ?? ''
    assert.equal((await head(site, location)).headers.get('upload-metadata'), value)
    assert.equal((await head(later, location)).headers.get('upload-metadata'), value)
  }
})

test('T72 · white space around the commas of metadata means nothing, and HEAD reports them without it; two lines are one list', async (t) => {
  const site = await serve(t)
  const spaced = [
    ['Upload-Metadata: fileName d29ybGQ=, filetype eA=='],
    ['Upload-Metadata: fileName d29ybGQ= ,\tfiletype eA=='],
    ['Upload-Metadata: fileName d29ybGQ=', 'Upload-Metadata: filetype eA=='],
  ]
  for (const headers of spaced) {
    const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', ...headers, 'Content-Length: 0']))
    assert.equal(answer.status, 201, headers.join())
    assert.equal((await head(site, answer.headers.get('location') ?? '')).headers.get('upload-metadata'), 'fileName d29ybGQ=,filetype eA==')
  }
})

test('T73 · HEAD of an upload without metadata has no Upload-Metadata', async (t) => {
  const site = await serve(t)
  for (const headers of [[], ['Upload-Metadata:'], ['Upload-Metadata:  ']]) {
    const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', ...headers, 'Content-Length: 0']))
    assert.equal(answer.status, 201)
    assert.equal((await head(site, answer.headers.get('location') ?? '')).headers.has('upload-metadata'), false)
  }
})

test('T75 · metadata that are malformed are 400 and create nothing', async (t) => {
  const site = await serve(t)
  const values = [', eA==', 'k a b', 'k !!!', 'k eA', 'k eA==,k eQ==', ',', 'k eA==,', 'k eA==,,l eA==', 'k eA==, ,l eA==', 'k -_-_', 'k é']
  const rows = [['Upload-Metadata: k eA==', 'Upload-Metadata: k eA=='], ...values.map((value) => [`Upload-Metadata: ${value}`])]
  for (const headers of rows) {
    const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', ...headers, 'Content-Length: 0']))
    assert.equal(answer.status, 400, headers.join())
    assertPlainRefusal(answer, site)
  }
  assert.equal(snapshot(site.folder).size, 0)
})

test('T76 · no value of metadata splits a header, is used as a path, or makes the server fail', async (t) => {
  const site = await serve(t)
  const names = ['x\r\nSet-Cookie: a=1', '../../etc/passwd', 'a"b\\', '\0', 'é'.repeat(2048), '\u202egnp.exe', '/etc/passwd', 'CON', '.']
  for (const name of names) {
    const value = `filename ${Buffer.from(name).toString('base64')}`
    const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', `Upload-Metadata: ${value}`, 'Content-Length: 0']))
    assert.equal(answer.status, 201)
    const location = answer.headers.get('location') ?? ''
    assert.match(location, /^\/files\/[\w-]+$/)
    const { status, headers } = await head(site, location)
    assert.equal(status, 200)
    assert.equal(headers.has('set-cookie'), false)
    assert.equal(headers.get('upload-metadata'), value)
  }
  assert.equal(snapshot(site.folder).size, names.length * 2)
  for (const name of snapshot(site.folder).keys()) assert.match(name, /^[\da-f]{32}(?:\.info)?$/)
})

test('T77 · large metadata are stored, or refused with 431 where Node allows no such headers; the server goes on', async (t) => {
  const site = await serve(t)
  const roomy = await serve(t, { maxHeaderSize: 256 * 1024, maxMetadataSize: 256 * 1024 })
  const many = Array.from({ length: 500 }, (_, n) => `k${n} eA==`).join(',')
  for (const value of [many, ...[1024, 3800, 16 * 1024, 32 * 1024].map((groups) => `k ${'QUJD'.repeat(groups)}`)]) {
    const text = request('POST /files/', [V, 'Upload-Length: 10', `Upload-Metadata: ${value}`, 'Content-Length: 0'])
    const answer = await ask(roomy, text)
    assert.equal(answer.status, 201)
    assert.equal((await head(roomy, answer.headers.get('location') ?? '')).headers.get('upload-metadata'), value)
    assert.equal((await exchange(site.port, text)).status, value.length < 16_000 ? 201 : 431)
  }
  assert.equal((await ask(site, request('OPTIONS /files/'))).status, 204)
})

test('T77 · metadata as large as maxMetadataSize are stored; one byte more is 431 and creates nothing', async (t) => {
  const rows: readonly (readonly [options: SiteOptions, fits: string, tooLarge: string])[] = [
    [{ maxMetadataSize: 6 }, 'k eA==', 'kk eA=='],
    [{ maxHeaderSize: 64 * 1024 }, 'k'.repeat(16 * 1024), 'k'.repeat(16 * 1024 + 1)],
  ]
  for (const [options, fits, tooLarge] of rows) {
    const site = await serve(t, options)
    for (const body of [[], [OCT]]) {
      const create = (value: string): string =>
        request('POST /files/', [V, ...body, 'Upload-Length: 10', `Upload-Metadata: ${value}`, 'Content-Length: 0'])
      const before = snapshot(site.folder)
      const refused = await ask(site, create(tooLarge))
      assert.equal(refused.status, 431)
      assertPlainRefusal(refused, site)
      assert.ok(refused.body.length < 200, 'the refusal does not repeat the value')
      assert.deepEqual(snapshot(site.folder), before)
      assert.equal((await ask(site, create(fits))).status, 201)
    }
  }
})

test('T78 · the creation URL may lack its slash and have a query; Location is the same', async (t) => {
  const site = await serve(t)
  for (const target of ['/files/', '/files', '/files/?x=1', '/files?x=/other/', 'http://test/files']) {
    const answer = await ask(site, request(`POST ${target}`, [V, 'Upload-Length: 10', 'Content-Length: 0']))
    assert.equal(answer.status, 201, target)
    assert.match(answer.headers.get('location') ?? '', /^\/files\/[\da-f]{32}$/)
  }
})

test('T80 · POST with the first bytes, or all of them, tells how many it stored', async (t) => {
  const site = await serve(t)
  for (const body of ['hello', 'helloworld']) {
    const sized = request('POST /files/', [V, OCT, 'Upload-Length: 10', `Content-Length: ${body.length}`], body)
    const coded = withBody(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Transfer-Encoding: chunked']), chunked(body, 3))
    for (const text of [sized, coded]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 201)
      assert.equal(answer.headers.get('upload-offset'), String(body.length))
      const location = answer.headers.get('location') ?? ''
      assert.equal(await offsetOf(site, location), body.length)
      assert.equal(contentOf(site, location).toString(), body)
    }
  }
})

test('T81 · POST with a body of another content type is 415 and creates nothing', async (t) => {
  const site = await serve(t)
  for (const type of [[], ['Content-Type: text/plain'], ['Content-Type: application/octet-stream']]) {
    const sized = request('POST /files/', [V, ...type, 'Upload-Length: 10', 'Content-Length: 5'], 'hello')
    const coded = withBody(request('POST /files/', [V, ...type, 'Upload-Length: 10', 'Transfer-Encoding: chunked']), chunked('hello'))
    for (const text of [sized, coded]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 415)
      assertPlainRefusal(answer, site)
    }
  }
  assert.equal(snapshot(site.folder).size, 0)
})

test('T81 · POST without a body may have any content type', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('POST /files/', [V, 'Content-Type: text/plain', 'Upload-Length: 10', 'Content-Length: 0']))
  assert.equal(answer.status, 201)
})

test('T82 · POST with more bytes than the length is 413 and leaves nothing behind', async (t) => {
  const site = await serve(t)
  const texts = [
    request('POST /files/', [V, OCT, 'Upload-Length: 3', 'Content-Length: 5'], 'hello'),
    withBody(request('POST /files/', [V, OCT, 'Upload-Length: 3', 'Transfer-Encoding: chunked']), chunked('hello')),
    withBody(request('POST /files/', [V, OCT, 'Upload-Length: 3', 'Transfer-Encoding: chunked']), chunked('hello', 1)),
    withBody(request('POST /files/', [V, OCT, 'Upload-Length: 0', 'Transfer-Encoding: chunked']), chunked('h')),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assert.equal(answer.headers.has('location'), false)
    assertPlainRefusal(answer, site)
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('T85 · POST that expects 100-continue gets it before it sends; a refusal comes in its place', async (t) => {
  const site = await serve(t, { maxSize: 10 })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5', 'Expect: 100-continue']))
  assert.equal((await client.response()).status, 100)
  await client.send('hello')
  const answer = await client.response()
  assert.equal(answer.status, 201)
  assert.equal(answer.headers.get('upload-offset'), '5')
  client.destroy()

  const before = snapshot(site.folder)
  const refused = await WireClient.connect(site.port)
  await refused.send(request('POST /files/', [V, OCT, 'Upload-Length: 11', 'Content-Length: 5', 'Expect: 100-continue']))
  assert.equal((await refused.response()).status, 413)
  assert.equal(await refused.closed(), '')
  assert.deepEqual(snapshot(site.folder), before)
})

test('T86 · POST of the right content type with an empty body tells offset 0', async (t) => {
  const site = await serve(t)
  for (const length of [10, 0]) {
    for (const framing of [[], ['Content-Length: 0']]) {
      const answer = await ask(site, request('POST /files/', [V, OCT, `Upload-Length: ${length}`, ...framing]))
      assert.equal(answer.status, 201)
      assert.equal(answer.headers.get('upload-offset'), '0')
    }
  }
})
