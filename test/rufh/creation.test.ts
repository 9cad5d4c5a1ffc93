// SPDX-License-Identifier: MIT

/** Checklist R.3: creation, what is said of it before its content comes, and what a creation leaves that was cut or refused. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Upload } from '../../lib/upload/types.ts'
import { stopClock } from '../support/clock.ts'
import { locationOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { WireClient } from '../support/wire.ts'
import { limitsOf, stateOf } from './state-of.ts'
import {
  append, ask, begin, head, I8, make, offsetOf, overBoth, serve, type Answer, type Call, type Exchange, type Site, type SiteOptions,
} from './support.ts'

const MiB = 1024 * 1024
const HOUR = 3_600_000

/** Begins a creation; its content is to follow. */
function beginCreation(site: Site, headers: Call['headers'], length: number | 'unknown'): Promise<Exchange> {
  return begin(site, { method: 'POST', path: '/files/', headers: { ...headers } }, length)
}

/** Creates an upload with all of a request's content; whatever the answer. */
function create(site: Site, headers: Call['headers'], content?: string | Uint8Array, length?: 'known' | 'unknown'): Promise<Answer> {
  return ask(site, 'POST', '/files/', headers, content, length)
}

/** `Content-Digest` or `Repr-Digest` of some text. */
function digestOf(text: string): string {
  return `sha-256=:${createHash('sha256').update(text).digest('base64')}:`
}

/** An error with which a hook refuses. */
function refusal(status: number, headers: Readonly<Record<string, string>> = {}): Error {
  return Object.assign(new Error('secret'), { status, headers })
}

overBoth('R30, R31, R33 · the client learns the address before it has sent any content', async (t, version) => {
  const site = await serve(t, version)
  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, MiB)
  const { status, headers } = await exchange.interim()
  assert.equal(status, 104)
  assert.match(headers.get('location') ?? '', /^\/files\/[\w-]+$/)
  assert.equal(headers.get('upload-draft-interop-version'), '8')
  assert.equal(headers.get('upload-limit'), 'max-size=107374182400')

  await exchange.write(pattern(MiB))
  exchange.end()
  assert.deepEqual(stateOf(await exchange.answer), { status: 200, offset: String(MiB), complete: '?1', length: String(MiB) })
  assert.ok(contentOf(site, locationOf({ headers })).equals(pattern(MiB)))
  exchange.cut('fin')
})

overBoth('R31, R37 · the first 104 and the 201 tell all limits, or that there are none', async (t, version) => {
  const rows = [
    [{ maxSize: Number.MAX_SAFE_INTEGER }, { 'min-size': 0 }],
    [
      { maxSize: 200, maxAppendSize: 150, minSize: 5, minAppendSize: 3 },
      { 'max-size': 200, 'min-size': 5, 'max-append-size': 150, 'min-append-size': 3 },
    ],
    [{ maxSize: 200, onCreate: () => ({ maxSize: 120 }) }, { 'max-size': 120 }],
  ] as const
  for (const [options, limits] of rows) {
    const site = await serve(t, version, options)
    const created = await create(site, { ...I8, 'Upload-Complete': '?0', 'Upload-Length': '100' }, 'hello')
    assert.equal(created.status, 201)
    for (const answer of [created.interim[0] ?? assert.fail('no 104'), created]) assert.deepEqual(limitsOf(answer), limits)
  }
})

overBoth('R31, R37 · the first 104 and the 201 tell for how long the upload is kept', async (t, version) => {
  const site = await serve(t, version, { maxSize: Number.MAX_SAFE_INTEGER, expiration: { afterMs: HOUR } })
  const created = await create(site, { ...I8, 'Upload-Complete': '?0', 'Upload-Length': '100' }, 'hello')
  for (const answer of [created.interim[0] ?? assert.fail('no 104'), created]) {
    const { 'max-age': maxAge = NaN, ...others } = limitsOf(answer)
    assert.ok(maxAge > 3590 && maxAge <= 3600, `${maxAge} of 3600 s`)
    assert.deepEqual(others, {})
  }
})

