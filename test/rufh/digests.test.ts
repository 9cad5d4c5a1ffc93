// SPDX-License-Identifier: MIT

/** Checklist R.7: digests of content and of representations (RFC 9530), as fields and over the wire. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { formatDigest, parseDigest, parseWantedDigest } from '../../lib/rufh/digests.ts'
import type { Upload, UploadStore } from '../../lib/upload/types.ts'
import { locationOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  append,
  ask,
  begin,
  head,
  I8,
  make,
  offsetOf,
  overBoth,
  PU,
  serve,
  type Answer,
  type Site,
  type SiteOptions,
  type Version,
} from './support.ts'

const KEYS = { sha256: 'sha-256', sha512: 'sha-512' } as const
type Algorithm = keyof typeof KEYS
const ALGORITHMS: readonly Algorithm[] = ['sha256', 'sha512']

function base64Of(content: string | Uint8Array, algorithm: Algorithm = 'sha256'): string {
  return createHash(algorithm).update(content).digest('base64')
}

/** The field that says the digest of a content. */
function digest(content: string | Uint8Array, algorithm: Algorithm = 'sha256'): string {
  return `${KEYS[algorithm]}=:${base64Of(content, algorithm)}:`
}

// The fields

const DIGEST = base64Of('hello')

for (const text of [undefined, '', '   ', 'md5=:AAAA:', `sha=:${DIGEST}:`, 'unixsum=30637', 'a=1, b;c=d, e=(1 2)', 'sha_256=1']) {
  test(`${JSON.stringify(text)} holds no digest of a known algorithm`, () => assert.deepEqual(parseDigest(text), { kind: 'none' }))
}

const malformed = [
  'sha-256', 'sha-256=', 'sha-256=::', 'sha-256=:AAAA:', `sha-256=${DIGEST}`, `sha-256="${DIGEST}"`, `sha-256=:${DIGEST.slice(0, -2)}:`,
  `sha-512=:${DIGEST}:`,
  'sha-256=1', 'sha-256=?1', 'sha-256=(:AAAA:)', `SHA-256=:${DIGEST}:`, `sha-256=:${DIGEST}`, `sha-256=:${DIGEST}:,`,
  `sha-256=:${DIGEST}: sha-512`, ',', '=', ';',
  `sha-256=:${DIGEST}:, sha-512=1`, `sha-256=:${DIGEST}:, sha-256=1`, `sha-256=:${DIGEST.replace(/.$/, '*')}:`, 'a=1, a b',
]

for (const text of malformed) {
  test(`${JSON.stringify(text)} is malformed`, () => assert.deepEqual(parseDigest(text), { kind: 'malformed' }))
}

for (const algorithm of ALGORITHMS) {
  test(`whatever the digest, one by ${algorithm} is read as it was written`, () => {
    const bytes = algorithm === 'sha256' ? 32 : 64
    fc.assert(
      fc.property(fc.uint8Array({ minLength: bytes, maxLength: bytes }), (value) => {
        const text = formatDigest(algorithm, Buffer.from(value).toString('base64'))
        for (const field of [text, ` ${text} `, `md5=1, ${text}`, `${text};a=b , c`]) {
          const read = parseDigest(field)
          assert.ok(read.kind === 'digest' && read.algorithm === algorithm && Buffer.from(value).equals(read.digest))
        }
      }),
    )
  })
}

test('of two digests the stronger counts, wherever it stands', () => {
  const [weak, strong] = [digest('hello'), digest('hello', 'sha512')]
  for (const text of [`${weak}, ${strong}`, `${strong}, ${weak}`, `${strong}, sha-256=1`]) {
    const read = parseDigest(text)
    assert.ok(read.kind === 'digest' && read.algorithm === 'sha512')
  }
})

test('of a digest that comes twice the last one counts', () => {
  const read = parseDigest(`${digest('first')}, ${digest('last')}`)
  assert.ok(read.kind === 'digest' && Buffer.from(read.digest).toString('base64') === base64Of('last'))
})

