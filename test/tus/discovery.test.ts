// SPDX-License-Identifier: MIT

/** Checklist T.1: versions, discovery, common headers, X-HTTP-Method-Override. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { exchange, request, WireClient, type WireResponse } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, make, OCT, offsetOf, serve, V } from './support.ts'

/** What works over a store that can do everything. */
const EXTENSIONS = [
  'creation', 'creation-with-upload', 'creation-defer-length', 'checksum', 'checksum-trailer', 'termination', 'concatenation',
  'concatenation-unfinished',
]

function assertDiscovery(answer: WireResponse): void {
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('tus-version'), '1.0.0')
  assert.equal(answer.headers.get('tus-extension'), EXTENSIONS.join(','))
  assert.match(answer.headers.get('tus-max-size') ?? '', /^\d+$/)
}

test('T1, T2 · OPTIONS reports the one version, to a client that names none', async (t) => {
  const site = await serve(t)
  assertDiscovery(await ask(site, request('OPTIONS /files/')))
})

test('T3 · OPTIONS answers whatever version the client names', async (t) => {
  const site = await serve(t)
  for (const version of ['9.9.9', 'garbage', '1.0.0', '']) {
    assertDiscovery(await ask(site, request('OPTIONS /files/', [`Tus-Resumable: ${version}`])))
  }
})

test('T4 · OPTIONS of an upload, known or not, answers the same and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  assertDiscovery(await ask(site, request(`OPTIONS ${upload}`)))
  assertDiscovery(await ask(site, request('OPTIONS /files/unknown')))
  assert.deepEqual(snapshot(site.folder), before)
})

