// SPDX-License-Identifier: MIT

/** Checklist T.4 and T.5: uploads whose length comes later. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'
import { locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { chunked, exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, OCT, offsetOf, serve, V, type Site } from './support.ts'

const DEFERRED = 'Upload-Defer-Length: 1'

/** Makes an upload of a length that is not known, the first of its bytes `content`; returns its path. */
async function makeDeferred(site: Site, content = ''): Promise<string> {
  const created = await exchange(site.port, request('POST /files/', [V, OCT, DEFERRED, `Content-Length: ${content.length}`], content))
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('upload-offset'), String(content.length))
  return locationOf(created)
}

/** The text of a PATCH with a length. */
function patch(upload: string, offset: number, length: string | number | undefined, body: string): string {
  const lengths = length === undefined ? [] : [`Upload-Length: ${length}`]
  return request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, ...lengths, `Content-Length: ${body.length}`], body)
}

/** What HEAD tells: the offset, the length, and whether that is to come later. */
async function toldOf(site: Site, upload: string): Promise<readonly (string | undefined)[]> {
  const { status, headers } = await head(site, upload)
  assert.equal(status, 200)
  return ['upload-offset', 'upload-length', 'upload-defer-length'].map((name) => headers.get(name))
}

test('T64, T65 · an upload may be created without a length; HEAD says that it comes later, before and after bytes came', async (t) => {
  const site = await serve(t)
  const created = await ask(site, request('POST /files/', [V, DEFERRED, 'Content-Length: 0']))
  assert.equal(created.status, 201)
  const upload = created.headers.get('location') ?? ''
  assert.deepEqual(await toldOf(site, upload), ['0', undefined, '1'])
  const answer = await ask(site, patch(upload, 0, undefined, 'hello'))
  assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [204, '5'])
  assert.deepEqual(await toldOf(site, upload), ['5', undefined, '1'])
  const later = await serve(t, { folder: site.folder })
  assert.deepEqual(await toldOf(later, upload), ['5', undefined, '1'], 'also from a new server on the same store')
})

test('T66 · the length comes with a PATCH, which finishes the upload if it brings the last byte', async (t) => {
  const finished: (number | undefined)[] = []
  const site = await serve(t, { onFinish: (upload) => void finished.push(upload.length) })
  const upload = await makeDeferred(site, 'hello')
  assert.deepEqual(finished, [], 'nothing is complete whose length is not known')
  const answer = await ask(site, patch(upload, 5, 10, 'world'))
  assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [204, '10'])
  assert.deepEqual(await toldOf(site, upload), ['10', '10', undefined])
  assert.deepEqual(finished, [10])
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T66 · the length may come before the last byte; from then on HEAD reports it, also from a new server', async (t) => {
  const finished: (number | undefined)[] = []
  const site = await serve(t, { onFinish: (upload) => void finished.push(upload.length) })
  const upload = await makeDeferred(site)
  assert.equal((await ask(site, patch(upload, 0, 10, 'hello'))).status, 204)
  assert.deepEqual(await toldOf(site, upload), ['5', '10', undefined])
  const later = await serve(t, { folder: site.folder })
  assert.deepEqual(await toldOf(later, upload), ['5', '10', undefined])
  assert.deepEqual(finished, [])
  assert.equal((await ask(site, patch(upload, 5, undefined, 'world'))).status, 204)
  assert.deepEqual(finished, [10])
})

test('T66 · the length may come with an empty PATCH, at any offset', async (t) => {
  const site = await serve(t)
  for (const content of ['', 'hello']) {
    const upload = await makeDeferred(site, content)
    assert.equal((await ask(site, patch(upload, content.length, 10, ''))).status, 204)
    assert.deepEqual(await toldOf(site, upload), [String(content.length), '10', undefined])
    const tooLarge = await ask(site, patch(upload, content.length, undefined, 'x'.repeat(11 - content.length)))
    assert.equal(tooLarge.status, 413)
  }
})