overBoth('R32 · a client that speaks no version that is served is sent no 104, and is served all the same', async (t, version) => {
  const site = await serve(t, version)
  const name = 'Upload-Draft-Interop-Version'
  const rows = [{}, ...['7', '6', '10', 'abc', '"8"', '8.0', '?1', '-8', ''].map((value) => ({ [name]: value })), { [name]: ['8', '8'] }]
  for (const headers of rows) {
    const complete = await create(site, { ...headers, 'Upload-Complete': '?1' }, pattern(100_000))
    assert.deepEqual(stateOf(complete), { status: 200, offset: '100000', complete: '?1', length: '100000' }, JSON.stringify(headers))
    assert.ok(contentOf(site, locationOf(complete)).equals(pattern(100_000)))
    const incomplete = await create(site, { ...headers, 'Upload-Complete': '?0' }, 'hello')
    assert.deepEqual(stateOf(incomplete), { status: 201, offset: '5', complete: '?0' })
    for (const answer of [complete, incomplete]) assert.deepEqual(answer.interim, [], JSON.stringify(headers))
  }
})

overBoth('R32, R33 · a 104 names the version of its request, of those that are served', async (t, version) => {
  const site = await serve(t, version, { interopVersions: [7, 8] })
  for (const [value, told] of [['7', '7'], ['8', '8'], ['8;a=b', '8'], ['6', undefined]] as const) {
    const { status, interim } = await create(site, { 'Upload-Draft-Interop-Version': value, 'Upload-Complete': '?0' }, 'hello')
    assert.equal(status, 201)
    assert.equal(interim[0]?.headers.get('upload-draft-interop-version'), told)
  }
})

test('R34 · a client of HTTP/1.0 is sent no interim response', async (t) => {
  const site = await serve(t, 'HTTP/1.1', { store: watched })
  const client = await WireClient.connect(site.port)
  await client.send('POST /files/ HTTP/1.0\r\nUpload-Draft-Interop-Version: 8\r\nUpload-Complete: ?1\r\nContent-Length: 10\r\n\r\nhello')
  await site.store.arrived(5) // another client has been told by then
  await client.send('world')
  const answer = await client.response()
  assert.deepEqual(stateOf(answer), { status: 200, offset: '10', complete: '?1', length: '10' })
  assert.equal(contentOf(site, locationOf(answer)).toString(), 'helloworld')
  client.socket.end()
  assert.equal(await client.closed(), '')
})

overBoth('R35 · a client that waits for 100 Continue is sent that and 104, and then the answer to its content', async (t, version) => {
  const site = await serve(t, version)
  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1', Expect: '100-continue' }, 10)
  const told = new Set<number>()
  while (!(told.has(100) && told.has(104))) told.add((await exchange.interim()).status)
  assert.equal(told.size, 2)
  await exchange.write('helloworld')
  exchange.end()
  const answer = await exchange.answer
  assert.deepEqual(stateOf(answer), { status: 200, offset: '10', complete: '?1', length: '10' })
  assert.equal(contentOf(site, locationOf(answer)).toString(), 'helloworld')
  exchange.cut('fin')
})

for (const length of ['known', 'unknown'] as const) {
  overBoth(`R36, R43 · a creation that brings all, of ${length} length, is answered as what is made of it`, async (t, version) => {
    const finished: Upload[] = []
    const onFinish = (upload: Upload): object => {
      finished.push(upload)
      return { status: 202, headers: { 'X-Receipt': '7' }, body: 'taken' }
    }
    const site = await serve(t, version, { onFinish })
    const answer = await create(site, { ...I8, 'Upload-Complete': '?1' }, 'helloworld', length)
    assert.deepEqual(stateOf(answer), { status: 202, offset: '10', complete: '?1', length: '10' })
    assert.deepEqual([answer.headers.get('x-receipt'), answer.body.trim()], ['7', 'taken'])
    assert.equal(locationOf(answer), locationOf(answer.interim[0] ?? assert.fail('no 104')))
    assert.deepEqual(finished.map(({ offset, length }) => [offset, length]), [[10, 10]])
    assert.equal(contentOf(site, locationOf(answer)).toString(), 'helloworld')
  })
}

