// SPDX-License-Identifier: MIT

/** Where an application has its say: what hooks are told, what they may decide, and what becomes of what they throw. */

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { CreationChoices, Operation, UploadHooks } from '../../lib/upload/hooks.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { stopClock } from '../support/clock.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { chunked, request, WireClient, withBody } from '../support/wire.ts'
import { concatenate, idOf, makePartial, patch, post } from './steps.ts'
import { ask, assertNoSecrets, assertPlainRefusal, head, make, OCT, offsetOf, serve, V, type Site } from './support.ts'

/** An error as applications throw it. */
function refusal(answer: object): Error {
  return Object.assign(new Error('secret: user 7 is not in group admin'), answer)
}

test('authorize is asked about each operation once, with the upload as it is, or undefined if there is none', async (t) => {
  const seen: Operation[] = []
  const site = await serve(t, { download: {}, authorize: (operation) => void seen.push(operation) })
  const asked = async (text: string): Promise<Operation> => {
    seen.length = 0
    await ask(site, text, { toHead: text.startsWith('HEAD') })
    assert.equal(seen.length, 1, text)
    return seen[0]!
  }
  const texts: readonly (readonly [kind: Operation['kind'], text: (upload: string) => string])[] = [
    ['inspect', (upload) => request(`HEAD ${upload}`, [V])],
    ['append', (upload) => request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 0'])],
    ['read', (upload) => request(`GET ${upload}`)],
    ['read', (upload) => request(`HEAD ${upload}`)],
    ['terminate', (upload) => request(`DELETE ${upload}`, [V])],
  ]
  const upload = await make(site, 10, 'hello')
  for (const [kind, text] of texts) {
    const unknown = await asked(text('/files/unknown'))
    assert.deepEqual(unknown, { kind, id: 'unknown', upload: undefined })
    const known = await asked(text(upload))
    assert.ok(known.kind === kind && known.kind !== 'create')
    assert.deepEqual([known.id, known.upload?.id, known.upload?.offset, known.upload?.length], [idOf(upload), idOf(upload), 5, 10])
  }
})

test('authorize is asked about a creation, with what the client says of it, and the request itself', async (t) => {
  const seen: { readonly operation: Operation; readonly authorization: string | undefined }[] = []
  const site = await serve(t, {
    authorize: (operation, { headers }) => void seen.push({ operation, authorization: headers.authorization }),
  })
  await ask(
    site,
    request('POST /files/', [V, OCT, 'Authorization: me', 'Upload-Length: 10', 'Upload-Metadata: a eA==', 'Content-Length: 5'], 'hello'),
  )
  await post(site, ['Upload-Defer-Length: 1'])
  const [first, second] = seen
  assert.ok(first?.operation.kind === 'create' && second?.operation.kind === 'create')
  assert.equal(first.authorization, 'me')
  const { length, metadata, partial, parts } = first.operation.description
  assert.deepEqual([length, metadata, partial, parts, first.operation.parts], [10, new Map([['a', 'x']]), false, undefined, []])
  assert.equal(second.operation.description.length, undefined)
})

test('authorize sees the parts of a concatenation as they are, and its length', async (t) => {
  const seen: Operation[] = []
  const site = await serve(t, { authorize: (operation) => void seen.push(operation) })
  const parts = [await makePartial(site, 'hello'), await makePartial(site, 'wor', 6)]
  await concatenate(site, parts)
  const operation = seen.at(-1)
  assert.ok(operation?.kind === 'create')
  assert.deepEqual(
    operation.parts.map(({ id, offset, length }) => [id, offset, length]),
    [
      [idOf(parts[0]!), 5, 5],
      [idOf(parts[1]!), 3, 6],
    ],
  )
  assert.equal(operation.description.length, 11)
  assert.deepEqual(operation.description.parts, parts.map(idOf))
})

test('authorize is not asked about what is refused for its form, nor about OPTIONS', async (t) => {
  const site = await serve(t, { authorize: () => assert.fail('it was asked') })
  const texts: readonly (readonly [status: number, text: string])[] = [
    [204, request('OPTIONS /files/')],
    [204, request('OPTIONS /files/x')],
    [412, request('DELETE /files/x')],
    [405, request('PUT /files/x', [V])],
    [404, request('DELETE /elsewhere', [V])],
    [400, request('PATCH /files/x', [V, OCT, 'Upload-Offset: -1', 'Content-Length: 0'])],
    [400, request('POST /files/', [V, 'Content-Length: 0'])],
  ]
  for (const [status, text] of texts) assert.equal((await ask(site, text)).status, status)
})

test('T21 · with X-HTTP-Method-Override authorize sees the operation that is meant', async (t) => {
  const seen: string[] = []
  const site = await serve(t, { download: {}, authorize: ({ kind }) => void seen.push(kind) })
  const upload = await make(site, 10, 'hello')
  seen.length = 0
  const texts: readonly (readonly [kind: string, status: number, text: string])[] = [
    ['append', 204, request(`POST ${upload}`, [V, OCT, 'X-HTTP-Method-Override: PATCH', 'Upload-Offset: 5', 'Content-Length: 0'])],
    ['inspect', 200, request(`DELETE ${upload}`, [V, 'X-HTTP-Method-Override: HEAD'])],
    ['terminate', 204, request(`GET ${upload}`, [V, 'X-HTTP-Method-Override: DELETE'])],
  ]
  for (const [kind, status, text] of texts) {
    assert.equal((await ask(site, text, { toHead: kind === 'inspect' })).status, status)
    assert.equal(seen.pop(), kind)
  }
})

test('what authorize refuses changes nothing, and is answered as it says', async (t) => {
  let refused = false
  const authorize = (): void => {
    if (refused) throw refusal({ status: 401, body: 'Sign in', headers: { 'WWW-Authenticate': 'Bearer' } })
  }
  const site = await serve(t, {
    download: {},
    authorize,
    onCreate: () => (refused ? assert.fail('onCreate ran') : undefined),
    onTerminate: () => assert.fail('onTerminate ran'),
  })
  const upload = await make(site, 10, 'hello')
  const part = await makePartial(site, 'hello')
  const before = snapshot(site.folder)
  refused = true
  const texts = [
    request('POST /files/', [V, 'Upload-Length: 10', 'Content-Length: 0']),
    request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'),
    request('POST /files/', [V, `Upload-Concat: final;${part}`, 'Content-Length: 0']),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
    withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked']), chunked('world')),
    request(`DELETE ${upload}`, [V]),
    request(`GET ${upload}`),
    request('DELETE /files/unknown', [V]),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 401)
    assert.equal(answer.body, 'Sign in\n')
    assert.equal(answer.headers.get('www-authenticate'), 'Bearer')
    assertPlainRefusal(answer, site)
  }
  const told = await ask(site, request(`HEAD ${upload}`, [V]), { toHead: true })
  assert.deepEqual([told.status, told.headers.get('www-authenticate'), told.headers.has('upload-offset')], [401, 'Bearer', false])
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})

