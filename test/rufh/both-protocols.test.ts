// SPDX-License-Identifier: MIT

/** Checklist R.9: tus and Resumable Uploads for HTTP at one address. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import {
  append,
  ask,
  begin,
  head,
  I8,
  make,
  overBoth,
  PU,
  serve,
  type Answer,
  type Call,
  type Head,
  type Site,
  type SiteOptions,
  type Version,
} from './support.ts'

const V = { 'Tus-Resumable': '1.0.0' }
const OCT = { 'Content-Type': 'application/offset+octet-stream' }
/** What no answer in tus has, and no answer in the other protocol. */
const RUFH_FIELDS = ['upload-complete', 'upload-limit', 'upload-draft-interop-version', 'accept-patch']
const TUS_FIELDS = [
  'tus-resumable', 'tus-version', 'tus-extension', 'tus-max-size', 'upload-metadata', 'upload-defer-length', 'upload-concat',
  'upload-expires',
]

/** Creates an upload in tus; returns its path. */
async function makeInTus(site: Site, headers: Call['headers'], content = ''): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...V, ...OCT, ...headers }, content))
}

function appendInTus(site: Site, path: string, offset: number, content = '', headers: Call['headers'] = {}): Promise<Answer> {
  return ask(site, 'PATCH', path, { ...V, ...OCT, 'Upload-Offset': String(offset), ...headers }, content)
}

function headInTus(site: Site, path: string): Promise<Answer> {
  return ask(site, 'HEAD', path, V)
}

/** The answer is in tus, and says nothing in the words of the other protocol. */
function assertInTus(answer: Head & { readonly interim?: readonly Head[] }): void {
  assert.equal(answer.headers.get('tus-resumable'), '1.0.0')
  for (const name of RUFH_FIELDS) assert.equal(answer.headers.has(name), false, name)
  assert.deepEqual(answer.interim ?? [], [])
}

function assertInRufh(answer: Head): void {
  for (const name of TUS_FIELDS) assert.equal(answer.headers.has(name), false, name)
}

/** A server that notes what it processes. */
async function serveNoting(t: TestContext, version: Version, options: SiteOptions = {}): Promise<Site & { readonly finished: Upload[] }> {
  const finished: Upload[] = []
  return { ...(await serve(t, version, { onFinish: (upload) => void finished.push(upload), ...options })), finished }
}

// R97: which protocol a request is in