test('whatever the text, it holds no digest, a malformed one, or one of the right length', () => {
  const pieces = fc.constantFrom(
    'sha-256',
    'sha-512',
    '=',
    ':',
    DIGEST,
    base64Of('a', 'sha512'),
    ', ',
    ';',
    '1',
    '?1',
    '(',
    ')',
    'md5',
    ' ',
    '"',
    '=:',
    ':=',
  )
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.array(pieces, { maxLength: 16 }).map((each) => each.join(''))), (text) => {
      const read = parseDigest(text)
      assert.ok(['none', 'malformed', 'digest'].includes(read.kind))
      if (read.kind === 'digest') assert.equal(read.digest.length, createHash(read.algorithm).digest().length)
    }),
    { numRuns: 2000 },
  )
})

const wanted: readonly (readonly [text: string | undefined, algorithm: string | undefined])[] = [
  ['sha-256=10', 'sha256'],
  ['sha-512=1', 'sha512'],
  ['sha-256=10, sha-512=3', 'sha256'],
  ['sha-512=3, sha-256=10', 'sha256'],
  ['sha-256=5, sha-512=5', 'sha512'],
  ['sha-256=1, sha-512=0', 'sha256'],
  ['md5=10, sha-256=1', 'sha256'],
  ['sha-256=11, sha-512=1', 'sha512'],
  ['sha-256=1;a=b', 'sha256'],
  ['sha-256=0', undefined],
  ['sha-256=-1', undefined],
  ['sha-256=11', undefined],
  ['sha-256=1.5', undefined],
  ['sha-256', undefined],
  ['sha-256=?1', undefined],
  ['sha-256="1"', undefined],
  ['md5=10', undefined],
  ['sha-256=10,', undefined],
  ['sha-256=10 sha-512=1', undefined],
  ['', undefined],
  [undefined, undefined],
]

for (const [text, algorithm] of wanted) {
  test(`${JSON.stringify(text)} wants ${algorithm ?? 'no digest'}`, () => assert.equal(parseWantedDigest(text), algorithm))
}

test('whatever is wanted, it is the known algorithm that is liked best, the stronger of two, and none that is not acceptable', () => {
  const preference = fc.option(fc.integer({ min: -1, max: 12 }), { nil: undefined })
  fc.assert(
    fc.property(preference, preference, preference, fc.boolean(), (sha256, sha512, md5, backwards) => {
      const members = Object.entries({ 'sha-256': sha256, 'sha-512': sha512, md5 })
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => `${key}=${value}`)
      const rank = (value: number | undefined): number => (value !== undefined && value >= 1 && value <= 10 ? value : 0)
      const expected = rank(sha256) === 0 && rank(sha512) === 0 ? undefined : rank(sha256) > rank(sha512) ? 'sha256' : 'sha512'
      assert.equal(parseWantedDigest((backwards ? members.reverse() : members).join(', ')), expected)
    }),
  )
})

test('whatever the text, it wants a known algorithm or none', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) =>
      assert.ok([undefined, ...ALGORITHMS].includes(parseWantedDigest(text) as Algorithm | undefined)),
    ),
  )
})

test('an algorithm that is not known is not written', () => assert.equal(formatDigest('md5', 'AAAA'), ''))

// Representation digests

const CONTENT = pattern(3000)
const OTHER = pattern(3000, 2)

/** What became of an upload. */
interface Run {
  readonly site: Site
  readonly upload: string
  readonly answer: Answer
  /** The uploads that were processed. */
  readonly finished: readonly Upload[]
}

