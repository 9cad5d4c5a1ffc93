// SPDX-License-Identifier: MIT

/** Checklist R.2: the limits that are told, and that they hold. */

import assert from 'node:assert/strict'
import { statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { formatDictionary } from '../../lib/rufh/structured-fields.ts'
import type { AppendOptions, NewUpload, Upload } from '../../lib/upload/types.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { append, ask, assertInconsistentLength, assertState, head, limitsOf, make, toldLimits } from './checked.ts'
import { I8, overBoth, PU, serve, type Answer, type Call, type Head, type Site, type SiteOptions, type Version } from './support.ts'

const HOUR = 3_600_000
const UNLIMITED = { maxSize: Number.MAX_SAFE_INTEGER }

/** Sends content without saying how long it is. */
function appendChunked(site: Site, path: string, offset: number, complete: '?0' | '?1', content: string): Promise<Answer> {
  return ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': String(offset), 'Upload-Complete': complete }, content, 'unknown')
}

function create(
  site: Site,
  complete: '?0' | '?1',
  headers: Call['headers'] = {},
  content = '',
  length: 'known' | 'unknown' = 'known',
): Promise<Answer> {
  return ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': complete, ...headers }, content, length)
}

function lengthField(length: number | undefined): Readonly<Record<string, string>> {
  return length === undefined ? {} : { 'Upload-Length': String(length) }
}

/** That a limit was in the way: the answer tells which. */
function assertLimited(answer: Answer, status: 400 | 413, key: string, value: number): void {
  assert.equal(answer.status, status)
  assert.equal(toldLimits(answer).get(key), value)
  assert.equal(answer.headers.get('upload-complete'), '?0')
  assert.match(answer.body, /^[A-Z][^\r\n]*\n$/)
}

/** That no upload came of a creation: nothing is stored, and its client was told of none. */
function assertNothingCreated(site: Site, answer: Answer): void {
  assert.deepEqual(answer.interim, [])
  assert.equal(answer.headers.has('location'), false)
  assert.deepEqual(filesIn(site.folder), [])
}

// R16 to R19

overBoth('R16 · OPTIONS reports the limits, without a word of uploads in the request', async (t, version) => {
  const options = { maxSize: 1000, minSize: 10, maxAppendSize: 100, minAppendSize: 5, expiration: { afterMs: HOUR } }
  const site = await serve(t, version, options)
  const path = await make(site, { 'Upload-Length': '20' })
  for (const target of ['/files/', path, '/files/unknown']) {
    const answer = await ask(site, 'OPTIONS', target)
    assert.equal(answer.status, 204)
    const expected = [['max-size', 1000], ['min-size', 10], ['max-append-size', 100], ['min-append-size', 5], ['max-age', 3600]] as const
    assert.deepEqual(toldLimits(answer), new Map(expected))
    assert.equal(answer.headers.get('upload-limit'), formatDictionary(expected))
    assert.equal(answer.headers.get('accept-patch'), 'application/partial-upload')
  }
})

overBoth('R16 · OPTIONS reports the largest size that there is by default', async (t, version) => {
  const answer = await ask(await serve(t, version), 'OPTIONS', '/files/')
  assert.deepEqual(toldLimits(answer), new Map([['max-size', 100 * 1024 ** 3]]))
})

overBoth('R17 · a server without limits says min-size=0, at every occasion', async (t, version) => {
  const site = await serve(t, version, UNLIMITED)
  const created = await create(site, '?0', { 'Upload-Length': '10' }, 'hello')
  const path = addressOf(created)
  const answers = [
    await ask(site, 'OPTIONS', '/files/'), ...created.interim.slice(0, 1), created, await head(site, path),
    await append(site, path, 5, false, 'world'), await append(site, path, 10, true), await head(site, path),
  ]
  assert.equal(answers[1]?.status, 104)
  for (const answer of answers) assert.equal(answer.headers.get('upload-limit'), 'min-size=0', String(answer.status))
})

overBoth('R18 · OPTIONS * is not for uploads: it is 404, and creates nothing', async (t, version) => {
  const site = await serve(t, version, { maxSize: 1000 })
  for (const headers of [{}, { ...I8, 'Upload-Complete': '?1' }]) {
    const answer = await ask(site, 'OPTIONS', '*', headers)
    assert.equal(answer.status, 404)
    assertNothingCreated(site, answer)
  }
})

overBoth('R19 · OPTIONS with Upload-Complete creates nothing, and reports the limits', async (t, version) => {
  const site = await serve(t, version, { maxSize: 1000, onFinish: () => assert.fail('nothing was uploaded') })
  for (const complete of ['?0', '?1']) {
    for (const content of [undefined, 'hello']) {
      const answer = await ask(site, 'OPTIONS', '/files/', { ...I8, 'Upload-Complete': complete, 'Upload-Length': '5' }, content)
      assert.equal(answer.status, 204)
      assert.equal(toldLimits(answer).get('max-size'), 1000)
      assertNothingCreated(site, answer)
    }
  }
})

// R20 to R22

/** Limits of all kinds; an upload of ten bytes is within them. */
const SITES: readonly SiteOptions[] = [
  {},
  UNLIMITED,
  { ...UNLIMITED, maxAppendSize: 100 },
  { maxSize: 999_999_999_999_999, maxAppendSize: 999_999_999_999_998 },
  { maxSize: 10, minSize: 10, maxAppendSize: 5, minAppendSize: 5 },
  { maxSize: 1000, maxAppendSize: 1000, minAppendSize: 1 },
  { maxSize: 1000, maxAppendSize: 2000, expiration: { afterMs: 60_500 } },
  { expiration: { afterMs: Number.MAX_SAFE_INTEGER, from: 'creation' } },
  { expiration: { afterMs: HOUR, from: 'creation' }, onCreate: () => ({ maxSize: 50 }), maxAppendSize: 20 },
]

/** Every answer that tells limits, in the life of an upload of ten bytes. */
async function lifeOf(site: Site): Promise<{ readonly asked: Head; readonly told: readonly Head[] }> {
  const asked = await ask(site, 'OPTIONS', '/files/')
  const empty = await create(site, '?0', { 'Upload-Length': '10' })
  const created = await create(site, '?0', { 'Upload-Length': '10' }, 'hello')
  const path = addressOf(created)
  assert.deepEqual(created.interim.map(({ status }) => status).slice(0, 1), [104])
  const told = [
    empty, ...created.interim.slice(0, 1), created, await head(site, path), await ask(site, 'GET', path, I8),
    await append(site, path, 5, false, 'world'), await head(site, path), await append(site, path, 10, true), await head(site, path),
  ]
  assert.deepEqual(told.map(({ status }) => status), [201, 104, 201, 204, 204, 204, 204, 200, 204])
  return { asked, told }
}

overBoth('R20 · limits are a dictionary of integers, the least of each kind no larger than the most', async (t, version) => {
  for (const options of SITES) {
    const { asked, told } = await lifeOf(await serve(t, version, options))
    for (const answer of [asked, ...told]) assert.ok(toldLimits(answer).size > 0) // all else is looked at with every answer
  }
})

overBoth('R20 · a client of version 6 gets the age under its old name, and one of an older version no limits', async (t, version) => {
  const site = await serve(t, version, { expiration: { afterMs: HOUR }, interopVersions: [3, 4, 5, 6, 7, 8] })
  const path = await make(site)
  for (const [interop, key] of [[3, undefined], [4, undefined], [5, undefined], [6, 'expires'], [7, 'max-age'], [8, 'max-age']] as const) {
    const answer = await ask(site, 'HEAD', path, { 'Upload-Draft-Interop-Version': String(interop) })
    assert.equal(answer.status, 204)
    const age = limitsOf(answer)?.get(key ?? '')
    assert.equal(age === undefined ? undefined : Math.abs(age - 3600) <= 5, key === undefined ? undefined : true, `${interop}: ${age}`)
    if (key === undefined) assert.equal(answer.headers.has('upload-limit'), false)
  }
})

/** A store whose files were last changed when the clock of the test says so. */
class ClockedStore extends StoreBehind {
  override async create(upload: NewUpload): Promise<Upload> {
    const created = await super.create(upload)
    this.#touch(created)
    return created
  }

  override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    try {
      return await super.append(upload, body, options)
    } finally {
      if (statSync(this.#pathOf(upload)).size !== upload.offset) this.#touch(upload)
    }
  }

  #touch(upload: Upload): void {
    const now = new Date()
    utimesSync(this.#pathOf(upload), now, now)
  }

  #pathOf({ id }: Upload): string {
    return join(this.files.directory, id)
  }
}

/** A server whose time passes when the test says so. */
async function serveClocked(
  t: TestContext,
  version: Version,
  options: SiteOptions,
): Promise<{ readonly site: Site; readonly pass: (ms: number) => void }> {
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2030, 0) })
  const site = await serve(t, version, { ...options, store: (files) => new ClockedStore(files) })
  return { site, pass: (ms) => t.mock.timers.tick(ms) }
}