overBoth('R37, R38, R43 · a creation that brings a part is 201 with the address, and what comes later completes it', async (t, version) => {
  const site = await serve(t, version)
  const content = pattern(100)
  const created = await create(site, { ...I8, 'Upload-Complete': '?0', 'Upload-Length': '100' }, content.subarray(0, 32))
  assert.deepEqual(stateOf(created), { status: 201, offset: '32', complete: '?0', length: '100' })
  assert.equal(created.body, '')
  assert.equal(created.headers.get('upload-limit'), 'max-size=107374182400')
  const upload = locationOf(created)
  assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '32', complete: '?0', length: '100' })
  assert.equal((await append(site, upload, 32, true, content.subarray(32))).status, 200)
  assert.ok(contentOf(site, upload).equals(content))
})

overBoth('R39 · the length that a creation tells is kept, be it said or follow from its content, even if that is cut off', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '100' })
  assert.equal((await head(site, upload)).headers.get('upload-length'), '100')

  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, 100)
  const cut = locationOf(await exchange.interim())
  await exchange.write(pattern(50))
  await stored(site, cut, 50)
  exchange.cut('rst')
  assert.deepEqual(stateOf(await head(site, cut)), { status: 204, offset: '50', complete: '?0', length: '100' })
})

overBoth('R40 · no length is reported before one is known, even if content that was to be the last is cut off', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, {}, 'hello')
  assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '5', complete: '?0' })

  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, 'unknown')
  const cut = locationOf(await exchange.interim())
  await exchange.write(pattern(50))
  await stored(site, cut, 50)
  exchange.cut('rst')
  assert.deepEqual(stateOf(await head(site, cut)), { status: 204, offset: '50', complete: '?0' })
})

overBoth('R33, R41 · the 104s of a slow creation tell how far it is, never back and never beyond what was sent', async (t, version) => {
  const advance = stopClock(t)
  const site = await serve(t, version)
  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, MiB)
  const upload = locationOf(await exchange.interim())
  let sent = 0
  const told = [0]
  const listen = async (): Promise<never> => {
    for (;;) {
      const { status, headers } = await exchange.interim()
      const offset = Number(headers.get('upload-offset'))
      assert.deepEqual([status, headers.get('upload-draft-interop-version')], [104, '8'])
      assert.ok(offset >= (told.at(-1) ?? NaN) && offset <= sent, `${offset} after ${told.at(-1)}, of ${sent}`)
      told.push(offset)
    }
  }
  const listened = assert.rejects(listen(), /No interim response/)
  while (sent < MiB) {
    advance(1000) // it is time for the next message
    const piece = pattern(MiB).subarray(sent, sent + MiB / 8)
    sent += piece.length
    await exchange.write(piece)
    await stored(site, upload, sent)
  }
  exchange.end()
  assert.equal((await exchange.answer).headers.get('upload-offset'), String(MiB))
  await listened
  assert.ok(told.length > 2, `only ${told} was told`)
  assert.ok(contentOf(site, upload).equals(pattern(MiB)))
  exchange.cut('fin')
})

overBoth('R42 · the 104 and the 201 name the same address, as the server is seen from outside', async (t, version) => {
  for (const publicUrl of ['/files/', 'https://example.org/up/']) {
    const site = await serve(t, version, { publicUrl })
    const created = await create(site, { ...I8, 'Upload-Complete': '?0' }, 'hello')
    const told = created.interim.filter(({ headers }) => headers.has('location')).map(locationOf)
    assert.deepEqual(told, [locationOf(created)])
    assert.ok(locationOf(created).startsWith(publicUrl))
  }
})

/** A creation that is refused for what its head says, or for what the server says to that. */
interface RefusedCreation {
  readonly what: string
  readonly status: number
  readonly options?: SiteOptions
  readonly headers?: Call['headers']
}