test('a request that authorize refuses does not disturb the one that holds the upload', async (t) => {
  const authorize: UploadHooks['authorize'] = (_, { headers }) => {
    if (headers.authorization === 'thief') throw refusal({ status: 403 })
  }
  const site = await serve(t, { authorize, store: watched })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)
  const texts = [
    request(`HEAD ${upload}`, [V, 'Authorization: thief']),
    request(`PATCH ${upload}`, [V, OCT, 'Authorization: thief', 'Upload-Offset: 5', 'Content-Length: 5'], 'WORLD'),
    request(`DELETE ${upload}`, [V, 'Authorization: thief']),
  ]
  for (const text of texts) assert.equal((await ask(site, text, { toHead: text.startsWith('HEAD') })).status, 403)
  await client.send('world')
  const answer = await client.response()
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '10')
  client.destroy()
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T47 · a client that expects 100-continue gets the refusal of authorize in its place', async (t) => {
  const site = await serve(t, { authorize: ({ kind }) => (kind === 'append' ? Promise.reject(refusal({ status: 403 })) : undefined) })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue']))
  assert.equal((await client.response()).status, 403)
  client.destroy()
})

/** What a hook may throw to refuse, and how that is answered. */
const refusals: readonly (readonly [thrown: object, status: number, body: string, published: number])[] = [
  [{ status: 400 }, 400, 'Bad Request\n', 0],
  [{ status: 401, headers: { 'WWW-Authenticate': 'Bearer' } }, 401, 'Unauthorized\n', 0],
  [{ status: 403, body: 'Not yours' }, 403, 'Not yours\n', 0],
  [{ status: 403, body: '{"error":"é"}', headers: { 'Content-Type': 'application/json' } }, 403, '{"error":"é"}\n', 0],
  [{ status: 404, body: '' }, 404, '', 0],
  [{ status: 429, headers: { 'Retry-After': '7' } }, 429, 'Too Many Requests\n', 0],
  [{ status: 499 }, 499, '', 0],
  [{ status: 503, body: 'Closed' }, 503, 'Closed\n', 1],
  [{ status: 599 }, 599, '', 1],
]