for (const from of ['creation', 'activity'] as const) {
  overBoth(`R21 · over the life of an upload no limit becomes narrower, and its end moves no closer (from ${from})`, async (t, version) => {
    const expiration = { afterMs: HOUR, from }
    const { site, pass } = await serveClocked(t, version, {
      expiration,
      maxSize: 1000,
      maxAppendSize: 100,
      minSize: 10,
      minAppendSize: 2,
      progressIntervalMs: Infinity,
    })
    const begunMs = Date.now()
    let last: ReadonlyMap<string, number> = new Map()
    let endsMs = 0
    /** Compares with what was told before; `activeMs`: when the upload was last sent something. */
    const hear = (answer: Head, status: number, activeMs: number): void => {
      assert.equal(answer.status, status)
      const limits = toldLimits(answer)
      for (const [key, value] of last) {
        if (key.startsWith('max-') && key !== 'max-age') assert.ok((limits.get(key) ?? Infinity) >= value, key)
        if (key.startsWith('min-')) assert.ok((limits.get(key) ?? 0) <= value, key)
      }
      last = limits
      const age = limits.get('max-age') ?? Infinity
      const nowEndsMs = Date.now() + age * 1000
      assert.ok(nowEndsMs >= endsMs - 1000, `${status} moves the end from ${endsMs} to ${nowEndsMs}`)
      endsMs = Math.max(endsMs, nowEndsMs)
      if (age === Infinity) return
      const expected = (from === 'creation' ? begunMs : activeMs) + HOUR
      assert.ok(nowEndsMs <= expected && nowEndsMs > expected - 1000, `${status} tells of ${nowEndsMs} in place of ${expected}`)
    }

    const created = await create(site, '?0', { 'Upload-Length': '20' }, 'hello')
    const path = addressOf(created)
    for (const answer of [...created.interim, created]) hear(answer, answer === created ? 201 : 104, begunMs)
    assert.equal(created.interim.length, 1)
    pass(600_700)
    hear(await head(site, path), 204, begunMs)
    const appendedMs = Date.now()
    hear(await append(site, path, 5, false, 'world'), 204, appendedMs)
    pass(900_900)
    hear(await head(site, path), 204, appendedMs)
    pass(900_900)
    hear(await ask(site, 'GET', path, I8), 204, appendedMs)
    hear(await append(site, path, 10, false, 'x'.repeat(10)), 204, Date.now())
    hear(await head(site, path), 204, Date.now())
    assert.equal(last.has('max-age'), true)
    const finished = await append(site, path, 20, true)
    hear(finished, 200, Date.now())
    assert.equal(limitsOf(finished)?.has('max-age'), false, 'what is complete is kept')
    pass(10 * HOUR)
    hear(await head(site, path), 204, Date.now())
  })
}