/** Uploads `CONTENT` in that many requests; the server is another one for each of them. */
async function upload(
  t: TestContext,
  version: Version,
  requests: 1 | 3,
  headers: Readonly<Record<string, string>>,
  last: Readonly<Record<string, string>> = {},
  options: SiteOptions = {},
): Promise<Run> {
  const folder = temporaryFolder(t)
  const finished: Upload[] = []
  const restarted = (): Promise<Site> => serve(t, version, { onFinish: (upload) => void finished.push(upload), ...options, folder })
  const description = { 'Content-Type': 'image/png', ...headers }
  if (requests === 1) {
    const site = await restarted()
    const exchange = await begin(
      site,
      { method: 'POST', path: '/files/', headers: { ...I8, 'Upload-Complete': '?1', ...description, ...last } },
      CONTENT.length,
    )
    const path = locationOf(await exchange.interim())
    await exchange.write(CONTENT)
    exchange.end()
    return { site, upload: path, answer: await exchange.answer, finished }
  }
  const first = await restarted()
  const created = await ask(first, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0', ...description }, CONTENT.subarray(0, 1000))
  assert.deepEqual([created.status, created.headers.get('upload-offset'), created.headers.get('upload-complete')], [201, '1000', '?0'])
  const path = locationOf(created)
  assert.equal((await append(await restarted(), path, 1000, false, CONTENT.subarray(1000, 2000))).status, 204)
  assert.equal(finished.length, 0)
  const site = await restarted()
  return { site, upload: path, answer: await append(site, path, 2000, true, CONTENT.subarray(2000), last), finished }
}

for (const requests of [1, 3] as const) {
  const how = requests === 1 ? 'in one request' : 'in three requests with restarts between'
  for (const algorithm of ALGORITHMS) {
    overBoth(`R88 · an upload ${how} that has the ${KEYS[algorithm]} it was to have is processed once`, async (t, version) => {
      const { site, upload: path, answer, finished } = await upload(t, version, requests, { 'Repr-Digest': digest(CONTENT, algorithm) })
      assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.get('upload-offset')], [200, '?1', '3000'])
      assert.equal(answer.headers.get('repr-digest'), digest(CONTENT, algorithm), 'the answer says what was verified')
      assert.equal(finished.length, 1)
      assert.ok(contentOf(site, path).equals(CONTENT))
      assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
    })

    overBoth(`R88 · an upload ${how} that has another ${KEYS[algorithm]} fails: it is not processed, and takes nothing more`, async (t, version) => {
      const { site, upload: path, answer, finished } = await upload(t, version, requests, { 'Repr-Digest': digest(OTHER, algorithm) })
      assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [400, '?1'])
      const stored = contentOf(site, path)
      const restarted = await serve(t, version, { folder: site.folder, onFinish: () => assert.fail('it was processed') })
      for (const each of [site, restarted]) {
        for (const [offset, complete, content] of [
          [3000, true, ''],
          [3000, true, 'more'],
          [3000, false, ''],
          [3000, false, 'more'],
          [0, true, OTHER],
        ] as const) {
          const { status, headers } = await append(each, path, offset, complete, content)
          assert.deepEqual([status, headers.get('upload-complete')], [400, '?1'])
        }
        const inspected = await head(each, path)
        assert.deepEqual([inspected.status, inspected.headers.get('upload-complete')], [400, '?1'])
      }
      assert.ok(contentOf(site, path).equals(stored))
      assert.equal(finished.length, 0)
      assert.equal((await ask(site, 'DELETE', path, I8)).status, 204, 'it can be removed')
      assert.equal((await head(site, path)).status, 404)
    })
  }

  for (const [wish, algorithm] of [
    ['sha-256=10', 'sha256'],
    ['sha-512=10, sha-256=1', 'sha512'],
    ['md5=10, sha-256=1', 'sha256'],
  ] as const) {
    overBoth(`R89 · the answer to an upload ${how} has the digest that was wanted when it was created (${wish})`, async (t, version) => {
      const { site, upload: path, answer, finished } = await upload(t, version, requests, { 'Want-Repr-Digest': wish })
      assert.deepEqual(
        [answer.status, answer.headers.get('upload-complete'), answer.headers.get('repr-digest')],
        [200, '?1', digest(CONTENT, algorithm)],
      )
      assert.equal(finished.length, 1)
      const again = await append(site, path, 3000, true)
      assert.deepEqual(
        [again.status, again.headers.get('repr-digest')],
        [200, digest(CONTENT, algorithm)],
        'a client that lost the answer has it again',
      )
    })
  }

  overBoth(`R89 · the answer to an upload ${how} has the digest that the last request wants`, async (t, version) => {
    const { answer } = await upload(t, version, requests, { 'Repr-Digest': digest(CONTENT) }, { 'Want-Repr-Digest': 'sha-512=10' })
    assert.deepEqual([answer.status, answer.headers.get('repr-digest')], [200, digest(CONTENT, 'sha512')])
  })

  overBoth(`R89 · the answer to an upload ${how} has no digest that nobody asked for`, async (t, version) => {
    for (const headers of [
      {},
      { 'Want-Repr-Digest': 'sha-256=0' },
      { 'Want-Repr-Digest': 'md5=10' },
      { 'Want-Repr-Digest': 'sha-256=' },
      { 'Repr-Digest': 'md5=:AAAA:' },
    ]) {
      const { answer } = await upload(t, version, requests, headers)
      assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.has('repr-digest')], [200, '?1', false])
    }
  })

  overBoth(`R89 · an answer of onFinish to an upload ${how} has the digest too, and may give another one`, async (t, version) => {
    const onFinish = () => ({ status: 201, headers: { Location: '/pictures/1' }, body: 'Thank you' })
    const { answer } = await upload(t, version, requests, { 'Want-Repr-Digest': 'sha-256=10' }, {}, { onFinish })
    assert.deepEqual(
      [answer.status, answer.headers.get('location'), answer.headers.get('repr-digest'), answer.body],
      [201, '/pictures/1', digest(CONTENT), 'Thank you\n'],
    )
    const changed = await upload(
      t,
      version,
      requests,
      { 'Want-Repr-Digest': 'sha-256=10' },
      {},
      { onFinish: () => ({ headers: { 'Repr-Digest': digest('a picture') } }) },
    )
    assert.deepEqual([changed.answer.status, changed.answer.headers.get('repr-digest')], [200, digest('a picture')])
  })
}