overBoth('R97 · a creation with Tus-Resumable is in tus, one with Upload-Complete in the other, one with both in tus, and one with neither is refused as tus does', async (t, version) => {
  const site = await serve(t, version)
  const inTus = await ask(site, 'POST', '/files/', { ...V, 'Upload-Length': '5' }, '')
  assert.equal(inTus.status, 201)
  assertInTus(inTus)

  const inRufh = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0', 'Upload-Length': '5' }, '')
  assert.deepEqual([inRufh.status, inRufh.headers.get('upload-complete')], [201, '?0'])
  assertInRufh(inRufh)

  const both = await ask(site, 'POST', '/files/', { ...V, ...I8, 'Upload-Complete': '?1', 'Upload-Length': '5' }, '')
  assert.equal(both.status, 201)
  assertInTus(both)
  const path = locationOf(both)
  assert.equal((await headInTus(site, path)).headers.get('upload-offset'), '0', 'Upload-Complete was not heard')

  await site.settled()
  const before = snapshot(site.folder)
  for (const headers of [{}, I8, { 'Upload-Length': '5' }, { 'Content-Type': 'text/plain' }]) {
    const neither = await ask(site, 'POST', '/files/', headers, 'hello')
    assert.deepEqual([neither.status, neither.headers.get('tus-version')], [412, '1.0.0'])
    assertInTus(neither)
  }
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R6, R97 · a malformed Upload-Complete does not make a request a creation', async (t, version) => {
  const site = await serve(t, version)
  for (const value of ['true', '1', '?2', '"?1"', '?1, ?1', '']) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': value }, 'hello')
    assert.equal(answer.status, 412, value)
    assertInTus(answer)
  }
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

overBoth('R97 · a version of tus that is not spoken is refused as such, whatever else the request says', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  for (const value of ['0.2.2', '', 'abc', '1.0.0, 1.0.0']) {
    const headers = { 'Tus-Resumable': value, ...I8, 'Upload-Complete': '?1' }
    const calls = [
      ['POST', '/files/', headers, 'x'],
      ['PATCH', path, { ...headers, ...PU, 'Upload-Offset': '5' }, 'x'],
      ['HEAD', path, headers],
      ['DELETE', path, headers],
    ] as const
    for (const [method, target, fields, content] of calls) {
      const answer = await ask(site, method, target, fields, content)
      assert.deepEqual([answer.status, answer.headers.get('tus-version')], [412, '1.0.0'], `${method} ${value}`)
      assertInTus(answer)
    }
  }
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R97 · without Tus-Resumable a request for an upload is in the other protocol, a PATCH only if it says so', async (t, version) => {
  const site = await serve(t, version)
  const path = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
  for (const headers of [{}, I8]) {
    for (const method of ['HEAD', 'GET']) {
      const answer = await ask(site, method, path, headers)
      assert.deepEqual(
        [answer.status, answer.headers.get('upload-offset'), answer.headers.get('upload-complete'), answer.body],
        [204, '5', '?0', ''],
      )
      assertInRufh(answer)
    }
    const unknown = await ask(site, 'DELETE', '/files/unknown', headers)
    assert.equal(unknown.status, 404)
    assertInRufh(unknown)
  }
  const patch = (headers: Record<string, string>): Promise<Answer> =>
    ask(site, 'PATCH', path, { 'Upload-Offset': '5', ...headers }, 'world')
  for (const [headers, status] of [[{ ...I8, ...OCT }, 415], [{ ...OCT, 'Upload-Complete': '?0' }, 415], [PU, 400]] as const) {
    const refused = await patch(headers)
    assert.equal(refused.status, status)
    assertInRufh(refused)
  }
  const ofTus = await patch(OCT)
  assert.deepEqual([ofTus.status, ofTus.headers.get('tus-version')], [412, '1.0.0'], 'a client of tus that has forgotten the version')
  assert.equal((await ask(site, 'DELETE', path)).status, 204)
  assert.equal((await headInTus(site, path)).status, 404)
})

overBoth('X-HTTP-Method-Override is of tus alone', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const override = { 'X-HTTP-Method-Override': 'DELETE' }
  assert.equal((await ask(site, 'HEAD', path, { ...I8, ...override })).status, 204)
  assert.equal((await ask(site, 'POST', path, { ...I8, ...override }, '')).status, 405)
  assert.equal((await ask(site, 'POST', '/files/', { ...I8, 'X-HTTP-Method-Override': 'HEAD', 'Upload-Complete': '?0' }, '')).status, 201)
  assert.equal((await head(site, path)).status, 204, 'it is still there')
  assert.equal((await ask(site, 'POST', path, { ...V, ...override }, '')).status, 204)
  assert.equal((await head(site, path)).status, 404)
})

// R98: an upload in both

overBoth('R98 · an upload that tus began goes on in the other protocol, and is complete when it has its length, whatever that says', async (t, version) => {
  for (const complete of [false, true]) {
    const site = await serveNoting(t, version)
    const path = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
    const asked = await head(site, path)
    assert.deepEqual(
      [asked.status, asked.headers.get('upload-offset'), asked.headers.get('upload-length'), asked.headers.get('upload-complete')],
      [204, '5', '10', '?0'],
    )
    const part = await append(site, path, 5, false, 'wor')
    assert.deepEqual([part.status, part.headers.get('upload-complete')], [204, '?0'])
    const rest = await append(site, path, 8, complete, 'ld')
    assert.deepEqual([rest.status, rest.headers.get('upload-offset'), rest.headers.get('upload-complete')], [200, '10', '?1'])
    assert.equal(site.finished.length, 1)
    const inTus = await headInTus(site, path)
    assert.deepEqual([inTus.status, inTus.headers.get('upload-offset'), inTus.headers.get('upload-length')], [200, '10', '10'])
    assertInTus(inTus)
    assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
    assert.equal(contentOf(site, path).toString(), 'helloworld')
    assert.equal(site.finished.length, 1)
  }
})