const refusedAtOnce: readonly RefusedCreation[] = [
  { what: 'a length that its content contradicts', status: 400, headers: { 'Upload-Length': '6' } },
  { what: 'a Content-Digest that is none', status: 400, headers: { 'Content-Digest': 'sha-256=:AAAA:' } },
  { what: 'fewer bytes than the least', status: 400, options: { minSize: 6 } },
  { what: 'no credential', status: 401, options: { authorize: () => { throw refusal(401, { 'WWW-Authenticate': 'Basic' }) } } },
  { what: 'the wrong credential', status: 403, options: { authorize: () => { throw refusal(403) } } },
  { what: 'a type that onCreate refuses', status: 415, options: { onCreate: () => { throw refusal(415) } } },
  { what: 'more bytes than the maximum', status: 413, options: { maxSize: 4 } },
  { what: 'more bytes than one request may bring', status: 413, options: { maxAppendSize: 4 } },
  { what: 'a hook that fails', status: 500, options: { onCreate: () => { throw new Error('secret') } } },
  { what: 'too many uploads under way', status: 503, options: { maxConcurrent: 0 } },
]

for (const { what, status, options, headers } of refusedAtOnce) {
  overBoth(`R43, R48 · a creation with ${what} is ${status} at once, without 104 and 100, and creates nothing`, async (t, version) => {
    const site = await serve(t, version, options)
    const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1', Expect: '100-continue', ...headers }, 5)
    const answer = await exchange.answer // no content was sent
    assert.deepEqual(stateOf(answer), { status, complete: '?0' })
    assert.deepEqual(answer.interim, [])
    assert.equal(answer.headers.has('location'), false)
    assert.equal(
      answer.headers.has('upload-limit'),
      status === 413 || options?.minSize !== undefined || headers?.['Upload-Length'] !== undefined,
    )
    assert.ok(!answer.body.includes('secret'))
    exchange.cut('fin')
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  })
}

overBoth('R43 · a creation under an id that is taken is 409 without an offset, and leaves the upload that has it alone', async (t, version) => {
  const site = await serve(t, version, { onCreate: () => ({ id: 'taken' }) })
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  const before = snapshot(site.folder)
  const answer = await create(site, { ...I8, 'Upload-Complete': '?1' }, 'other')
  assert.deepEqual(stateOf(answer), { status: 409, complete: '?0' })
  assert.deepEqual(answer.interim, [])
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal(await offsetOf(site, upload), 5)
})

overBoth('R43 · a creation whose hook takes too long is 503, and creates nothing even when the hook agrees at last', async (t, version) => {
  for (const [complete, content] of [['?1', 'hello'], ['?0', 'hello'], ['?0', undefined]] as const) {
    const gate = new Gate()
    const site = await serve(t, version, { answerTimeoutMs: 20, onCreate: () => gate.pass() })
    const answer = await create(site, { ...I8, 'Upload-Complete': complete }, content)
    assert.deepEqual(stateOf(answer), { status: 503, complete: '?0' })
    assert.deepEqual(answer.interim, [])
    gate.open()
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  }
})

for (const [client, headers] of [['that was told its address', I8], ['that was not told its address', {}]] as const) {
  overBoth(`R43 · a creation ${client}, and that brings more than the server takes, is 413 with the address, and keeps what it takes`, async (t, version) => {
    for (const [options, limits] of [
      [{ maxSize: 4 }, { 'max-size': 4 }],
      [
        { maxSize: 9, maxAppendSize: 4 },
        { 'max-size': 9, 'max-append-size': 4 },
      ],
    ] as const) {
      const site = await serve(t, version, options)
      const answer = await create(site, { ...headers, 'Upload-Complete': '?1' }, 'hello', 'unknown')
      assert.deepEqual(stateOf(answer), { status: 413, offset: '4', complete: '?0' })
      assert.deepEqual(limitsOf(answer), limits)
      const upload = locationOf(answer)
      assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '4', complete: '?0' })
      assert.equal((await append(site, upload, 4, true)).status, 200)
      assert.equal(contentOf(site, upload).toString(), 'hell')
    }
  })

  overBoth(`R43 · a creation ${client}, and that falls silent, is 503 with the address and the offset`, async (t, version) => {
    const site = await serve(t, version, { idleTimeoutMs: 50 })
    const exchange = await beginCreation(site, { ...headers, 'Upload-Complete': '?1' }, 10)
    await exchange.write('hello')
    const answer = await exchange.answer
    assert.deepEqual(stateOf(answer), { status: 503, offset: '5', complete: '?0' })
    exchange.cut('fin')
    await site.settled()
    const upload = locationOf(answer)
    assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '5', complete: '?0', length: '10' })
    assert.equal((await append(site, upload, 5, true, 'world')).status, 200)
    assert.equal(contentOf(site, upload).toString(), 'helloworld')
  })
}