/** What is no refusal: the hook has failed. */
const failures: readonly object[] = [
  {}, { status: 200 }, { status: 204 }, { status: 302 }, { status: 399 }, { status: 600 }, { status: 700 }, { status: '403' },
  { status: 403.5 }, { status: NaN },
  { status: -403 }, { status: null }, { status: 403, body: 7 }, { status: 403, body: { a: 1 } },
  { status: 403, headers: { 'X-A': 'a\r\nX-B: b' } },
  { status: 403, headers: { 'X A': 'a' } }, { status: 403, headers: { 'X-A': 7 } }, { status: 403, headers: 'X-A: a' },
  { status: 403, headers: ['X-A'] },
  { statusCode: 403 }, { code: 'NOT_FOUND' }, { name: 'UploadError', code: 'NOT_FOUND', message: 'secret' },
]

/** A request that comes to each of the hooks that may refuse before anything is stored. */
const refusable: readonly (readonly [hook: 'authorize' | 'onCreate' | 'onTerminate', text: (upload: string) => string])[] = [
  ['authorize', (upload) => request(`DELETE ${upload}`, [V])],
  ['onCreate', () => request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello')],
  ['onTerminate', (upload) => request(`DELETE ${upload}`, [V])],
]

for (const [hook, text] of refusable) {
  test(`what ${hook} throws with a status is answered with that, its body and headers; its message is never sent`, async (t) => {
    let thrown: Error | undefined
    const site = await serve(t, { [hook]: async () => thrown && Promise.reject(thrown) })
    const upload = await make(site, 10, 'hello')
    const before = snapshot(site.folder)
    const errors = published(t, 'longhaul:error')
    for (const [answer, status, body, count] of refusals) {
      const told = errors.length
      thrown = refusal(answer)
      const { headers = {} } = answer as { headers?: Record<string, string> }
      const refused = await ask(site, text(upload))
      assert.equal(refused.status, status, JSON.stringify(answer))
      assert.equal(refused.body, body)
      for (const [name, value] of Object.entries(headers)) assert.equal(refused.headers.get(name.toLowerCase()), value)
      assertNoSecrets(refused, site)
      assert.equal(errors.length - told, count, 'what the server is to blame for is published')
    }
    assert.deepEqual(snapshot(site.folder), before)
  })

  test(`what ${hook} throws otherwise is 500 without detail, published with its cause, and changes nothing`, async (t) => {
    let thrown: unknown
    let fails = false
    const site = await serve(t, { [hook]: async () => fails && Promise.reject(thrown) })
    const upload = await make(site, 10, 'hello')
    const before = snapshot(site.folder)
    const errors = published(t, 'longhaul:error')
    fails = true
    for (thrown of [...failures.map(refusal), undefined, null, 'secret', 403, { status: 'secret' }]) {
      const refused = await ask(site, text(upload))
      assert.equal(refused.status, 500)
      assert.equal(refused.body, 'The server failed\n')
      assertPlainRefusal(refused, site)
      assert.equal(errors.at(-1)?.error.code, 'INTERNAL')
      assert.equal(errors.at(-1)?.error.cause, thrown)
      assert.ok(errors.at(-1)?.req)
    }
    assert.equal(errors.length, failures.length + 5)
    assert.deepEqual(snapshot(site.folder), before)
    fails = false
    assert.equal((await patch(site, upload, 5, 'world')).status, 204, 'the lock was released')
  })
}

test('a hook that throws before it returns a promise is a hook that rejects', async (t) => {
  const site = await serve(t, {
    authorize: () => {
      throw refusal({ status: 403 })
    },
  })
  assert.equal((await post(site, ['Upload-Length: 10'])).status, 403)
})

test('onCreate is told what the client says, and without a choice changes nothing of it', async (t) => {
  const seen: unknown[] = []
  for (const choice of [undefined, {}, { id: undefined, metadata: undefined, maxSize: undefined }] as const) {
    const site = await serve(t, {
      onCreate: ({ length, metadata }, { headers }) => {
        seen.push([length, metadata, headers.authorization])
        return choice
      },
    })
    const upload = addressOf(await post(site, ['Upload-Length: 10', 'Upload-Metadata: a eA==', 'Authorization: me']))
    assert.deepEqual(seen.pop(), [10, new Map([['a', 'x']]), 'me'])
    assert.match(upload, /^\/files\/[\da-f]{32}$/)
    const { headers } = await head(site, upload)
    assert.deepEqual([headers.get('upload-length'), headers.get('upload-metadata')], ['10', 'a eA=='])
  }
})

test('onCreate chooses the id: it is in Location, and the upload is found there', async (t) => {
  let id = ''
  const site = await serve(t, { onCreate: () => ({ id }) })
  for (id of ['a', 'A-b_9', '0'.repeat(128), '-', '_', 'constructor', '__proto__']) {
    const upload = await make(site, 10, 'hello')
    assert.equal(upload, `/files/${id}`)
    assert.equal(await offsetOf(site, upload), 5)
    assert.equal((await patch(site, upload, 5, 'world')).status, 204)
  }
})

test('an id that is taken is 409, and the request in progress there goes on', async (t) => {
  const site = await serve(t, { onCreate: () => ({ id: 'taken' }), store: watched })
  const upload = await make(site, 10, '')
  const client = await WireClient.connect(site.port)
  const arrived = site.store.arrived(5)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await arrived
  const other = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'HELLO'))
  assert.equal(other.status, 409)
  await client.send('world')
  assert.equal((await client.response()).status, 204)
  client.destroy()
})