for (const how of ['at the creation', 'by a PATCH']) {
  test(`T67 · a length that was said ${how} may be said again; another one is 400 and changes nothing`, async (t) => {
    const site = await serve(t)
    const post = request('POST /files/', [V, OCT, how === 'by a PATCH' ? DEFERRED : 'Upload-Length: 10', 'Content-Length: 5'], 'hello')
    const upload = (await exchange(site.port, post)).headers.get('location') ?? ''
    if (how === 'by a PATCH') assert.equal((await ask(site, patch(upload, 5, 10, ''))).status, 204)
    const before = snapshot(site.folder)
    for (const length of [20, 11, 9, 5, 0]) {
      for (const body of ['world', '']) {
        const answer = await ask(site, patch(upload, 5, length, body))
        assert.equal(answer.status, 400)
        assertPlainRefusal(answer, site)
      }
    }
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal((await ask(site, patch(upload, 5, 10, 'wor'))).status, 204)
    assert.equal((await ask(site, patch(upload, 8, 10, 'ld'))).status, 204)
    assert.deepEqual(await toldOf(site, upload), ['10', '10', undefined])
    assert.equal((await ask(site, patch(upload, 10, 10, ''))).status, 204, 'also when it is complete')
    assert.equal((await ask(site, patch(upload, 10, 11, 'x'))).status, 400)
    assert.deepEqual(await toldOf(site, upload), ['10', '10', undefined])
  })
}

test('T69 · a length that is less than what came, or no number, is 400; one above the maximum is 413; nothing changes', async (t) => {
  const site = await serve(t, { maxSize: 100 })
  const upload = await makeDeferred(site, 'hello')
  const before = snapshot(site.folder)
  const rows: readonly (readonly [status: number, length: string])[] = [
    [400, '3'], [400, '0'], [400, '4'], [400, 'abc'], [400, ''], [400, '-1'], [400, '+10'], [400, '1e1'], [400, '0x10'], [400, '10.0'],
    [400, '10, 10'], [400, '010'], [400, '9007199254740993'], [413, '101'], [413, '9007199254740991'],
  ]
  for (const [status, length] of rows) {
    for (const body of ['', 'world']) {
      const answer = await ask(site, patch(upload, 5, length, body))
      assert.equal(answer.status, status, `${length} with ${body}`)
      assertPlainRefusal(answer, site)
      assert.deepEqual(snapshot(site.folder), before)
    }
  }
  assert.deepEqual(await toldOf(site, upload), ['5', undefined, '1'])
  assert.equal((await ask(site, patch(upload, 5, 100, 'world'))).status, 204, 'the maximum itself is a length')
})

test('T69 · a length above the maximum that onCreate chose for the upload is 413', async (t) => {
  const site = await serve(t, { onCreate: () => ({ maxSize: 10 }) })
  const upload = await makeDeferred(site, 'hello')
  assert.equal((await ask(site, patch(upload, 5, 11, ''))).status, 413)
  assert.equal((await ask(site, patch(upload, 5, undefined, 'worlds'))).status, 413)
  assert.deepEqual(await toldOf(site, upload), ['5', undefined, '1'])
  assert.equal((await ask(site, patch(upload, 5, 10, 'world'))).status, 204)
})

test('T66 · a PATCH may say that the length is still to come: its bytes are stored, and HEAD says the same', async (t) => {
  const site = await serve(t)
  const upload = await makeDeferred(site)
  for (const [offset, body] of [[0, 'hello'], [5, 'world'], [10, '']] as const) {
    const answer = await ask(
      site,
      request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, DEFERRED, `Content-Length: ${body.length}`], body),
    )
    assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [204, String(offset + body.length)])
    assert.deepEqual(await toldOf(site, upload), [String(offset + body.length), undefined, '1'])
  }
  assert.equal((await ask(site, patch(upload, 10, 10, ''))).status, 204)
  assert.deepEqual(await toldOf(site, upload), ['10', '10', undefined])
})