overBoth('R43 · what onFinish refuses is complete, what it fails at is not', async (t, version) => {
  for (const [status, complete] of [[422, '?1'], [503, '?0'], [undefined, '?0']] as const) {
    const onFinish = (): never => { throw status === undefined ? new Error('secret') : refusal(status) }
    const site = await serve(t, version, { onFinish })
    const answer = await create(site, { ...I8, 'Upload-Complete': '?1' }, 'hello')
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [status ?? 500, complete])
  }
})

for (const how of ['fin', 'rst'] as const) {
  for (const length of [MiB, 'unknown'] as const) {
    overBoth(`R44, R45 · of a creation of ${length === MiB ? 'known' : 'unknown'} length that is cut (${how}) every byte that came is kept, and nothing is made of it`, async (t, version) => {
      const finished: Upload[] = []
      const site = await serve(t, version, { onFinish: (upload) => void finished.push(upload) })
      const source = pattern(MiB)
      const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, length)
      const upload = locationOf(await exchange.interim())
      await exchange.write(source.subarray(0, 300_000))
      await stored(site, upload, 300_000)
      exchange.cut(how)

      const left = { status: 204, offset: '300000', complete: '?0', ...(length === MiB && { length: String(MiB) }) }
      assert.deepEqual(stateOf(await head(site, upload)), left)
      await site.settled()
      assert.deepEqual(stateOf(await head(site, upload)), left)
      assert.deepEqual(finished, [])

      assert.equal((await append(site, upload, 300_000, true, source.subarray(300_000))).status, 200)
      assert.equal(finished.length, 1)
      assert.ok(contentOf(site, upload).equals(source))
    })
  }
}

test('R44 · of a creation whose client closes, every byte that it sent before is kept, though none was known to have come', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, MiB)
  const upload = locationOf(await exchange.interim())
  await exchange.write(pattern(MiB).subarray(0, 300_000))
  exchange.cut('fin')
  await exchange.closed
  assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '300000', complete: '?0', length: String(MiB) })
})

overBoth('R45 · a creation that is cut between its last byte and its end is not complete until its client says so', async (t, version) => {
  for (const how of ['fin', 'rst'] as const) {
    const finished: Upload[] = []
    const site = await serve(t, version, { onFinish: (upload) => void finished.push(upload) })
    const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1', 'Upload-Length': '10' }, 'unknown')
    const upload = locationOf(await exchange.interim())
    await exchange.write('helloworld')
    await stored(site, upload, 10)
    exchange.cut(how)
    await site.settled()
    assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '10', complete: '?0', length: '10' })
    assert.deepEqual(finished, [])
    assert.equal((await append(site, upload, 10, true)).status, 200)
    assert.equal(finished.length, 1)
  }
})

overBoth('R44 · a creation that is cut before its first byte exists, and is empty', async (t, version) => {
  for (const how of ['fin', 'rst'] as const) {
    const site = await serve(t, version)
    const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, 10)
    const upload = locationOf(await exchange.interim())
    exchange.cut(how)
    await site.settled()
    assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '0', complete: '?0', length: '10' })
  }
})