overBoth('R21 · the end that an empty append tells is the one that HEAD reports', async (t, version) => {
  const { site, pass } = await serveClocked(t, version, { expiration: { afterMs: HOUR } })
  const path = await make(site, {}, 'hello')
  pass(600_000)
  const ages = [await head(site, path), await append(site, path, 5, false), await head(site, path)].map((answer) =>
    toldLimits(answer).get('max-age'),
  )
  assert.equal(ages[0], 3000)
  assert.equal(ages[1], ages[2])
})

overBoth('R21 · the limits that an append below min-append-size is told are those of its upload, as HEAD reports them', async (t, version) => {
  const { site, pass } = await serveClocked(t, version, {
    minAppendSize: 5,
    expiration: { afterMs: HOUR },
    onCreate: () => ({ maxSize: 50 }),
  })
  const path = await make(site, {}, 'hello')
  pass(600_000)
  const refused = await append(site, path, 5, false, 'x')
  assertLimited(refused, 400, 'min-append-size', 5)
  assert.deepEqual(toldLimits(refused), toldLimits(await head(site, path)))
})

overBoth('R22 · OPTIONS promises no more than a creation gets', async (t, version) => {
  for (const { onCreate: _, ...options } of SITES) { // a hook decides about one upload, which OPTIONS cannot know of
    const { asked, told } = await lifeOf(await serve(t, version, options))
    const promised = toldLimits(asked)
    for (const answer of told) {
      const limits = toldLimits(answer)
      for (const key of ['max-size', 'max-append-size', 'max-age']) {
        const slack = key === 'max-age' ? 5 : 0 // it is told in whole seconds of what is left
        assert.ok((promised.get(key) ?? Infinity) <= (limits.get(key) ?? Infinity) + slack, `${key} of ${answer.status}`)
      }
      for (const key of ['min-size', 'min-append-size']) {
        assert.ok((promised.get(key) ?? 0) >= (limits.get(key) ?? 0), `${key} of ${answer.status}`)
      }
    }
  }
})