overBoth('R98 · an upload that tus began is not complete because a client says so of fewer bytes', async (t, version) => {
  const site = await serveNoting(t, version)
  const path = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
  const early = await append(site, path, 5, true, 'wor')
  assert.deepEqual([early.status, early.headers.get('upload-complete')], [400, '?0'])
  assert.equal((await headInTus(site, path)).headers.get('upload-offset'), '5')
  assert.equal((await appendInTus(site, path, 5, 'world')).status, 204)
  assert.equal(site.finished.length, 1)
})

overBoth('R98 · the length that tus deferred may be told in the other protocol: by its field, by the length of the last content, or by its end', async (t, version) => {
  const ways: readonly (readonly [headers: Record<string, string>, complete: boolean, length: 'known' | 'unknown'])[] = [
    [{ 'Upload-Length': '10' }, false, 'known'],
    [{ 'Upload-Length': '10' }, false, 'unknown'],
    [{}, true, 'known'],
    [{}, true, 'unknown'],
  ]
  for (const [headers, complete, length] of ways) {
    const site = await serveNoting(t, version)
    const path = await makeInTus(site, { 'Upload-Defer-Length': '1' }, 'hello')
    const asked = await head(site, path)
    assert.deepEqual([asked.headers.get('upload-complete'), asked.headers.has('upload-length')], ['?0', false])
    const fields = { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': complete ? '?1' : '?0', ...headers }
    const answer = await ask(site, 'PATCH', path, fields, 'world', length)
    assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.get('upload-length')], [200, '?1', '10'])
    assert.equal(site.finished.length, 1)
    const inTus = await headInTus(site, path)
    assert.deepEqual(
      [inTus.headers.get('upload-offset'), inTus.headers.get('upload-length'), inTus.headers.has('upload-defer-length')],
      ['10', '10', false],
    )
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  }
})

overBoth('R98 · the length that tus deferred is not decided by content that does not complete', async (t, version) => {
  const site = await serveNoting(t, version)
  const path = await makeInTus(site, { 'Upload-Defer-Length': '1' }, 'hello')
  const grown = await append(site, path, 5, false, 'world')
  assert.deepEqual([grown.status, grown.headers.get('upload-complete'), grown.headers.has('upload-length')], [204, '?0', false])
  assert.equal((await headInTus(site, path)).headers.get('upload-defer-length'), '1')
  assert.equal((await appendInTus(site, path, 10, '!', { 'Upload-Length': '11' })).status, 204)
  assert.equal(site.finished.length, 1)
})

for (const [protocol, headers] of [['tus', { ...V, ...OCT }], ['the other protocol', { ...I8, ...PU, 'Upload-Complete': '?1' }]] as const) {
  overBoth(`R98 · the length that tus deferred is not told by an append in ${protocol} that is cut off before it brings anything`, async (t, version) => {
    const site = await serveNoting(t, version)
    const path = await makeInTus(site, { 'Upload-Defer-Length': '1' }, 'hello')
    const fields = { ...headers, 'Upload-Offset': '5', 'Upload-Length': '5', Expect: '100-continue' }
    const cut = await begin(site, { method: 'PATCH', path, headers: fields }, 'unknown')
    assert.equal((await cut.interim()).status, 100)
    cut.cut('rst')
    await cut.closed
    await site.settled()
    assert.equal(site.finished.length, 0)
    const asked = await headInTus(site, path)
    assert.deepEqual([asked.status, asked.headers.get('upload-offset'), asked.headers.get('upload-defer-length')], [200, '5', '1'])
    assert.equal((await append(site, path, 5, true, 'world')).status, 200)
    assert.equal(contentOf(site, path).toString(), 'helloworld')
  })
}

overBoth('R98 · an upload of known length that was begun in the other protocol is complete when tus brings its last byte', async (t, version) => {
  const site = await serveNoting(t, version)
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  const asked = await headInTus(site, path)
  assert.deepEqual([asked.status, asked.headers.get('upload-offset'), asked.headers.get('upload-length')], [200, '5', '10'])
  assertInTus(asked)
  assert.equal((await appendInTus(site, path, 5, 'wor')).status, 204)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
  const last = await appendInTus(site, path, 8, 'ld')
  assert.deepEqual([last.status, last.headers.get('upload-offset')], [204, '10'])
  assertInTus(last)
  assert.equal(site.finished.length, 1)
  const completed = await head(site, path)
  assert.deepEqual([completed.headers.get('upload-offset'), completed.headers.get('upload-complete')], ['10', '?1'])
  assert.equal(contentOf(site, path).toString(), 'helloworld')
})