for (const method of ['POST', 'PUT', 'PATCH']) {
  overBoth(`R46 · ${method} to the creation URL creates, with content and without`, async (t, version) => {
    const finished: (number | undefined)[] = []
    const site = await serve(t, version, { onFinish: ({ length }) => void finished.push(length) })
    for (const nothing of [undefined, '']) {
      const empty = await ask(site, method, '/files/', { ...I8, 'Upload-Complete': '?1' }, nothing)
      assert.deepEqual(stateOf(empty), { status: 200, offset: '0', complete: '?1', length: '0' })
      assert.equal(contentOf(site, locationOf(empty)).length, 0)

      const begun = await ask(site, method, '/files/', { ...I8, 'Upload-Complete': '?0' }, nothing)
      assert.deepEqual(stateOf(begun), { status: 201, offset: '0', complete: '?0' })
      assert.deepEqual(begun.interim, []) // 201 says it all
      assert.deepEqual(stateOf(await head(site, locationOf(begun))), { status: 204, offset: '0', complete: '?0' })
    }
    const whole = await ask(site, method, '/files/', { ...I8, 'Upload-Complete': '?1', 'Content-Type': 'text/plain' }, 'hello')
    assert.deepEqual(stateOf(whole), { status: 200, offset: '5', complete: '?1', length: '5' })
    assert.equal(contentOf(site, locationOf(whole)).toString(), 'hello')
    assert.deepEqual(finished, [0, 0, 5])
  })
}

overBoth('R46 · another method to the creation URL is 405 with those that are allowed, and creates nothing', async (t, version) => {
  const site = await serve(t, version)
  for (const method of ['GET', 'HEAD', 'DELETE']) {
    const answer = await ask(site, method, '/files/', { ...I8, 'Upload-Complete': '?1' })
    assert.equal(answer.status, 405)
    assert.equal(answer.headers.get('allow'), 'OPTIONS, POST, PUT, PATCH')
  }
  assert.equal(snapshot(site.folder).size, 0)
})

overBoth('R47 · what describes the representation is handed to the hooks as it came, and its coding is left alone', async (t, version) => {
  const seen: (readonly [hook: string, metadata: object])[] = []
  const see = (hook: string, metadata: ReadonlyMap<string, string> = new Map()): void =>
    void seen.push([hook, Object.fromEntries(metadata)])
  const site = await serve(t, version, {
    authorize: (operation) => { if (operation.kind === 'create') see('authorize', operation.description.metadata) },
    onCreate: ({ metadata }) => see('onCreate', metadata),
    onFinish: ({ metadata }) => see('onFinish', metadata),
  })
  const coded = gzipSync(pattern(1000))
  const created = await create(site, {
    ...I8, 'Upload-Complete': '?0', 'Content-Type': 'Image/PNG; q="1"', 'Content-Encoding': 'gzip',
    'Content-Disposition': "inline; filename*=UTF-8''%e2%82%ac%20rates.png",
  }, coded.subarray(0, 100))
  assert.deepEqual(stateOf(created), { status: 201, offset: '100', complete: '?0' })
  const upload = locationOf(created)
  const completed = await append(site, upload, 100, true, coded.subarray(100))
  assert.deepEqual(stateOf(completed), { status: 200, offset: String(coded.length), complete: '?1', length: String(coded.length) })
  assert.ok(contentOf(site, upload).equals(coded))
  const described = { filename: '€ rates.png', filetype: 'Image/PNG; q="1"', contentEncoding: 'gzip' }
  assert.deepEqual(seen, [['authorize', described], ['onCreate', described], ['onFinish', described]])
})

overBoth('R47 · filename* comes before filename, and a malformed one counts as missing', async (t, version) => {
  const names: unknown[] = []
  const site = await serve(t, version, { onCreate: ({ metadata }) => void names.push(metadata?.get('filename')) })
  const rows = [
    ['attachment; filename=plain.txt', 'plain.txt'],
    ['attachment; FileName = "a \\"b\\"; c.txt"', 'a "b"; c.txt'],
    ["attachment; filename=\"euro.txt\"; filename*=utf-8'en'%E2%82%AC.txt", '€.txt'],
    ["attachment; filename*=utf-8''%E2%82%AC.txt; filename=euro.txt", '€.txt'],
    ["attachment; filename=euro.txt; filename*=utf-8''%FF.txt", 'euro.txt'],
    ["attachment; filename=euro.txt; filename*=iso-8859-1''%A4.txt", 'euro.txt'],
    ['attachment', undefined],
    ['filename', undefined],
    ['; filename=x.txt', undefined],
    ['attachment filename=x.txt', undefined],
    ['attachment; x; filename=x.txt', undefined],
  ] as const
  for (const [disposition] of rows) await make(site, { 'Content-Disposition': disposition })
  await make(site)
  assert.deepEqual(names, [...rows.map(([, name]) => name), undefined])
})