overBoth('R21, R22 · what onCreate makes the largest size is told from 104 on, and holds', async (t, version) => {
  const site = await serve(t, version, { maxSize: 1000, maxAppendSize: 500, onCreate: () => ({ maxSize: 8 }) })
  const created = await create(site, '?0', {}, 'hello')
  const path = addressOf(created)
  for (const answer of [...created.interim.slice(0, 1), created, await head(site, path)]) {
    assert.deepEqual(toldLimits(answer), new Map([['max-size', 8]]))
  }
  assertLimited(await append(site, path, 5, false, 'worl'), 413, 'max-size', 8)
  await assertState(site, path, 5, '?0')
  assert.equal((await append(site, path, 5, true, 'wor')).status, 200)
})

// R23 to R25

overBoth('R23 · a creation of more than max-size is 413 with the limits, and creates nothing', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  const answers = [
    await create(site, '?0', { 'Upload-Length': '11' }),
    await create(site, '?0', { 'Upload-Length': '11' }, 'hello'),
    await create(site, '?0', { 'Upload-Length': '999999999999999' }),
    await create(site, '?0', { 'Upload-Length': '11' }, 'hello', 'unknown'),
    await create(site, '?0', {}, 'x'.repeat(11)),
    await create(site, '?1', {}, 'x'.repeat(11)),
    await create(site, '?1', { 'Upload-Length': '11' }, 'x'.repeat(11)),
    await create(site, '?1', { 'Upload-Length': '11' }, 'x'.repeat(11), 'unknown'),
  ]
  for (const answer of answers) {
    assertLimited(answer, 413, 'max-size', 10)
    assertNothingCreated(site, answer)
  }
})

overBoth('R23 · a creation of exactly max-size is within it', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  const path = await make(site, { 'Upload-Length': '10' })
  assert.equal((await append(site, path, 0, true, 'helloworld')).status, 200)
  assert.equal((await create(site, '?1', {}, 'helloworld')).status, 200)
  assert.equal((await create(site, '?1', {}, 'helloworld', 'unknown')).status, 200)
})