overBoth('R98 · an upload of unknown length that was begun in the other protocol is one of deferred length to tus', async (t, version) => {
  const site = await serveNoting(t, version)
  const path = await make(site, {}, 'hello')
  const asked = await headInTus(site, path)
  assert.deepEqual(
    [asked.headers.get('upload-offset'), asked.headers.get('upload-defer-length'), asked.headers.has('upload-length')],
    ['5', '1', false],
  )
  assert.equal((await appendInTus(site, path, 5, 'wor')).status, 204)
  assert.equal(site.finished.length, 0)
  assert.equal((await appendInTus(site, path, 8, 'ld', { 'Upload-Length': '10' })).status, 204)
  assert.equal(site.finished.length, 1)
  const completed = await head(site, path)
  assert.deepEqual([completed.headers.get('upload-length'), completed.headers.get('upload-complete')], ['10', '?1'])
})

overBoth('R13, R98 · an upload that has its length but was not said to be complete is, once tus asks for it or brings nothing more', async (t, version) => {
  for (const how of ['HEAD', 'PATCH'] as const) {
    const site = await serveNoting(t, version)
    const path = await make(site, { 'Upload-Length': '5' }, 'hello')
    for (let n = 0; n < 2; n++) assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
    assert.equal((await append(site, path, 5, false)).headers.get('upload-complete'), '?0')
    assert.equal(site.finished.length, 0)
    const answer = how === 'HEAD' ? await headInTus(site, path) : await appendInTus(site, path, 5)
    assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [how === 'HEAD' ? 200 : 204, '5'])
    assert.equal(site.finished.length, 1)
    assert.equal((await head(site, path)).headers.get('upload-complete'), '?1')
    const repeated = await append(site, path, 5, true)
    assert.deepEqual([repeated.status, repeated.headers.get('upload-complete')], [200, '?1'], 'its own client hears so when it says it')
    assert.equal(site.finished.length, 1)
  }
})

overBoth('R98 · an upload of no bytes that was not said to be complete waits for that, until tus asks', async (t, version) => {
  const site = await serveNoting(t, version)
  const path = await make(site, { 'Upload-Length': '0' })
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
  assert.equal(site.finished.length, 0)
  assert.equal((await headInTus(site, path)).headers.get('upload-offset'), '0')
  assert.equal(site.finished.length, 1)
})

overBoth('R98 · what one protocol completed is complete in the other: it takes nothing more, and its answer is given again', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => ({ status: 202, headers: { 'X-Picture': '1' }, body: 'Thank you' }) })
  const inTus = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
  const last = await appendInTus(site, inTus, 5, 'world')
  assert.deepEqual([last.status, last.headers.get('x-picture'), last.body], [202, '1', 'Thank you\n'])
  const replayed = await append(site, inTus, 10, true)
  assert.deepEqual(
    [replayed.status, replayed.headers.get('x-picture'), replayed.body, replayed.headers.get('upload-complete')],
    [202, '1', 'Thank you\n', '?1'],
  )

  const inRufh = await make(site, {}, 'hello')
  assert.equal((await append(site, inRufh, 5, true, 'world')).status, 202)
  const again = await appendInTus(site, inRufh, 10)
  assert.deepEqual([again.status, again.body], [202, 'Thank you\n'])

  for (const path of [inTus, inRufh]) {
    assert.equal((await append(site, path, 10, true, '!')).status, 400)
    assert.equal((await append(site, path, 10, false)).status, 400)
    assert.equal((await appendInTus(site, path, 10, '!')).status, 413)
    assert.equal(contentOf(site, path).toString(), 'helloworld')
    assert.equal((await headInTus(site, path)).status, 200)
  }
})