overBoth('R88 · an upload of no bytes has the digest of no bytes', async (t, version) => {
  const site = await serve(t, version)
  const right = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', 'Repr-Digest': digest('') }, '')
  assert.deepEqual([right.status, right.headers.get('upload-complete'), right.headers.get('repr-digest')], [200, '?1', digest('')])
  const wrong = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', 'Repr-Digest': digest('a') }, '')
  assert.deepEqual([wrong.status, wrong.headers.get('upload-complete')], [400, '?1'])
})

overBoth('R88 · an upload that fails in one request leaves nothing behind if its client was told no address', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => assert.fail('it was processed') })
  const answer = await ask(site, 'POST', '/files/', { 'Upload-Complete': '?1', 'Repr-Digest': digest(OTHER) }, CONTENT)
  assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.interim.length], [400, '?1', 0])
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

overBoth('R88 · a Repr-Digest that is not a digest of its algorithm creates nothing', async (t, version) => {
  const site = await serve(t, version)
  for (const text of ['sha-256=1', 'sha-256=:AAAA:', `sha-256=${DIGEST}`, `sha-512=:${DIGEST}:`]) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0', 'Repr-Digest': text }, 'hello')
    assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.interim.length], [400, '?0', 0])
    assert.match(answer.body, /Repr-Digest/)
  }
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

// Content digests

/** Sends an append with a digest of its content, framed in either way. */
function appendDigest(
  site: Site,
  path: string,
  offset: number,
  complete: boolean,
  content: string,
  field: string,
  length: 'known' | 'unknown' = 'known',
): Promise<Answer> {
  const headers = { ...I8, ...PU, 'Upload-Offset': String(offset), 'Upload-Complete': complete ? '?1' : '?0', 'Content-Digest': field }
  return ask(site, 'PATCH', path, headers, content, length)
}