for (const how of ['fin', 'rst'] as const) {
  overBoth(`R49 · a client that lost the answer while the upload was finished (${how}) asks again and is given it; nothing is done twice`, async (t, version) => {
    const gate = new Gate()
    const finished: Upload[] = []
    const onFinish = async (upload: Upload): Promise<object> => {
      finished.push(upload)
      await gate.pass()
      return { status: 202, body: 'taken' }
    }
    const site = await serve(t, version, { onFinish })
    const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, 10)
    const upload = locationOf(await exchange.interim())
    await exchange.write('helloworld')
    exchange.end()
    await gate.arrived
    exchange.cut(how)
    gate.open()

    assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '10', complete: '?1', length: '10' })
    for (let time = 0; time < 2; time++) {
      const answer = await append(site, upload, 10, true)
      assert.deepEqual(stateOf(answer), { status: 202, offset: '10', complete: '?1', length: '10' })
      assert.equal(answer.body.trim(), 'taken')
    }
    assert.equal(finished.length, 1)
  })

  overBoth(`R49 · a client that goes after its last byte (${how}) finds the upload complete, or completes it; it is processed once`, async (t, version) => {
    const finished: string[] = []
    const site = await serve(t, version, { onFinish: ({ id }) => void finished.push(id) })
    for (let round = 0; round < 10; round++) {
      const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1' }, 10)
      const upload = locationOf(await exchange.interim())
      await exchange.write('hello')
      await stored(site, upload, 5)
      await exchange.write('world')
      exchange.end()
      exchange.cut(how)

      const offset = await offsetOf(site, upload) // a reset may have overtaken what was sent last
      const answer = await append(site, upload, offset, true, 'helloworld'.slice(offset))
      assert.deepEqual(stateOf(answer), { status: 200, offset: '10', complete: '?1', length: '10' })
      assert.equal(finished.filter((id) => upload.endsWith(id)).length, 1)
      assert.equal(contentOf(site, upload).toString(), 'helloworld')
    }
  })
}

for (const [client, headers] of [['that was told its address', I8], ['that was not told its address', {}]] as const) {
  for (const complete of ['?0', '?1']) {
    overBoth(`a creation (${complete}) ${client}, and that a shutdown ends, is 503 with the address and the offset; it goes on at the next server`, async (t, version) => {
      const shutdown = new AbortController()
      const site = await serve(t, version, { signal: shutdown.signal, onCreate: () => ({ id: 'one' }), store: watched })
      const exchange = await beginCreation(site, { ...headers, 'Upload-Complete': complete, 'Upload-Length': '10' }, 10)
      await exchange.write('hello')
      if (headers === I8) assert.equal(locationOf(await exchange.interim()), '/files/one')
      await site.store.arrived(5)

      shutdown.abort()
      const answer = await exchange.answer
      assert.deepEqual(stateOf(answer), { status: 503, offset: '5', complete: '?0' })
      assert.equal(locationOf(answer), '/files/one')
      assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
      exchange.cut('fin')
      await site.settled()

      const next = await serve(t, version, { folder: site.folder })
      assert.deepEqual(stateOf(await head(next, '/files/one')), { status: 204, offset: '5', complete: '?0', length: '10' })
      assert.deepEqual(stateOf(await append(next, '/files/one', 5, true, 'world')), {
        status: 200,
        offset: '10',
        complete: '?1',
        length: '10',
      })
      assert.equal(contentOf(next, '/files/one').toString(), 'helloworld')
    })
  }
}