overBoth('R23 · a creation of more than onCreate allows is 413 with that limit, and creates nothing', async (t, version) => {
  const site = await serve(t, version, { maxSize: 1000, onCreate: () => ({ maxSize: 8 }) })
  for (const answer of [await create(site, '?0', { 'Upload-Length': '9' }), await create(site, '?1', {}, 'helloworld')]) {
    assertLimited(answer, 413, 'max-size', 8)
    assertNothingCreated(site, answer)
  }
})

overBoth('R23 · a length above max-size that comes with an append is 413 with the limits, and changes nothing', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  const answers = [
    await append(site, path, 5, false, 'x', { 'Upload-Length': '11' }),
    await append(site, path, 5, false, '', { 'Upload-Length': '11' }),
    await append(site, path, 5, true, 'x'.repeat(6)),
  ]
  for (const answer of answers) assertLimited(answer, 413, 'max-size', 10)
  assert.deepEqual(snapshot(site.folder), before)
  await assertState(site, path, 5, '?0')
})

overBoth('R24 · an upload of unknown length never grows past max-size: 413 with the limits, and what fitted is kept', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  for (const complete of ['?0', '?1'] as const) {
    const path = await make(site, {}, 'hello')
    const answer = await appendChunked(site, path, 5, complete, 'world!')
    assertLimited(answer, 413, 'max-size', 10)
    assert.equal(answer.headers.get('upload-offset'), '10')
    await assertState(site, path, 10, '?0')
    assert.equal(contentOf(site, path).toString(), 'helloworld')

    assertLimited(await append(site, path, 10, false, '!'), 413, 'max-size', 10)
    assertLimited(await appendChunked(site, path, 10, complete, '!'), 413, 'max-size', 10)
    await assertState(site, path, 10, '?0')
    assert.equal((await append(site, path, 10, true)).status, 200)
  }
})

overBoth('R24 · a creation of unknown length is cut at max-size: 413 with the limits, and it is there with what fitted', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  for (const complete of ['?0', '?1'] as const) {
    const answer = await create(site, complete, {}, 'helloworld!', 'unknown')
    assertLimited(answer, 413, 'max-size', 10)
    assert.equal(answer.headers.get('upload-offset'), '10')
    const path = locationOf(answer)
    for (const each of [...answer.interim, answer]) assert.ok(Number(each.headers.get('upload-offset') ?? 0) <= 10)
    await assertState(site, path, 10, '?0')
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  }
})

overBoth('R24 · content that is announced as more than max-size leaves room for is 413, and none of it is taken', async (t, version) => {
  const site = await serve(t, version, { maxSize: 10 })
  const path = await make(site, {}, 'hello')
  const answer = await append(site, path, 5, false, 'world!')
  assertLimited(answer, 413, 'max-size', 10)
  assert.equal(answer.headers.get('upload-offset'), '5')
  await assertState(site, path, 5, '?0')
})

overBoth('R25 · a request of more than max-append-size is 413 with the limits, and creates or changes nothing', async (t, version) => {
  const site = await serve(t, version, { maxAppendSize: 4 })
  for (const [complete, headers] of [['?0', {}], ['?0', { 'Upload-Length': '10' }], ['?1', {}]] as const) {
    const answer = await create(site, complete, headers, 'hello')
    assertLimited(answer, 413, 'max-append-size', 4)
    assertNothingCreated(site, answer)
  }
  for (const length of [undefined, 10]) {
    const path = await make(site, lengthField(length), 'hell')
    const before = snapshot(site.folder)
    for (const complete of [false, true]) {
      const answer = await append(site, path, 4, complete, 'oworld')
      assertLimited(answer, 413, 'max-append-size', 4)
      assert.equal(answer.headers.get('upload-offset'), '4')
      assert.deepEqual(snapshot(site.folder), before)
    }
    await assertState(site, path, 4, '?0', length)
    assert.equal((await append(site, path, 4, false, 'owor')).status, 204)
    assert.equal((await append(site, path, 8, true, 'ld')).status, 200)
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  }
})