const mismatches: readonly (readonly [what: string, field: string])[] = [
  ['another sha-256', digest('other')],
  ['another sha-512', digest('other', 'sha512')],
  ['another sha-512 beside the right sha-256', `${digest('world')}, ${digest('other', 'sha512')}`],
  ['a malformed sha-256', 'sha-256=:AAAA:'],
  ['a text for a sha-256', `sha-256="${base64Of('world')}"`],
  ['a malformed dictionary', `${digest('world')},`],
]

for (const [what, field] of mismatches) {
  for (const length of ['known', 'unknown'] as const) {
    overBoth(`R90 · an append of ${length} length with ${what} is refused, and the upload is as it was`, async (t, version) => {
      const site = await serve(t, version)
      const path = await make(site, {}, 'hello')
      const before = snapshot(site.folder)
      for (const complete of [false, true]) {
        const answer = await appendDigest(site, path, 5, complete, 'world', field, length)
        assert.deepEqual(
          [answer.status, answer.headers.get('upload-complete'), answer.headers.get('content-type')],
          [400, '?0', 'text/plain; charset=utf-8'],
        )
        await site.settled()
        assert.deepEqual([...snapshot(site.folder).keys()], [...before.keys()])
        const { status, headers } = await head(site, path)
        assert.deepEqual(
          [status, headers.get('upload-offset'), headers.get('upload-complete'), headers.has('upload-length')],
          [204, '5', '?0', false],
        )
      }
      assert.equal((await append(site, path, 5, true, 'WORLD')).status, 200)
      assert.equal(contentOf(site, path).toString(), 'helloWORLD')
    })
  }
}

const matches: readonly (readonly [what: string, field: string])[] = [
  ['the right sha-256', digest('world')],
  ['the right sha-512', digest('world', 'sha512')],
  ['the right sha-512 beside another sha-256', `${digest('other')}, ${digest('world', 'sha512')}`],
  ['an unknown algorithm', 'md5=:AAAA:'],
  ['an unknown algorithm beside the right sha-256', `md5=:AAAA:, ${digest('world')}`],
]

for (const [what, field] of matches) {
  for (const length of ['known', 'unknown'] as const) {
    overBoth(`R90 · an append of ${length} length with ${what} is stored, and may complete the upload`, async (t, version) => {
      const site = await serve(t, version)
      const path = await make(site, {}, 'hello')
      const appended = await appendDigest(site, path, 5, false, 'world', field, length)
      assert.deepEqual([appended.status, appended.headers.get('upload-offset')], [204, '10'])
      const completed = await appendDigest(site, path, 10, true, 'world', field, length)
      assert.deepEqual(
        [completed.status, completed.headers.get('upload-offset'), completed.headers.get('upload-complete')],
        [200, '15', '?1'],
      )
      assert.equal(contentOf(site, path).toString(), 'helloworldworld')
    })
  }
}