overBoth('a creation whose content must match a digest, and that a shutdown ends, is 503 with the address and offset 0', async (t, version) => {
  const shutdown = new AbortController()
  const site = await serve(t, version, { signal: shutdown.signal })
  const exchange = await beginCreation(site, { ...I8, 'Upload-Complete': '?1', 'Content-Digest': digestOf('helloworld') }, 10)
  const upload = locationOf(await exchange.interim())
  await exchange.write('hello')
  shutdown.abort()
  const answer = await exchange.answer
  assert.deepEqual(stateOf(answer), { status: 503, offset: '0', complete: '?0' })
  assert.equal(locationOf(answer), upload)
  exchange.cut('fin')
  await site.settled()

  const next = await serve(t, version, { folder: site.folder })
  assert.deepEqual(stateOf(await head(next, upload)), { status: 204, offset: '0', complete: '?0', length: '10' })
  assert.equal((await append(next, upload, 0, true, 'helloworld', { 'Content-Digest': digestOf('helloworld') })).status, 200)
  assert.equal(contentOf(next, upload).toString(), 'helloworld')
})

overBoth('R48 · a creation that is refused after its content leaves nothing behind if its client knows no address', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => { throw refusal(422) } })
  const rows = [
    { status: 400, complete: '?0', headers: { 'Upload-Complete': '?0', 'Content-Digest': digestOf('other') } },
    { status: 400, complete: '?0', headers: { 'Upload-Complete': '?1', 'Content-Digest': digestOf('other') } },
    { status: 400, complete: '?0', headers: { 'Upload-Complete': '?0', 'Upload-Length': '4' } },
    { status: 400, complete: '?0', headers: { 'Upload-Complete': '?1', 'Upload-Length': '4' } },
    { status: 400, complete: '?1', headers: { 'Upload-Complete': '?1', 'Repr-Digest': digestOf('other') } },
    { status: 422, complete: '?1', headers: { 'Upload-Complete': '?1' } },
  ]
  for (const { status, complete, headers } of rows) {
    const answer = await create(site, headers, 'hello', 'unknown')
    const row = JSON.stringify(headers)
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [status, complete], row)
    assert.equal(answer.headers.has('location'), false, row)
    await site.settled()
    assert.deepEqual([...snapshot(site.folder).keys()], [], row)
  }
})

overBoth('R48 · a creation whose client knows its address, and whose content does not match its digest, stays, empty', async (t, version) => {
  const finished: Upload[] = []
  const site = await serve(t, version, { onFinish: (upload) => void finished.push(upload) })
  const answer = await create(site, { ...I8, 'Upload-Complete': '?1', 'Content-Digest': digestOf('other') }, 'hello')
  assert.deepEqual(stateOf(answer), { status: 400, offset: '0', complete: '?0' })
  const upload = locationOf(answer.interim[0] ?? assert.fail('no 104'))
  assert.deepEqual(stateOf(await head(site, upload)), { status: 204, offset: '0', complete: '?0', length: '5' })
  assert.equal(contentOf(site, upload).length, 0)
  assert.deepEqual(finished, [])

  assert.equal((await append(site, upload, 0, true, 'hello', { 'Content-Digest': digestOf('hello') })).status, 200)
  assert.equal(contentOf(site, upload).toString(), 'hello')
  assert.equal(finished.length, 1)
})

overBoth('R48 · a creation whose client knows its address, and that brings more than its length, is deactivated', async (t, version) => {
  const site = await serve(t, version)
  for (const complete of ['?0', '?1']) {
    const answer = await create(site, { ...I8, 'Upload-Complete': complete, 'Upload-Length': '4' }, 'hello', 'unknown')
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [400, '?0'])
    const upload = locationOf(answer.interim[0] ?? assert.fail('no 104'))
    assert.deepEqual(stateOf(await head(site, upload)), { status: 410 })
    assert.equal((await append(site, upload, 4, true)).status, 410)
    assert.equal((await ask(site, 'DELETE', upload, I8)).status, 204)
    assert.equal((await head(site, upload)).status, 404)
  }
})