overBoth('R98 · an upload that is deactivated in one protocol, or refused, is so in the other', async (t, version) => {
  const refusal = Object.assign(new Error('secret'), { status: 422, body: 'This is no picture' })
  const site = await serve(t, version, { onFinish: () => Promise.reject(refusal) })
  const deactivated = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
  assert.equal((await append(site, deactivated, 5, false, 'worlds')).status, 400)
  const refused = await makeInTus(site, { 'Upload-Length': '10' }, 'hello')
  assert.equal((await append(site, refused, 5, true, 'world')).status, 422)
  for (const [path, status] of [[deactivated, 410], [refused, 422]] as const) {
    for (const answer of [
      await head(site, path),
      await append(site, path, 5, true, 'world'),
      await headInTus(site, path),
      await appendInTus(site, path, 5, 'world'),
    ]) {
      assert.equal(answer.status, status)
    }
  }
})

overBoth('R98 · each protocol cancels what the other began', async (t, version) => {
  const site = await serve(t, version)
  const cases = [[await makeInTus(site, { 'Upload-Length': '10' }, 'hello'), I8], [await make(site, {}, 'hello'), V]] as const
  for (const [path, headers] of cases) {
    assert.equal((await ask(site, 'DELETE', path, headers)).status, 204)
    assert.deepEqual([(await head(site, path)).status, (await headInTus(site, path)).status], [404, 404])
  }
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

overBoth('R98 · a request in one protocol ends the one that is in progress in the other, whose bytes are stored', async (t, version) => {
  const site = await serve(t, version)
  const path = await makeInTus(site, { 'Upload-Length': '15' }, '')
  const inTus = await begin(site, { method: 'PATCH', path, headers: { ...V, ...OCT, 'Upload-Offset': '0' } }, 15)
  await inTus.write('hello')
  await stored(site, path, 5)
  const inRufh = await begin(site, { method: 'PATCH', path, headers: { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' } }, 10)
  const ended = await inTus.answer
  assert.equal(ended.status, 409)
  assertInTus(ended)
  await inRufh.write('world')
  await stored(site, path, 10)
  const asked = await headInTus(site, path)
  assert.deepEqual([asked.status, asked.headers.get('upload-offset')], [200, '10'])
  const endedToo = await inRufh.answer
  assert.deepEqual([endedToo.status, endedToo.headers.get('upload-complete')], [409, '?0'])
  assertInRufh(endedToo)
  for (const each of [inTus, inRufh]) each.cut('rst')
  assert.equal(contentOf(site, path).toString(), 'helloworld')
})

overBoth('R98 · a part of a concatenation can be brought by the other protocol, and a concatenation takes no bytes from it', async (t, version) => {
  const site = await serveNoting(t, version)
  const part = await makeInTus(site, { 'Upload-Length': '10', 'Upload-Concat': 'partial' }, 'hello')
  const brought = await append(site, part, 5, true, 'world')
  assert.deepEqual([brought.status, brought.headers.get('upload-complete'), site.finished.length], [200, '?1', 0])
  const second = await makeInTus(site, { 'Upload-Length': '10', 'Upload-Concat': 'partial' }, 'HELLOWORLD')
  const own = await make(site, {}, 'hello')
  assert.equal(
    (await ask(site, 'POST', '/files/', { ...V, 'Upload-Concat': `final;${part} ${own}` })).status,
    400,
    'only a part of tus is one',
  )
  const created = await ask(site, 'POST', '/files/', { ...V, 'Upload-Concat': `final;${part} ${second}` })
  const final = locationOf(created)
  const asked = await head(site, final)
  assert.deepEqual([asked.status, asked.headers.get('upload-offset'), asked.headers.get('upload-complete')], [204, '20', '?1'])
  const refused = await append(site, final, 20, true, '!')
  assert.deepEqual([refused.status, refused.headers.get('upload-complete')], [403, '?0'])
  assert.equal(contentOf(site, final).toString(), 'helloworldHELLOWORLD')
})

overBoth('R98 · what the other protocol said of an upload are metadata in tus', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(
    site,
    { 'Content-Type': 'image/png', 'Content-Disposition': "attachment; filename*=UTF-8''%E7%8C%AB.png" },
    'hello',
  )
  const { headers } = await headInTus(site, path)
  const pairs = (headers.get('upload-metadata') ?? '').split(',').map((pair) => pair.split(' '))
  assert.deepEqual(
    new Map(pairs.map(([key, value]) => [key, Buffer.from(value ?? '', 'base64').toString()])),
    new Map([
      ['filename', '\u732b.png'],
      ['filetype', 'image/png'],
    ]),
  )
})

// R99

overBoth('R99 · a request in tus gets no 104 and no field of the other protocol, whatever it asks for', async (t, version) => {
  let progress = 0
  const site = await serve(t, version, { onProgress: () => void progress++ })
  const both = { ...V, ...I8, 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=10' }
  const creation = await begin(site, { method: 'POST', path: '/files/', headers: { ...both, ...OCT, 'Upload-Length': '1000000' } }, 1000)
  await creation.write(Buffer.alloc(1000))
  creation.end()
  const created = await creation.answer
  const path = addressOf(created)
  const appending = await begin(site, { method: 'PATCH', path, headers: { ...both, ...OCT, 'Upload-Offset': '1000' } }, 'unknown')
  progress = 0
  let sent = 0
  for (; progress < 2 && sent < 900_000; sent += 1000) await appending.write(Buffer.alloc(1000))
  appending.end()
  const appended = await appending.answer
  assert.deepEqual([appended.status, appended.headers.get('upload-offset')], [204, String(1000 + sent)])
  const answers = [
    created, appended, await ask(site, 'HEAD', path, both), await ask(site, 'PATCH', path, { ...both, ...OCT, 'Upload-Offset': '0' }, 'x'),
    await ask(site, 'PATCH', path, { ...both, ...PU, 'Upload-Offset': '0' }, 'x'), await ask(site, 'POST', '/files/', both, 'x'),
    await ask(site, 'PUT', path, both, 'x'), await ask(site, 'DELETE', path, both), await ask(site, 'HEAD', path, both),
  ]
  assert.deepEqual(answers.map(({ status }) => status), [201, 204, 200, 409, 415, 400, 405, 204, 404])
  for (const answer of answers) {
    assertInTus(answer)
    assert.equal(answer.headers.has('repr-digest'), false)
    assert.notEqual(answer.headers.get('content-type'), 'application/problem+json')
  }
})

overBoth('R99 · no answer in the other protocol has a field of tus', async (t, version) => {
  const site = await serve(t, version, { expiration: { afterMs: 3_600_000 } })
  const created = await ask(
    site,
    'POST',
    '/files/',
    { ...I8, 'Upload-Complete': '?0', 'Content-Type': 'image/png', 'Upload-Metadata': 'a eA==' },
    'hello',
  )
  const path = locationOf(created)
  const answers = [
    created, await head(site, path), await append(site, path, 4, false, 'x'), await append(site, path, 5, false, 'x'),
    await append(site, path, 6, true, 'x'),
    await append(site, path, 7, false), await ask(site, 'PATCH', path, I8, 'x'), await ask(site, 'PUT', path, I8, 'x'),
    await ask(site, 'DELETE', path, I8), await head(site, path),
  ]
  assert.deepEqual(answers.map(({ status }) => status), [201, 204, 409, 204, 200, 400, 415, 405, 204, 404])
  for (const answer of answers) assertInRufh(answer)
})

// R100

overBoth('R100 · one OPTIONS answers for both protocols, whoever asks', async (t, version) => {
  const site = await serve(t, version, { maxSize: 1000, minSize: 1 })
  for (const target of ['/files/', '/files/unknown', await make(site, { 'Upload-Length': '5' })]) {
    for (const headers of [{}, V, I8, { ...I8, 'Upload-Complete': '?1' }, { 'Tus-Resumable': '9.9.9' }]) {
      const answer = await ask(site, 'OPTIONS', target, headers)
      assert.equal(answer.status, 204)
      const told = ['tus-version', 'tus-max-size', 'upload-limit', 'accept-patch'].map((name) => answer.headers.get(name))
      assert.deepEqual(told, ['1.0.0', '1000', 'max-size=1000, min-size=1', 'application/partial-upload'])
      assert.match(answer.headers.get('tus-extension') ?? '', /creation/)
      assert.deepEqual([...answer.headers.keys()].filter((name) => name.startsWith('access-control')), [])
    }
  }
})

// R101

const PAGE = 'https://page.example'
const REQUEST_FIELDS = ['upload-complete', 'upload-offset', 'upload-length', 'upload-draft-interop-version', 'content-type']
const RESPONSE_FIELDS = ['location', 'upload-offset', 'upload-complete', 'upload-length', 'upload-limit', 'upload-draft-interop-version']

function listOf(answer: Head, name: string): readonly string[] {
  return (answer.headers.get(name) ?? '').split(',').map((entry) => entry.trim().toLowerCase())
}

function preflight(site: Site, target: string, method: string): Promise<Answer> {
  const asked = { Origin: PAGE, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': REQUEST_FIELDS.join(',') }
  return ask(site, 'OPTIONS', target, asked)
}

for (const [target, methods] of [['/files/', ['post', 'put', 'patch']], ['/files/unknown', ['head', 'get', 'patch', 'delete']]] as const) {
  overBoth(`R101 · a preflight of ${target} allows the methods and the fields of both protocols`, async (t, version) => {
    const site = await serve(t, version, { cors: { origins: [PAGE] } })
    for (const method of methods) {
      const answer = await preflight(site, target, method.toUpperCase())
      assert.deepEqual([answer.status, answer.headers.get('access-control-allow-origin')], [204, PAGE])
      assert.ok(listOf(answer, 'access-control-allow-methods').includes(method), method)
      const allowed = listOf(answer, 'access-control-allow-headers')
      for (const name of [
        ...REQUEST_FIELDS, 'content-digest', 'repr-digest', 'want-repr-digest', 'content-disposition', 'content-encoding',
      ])
        assert.ok(allowed.includes(name), name)
      for (const name of ['tus-resumable', 'upload-metadata', 'upload-defer-length']) assert.ok(allowed.includes(name), name)
      assert.equal(new Set(allowed).size, allowed.length, 'each is named once')
      assert.deepEqual(
        [answer.headers.has('tus-version'), answer.headers.has('upload-limit')],
        [true, true],
        'it is an answer to OPTIONS as well',
      )
    }
  })
}

overBoth('R101 · every answer, refusals too, lets the page in and shows it the fields of both protocols', async (t, version) => {
  const site = await serve(t, version, { cors: { origins: [PAGE] } })
  const from = { Origin: PAGE }
  const path = await make(site, from, 'hello')
  const at = (offset: number, complete: boolean): Record<string, string> => ({
    ...I8,
    ...PU,
    ...from,
    'Upload-Offset': String(offset),
    'Upload-Complete': complete ? '?1' : '?0',
  })
  const answers = [
    await ask(site, 'POST', '/files/', { ...I8, ...from, 'Upload-Complete': '?0' }, 'hello'),
    await ask(site, 'POST', '/files/', { ...I8, ...from, 'Upload-Complete': '?1' }, 'hello'),
    await ask(site, 'HEAD', path, { ...I8, ...from }),
    await ask(site, 'PATCH', path, at(4, false), 'x'),
    await ask(site, 'PATCH', path, at(5, false), 'x'),
    await ask(site, 'PATCH', path, { ...at(6, false), 'Content-Type': 'text/plain' }, 'x'),
    await ask(site, 'PATCH', path, at(6, true), 'x'),
    await ask(site, 'PATCH', path, at(7, false)),
    await ask(site, 'PUT', path, { ...I8, ...from }, 'x'),
    await ask(site, 'HEAD', '/files/unknown', { ...I8, ...from }),
    await ask(site, 'HEAD', path, { ...V, ...from }),
    await ask(site, 'POST', '/files/', from, 'x'),
    await ask(site, 'DELETE', path, { ...I8, ...from }),
  ]
  assert.deepEqual(answers.map(({ status }) => status), [201, 200, 204, 409, 204, 415, 200, 400, 405, 404, 200, 412, 204])
  for (const answer of answers) {
    assert.deepEqual([answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')], [PAGE, 'Origin'])
    const exposed = listOf(answer, 'access-control-expose-headers')
    for (const name of [...RESPONSE_FIELDS, 'repr-digest', 'retry-after', 'tus-resumable', 'upload-metadata']) {
      assert.ok(exposed.includes(name), name)
    }
    assert.equal(new Set(exposed).size, exposed.length, 'each is named once')
  }
  const other = await ask(site, 'HEAD', '/files/unknown', { ...I8, Origin: 'https://other.example' })
  assert.deepEqual([...other.headers.keys()].filter((name) => name.startsWith('access-control')), [])
})

overBoth('R101 · where version 3 is served, pages may send and read its Upload-Incomplete', async (t, version) => {
  const site = await serve(t, version, { cors: { origins: [PAGE] }, interopVersions: [3, 8] })
  assert.ok(listOf(await preflight(site, '/files/', 'POST'), 'access-control-allow-headers').includes('upload-incomplete'))
  const created = await ask(
    site,
    'POST',
    '/files/',
    { 'Upload-Draft-Interop-Version': '3', 'Upload-Incomplete': '?1', Origin: PAGE },
    'hello',
  )
  assert.equal(created.headers.get('upload-incomplete'), '?1')
  assert.ok(listOf(created, 'access-control-expose-headers').includes('upload-incomplete'))
})

// Downloads beside both

overBoth('a plain GET or HEAD is a download of a finished upload; of one that is not, HEAD reports where it stands, and there is nothing to GET', async (t, version) => {
  const site = await serve(t, version, { download: {} })
  const begun = await make(site, { 'Content-Type': 'text/plain', 'Content-Disposition': 'attachment; filename="a.txt"' }, 'hello')
  const inspected = await ask(site, 'HEAD', begun)
  assert.deepEqual(
    [inspected.status, inspected.headers.get('upload-offset'), inspected.headers.get('upload-complete'), inspected.body],
    [204, '5', '?0', ''],
  )
  const nothing = await ask(site, 'GET', begun)
  assert.deepEqual([nothing.status, nothing.headers.has('upload-offset')], [404, false])
  for (const { headers } of [inspected, nothing]) assert.equal(headers.get('cache-control'), 'no-store')
  assert.equal((await append(site, begun, 5, true, 'world')).status, 200)
  const inTus = await makeInTus(
    site,
    { 'Upload-Length': '10', 'Upload-Metadata': `filename ${btoa('a.txt')},filetype ${btoa('text/plain')}` },
    'helloworld',
  )
  for (const path of [begun, inTus]) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(site, method, path)
      assert.deepEqual([answer.status, answer.headers.get('content-length'), answer.headers.get('content-type')], [200, '10', 'text/plain'])
      assert.match(answer.headers.get('content-disposition') ?? '', /filename="a\.txt"/)
      assert.equal(answer.body, method === 'GET' ? 'helloworld' : '')
      assert.deepEqual([answer.headers.get('upload-offset'), answer.headers.get('upload-complete')], ['10', '?1'])
    }
    const part = await ask(site, 'GET', path, { Range: 'bytes=5-' })
    assert.deepEqual([part.status, part.body], [206, 'world'])
  }
})

overBoth('a GET or HEAD that says which draft it means is no download, nor is a HEAD in tus', async (t, version) => {
  const site = await serve(t, version, { download: {} })
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 200)
  for (const value of ['8', '6', 'abc']) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(site, method, path, { 'Upload-Draft-Interop-Version': value })
      assert.deepEqual(
        [answer.status, answer.headers.get('upload-offset'), answer.headers.get('upload-complete'), answer.body],
        [204, '5', '?1', ''],
      )
    }
  }
  const inTus = await headInTus(site, path)
  assert.deepEqual([inTus.status, inTus.headers.get('upload-offset')], [200, '5'])
  assertInTus(inTus)
})

overBoth('without downloads a GET is never the content', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 200)
  for (const headers of [{}, I8]) {
    const answer = await ask(site, 'GET', path, headers)
    assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.body], [204, '?1', ''])
  }
})

overBoth('a download of an upload that is missing, rejected or of another client is refused as any request is', async (t, version) => {
  let status: number | undefined
  const refuse = (): void => {
    if (status !== undefined) throw Object.assign(new Error('secret'), { status })
  }
  const site = await serve(t, version, {
    download: {},
    authorize: refuse,
    onFinish: () => Promise.reject(Object.assign(new Error('secret'), { status: 422 })),
  })
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 422)
  assert.equal((await ask(site, 'GET', path)).status, 422)
  assert.equal((await ask(site, 'GET', '/files/unknown')).status, 404)
  status = 403
  for (const target of [path, '/files/unknown']) {
    const answer = await ask(site, 'GET', target)
    assert.deepEqual([answer.status, answer.body, answer.headers.has('upload-offset')], [403, 'Forbidden\n', false])
  }
})