overBoth('R25 · a request of unknown length is cut at max-append-size: 413 with the limits and the offset, from which it goes on', async (t, version) => {
  const site = await serve(t, version, { maxAppendSize: 4 })
  const created = await create(site, '?0', { 'Upload-Length': '11' }, 'hello', 'unknown')
  assertLimited(created, 413, 'max-append-size', 4)
  assert.equal(created.headers.get('upload-offset'), '4')
  const path = locationOf(created)
  await assertState(site, path, 4, '?0', 11)
  const appended = await appendChunked(site, path, 4, '?0', 'o world')
  assertLimited(appended, 413, 'max-append-size', 4)
  assert.equal(appended.headers.get('upload-offset'), '8')
  await assertState(site, path, 8, '?0', 11)
  assert.equal((await appendChunked(site, path, 8, '?1', 'rld')).status, 200)
  await assertState(site, path, 11, '?1', 11)
  assert.equal(contentOf(site, path).toString(), 'hello world')
})

overBoth('R25 · a request of unknown length that has exactly max-append-size is within it', async (t, version) => {
  const site = await serve(t, version, { maxAppendSize: 4 })
  const path = addressOf(await create(site, '?0', {}, 'hell', 'unknown'))
  assert.equal((await appendChunked(site, path, 4, '?0', 'owor')).status, 204)
  assert.equal((await appendChunked(site, path, 8, '?1', 'ld')).status, 200)
})

// R26 to R28

overBoth('R26 · an append below min-append-size that completes nothing is 400 with the limits, and changes nothing', async (t, version) => {
  const site = await serve(t, version, { minAppendSize: 5 })
  for (const length of [undefined, 10]) {
    const path = await make(site, lengthField(length), 'hello')
    const before = snapshot(site.folder)
    for (const content of ['', 'w', 'worl']) assertLimited(await append(site, path, 5, false, content), 400, 'min-append-size', 5)
    assert.deepEqual(snapshot(site.folder), before)
    await assertState(site, path, 5, '?0', length)
    assert.equal((await append(site, path, 5, false, 'world')).status, 204)
  }
})

overBoth('R26 · so is a creation with some content, but too little', async (t, version) => {
  const site = await serve(t, version, { minAppendSize: 5 })
  for (const content of ['h', 'hell']) {
    const answer = await create(site, '?0', { 'Upload-Length': '10' }, content)
    assertLimited(answer, 400, 'min-append-size', 5)
    assertNothingCreated(site, answer)
  }
})

overBoth('R26 · content of unknown length is taken, however little it turns out to be', async (t, version) => {
  const site = await serve(t, version, { minAppendSize: 5 })
  const path = addressOf(await create(site, '?0', {}, 'h', 'unknown'))
  assert.equal((await appendChunked(site, path, 1, '?0', 'e')).status, 204)
  await assertState(site, path, 2, '?0')
})