test('an id that is taken is 409: the upload that has it is not touched', async (t) => {
  const site = await serve(t, { onCreate: () => ({ id: 'taken' }) })
  await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const texts = [
    request('POST /files/', [V, 'Upload-Length: 10', 'Content-Length: 0']),
    request('POST /files/', [V, 'Upload-Length: 0', 'Content-Length: 0']),
    request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'HELLO'),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 409)
    assert.equal(answer.headers.has('location'), false)
    assertPlainRefusal(answer, site)
    await site.settled()
    assert.deepEqual(snapshot(site.folder), before)
  }
})

test('of several creations of one id at once one is 201 and the others 409', async (t) => {
  const site = await serve(t, { onCreate: () => ({ id: 'wanted' }) })
  const bodies = ['hello', 'HELLO', 'olleh', 'OLLEH']
  const answers = await Promise.all(
    bodies.map((body) => ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], body))),
  )
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409])
  assert.equal(contentOf(site, '/files/wanted').toString(), bodies[answers.findIndex(({ status }) => status === 201)])
})

const badChoices: readonly (readonly [what: string, choice: unknown])[] = [
  ...['', '.', '..', '../x', 'a/b', 'a.info', 'a b', 'a\0', 'é', 'a'.repeat(129), 'a\n', 7, null, {}].map(
    (id) => [`the id ${JSON.stringify(id)}`, { id }] as const,
  ),
  ...[-1, 1.5, NaN, Infinity, 2 ** 53, '10', null].map((maxSize) => [`the maxSize ${maxSize} (${typeof maxSize})`, { maxSize }] as const),
  ...[{ a: 'x' }, 'a eA==', [['a', 'x']], new Map([['a', 7]]), new Map([[7, 'x']])].map(
    (metadata, n) => [`metadata that are none (${n})`, { metadata }] as const,
  ),
]

for (const [what, choice] of badChoices) {
  test(`an onCreate that chooses ${what} is 500, published, and creates nothing`, async (t) => {
    const site = await serve(t, { onCreate: () => choice as CreationChoices })
    const errors = published(t, 'longhaul:error')
    const answer = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))
    assert.equal(answer.status, 500)
    assertPlainRefusal(answer, site)
    assert.equal(errors.length, 1)
    assert.ok(errors[0]?.error.cause instanceof TypeError)
    assert.equal(snapshot(site.folder).size, 0)
  })
}

test('onCreate chooses the metadata: HEAD reports them in place of those of the client, also after a restart', async (t) => {
  const site = await serve(t, { onCreate: () => ({ metadata: new Map([['owner', 'é 7'], ['flag', ''], ['__proto__', 'x']]) }) })
  const upload = addressOf(await post(site, ['Upload-Length: 10', 'Upload-Metadata: owner eA==,b eQ==']))
  for (const server of [site, await serve(t, { folder: site.folder })]) {
    assert.equal(
      (await head(server, upload)).headers.get('upload-metadata'),
      `owner ${Buffer.from('é 7').toString('base64')},flag,__proto__ eA==`,
    )
  }
})