test('T69 · a malformed Upload-Defer-Length, or one beside a length, is 400, and nothing of its PATCH is stored', async (t) => {
  const site = await serve(t)
  const upload = await makeDeferred(site, 'hello')
  const before = snapshot(site.folder)
  const malformed = ['0', '2', 'true', '', '1, 1', '01', '1.0', '?1', '-1', '1;a'].map((value) => [`Upload-Defer-Length: ${value}`])
  for (const lengths of [...malformed, [DEFERRED, DEFERRED], [DEFERRED, 'Upload-Length: 10'], [DEFERRED, 'Upload-Length: ']]) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', ...lengths, 'Content-Length: 5'], 'world'))
    assert.equal(answer.status, 400, lengths.join())
    assertPlainRefusal(answer, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T69 · once the length is known, a PATCH that puts it off is 400 and stores nothing, also when the upload is complete', async (t) => {
  const site = await serve(t)
  const upload = await makeDeferred(site, 'hello')
  assert.equal((await ask(site, patch(upload, 5, 10, ''))).status, 204)
  for (const [offset, body] of [[5, 'world'], [5, ''], [10, '']] as const) {
    if (offset === 10) assert.equal((await ask(site, patch(upload, 5, undefined, 'world'))).status, 204)
    const before = snapshot(site.folder)
    const headers = [V, OCT, `Upload-Offset: ${offset}`, DEFERRED, `Content-Length: ${body.length}`]
    const answer = await ask(site, request(`PATCH ${upload}`, headers, body))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.deepEqual(snapshot(site.folder), before)
  }
})

test('T69 · with a store that keeps no lengths, a PATCH that puts the length off is 400', async (t) => {
  const site = await serve(t, { store: (files) => Object.assign(new StoreBehind(files), { setLength: undefined }) })
  const upload = (
    await exchange(site.port, request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], 'hello'))
  ).headers.get('location')
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', DEFERRED, 'Content-Length: 5'], 'world'))
  assert.deepEqual([answer.status, answer.body], [400, 'Upload-Defer-Length is not supported\n'])
})

const refusals: readonly (readonly [status: number, what: string, text: (upload: string) => string | Buffer])[] = [
  [409, 'is at another offset', (upload) => patch(upload, 0, 10, 'world')],
  [413, 'brings too much and says so', (upload) => patch(upload, 5, 8, 'world')],
  [
    413,
    'turns out to bring too much',
    (upload) =>
      withBody(
        request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Upload-Length: 8', 'Transfer-Encoding: chunked']),
        chunked('world', 2),
      ),
  ],
  [415, 'is of another content type', (upload) =>
    request(`PATCH ${upload}`, [V, 'Upload-Offset: 5', 'Upload-Length: 10', 'Content-Length: 5'], 'world')],
  [460, 'does not match its checksum', (upload) =>
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Upload-Length: 10', 'Content-Length: 5',
      `Upload-Checksum: sha1 ${createHash('sha1').update('other').digest('base64')}`], 'world')],
]

for (const [status, what, text] of refusals) {
  test(`T69 · of a PATCH that ${what} (${status}) the length is not kept either`, async (t) => {
    const site = await serve(t)
    const upload = await makeDeferred(site, 'hello')
    const answer = await ask(site, text(upload))
    await site.settled()
    assert.equal(answer.status, status)
    assertPlainRefusal(answer, site)
    assert.deepEqual(await toldOf(site, upload), ['5', undefined, '1'])
    assert.equal(contentOf(site, upload).toString(), 'hello')
  })
}

test('T70 · an empty PATCH with the length that is there already finishes the upload', async (t) => {
  for (const content of ['', 'helloworld']) {
    const finished: Upload[] = []
    const site = await serve(t, { onFinish: (upload) => void finished.push(upload) })
    const upload = await makeDeferred(site, content)
    const answer = await ask(site, patch(upload, content.length, content.length, ''))
    assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [204, String(content.length)])
    assert.deepEqual(await toldOf(site, upload), [String(content.length), String(content.length), undefined])
    assert.deepEqual(finished.map(({ offset, length }) => [offset, length]), [[content.length, content.length]])
    assert.equal((await ask(site, patch(upload, content.length, content.length, ''))).status, 204)
    assert.equal(finished.length, 1, 'onFinish is not run again')
    assert.equal((await ask(site, patch(upload, content.length, undefined, 'x'))).status, 413)
  }
})