overBoth('R27 · a creation without content and what completes an upload may be below min-append-size', async (t, version) => {
  const site = await serve(t, version, { minAppendSize: 5 })
  for (const content of ['', 'w', 'worl']) {
    const path = await make(site)
    assert.equal((await append(site, path, 0, false, 'hello')).status, 204)
    assert.equal((await append(site, path, 5, true, content)).status, 200)
    assert.equal(contentOf(site, path).toString(), `hello${content}`)
    assert.equal((await create(site, '?1', {}, content)).status, 200)
  }
  assert.equal((await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0' })).status, 201)
})

overBoth('R28 · a creation below min-size, or of unknown length where there is one, is 400 with the limits: no 104, nothing created', async (t, version) => {
  const site = await serve(t, version, { minSize: 10 })
  const answers = [
    await create(site, '?0', { 'Upload-Length': '9' }),
    await create(site, '?0', { 'Upload-Length': '9' }, 'hello'),
    await create(site, '?0', { 'Upload-Length': '0' }),
    await create(site, '?0'),
    await create(site, '?0', {}, 'helloworld!'),
    await create(site, '?0', {}, 'helloworld!', 'unknown'),
    await create(site, '?0', { 'Upload-Length': 'abc' }, 'helloworld!'),
    await create(site, '?1'),
    await create(site, '?1', {}, 'hello'),
    await create(site, '?1', {}, 'helloworld!', 'unknown'),
  ]
  for (const answer of answers) {
    assertLimited(answer, 400, 'min-size', 10)
    assertNothingCreated(site, answer)
  }
})

overBoth('R28 · a creation of exactly min-size is not below it', async (t, version) => {
  const site = await serve(t, version, { minSize: 10 })
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  assert.equal((await append(site, path, 5, true, 'world')).status, 200)
  assert.equal((await create(site, '?1', {}, 'helloworld')).status, 200)
  assert.equal((await create(site, '?1', { 'Upload-Length': '10' }, 'helloworld', 'unknown')).status, 200)
  assertInconsistentLength(await create(site, '?1', { 'Upload-Length': '10' }, 'hello'))
})

// R29

/** Everything that asks for an upload. */
async function assertGone(site: Site, path: string, status: 404 | 410): Promise<void> {
  const answers = [
    await head(site, path), await ask(site, 'GET', path, I8), await append(site, path, 5, false, 'world'),
    await append(site, path, 5, true),
    await append(site, path, 0, false), await ask(site, 'DELETE', path, I8), await head(site, path),
  ]
  for (const answer of answers) {
    assert.equal(answer.status, status)
    assert.equal(answer.headers.has('upload-offset'), false)
    assert.notEqual(answer.headers.get('upload-complete'), '?1')
    assert.deepEqual(answer.interim, [])
  }
}

for (const from of ['creation', 'activity'] as const) {
  overBoth(`R29 · an upload is there until its max-age is over; then it is 410, and 404 once it was swept (from ${from})`, async (t, version) => {
    const { site, pass } = await serveClocked(t, version, { expiration: { afterMs: HOUR, from } })
    const path = await make(site, { 'Upload-Length': '5' }, 'hello') // all of it, but nobody said so
    pass(HOUR - 1000)
    const answer = await head(site, path)
    assert.equal(answer.status, 204)
    assert.equal(toldLimits(answer).get('max-age'), 1)
    pass(1000)
    await assertGone(site, path, 410)
    await site.uploads.sweep()
    assert.deepEqual(filesIn(site.folder), [])
    await assertGone(site, path, 404)
  })
}

overBoth('R29 · what is appended puts the end off if activity counts, and not if creation does', async (t, version) => {
  const { site: active, pass } = await serveClocked(t, version, { expiration: { afterMs: HOUR } })
  const site = await serve(t, version, { folder: active.folder, expiration: { afterMs: HOUR, from: 'creation' } })
  const path = await make(active)
  pass(HOUR / 2)
  assert.equal((await append(active, path, 0, false, 'hello')).status, 204)
  pass(HOUR / 2)
  await assertState(active, path, 5, '?0')
  assert.equal((await head(site, path)).status, 410)
  pass(HOUR / 2)
  await assertGone(active, path, 410)
})

overBoth('R29 · what is complete has no max-age and does not go', async (t, version) => {
  const { site, pass } = await serveClocked(t, version, { expiration: { afterMs: HOUR, from: 'creation' } })
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 200)
  pass(10 * HOUR)
  await site.uploads.sweep()
  await assertState(site, path, 5, '?1', 5)
})

overBoth('a creation of a single byte that is to be continued is below min-append-size, and one without content is not', async (t, version) => {
  const site = await serve(t, version, { minAppendSize: 2 })
  const refused = await create(site, '?0', {}, 'h')
  assert.equal(refused.status, 400)
  assert.equal(toldLimits(refused).get('min-append-size'), 2)
  assert.deepEqual(snapshot(site.folder), new Map())
  assert.equal((await create(site, '?0', {}, '')).status, 201)
  assert.equal((await create(site, '?0', {}, 'he')).status, 201)
})

overBoth('a creation of a single byte that is to be continued stores it', async (t, version) => {
  const site = await serve(t, version)
  const path = addressOf(await create(site, '?0', {}, 'h'))
  assert.equal(contentOf(site, path).toString(), 'h')
  await assertState(site, path, 1, '?0')
})