for (const complete of [false, true]) {
  const end = complete ? '?1' : '?0'
  overBoth(`R90 · a creation (${end}) whose content has another digest leaves nothing if its client got no address`, async (t, version) => {
    const site = await serve(t, version, { onFinish: () => assert.fail('it was processed') })
    for (const field of [digest('other'), 'sha-256=:AAAA:']) {
      const answer = await ask(site, 'POST', '/files/', { 'Upload-Complete': end, 'Content-Digest': field }, 'hello')
      assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.has('location')], [400, '?0', false])
    }
    await site.settled()
    assert.deepEqual(filesIn(site.folder), [])
  })

  overBoth(`R90 · a creation (${end}) whose content has another digest can be resumed if its client got the address`, async (t, version) => {
    const finished: Upload[] = []
    const site = await serve(t, version, { onFinish: (upload) => void finished.push(upload) })
    const creation = await begin(
      site,
      { method: 'POST', path: '/files/', headers: { ...I8, 'Upload-Complete': end, 'Content-Digest': digest('other') } },
      5,
    )
    const path = locationOf(await creation.interim())
    await creation.write('hello')
    creation.end()
    const { status, headers } = await creation.answer
    assert.deepEqual([status, headers.get('upload-complete'), finished.length], [400, '?0', 0])
    assert.equal(await offsetOf(site, path), 0)
    assert.equal((await appendDigest(site, path, 0, true, 'hello', digest('hello'))).status, 200)
    assert.equal(contentOf(site, path).toString(), 'hello')
    assert.equal(finished.length, 1)
  })

  overBoth(`R90 · a creation (${end}) whose content has its digest is stored`, async (t, version) => {
    const site = await serve(t, version)
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': end, 'Content-Digest': digest('hello') }, 'hello')
    assert.deepEqual(
      [answer.status, answer.headers.get('upload-offset'), answer.headers.get('upload-complete')],
      [complete ? 200 : 201, '5', end],
    )
  })
}

overBoth('R90 · content with a digest that is cut off counts not at all', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const headers = { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1', 'Content-Digest': digest('world') }
  for (const how of ['fin', 'rst'] as const) {
    const cut = await begin(site, { method: 'PATCH', path, headers }, 5)
    await cut.write('worl')
    cut.cut(how)
    await cut.closed
    assert.equal(await offsetOf(site, path), 5)
  }
  await site.settled()
  assert.equal(await offsetOf(site, path), 5)
  assert.equal(contentOf(site, path).toString(), 'hello')
})

overBoth('R90 · an empty append with a digest of something else does not complete the upload', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => assert.fail('it was processed') })
  const path = await make(site, { 'Upload-Length': '5' }, 'hello')
  assert.equal((await appendDigest(site, path, 5, true, '', digest('other'))).status, 400)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
})

overBoth('R90 · an empty append with a digest of something else does not complete an upload of tus that had no length either', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => assert.fail('it was processed') })
  const V = { 'Tus-Resumable': '1.0.0' }
  const created = await ask(
    site,
    'POST',
    '/files/',
    { ...V, 'Upload-Defer-Length': '1', 'Content-Type': 'application/offset+octet-stream' },
    'hello',
  )
  const path = locationOf(created)
  assert.equal((await appendDigest(site, path, 5, true, '', digest('other'))).status, 400)
  const inspected = await head(site, path)
  assert.deepEqual(
    [inspected.headers.get('upload-complete'), inspected.headers.has('upload-length')],
    ['?0', false],
    'a request that is refused changes nothing',
  )
})

overBoth('R88, R90 · both digests are checked, each of what it is of', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, { 'Repr-Digest': digest('helloworld'), 'Content-Digest': digest('hello') }, 'hello')
  assert.equal((await appendDigest(site, path, 5, true, 'world', digest('helloworld'))).status, 400)
  assert.equal((await appendDigest(site, path, 5, true, 'world', digest('world'))).status, 200)
  assert.equal(contentOf(site, path).toString(), 'helloworld')
})

overBoth('R88 · a Repr-Digest that the store cannot check, as it does not read, is ignored; a malformed one is not', async (t, version) => {
  const store = (files: UploadStore): UploadStore =>
    new Proxy(files, { get: (target, name) => (name === 'read' ? undefined : Reflect.get(target, name).bind?.(target)) })
  const site = await serve(t, version, { store })
  const creation = { 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=10' }
  const answer = await ask(site, 'POST', '/files/', { ...creation, 'Repr-Digest': digest('other') }, 'hello')
  assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.has('repr-digest')], [200, '?1', false])
  assert.equal((await ask(site, 'POST', '/files/', { ...creation, 'Repr-Digest': 'sha-256=:AAAA:' }, 'hello')).status, 400)
})