test('onCreate may leave an upload without metadata', async (t) => {
  const site = await serve(t, { onCreate: () => ({ metadata: new Map() }) })
  const upload = addressOf(await post(site, ['Upload-Length: 10', 'Upload-Metadata: a eA==']))
  assert.equal((await head(site, upload)).headers.has('upload-metadata'), false)
})

test('onCreate chooses a maximum: a length above it is 413 and creates nothing', async (t) => {
  const site = await serve(t, { onCreate: () => ({ maxSize: 10 }) })
  for (const text of [
    request('POST /files/', [V, 'Upload-Length: 11', 'Content-Length: 0']),
    request('POST /files/', [V, OCT, 'Upload-Length: 11', 'Content-Length: 5'], 'hello'),
  ]) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assertPlainRefusal(answer, site)
  }
  assert.equal(snapshot(site.folder).size, 0)
  assert.equal((await post(site, ['Upload-Length: 10'])).status, 201)
})

test('T71 · the maximum that onCreate chose holds for a length that comes later, also after a restart', async (t) => {
  const first = await serve(t, { onCreate: () => ({ maxSize: 10 }) })
  const upload = addressOf(await post(first, ['Upload-Defer-Length: 1']))
  assert.equal((await patch(first, upload, 0, 'hello')).status, 204)
  for (const site of [first, await serve(t, { folder: first.folder })]) {
    assert.equal((await patch(site, upload, 5, '', ['Upload-Length: 11'])).status, 413)
    assert.equal((await patch(site, upload, 5, 'worlds')).status, 413)
    const coded = withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked']), chunked('worlds', 4))
    assert.equal((await ask(site, coded)).status, 413)
    assert.equal(await offsetOf(site, upload), 5)
  }
  assert.equal((await patch(first, upload, 5, 'world', ['Upload-Length: 10'])).status, 204)
})