test('T5 · every answer to POST, HEAD, PATCH and DELETE names the version once', async (t) => {
  const site = await serve(t)
  const created = await ask(site, request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0']))
  const upload = created.headers.get('location') ?? ''
  const answers = [
    created,
    await ask(site, request(`HEAD ${upload}`, [V]), { toHead: true }),
    await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello')),
    await ask(site, request(`DELETE ${upload}`, [V])),
  ]
  assert.deepEqual(answers.map(({ status }) => status), [201, 200, 204, 204])
  for (const answer of answers) assert.equal(answer.headers.get('tus-resumable'), '1.0.0')
})

test('T6 · every refusal names the version once', async (t) => {
  class FaultyStore extends StoreBehind {
    override find(id: string): ReturnType<StoreBehind['find']> {
      return id === 'faulty' ? Promise.reject(new Error('secret')) : super.find(id)
    }
  }
  const locker = new KeyedLock()
  const site = await serve(t, { maxSize: 1000, locker, lockTimeoutMs: 20, store: (files) => new FaultyStore(files) })
  const upload = await make(site, 10)
  const held = await make(site, 10)
  const lock = await locker.acquire(held.slice('/files/'.length))

  const refusals: readonly (readonly [status: number, text: string])[] = [
    [400, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: x', 'Content-Length: 0'])],
    [404, request('HEAD /files/unknown', [V])],
    [404, request('GET /elsewhere')],
    [405, request(`PUT ${upload}`, [V])],
    [409, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 0'])],
    [412, request(`HEAD ${upload}`, ['Tus-Resumable: 2.0.0'])],
    [413, request('POST /files/', [V, 'Upload-Length: 1001', 'Content-Length: 0'])],
    [415, request(`PATCH ${upload}`, [V, 'Content-Type: text/plain', 'Upload-Offset: 0', 'Content-Length: 0'])],
    [423, request(`PATCH ${held}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 0'])],
    [500, request('DELETE /files/faulty', [V])],
    [423, request('HEAD /files/faulty', [V])],
  ]
  for (const [status, text] of refusals) {
    const answer = await ask(site, text, { toHead: text.startsWith('HEAD') })
    assert.equal(answer.status, status)
    if (text.startsWith('HEAD')) assert.equal(answer.headers.get('tus-resumable'), '1.0.0')
    else assertPlainRefusal(answer, site)
    if (status === 423) assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
  }
  lock.release()
})

test('T7, T9 · POST in another version is 412 with the versions, and creates nothing', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('POST /files/', ['Tus-Resumable: 0.2.2', 'Upload-Length: 1', 'Content-Length: 0']))
  assert.equal(answer.status, 412)
  assert.equal(answer.headers.get('tus-version'), '1.0.0')
  assertPlainRefusal(answer, site)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T8, T9 · HEAD, PATCH and DELETE in another version are 412 with the versions, and change nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  for (const version of ['Tus-Resumable: 0.2.2', 'Tus-Resumable: 1.0.1', 'Tus-Resumable: 1.0', 'X-Tus-Resumable: 1.0.0']) {
    const answers = [
      await ask(site, request(`HEAD ${upload}`, [version]), { toHead: true }),
      await ask(site, request(`PATCH ${upload}`, [version, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')),
      await ask(site, request(`DELETE ${upload}`, [version])),
    ]
    for (const answer of answers) {
      assert.equal(answer.status, 412)
      assert.equal(answer.headers.get('tus-version'), '1.0.0')
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T10 · without Tus-Resumable nothing is processed: 412 with the versions', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const answers = [
    await ask(site, request('POST /files/', ['Upload-Length: 1', 'Content-Length: 0'])),
    await ask(site, request(`HEAD ${upload}`), { toHead: true }),
    await ask(site, request(`PATCH ${upload}`, [OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')),
    await ask(site, request(`DELETE ${upload}`)),
  ]
  for (const answer of answers) {
    assert.equal(answer.status, 412)
    assert.equal(answer.headers.get('tus-version'), '1.0.0')
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T11 · the version may have white space around it, and no other spelling', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const rows: readonly (readonly [status: number, headers: readonly string[]])[] = [
    [200, ['Tus-Resumable:  \t1.0.0 \t']],
    [200, ['tus-resumable:1.0.0']],
    [412, [V, V]],
    [412, ['Tus-Resumable: 1.0.0, 1.0.0']],
    [412, ['Tus-Resumable: 01.0.0']],
    [412, ['Tus-Resumable: "1.0.0"']],
    [412, ['Tus-Resumable: v1.0.0']],
  ]
  for (const [status, headers] of rows) {
    assert.equal((await ask(site, request(`HEAD ${upload}`, headers), { toHead: true })).status, status, headers.join())
  }
})

/** What a store need not be able to do, and extensions need. */
type Ability = 'setLength' | 'appendVerified' | 'read'

/** A store that lacks an ability, as one that an application wrote for itself may. */
function lacking(ability: Ability): (files: FileStore) => UploadStore {
  return (files) => Object.assign(new StoreBehind(files), { [ability]: undefined })
}

test('T12, T54, T64, T79, T96, T106, T109 · every extension is listed whose part of the store is there', async (t) => {
  const site = await serve(t)
  const { headers } = await ask(site, request('OPTIONS /files/'))
  assert.deepEqual(headers.get('tus-extension')?.split(',').sort(), [...EXTENSIONS].sort())
})

test('T96, T98 · Tus-Checksum-Algorithm lists names in lower case, sha1 among them', async (t) => {
  const site = await serve(t)
  const names = (await ask(site, request('OPTIONS /files/'))).headers.get('tus-checksum-algorithm')?.split(',') ?? []
  assert.deepEqual([...names].sort(), ['md5', 'sha1', 'sha256', 'sha512'])
  for (const name of names) assert.match(name, /^[!-+\--@[-~]+$/)
})

const lacks: readonly (readonly [what: Ability, extensions: readonly string[]])[] = [
  ['setLength', ['creation-defer-length', 'concatenation', 'concatenation-unfinished']],
  ['appendVerified', ['checksum', 'checksum-trailer']],
  ['read', ['concatenation', 'concatenation-unfinished']],
]

for (const [what, extensions] of lacks) {
  test(`T12 · over a store without ${what}, ${extensions.join(' and ')} are not listed, and all others are`, async (t) => {
    const site = await serve(t, { store: lacking(what) })
    const { headers } = await ask(site, request('OPTIONS /files/'))
    assert.deepEqual(headers.get('tus-extension')?.split(',').sort(), EXTENSIONS.filter((name) => !extensions.includes(name)).sort())
    assert.equal(headers.has('tus-checksum-algorithm'), what !== 'appendVerified')
  })
}

test('T12 · expiration is listed where uploads expire, and only there', async (t) => {
  for (const expiration of [undefined, { afterMs: 60_000 }]) {
    const site = await serve(t, { expiration })
    const listed = (await ask(site, request('OPTIONS /files/'))).headers.get('tus-extension')?.split(',') ?? []
    assert.equal(listed.includes('expiration'), expiration !== undefined)
  }
})

const [hello, world] = ['hello', 'world'].map((text) => `sha1 ${createHash('sha1').update(text).digest('base64')}`)
const coded = '5\r\nworld\r\n0\r\n'

/** What a client must not think was heard; `U` stands for an upload, @5 of 10. */
const notOffered: readonly (readonly [rows: string, what: Ability, feature: string, text: string])[] = [
  ['T12, T60', 'setLength', 'Upload-Defer-Length', request('POST /files/', [V, 'Upload-Defer-Length: 1', 'Content-Length: 0'])],
  ['T12', 'setLength', 'Upload-Concat', request('POST /files/', [V, 'Upload-Length: 5', 'Upload-Concat: partial', 'Content-Length: 0'])],
  ['T12', 'read', 'Upload-Concat', request('POST /files/', [V, 'Upload-Concat: final;U U', 'Content-Length: 0'])],
  ['T12, T97', 'appendVerified', 'Upload-Checksum',
    request('POST /files/', [V, OCT, 'Upload-Length: 5', `Upload-Checksum: ${hello}`, 'Content-Length: 5'], 'hello')],
  ['T12, T97', 'appendVerified', 'Upload-Checksum',
    request('PATCH U', [V, OCT, 'Upload-Offset: 5', `Upload-Checksum: ${world}`, 'Content-Length: 5'], 'world')],
  [
    'T12, T108',
    'appendVerified',
    'Upload-Checksum',
    request(
      'PATCH U',
      [V, OCT, 'Upload-Offset: 5', 'Trailer: Upload-Checksum', 'Transfer-Encoding: chunked'],
      `${coded}Upload-Checksum: ${world}\r\n\r\n`,
    ),
  ],
  [
    'T12, T108',
    'appendVerified',
    'Upload-Checksum',
    request(
      'POST /files/',
      [V, OCT, 'Upload-Length: 5', 'Trailer: Upload-Checksum', 'Transfer-Encoding: chunked'],
      `${coded}Upload-Checksum: ${world}\r\n\r\n`,
    ),
  ],
]

for (const [rows, what, feature, text] of notOffered) {
  const title = text.split(' ', 1)[0] + (text.includes('Trailer:') ? ' with a trailer' : '')
  test(`${rows} · over a store without ${what}, ${feature} of a ${title} is 400, and changes nothing`, async (t) => {
    const site = await serve(t, { store: lacking(what) })
    const upload = await make(site, 10, 'hello')
    const before = snapshot(site.folder)
    const answer = await ask(site, text.replaceAll(/\bU\b/g, upload))
    await site.settled()
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.match(answer.body, new RegExp(feature))
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('T14, T15 · OPTIONS reports the maximum that is configured, and a finite one otherwise', async (t) => {
  for (const maxSize of [0, 1, 12_345, Number.MAX_SAFE_INTEGER]) {
    const site = await serve(t, { maxSize })
    assert.equal((await ask(site, request('OPTIONS /files/'))).headers.get('tus-max-size'), String(maxSize))
  }
  const site = await serve(t)
  assert.equal((await ask(site, request('OPTIONS /files/'))).headers.get('tus-max-size'), String(100 * 1024 ** 3))
})

test('T16 · POST that means PATCH appends', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const headers = [V, OCT, 'Upload-Offset: 0', 'X-HTTP-Method-Override: PATCH', 'Content-Length: 5']
  const answer = await ask(site, request(`POST ${upload}`, headers, 'hello'))
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '5')
  assert.equal(contentOf(site, upload).toString(), 'hello')
})

test('T17 · POST that means DELETE terminates', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const answer = await ask(site, request(`POST ${upload}`, [V, 'X-HTTP-Method-Override: DELETE', 'Content-Length: 0']))
  assert.equal(answer.status, 204)
  assert.equal((await head(site, upload)).status, 404)
})

test('T18 · GET and POST that mean HEAD have no body, and the next answer on the connection is read right', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const method of ['GET', 'POST']) {
    for (const [target, status] of [[upload, 200], ['/files/unknown', 404]] as const) {
      const client = await WireClient.connect(site.port)
      const meansHead = request(`${method} ${target}`, [V, 'X-HTTP-Method-Override: HEAD', 'Content-Length: 0'])
      await client.send(meansHead + request(`HEAD ${upload}`, [V]))
      const answer = await client.response()
      assert.equal(answer.status, status)
      assert.equal(answer.body, '')
      assert.equal(answer.headers.get('upload-offset'), status === 200 ? '5' : undefined)
      assert.equal((await client.response({ toHead: true })).headers.get('upload-offset'), '5')
      client.destroy()
    }
  }
})

test('T19 · GET that means OPTIONS is discovery', async (t) => {
  const site = await serve(t)
  assertDiscovery(await ask(site, request('GET /files/', ['X-HTTP-Method-Override: OPTIONS'])))
})

test('T20 · DELETE that means HEAD deletes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const answer = await ask(site, request(`DELETE ${upload}`, [V, 'X-HTTP-Method-Override: HEAD']))
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('upload-offset'), '5')
  assert.equal(await offsetOf(site, upload), 5)
})

test('T21 · an override that is no method of ours is 405, one that is malformed is 400; nothing changes', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const rows: readonly (readonly [status: number, overrides: readonly string[]])[] = [
    [405, ['FOO']],
    [405, ['patch']],
    [405, ['GET']],
    [405, ['__proto__']],
    [400, ['']],
    [400, ['DELETE', 'DELETE']],
    [400, ['DELETE, HEAD']],
    [400, ['DEL ETE']],
  ]
  for (const method of ['POST', 'PATCH', 'DELETE']) {
    for (const [status, overrides] of rows) {
      const headers = overrides.map((override) => `X-HTTP-Method-Override: ${override}`)
      const answer = await ask(site, request(`${method} ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5', ...headers], 'world'))
      assert.equal(answer.status, status, `${method} as ${overrides.join(' and ')}`)
      assertPlainRefusal(answer, site)
      if (status === 405) assert.equal(answer.headers.get('allow'), 'OPTIONS, HEAD, PATCH, DELETE')
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T57 · Location is a path: no header of the request is reflected in it', async (t) => {
  const site = await serve(t)
  const spoofed = [
    'X-Forwarded-Proto: https', 'X-Forwarded-Host: evil.example', 'X-Forwarded-Prefix: /evil', 'Forwarded: host=evil.example;proto=https',
    'Origin: http://evil.example', 'Referer: http://evil.example/', 'X-Original-URL: /evil', 'X-Rewrite-URL: /evil',
  ]
  const create = [V, 'Upload-Length: 1', 'Content-Length: 0']
  const texts = [
    request('POST /files/', [...create, ...spoofed]),
    request('POST http://evil.example/files/', create),
    ['POST /files/ HTTP/1.1', 'Host: evil"><x', ...create, '', ''].join('\r\n'),
    ['POST /files/ HTTP/1.0', ...create, '', ''].join('\r\n'),
  ]
  for (const text of texts) {
    const answer = await exchange(site.port, text)
    assert.equal(answer.status, 201, text)
    assert.match(answer.headers.get('location') ?? '', /^\/files\/[\da-f]{32}$/)
    assert.doesNotMatch([...answer.headers.values(), answer.body].join(), /evil/)
  }
})

test('T57 · HTTP/1.1 without Host is 400', async (t) => {
  const site = await serve(t)
  const answer = await exchange(site.port, ['POST /files/ HTTP/1.1', V, 'Upload-Length: 1', 'Content-Length: 0', '', ''].join('\r\n'))
  assert.equal(answer.status, 400)
  assert.equal(snapshot(site.folder).size, 0)
})
