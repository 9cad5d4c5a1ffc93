// SPDX-License-Identifier: MIT

/**
 * What a client may not send, each with the status that the specification or HTTP asks for. No refusal
 * leaks a path, and none changes anything on disk: whole folders are compared, sizes and contents.
 */

import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test, type TestContext } from 'node:test'
import { text as readAll } from 'node:stream/consumers'
import { snapshot } from '../support/snapshot.ts'
import { chunked, exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertNoSecrets, assertPlainRefusal, make, OCT, serve, V, type Site, type SiteOptions } from './support.ts'

/** A site with one upload, @5 of 10, at the path that is put in for `U`. */
async function siteWithUpload(t: TestContext, options?: SiteOptions): Promise<Site & { readonly upload: string }> {
  const site = await serve(t, options)
  return { ...site, upload: await make(site, 10, 'hello') }
}

const numbers = [
  '-1', '+5', '1e3', '0x10', '5.0', '5,5', '5, 5', '5;5', '٥', 'five', '5 5', '"5"', '9007199254740993', '18446744073709551621',
  '9'.repeat(400),
]

for (const value of numbers) {
  test(`an Upload-Offset of ${value.slice(0, 20)} is 400`, async (t) => {
    const site = await siteWithUpload(t)
    const before = snapshot(site.folder)
    const answer = await ask(site, request(`PATCH ${site.upload}`, [V, OCT, `Upload-Offset: ${value}`, 'Content-Length: 5'], 'world'))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.deepEqual(snapshot(site.folder), before)
  })

  test(`an Upload-Length of ${value.slice(0, 20)} is 400`, async (t) => {
    const site = await siteWithUpload(t)
    const before = snapshot(site.folder)
    for (const framing of [['Content-Length: 0'], [OCT, 'Content-Length: 0']]) {
      const answer = await ask(site, request('POST /files/', [V, `Upload-Length: ${value}`, ...framing]))
      assert.equal(answer.status, 400)
      assertPlainRefusal(answer, site)
    }
    assert.deepEqual(snapshot(site.folder), before)
  })

  test(`a Content-Length of ${value.slice(0, 20)} is 400`, async (t) => {
    const site = await siteWithUpload(t)
    const before = snapshot(site.folder)
    for (const text of [
      request(`PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 5', `Content-Length: ${value}`]),
      request('POST /files/', [V, OCT, 'Upload-Length: 5', `Content-Length: ${value}`]),
    ]) {
      const client = await WireClient.connect(site.port)
      await client.send(text)
      const answer = await client.response()
      client.destroy()
      await site.settled()
      assert.equal(answer.status, 400)
      assert.equal(answer.headers.get('connection'), 'close')
      assertNoSecrets(answer, site)
    }
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('a number that is repeated, or missing, is 400', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  const texts = [
    request(`PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 5', 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
    request(`PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 5', 'upload-offset: 0', 'Content-Length: 5'], 'world'),
    request(`PATCH ${site.upload}`, [V, OCT, 'Content-Length: 5'], 'world'),
    request(`PATCH ${site.upload}`, [V, OCT, 'Upload-Offset:', 'Content-Length: 5'], 'world'),
    request('POST /files/', [V, 'Upload-Length: 5', 'Upload-Length: 6', 'Content-Length: 0']),
    request('POST /files/', [V, 'Upload-Length:', 'Content-Length: 0']),
    request('POST /files/', [V, 'Content-Length: 0']),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 400, text)
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('a wrong version is 412, a wrong content type 415', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  const rows: readonly (readonly [status: number, text: string])[] = [
    [412, request(`PATCH ${site.upload}`, ['Tus-Resumable: 1.0.1', OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')],
    [412, request('POST /files/', ['Tus-Resumable: 2', 'Upload-Length: 5', 'Content-Length: 0'])],
    [412, request(`DELETE ${site.upload}`, ['Tus-Resumable: ../../etc/passwd'])],
    [415, request(`PATCH ${site.upload}`, [V, 'Content-Type: application/json', 'Upload-Offset: 5', 'Content-Length: 5'], 'world')],
    [415, request('POST /files/', [V, 'Content-Type: multipart/form-data; boundary=x', 'Upload-Length: 5', 'Content-Length: 5'], 'world')],
  ]
  for (const [status, text] of rows) {
    const answer = await ask(site, text)
    assert.equal(answer.status, status, text)
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

/** `ID` stands for the id of an upload that exists. */
const targets = [
  '/files/unknown', '/files/ID.info', '/files/ID.lock', '/files/ID.info.0a1b2c3d4e5f.tmp', '/files/ID.', '/files/ID~', '/files/ID%2einfo',
  '/files/..%2fID', '/files/..%2FID', '/files/..%5cID', '/files/..\\ID', '/files/%2e%2e%2fID', '/files/../files/ID', '/files/./ID',
  '/files/..', '/files/.', '/files/...', '/files/ID%00', '/files/ID%00.info', '/files/%00', '/files/ID%20', '/files/ID%0a', '/files/ID/',
  '/files/ID/x', '/files//ID', '/files/%49D', '/files/~root', '/files/C:', '/files/ID::$DATA', '/files/ID;x=1', '/files/%c3%a9',
  '/files/%ff', '/files/%', '/files/%zz', '/files/*', `/files/${'a'.repeat(129)}`, `/files/${'../'.repeat(50)}etc/passwd`, '/ID',
  '//files/ID',
  '/FILES/ID', 'http://test/files/../ID', 'file:///etc/passwd', '/etc/passwd', '/files/__proto__', '/files/constructor',
]

for (const target of targets) {
  test(`HEAD, PATCH and DELETE of ${target.slice(0, 60)} are 404`, async (t) => {
    const site = await siteWithUpload(t)
    const before = snapshot(site.folder)
    const url = target.replace('ID', site.upload.slice('/files/'.length))
    const texts = [
      request(`HEAD ${url}`, [V]),
      request(`PATCH ${url}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
      request(`DELETE ${url}`, [V]),
    ]
    for (const text of texts) {
      const answer = await ask(site, text, { toHead: text.startsWith('HEAD') })
      assert.equal(answer.status, 404)
      if (!text.startsWith('HEAD')) assertPlainRefusal(answer, site)
    }
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('an id with a NUL, or with bytes beyond ASCII, is 400', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  for (const end of ['\0.info', '\0', 'é', '\x7f']) {
    const answer = await exchange(site.port, request(`DELETE ${site.upload}${end}`, [V]))
    assert.equal(answer.status, 400, JSON.stringify(end))
    assertNoSecrets(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

const badMetadata: readonly (readonly [what: string, value: string])[] = [
  ['a duplicate key', 'k eA==,k eQ=='],
  ['a duplicate __proto__', '__proto__ eA==,__proto__ eA=='],
  ['bad base64', 'k %%%'],
  ['base64 without padding', 'k eA'],
  ['base64 of the URL-safe alphabet', 'k -_-_'],
  ['an empty key', 'a eA==,\t'],
  ['an empty entry', 'k eA==,,'],
  ['three words', 'k eA== eA=='],
  ['100 KB of commas', ','.repeat(100 * 1024)],
  ['100 KB of a value that ends badly', `k ${'A'.repeat(100 * 1024)}!`],
  ['100 KB of one key again and again', 'k eA==,'.repeat(15_000)],
]

for (const [what, value] of badMetadata) {
  test(`metadata with ${what} are 400`, async (t) => {
    const site = await siteWithUpload(t, { maxHeaderSize: 256 * 1024, maxMetadataSize: 256 * 1024 })
    const before = snapshot(site.folder)
    const headers = [V, OCT, 'Upload-Length: 5', `Upload-Metadata: ${value}`, 'Content-Length: 5']
    const answer = await ask(site, request('POST /files/', headers, 'hello'))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.ok(answer.body.length < 200, 'the refusal does not repeat the value')
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('metadata of 100 KB are 431 where Node allows no such headers', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  const headers = [V, 'Upload-Length: 5', `Upload-Metadata: k ${'QUJD'.repeat(25 * 1024)}`]
  const answer = await exchange(site.port, request('POST /files/', headers))
  assert.equal(answer.status, 431)
  assertNoSecrets(answer, site)
  assert.deepEqual(snapshot(site.folder), before)
})

test('metadata of 100 KB are 431, well-formed or not, where Node allows such headers and maxMetadataSize does not', async (t) => {
  const site = await siteWithUpload(t, { maxHeaderSize: 256 * 1024 })
  const before = snapshot(site.folder)
  for (const value of [`k ${'QUJD'.repeat(25 * 1024)}`, ','.repeat(100 * 1024), `k ${'A'.repeat(100 * 1024)}!`]) {
    const headers = [V, OCT, 'Upload-Length: 5', `Upload-Metadata: ${value}`, 'Content-Length: 5']
    const answer = await ask(site, request('POST /files/', headers, 'hello'))
    assert.equal(answer.status, 431)
    assertPlainRefusal(answer, site)
    assert.ok(answer.body.length < 200, 'the refusal does not repeat the value')
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('metadata with the key __proto__ are plain metadata; nobody inherits them', async (t) => {
  const site = await serve(t)
  const value = '__proto__ eA==,constructor eQ==,hasOwnProperty eg=='
  const created = await ask(site, request('POST /files/', [V, 'Upload-Length: 5', `Upload-Metadata: ${value}`, 'Content-Length: 0']))
  assert.equal(created.status, 201)
  const answer = await ask(site, request(`HEAD ${created.headers.get('location')}`, [V]), { toHead: true })
  assert.equal(answer.headers.get('upload-metadata'), value)
  const next = await make(site, 5)
  assert.equal((await ask(site, request(`HEAD ${next}`, [V]), { toHead: true })).headers.has('upload-metadata'), false)
})

test('a body that is longer than what is left is 413, announced or not, with and without Expect', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  const patch = (framing: string): string => request(`PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 5', framing])
  const post = (framing: string): string => request('POST /files/', [V, OCT, 'Upload-Length: 5', framing])
  for (const head of [patch, post]) {
    const sized = withBody(head('Content-Length: 6'), Buffer.from('worlds'))
    const coded = withBody(head('Transfer-Encoding: chunked'), chunked('worlds', 5))
    for (const text of [sized, coded]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 413)
      assertPlainRefusal(answer, site)
      await site.settled()
      assert.deepEqual(snapshot(site.folder), before)
    }
  }
})

/** How a middleware may have used a body up before the handler saw it. */
const consumers: readonly (readonly [how: string, consume: (req: IncomingMessage) => Promise<unknown>])[] = [
  ['to its end', (req) => readAll(req)],
  ['to its end as text', (req) => readAll(req.setEncoding('utf8'))],
  ['by resume()', (req) => new Promise((resolve) => req.resume().on('end', resolve))],
  ['in part', (req) => new Promise((resolve) => req.once('data', (chunk: Buffer) => resolve(req.pause().unshift(chunk.subarray(1)))))],
  ['as text from now on', (req) => Promise.resolve(req.setEncoding('utf8'))],
]

for (const [how, consume] of consumers) {
  test(`a body that a middleware has consumed ${how} is 500, never an upload that lacks it`, async (t) => {
    const site = await siteWithUpload(t, { before: (req) => (req.headers['x-consume'] ? consume(req) : undefined) })
    const before = snapshot(site.folder)
    const texts = [
      request(`PATCH ${site.upload}`, [V, OCT, 'X-Consume: 1', 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
      request('POST /files/', [V, OCT, 'X-Consume: 1', 'Upload-Length: 5', 'Content-Length: 5'], 'hello'),
      request(
        `PATCH ${site.upload}`,
        [V, OCT, 'X-Consume: 1', 'Upload-Offset: 5', 'Transfer-Encoding: chunked'],
        '5\r\nworld\r\n0\r\n\r\n',
      ),
    ]
    for (const text of texts) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 500)
      assertPlainRefusal(answer, site)
      await site.settled()
      assert.deepEqual(snapshot(site.folder), before)
    }
  })
}

test('every early refusal arrives at a client that sends all of a large body before it reads', async (t) => {
  const site = await siteWithUpload(t)
  const before = snapshot(site.folder)
  const size = 8 * 1024 * 1024
  const rows: readonly (readonly [status: number, startLine: string, headers: readonly string[]])[] = [
    [400, `PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: x']],
    [400, 'POST /files/', [V, OCT, 'Upload-Length: x']],
    [404, 'PATCH /files/unknown', [V, OCT, 'Upload-Offset: 0']],
    [404, 'PUT /elsewhere', [V]],
    [405, `PUT ${site.upload}`, [V]],
    [409, `PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 0']],
    [412, `PATCH ${site.upload}`, [OCT, 'Upload-Offset: 5']],
    [413, `PATCH ${site.upload}`, [V, OCT, 'Upload-Offset: 5']],
    [413, 'POST /files/', [V, OCT, 'Upload-Length: 5']],
    [415, `PATCH ${site.upload}`, [V, 'Upload-Offset: 5']],
  ]
  for (const [status, startLine, headers] of rows) {
    for (const text of [
      withBody(request(startLine, [...headers, `Content-Length: ${size}`]), Buffer.alloc(size)),
      withBody(request(startLine, [...headers, 'Transfer-Encoding: chunked']), chunked(Buffer.alloc(size), 65_536)),
    ]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, status, startLine)
      assertPlainRefusal(answer, site)
    }
  }
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})