test('a creation whose first bytes exceed the maximum that onCreate chose is 413 and leaves nothing', async (t) => {
  const site = await serve(t, { onCreate: () => ({ maxSize: 4 }) })
  const sized = request('POST /files/', [V, OCT, 'Upload-Defer-Length: 1', 'Content-Length: 5'], 'hello')
  const coded = withBody(request('POST /files/', [V, OCT, 'Upload-Defer-Length: 1', 'Transfer-Encoding: chunked']), chunked('hello', 3))
  for (const text of [sized, coded]) {
    assert.equal((await ask(site, text)).status, 413)
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('onCreate cannot raise the maximum of the server', async (t) => {
  const site = await serve(t, { maxSize: 10, onCreate: () => ({ maxSize: 100 }) })
  assert.equal((await post(site, ['Upload-Length: 11'])).status, 413)
  const upload = addressOf(await post(site, ['Upload-Defer-Length: 1']))
  assert.equal((await patch(site, upload, 0, 'x'.repeat(11))).status, 413)
})

test('onProgress is told offsets that are stored by then, in order, no more often than asked for, also while the clock of the system is set back', async (t) => {
  const told: { readonly atMs: number; readonly id: string; readonly offset: number; readonly size: number }[] = []
  const advance = stopClock(t)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const site: Site = await serve(t, {
    progressIntervalMs: 1000,
    onProgress: ({ id, offset }) => void told.push({ atMs: performance.now(), id, offset, size: statSync(join(site.folder, id)).size }),
  })
  const upload = await make(site, 100)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 100']))
  for (let sent = 0; sent < 100; sent += 5) {
    await client.send('hello')
    await stored(site, upload, sent + 5)
    advance(250)
    t.mock.timers.setTime(Date.now() - 3_600_000) // the time of day does not matter
  }
  assert.equal((await client.response()).status, 204)
  client.destroy()
  assert.ok(told.length >= 3 && told.length <= 5, `${told.length} calls in 5 seconds`)
  for (const [n, { atMs, id, offset, size }] of told.entries()) {
    assert.equal(id, idOf(upload))
    assert.ok(offset <= size, `${offset} was told when ${size} bytes were stored`)
    if (n === 0) continue
    assert.ok(offset > told[n - 1]!.offset)
    assert.ok(atMs - told[n - 1]!.atMs >= 1000)
  }
})

test('onProgress is not told of a request that is over before the interval is', async (t) => {
  const site = await serve(t, { progressIntervalMs: 1_000_000, onProgress: () => assert.fail('it was told') })
  const upload = await make(site, 300_000)
  for (let offset = 0; offset < 300_000; offset += 100_000) {
    assert.equal((await patch(site, upload, offset, 'x'.repeat(100_000))).status, 204)
  }
})

test('onTerminate runs for DELETE under the lock, while the files are still there', async (t) => {
  const locker = new KeyedLock()
  const told: unknown[] = []
  const site: Site = await serve(t, {
    locker,
    onTerminate: async ({ id, offset }, reason) => {
      told.push([id, offset, reason, readFileSync(join(site.folder, id), 'latin1'), await locker.tryAcquire(id)])
    },
  })
  const upload = await make(site, 10, 'hello')
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.deepEqual(told, [[idOf(upload), 5, 'terminated', 'hello', undefined]])
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 404)
  assert.equal(told.length, 1)
  assert.equal(snapshot(site.folder).size, 0)
})

test('onTerminate runs after the PATCH that was in progress has been stored, and before DELETE is answered', async (t) => {
  const gate = new Gate()
  const offsets: number[] = []
  const site = await serve(t, { onTerminate: ({ offset }) => (offsets.push(offset), gate.pass()), store: watched })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)
  let answered = false
  const deletion = ask(site, request(`DELETE ${upload}`, [V])).then((answer) => ((answered = true), answer))
  await gate.arrived
  assert.equal((await client.response()).status, 409)
  client.destroy()
  assert.deepEqual(offsets, [5])
  await ask(site, request('OPTIONS /files/'))
  assert.equal(answered, false)
  gate.open()
  assert.equal((await deletion).status, 204)
})

test('a refused creation leaves nothing, and onTerminate does not run: no client knew of the upload', async (t) => {
  const site = await serve(t, { onTerminate: () => assert.fail('it was told') })
  const coded = withBody(request('POST /files/', [V, OCT, 'Upload-Length: 3', 'Transfer-Encoding: chunked']), chunked('hello'))
  assert.equal((await ask(site, coded)).status, 413)
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
})

test('each moment in the life of an upload is published on its channel once, with the upload as it is then', async (t) => {
  const site = await serve(t, {
    onFinish: ({ length }) => {
      if (length === 5) throw refusal({ status: 422 })
    },
  })
  const heard: [event: string, id: string, offset: number, state: string][] = []
  for (const event of ['create', 'append', 'finish', 'reject', 'terminate', 'expire'] as const) {
    const listener = (message: unknown): void => {
      const { id, offset, state } = (message as { readonly upload: Upload }).upload
      heard.push([event, id, offset, state])
    }
    subscribe(`longhaul:${event}`, listener)
    t.after(() => unsubscribe(`longhaul:${event}`, listener))
  }
  const upload = await make(site, 10)
  await patch(site, upload, 0, 'hello')
  await patch(site, upload, 5, '')
  await patch(site, upload, 4, 'refused')
  await patch(site, upload, 5, 'world')
  await patch(site, upload, 10, '')
  await head(site, upload)
  await ask(site, request(`DELETE ${upload}`, [V]))
  const id = idOf(upload)
  assert.deepEqual(heard.splice(0), [
    ['create', id, 0, 'receiving'], ['append', id, 5, 'receiving'], ['append', id, 10, 'receiving'], ['finish', id, 10, 'finished'],
    ['terminate', id, 10, 'finished'],
  ])
  const rejected = await make(site, 5)
  await patch(site, rejected, 0, 'hello')
  await patch(site, rejected, 5, '')
  assert.deepEqual(heard.splice(0), [
    ['create', idOf(rejected), 0, 'receiving'],
    ['append', idOf(rejected), 5, 'receiving'],
    ['reject', idOf(rejected), 5, 'rejected'],
  ])

  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const expiring = await serve(t, { expiration: { afterMs: 1000, from: 'creation' } })
  const forgotten = idOf(await make(expiring, 10, 'hello'))
  t.mock.timers.setTime(Date.now() + 1000)
  await expiring.tus.sweep()
  assert.deepEqual(heard, [
    ['create', forgotten, 0, 'receiving'],
    ['append', forgotten, 5, 'receiving'],
    ['expire', forgotten, 5, 'receiving'],
  ])
})