test('T71 · without a length an upload ends at the maximum: one byte more is 413, announced or not, and not stored', async (t) => {
  const site = await serve(t, { maxSize: 10 })
  for (const content of ['', 'hello']) {
    const upload = await makeDeferred(site, content)
    const before = snapshot(site.folder)
    const body = 'x'.repeat(11 - content.length)
    const headers = [V, OCT, `Upload-Offset: ${content.length}`]
    const coded = withBody(request(`PATCH ${upload}`, [...headers, 'Transfer-Encoding: chunked']), chunked(body, 3))
    for (const text of [patch(upload, content.length, undefined, body), coded]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 413)
      assertPlainRefusal(answer, site)
      await site.settled()
      assert.deepEqual(snapshot(site.folder), before)
    }
    assert.equal((await ask(site, patch(upload, content.length, undefined, body.slice(1)))).status, 204)
    assert.deepEqual(await toldOf(site, upload), ['10', undefined, '1'], 'it is as large as can be, and not complete')
    assert.equal((await ask(site, patch(upload, 10, 10, ''))).status, 204)
  }
})

test('T71, T84 · a creation without a length that brings more than the maximum is 413 and leaves nothing behind', async (t) => {
  const site = await serve(t, { maxSize: 10 })
  const sized = request('POST /files/', [V, OCT, DEFERRED, 'Content-Length: 11'], 'x'.repeat(11))
  const coded = withBody(request('POST /files/', [V, OCT, DEFERRED, 'Transfer-Encoding: chunked']), chunked('x'.repeat(11), 4))
  for (const text of [sized, coded]) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assertPlainRefusal(answer, site)
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('T84 · a creation without a length may bring the first bytes, or none', async (t) => {
  const site = await serve(t)
  for (const body of ['hello', '']) {
    const sized = request('POST /files/', [V, OCT, DEFERRED, `Content-Length: ${body.length}`], body)
    const coded = withBody(request('POST /files/', [V, OCT, DEFERRED, 'Transfer-Encoding: chunked']), chunked(body, 2))
    for (const text of [sized, coded]) {
      const answer = await ask(site, text)
      assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [201, String(body.length)])
      assert.deepEqual(await toldOf(site, answer.headers.get('location') ?? ''), [String(body.length), undefined, '1'])
    }
  }
})

for (const cut of ['end', 'resetAndDestroy'] as const) {
  test(`T66 · a PATCH that brings the length and is cut (${cut}) is resumed from what HEAD reports, and the length said again`, async (t) => {
    const site = await serve(t, { store: watched })
    const source = pattern(300_000)
    const upload = await makeDeferred(site)
    const client = await WireClient.connect(site.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Upload-Length: 300000', 'Content-Length: 300000']))
    await client.send(source.subarray(0, 100_000))
    await site.store.arrived(100_000)
    client.socket[cut]()
    assert.equal(await offsetOf(site, upload), 100_000)
    const rest = source.subarray(100_000)
    const headers = [V, OCT, 'Upload-Offset: 100000', 'Upload-Length: 300000', `Content-Length: ${rest.length}`]
    assert.equal((await ask(site, withBody(request(`PATCH ${upload}`, headers), rest))).status, 204)
    assert.deepEqual(await toldOf(site, upload), ['300000', '300000', undefined])
    assert.ok(contentOf(site, upload).equals(source))
    client.destroy()
  })
}

test('a store that cannot keep the length is 500; HEAD reports what is really stored, and knows of no length', async (t) => {
  class FaultyStore extends StoreBehind {
    override setLength(): Promise<void> {
      return Promise.reject(new Error('secret'))
    }
  }
  const site = await serve(t, { store: (files) => new FaultyStore(files) })
  const upload = await makeDeferred(site, 'hello')
  const answer = await ask(site, patch(upload, 5, 10, 'world'))
  assert.equal(answer.status, 500)
  assertPlainRefusal(answer, site)
  await site.settled()
  assert.deepEqual((await toldOf(site, upload)).slice(1), [undefined, '1'])
  assert.equal(contentOf(site, upload).length, await offsetOf(site, upload))
})
