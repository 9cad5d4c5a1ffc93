// SPDX-License-Identifier: MIT

/** Checklist T.9: concatenation. */

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { FileStoreError } from '../../lib/file-store/file-store.ts'
import type { AppendOptions, Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { listen } from '../support/listen.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { chunked, exchange, request, type WireResponse, withBody } from '../support/wire.ts'
import { concatenate, idOf, makePartial, patch, post } from './steps.ts'
import { ask, assertPlainRefusal, head, make, OCT, serve, V, type Site, type SiteOptions } from './support.ts'

/** A store in which concatenations get their bytes when the gate is open, and no more of them than there is room for. */
class AssemblyStore extends StoreBehind {
  readonly gate = new Gate()
  assemblies = 0
  room = Infinity

  override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    if (!upload.parts) return super.append(upload, body, options)
    this.assemblies++
    await this.gate.pass()
    if (this.room === Infinity) return super.append(upload, body, options)
    const fitting = (await buffer(body)).subarray(0, this.room)
    await super.append(upload, Readable.from([fitting]), options)
    throw new FileStoreError('STORE_FULL', 'No space at /srv/secret')
  }
}

function serveAssembly(t: TestContext, options?: SiteOptions): Promise<Site<AssemblyStore>> {
  return serve(t, { ...options, store: (files) => new AssemblyStore(files) })
}

/** Two parts that are complete: `hello` and ` world`. */
async function makeParts(site: Site): Promise<readonly [hello: string, world: string]> {
  return [await makePartial(site, 'hello'), await makePartial(site, ' world')]
}

/** A concatenation that waits for the last byte of its second part. */
async function makeWaiting(
  site: Site,
  headers: readonly string[] = [],
): Promise<{ readonly final: string; readonly parts: readonly [string, string] }> {
  const parts = [await makePartial(site, 'hello'), await makePartial(site, ' worl', 6)] as const
  return { final: addressOf(await concatenate(site, parts, headers)), parts }
}

function assertRefused(answer: WireResponse, status: number, site: Site): void {
  assert.equal(answer.status, status)
  assert.equal(answer.headers.has('location'), false)
  assertPlainRefusal(answer, site)
}

test('T117 · OPTIONS offers concatenation, of unfinished uploads too', async (t) => {
  const site = await serve(t)
  const extensions = (await ask(site, request('OPTIONS /files/'))).headers.get('tus-extension')?.split(',') ?? []
  assert.ok(extensions.includes('concatenation'))
  assert.ok(extensions.includes('concatenation-unfinished'))
})

for (const missing of ['read', 'setLength'] as const) {
  test(`T117, T118 · a store without ${missing} does not offer concatenation, and Upload-Concat is 400`, async (t) => {
    const site = await serve(t, { store: (files) => Object.assign(new StoreBehind(files), { [missing]: undefined }) })
    assert.doesNotMatch((await ask(site, request('OPTIONS /files/'))).headers.get('tus-extension') ?? '', /concatenation/)
    for (const value of ['partial', 'final;/files/x', '']) {
      assertRefused(await post(site, ['Upload-Length: 5', `Upload-Concat: ${value}`]), 400, site)
    }
    assert.equal(snapshot(site.folder).size, 0)
  })
}

test('T118, T119 · a partial upload is created, and HEAD reports that it is one, with its offset and length', async (t) => {
  const site = await serve(t)
  const fresh = addressOf(await post(site, ['Upload-Length: 5', 'Upload-Concat: partial']))
  for (const [upload, offset] of [[fresh, 0], [await makePartial(site, 'hel', 5), 3], [await makePartial(site, 'hello'), 5]] as const) {
    const { status, headers } = await head(site, upload)
    assert.equal(status, 200)
    assert.equal(headers.get('upload-offset'), String(offset))
    assert.equal(headers.get('upload-length'), '5')
    assert.equal(headers.get('upload-concat'), 'partial')
  }
})

test('T120, T121, T122 · the final upload has the bytes of its parts in their order, and HEAD reports the list as it was sent', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  for (const [parts, content] of [[[hello, world], 'hello world'], [[world, hello], ' worldhello'], [[hello], 'hello']] as const) {
    const created = await concatenate(site, parts)
    assert.equal(created.status, 201)
    assert.equal(created.body, '')
    assert.equal(created.headers.has('upload-offset'), false)
    const final = addressOf(created)
    const { status, headers } = await head(site, final)
    assert.equal(status, 200)
    assert.equal(headers.get('upload-length'), String(content.length))
    assert.equal(headers.get('upload-offset'), String(content.length))
    assert.equal(headers.get('upload-concat'), `final;${parts.join(' ')}`)
    assert.equal(headers.has('upload-defer-length'), false)
    assert.equal(contentOf(site, final).toString(), content)
  }
})

test('T121 · the content of the final upload can be downloaded; that of a part cannot, and is not found', async (t) => {
  const site = await serve(t, { download: {} })
  const [hello, world] = await makeParts(site)
  const final = addressOf(await concatenate(site, [hello, world]))
  const answer = await ask(site, request(`GET ${final}`))
  assert.equal(answer.status, 200)
  assert.equal(answer.body, 'hello world')
  assertRefused(await ask(site, request(`GET ${hello}`)), 404, site)
})

test('T122 · HEAD reports the list as it was sent also from a new server on the same store', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const value = `final;HTTP://TEST:80${hello} ${world}`
  const final = addressOf(await post(site, [`Upload-Concat: ${value}`]))
  const later = await serve(t, { folder: site.folder })
  for (const server of [site, later]) assert.equal((await head(server, final)).headers.get('upload-concat'), value)
})

test('T123 · parts may be named by URL, by path, or in both ways', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const lists = [
    [`http://test${hello}`, `http://test${world}`], [hello, world], [`http://test${hello}`, world], [hello, `https://test${world}`],
    [`HTTP://TEST${hello}`, world], [`http://test:80${hello}`, `https://test:443${world}`],
  ]
  for (const list of lists) {
    const final = addressOf(await concatenate(site, list))
    assert.equal(contentOf(site, final).toString(), 'hello world', list.join(' '))
  }
})

test('T124 · a part may be used by several final uploads', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const first = addressOf(await concatenate(site, [world, hello]))
  const second = addressOf(await concatenate(site, [hello, world]))
  assert.notEqual(first, second)
  assert.equal(contentOf(site, first).toString(), ' worldhello')
  assert.equal(contentOf(site, second).toString(), 'hello world')
})

test('a part that is named twice, in whichever way, is 400 and creates nothing: a short request would write very much', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const before = snapshot(site.folder)
  for (const list of [[hello, hello], [hello, world, `http://test${hello}`], Array.from({ length: 380 }, () => hello)]) {
    assertRefused(await concatenate(site, list), 400, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('HEAD of a final upload of which a part is unfinished looks up that part alone', async (t) => {
  let looked: string[] = []
  const site = await serve(t, {
    store: (files) => Object.assign(new StoreBehind(files), { find: (id: string) => (looked.push(id), files.find(id)) }),
  })
  const finished = [await makePartial(site, 'a'), await makePartial(site, 'b'), await makePartial(site, 'c')]
  const unfinished = await makePartial(site, 'd', 2)
  const final = addressOf(await concatenate(site, [...finished, unfinished]))
  looked = []
  for (let n = 0; n < 2; n++) assert.equal((await head(site, final)).headers.get('upload-length'), '5')
  assert.deepEqual(looked, [final, unfinished, final, unfinished].map(idOf))
  assert.equal((await patch(site, unfinished, 1, 'e')).status, 204)
  assert.equal((await head(site, final)).headers.get('upload-offset'), '5')
  assert.equal(contentOf(site, final).toString(), 'abcde')
})

test('T124, T136 · a final upload outlives its parts; a second one of parts that are gone is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const parts = await makeParts(site)
  const final = addressOf(await concatenate(site, parts))
  for (const part of parts) assert.equal((await ask(site, request(`DELETE ${part}`, [V]))).status, 204)
  const before = snapshot(site.folder)
  assertRefused(await concatenate(site, parts), 400, site)
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
  assert.equal(contentOf(site, final).toString(), 'hello world')
})

test('T125, T126 · PATCH of a final upload is 403, whatever its offset, finished or not, and changes nothing', async (t) => {
  const site = await serve(t)
  const finished = addressOf(await concatenate(site, await makeParts(site)))
  const { final: waiting } = await makeWaiting(site)
  const before = snapshot(site.folder)
  for (const upload of [finished, waiting]) {
    for (const [offset, content] of [[11, '!'], [11, ''], [0, ''], [0, 'hello'], [5, ' world'], [12, '']] as const) {
      assertRefused(await patch(site, upload, offset, content), 403, site)
    }
    assertRefused(await patch(site, upload, 0, 'hello', ['Upload-Length: 5']), 403, site)
    const coded = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 11', 'Transfer-Encoding: chunked'])
    assertRefused(await ask(site, withBody(coded, chunked('!'))), 403, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T127 · a final upload has its own metadata and none of its parts', async (t) => {
  const site = await serve(t)
  const part = addressOf(await post(site, ['Upload-Length: 0', 'Upload-Concat: partial', 'Upload-Metadata: a eA==']))
  assert.equal((await head(site, addressOf(await concatenate(site, [part])))).headers.has('upload-metadata'), false)
  const named = addressOf(await concatenate(site, [part], ['Upload-Metadata: b eQ==']))
  assert.equal((await head(site, named)).headers.get('upload-metadata'), 'b eQ==')
})

test('T128 · a store that cannot concatenate refuses an unfinished part as it refuses every one', async (t) => {
  const site = await serve(t)
  const part = await makePartial(site, 'hel', 5)
  const without = await serve(t, { folder: site.folder, store: (files) => Object.assign(new StoreBehind(files), { read: undefined }) })
  const before = snapshot(site.folder)
  assertRefused(await concatenate(without, [part]), 400, without)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T129, T130 · a final upload of unfinished parts has no offset until they are finished; HEAD then gives it its bytes', async (t) => {
  const site = await serve(t)
  const { final, parts } = await makeWaiting(site)
  for (let n = 0; n < 2; n++) {
    const { status, headers } = await head(site, final)
    assert.equal(status, 200)
    assert.equal(headers.has('upload-offset'), false)
    assert.equal(headers.get('upload-length'), '11')
    assert.equal(headers.get('upload-concat'), `final;${parts.join(' ')}`)
  }
  assert.equal((await patch(site, parts[1], 5, 'd')).status, 204)
  const { headers } = await head(site, final)
  assert.equal(headers.get('upload-offset'), '11')
  assert.equal(headers.get('upload-length'), '11')
  assert.equal(contentOf(site, final).toString(), 'hello world')
})

test('T130 · a final upload tells no length while that of a part is not known, and the sum once it is', async (t) => {
  const site = await serve(t)
  const later = await makePartial(site, ' wor', 'later')
  const final = addressOf(await concatenate(site, [await makePartial(site, 'hello'), later]))
  const unknown = (await head(site, final)).headers
  for (const name of ['upload-offset', 'upload-length', 'upload-defer-length']) assert.equal(unknown.has(name), false, name)

  assert.equal((await patch(site, later, 4, '', ['Upload-Length: 6'])).status, 204)
  const known = (await head(site, final)).headers
  assert.equal(known.get('upload-length'), '11')
  assert.equal(known.has('upload-offset'), false)

  assert.equal((await patch(site, later, 4, 'ld')).status, 204)
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
  assert.equal(contentOf(site, final).toString(), 'hello world')
})

test('T129 · a sweep gives a waiting final upload its bytes when its parts are finished, and not before', async (t) => {
  const finished: string[] = []
  const site = await serve(t, { onFinish: ({ id }) => void finished.push(id) })
  const { final, parts } = await makeWaiting(site)
  assert.equal((await site.tus.sweep()).settled, 0)
  await patch(site, parts[1], 5, 'd')
  assert.equal((await site.tus.sweep()).settled, 1)
  assert.equal(contentOf(site, final).toString(), 'hello world')
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
  assert.deepEqual(finished, [idOf(final)])
})

test('T131 · a final upload that says its length, or puts it off, is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const parts = await makeParts(site)
  const before = snapshot(site.folder)
  for (const header of [
    'Upload-Length: 11', 'Upload-Length: 5', 'Upload-Length: x', 'Upload-Length:', 'Upload-Defer-Length: 1', 'Upload-Defer-Length: 0',
  ]) {
    assertRefused(await concatenate(site, parts, [header]), 400, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T131 · a final upload that brings bytes is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const [hello] = await makeParts(site)
  const before = snapshot(site.folder)
  for (const type of [[OCT], [], ['Content-Type: text/plain']]) {
    const sized = request('POST /files/', [V, ...type, `Upload-Concat: final;${hello}`, 'Content-Length: 1'], '!')
    const coded = request('POST /files/', [V, ...type, `Upload-Concat: final;${hello}`, 'Transfer-Encoding: chunked'])
    for (const text of [sized, withBody(coded, chunked('!'))]) assertRefused(await ask(site, text), 400, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T131 · a final upload without bytes may have the content type of bytes', async (t) => {
  const site = await serve(t)
  const created = await concatenate(site, await makeParts(site), [OCT])
  assert.equal(contentOf(site, addressOf(created)).toString(), 'hello world')
})

test('T132 · an Upload-Concat that is malformed is 400 and creates nothing', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const before = snapshot(site.folder)
  const values = [
    'foo', 'final', 'final;', 'final; ', 'partial;x', 'Partial', '', `Final;${hello}`, `final;${hello}  ${world}`, `final; ${hello}`,
    `final;${hello},${world}`, `final;${hello};${world}`, 'partial, partial', `final ${hello}`,
  ]
  for (const value of values) {
    for (const length of [[], ['Upload-Length: 5']]) {
      assertRefused(await post(site, [...length, `Upload-Concat: ${value}`]), 400, site)
    }
  }
  assertRefused(await post(site, ['Upload-Length: 5', 'Upload-Concat: partial', 'Upload-Concat: partial']), 400, site)
  assertRefused(await post(site, [`Upload-Concat: final;${hello}`, `Upload-Concat: final;${world}`]), 400, site)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T133 · what is no partial upload of this server cannot be concatenated: 400, all the same, and nothing is created', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const final = addressOf(await concatenate(site, [hello, world]))
  const plain = await make(site, 5, 'hello')
  const before = snapshot(site.folder)
  const id = idOf(hello)
  const strangers = [
    '/files/unknown', plain, final, `/elsewhere/${id}`, `/${id}`, id, `files/${id}`, `./${id}`, '/files/', '/files', `//test${hello}`,
    `/files//${id}`,
    `/files/../files/${id}`, `/files/%2e%2e/${id}`, `${hello}/`, `${hello}.info`, `${hello}%00`, `/files/${'a'.repeat(129)}`,
    '/files/__proto__',
    `http://other${hello}`, `http://test:1080${hello}`, `http://user@test${hello}`, `http://test@other${hello}`,
    `http://test.other${hello}`,
    `ftp://test${hello}`, `file://${hello}`, `http://other${hello}?x`, `http://other${hello}#x`, `http:/files/${id}`, `http://${hello}`,
    'http://test/',
    `javascript:${hello}`, `http://other?${hello}`, `\\\\other${hello}`,
  ]
  const bodies = new Set<string>()
  for (const stranger of strangers) {
    for (const list of [[stranger], [hello, stranger], [stranger, world]]) {
      const answer = await concatenate(site, list)
      assert.equal(answer.status, 400, list.join(' '))
      assertRefused(answer, 400, site)
      bodies.add(answer.body)
    }
  }
  assert.equal(bodies.size, 2, 'an address that is none of ours, or an upload that cannot be used: why is not said')
  assert.deepEqual(snapshot(site.folder), before)
})

test('T133 · a part on another host is refused, and no request is sent there', async (t) => {
  let connections = 0
  const other = createServer().on('connection', () => connections++)
  const port = await listen(t, other)
  const site = await serve(t)
  const [hello] = await makeParts(site)
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`]) {
    assertRefused(await concatenate(site, [`http://${host}${hello}`]), 400, site)
  }
  await site.settled()
  assert.equal(connections, 0)
})

test('T133 · an upload cannot be a part of itself: not before it is there, and not once it is', async (t) => {
  let id = 'chosen'
  const site = await serve(t, { onCreate: ({ parts }) => (parts ? { id } : undefined) })
  assertRefused(await concatenate(site, ['/files/chosen']), 400, site)
  assert.equal(snapshot(site.folder).size, 0)

  const part = await makePartial(site, 'hello')
  id = idOf(part)
  const before = snapshot(site.folder)
  assertRefused(await concatenate(site, [part]), 409, site)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T133 · ten thousand parts are concatenated; one more is 400 and creates nothing', async (t) => {
  /** Any id that begins with "p" is an empty part. */
  class PartsStore extends StoreBehind {
    override async find(id: string): Promise<Upload | undefined> {
      const part = id.startsWith('p') ? await super.find(idOf(empty)) : undefined
      return part ? { ...part, id } : super.find(id)
    }
  }
  let made = 0
  const site = await serve(t, {
    maxHeaderSize: 256 * 1024,
    onCreate: () => ({ id: `u${++made}` }),
    store: (files) => new PartsStore(files),
  })
  const empty = await makePartial(site, '')
  const parts = Array.from({ length: 10_001 }, (_, index) => `/files/p${index}`)
  const final = addressOf(await concatenate(site, parts.slice(1)))
  assert.equal((await head(site, final)).headers.get('upload-offset'), '0')
  const before = snapshot(site.folder)
  assertRefused(await concatenate(site, parts), 400, site)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T134 · parts that are too large together are 413 and create nothing; as large as the maximum they are concatenated', async (t) => {
  const site = await serve(t, { maxSize: 11 })
  const [hello, world] = await makeParts(site)
  const another = await makePartial(site, '!')
  const before = snapshot(site.folder)
  assertRefused(await concatenate(site, [hello, world, another]), 413, site)
  assertRefused(await concatenate(site, [another, world, hello]), 413, site)
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal(contentOf(site, addressOf(await concatenate(site, [hello, world]))).length, 11)
})

test('T134 · lengths that no number can count together are 413', async (t) => {
  const site = await serve(t, { maxSize: Number.MAX_SAFE_INTEGER })
  const huge = await makePartial(site, '', Number.MAX_SAFE_INTEGER)
  const others = [await makePartial(site, '', Number.MAX_SAFE_INTEGER), await makePartial(site, '', Number.MAX_SAFE_INTEGER)]
  const [hello] = await makeParts(site)
  const before = snapshot(site.folder)
  for (const list of [[huge, ...others.slice(1)], [huge, hello], [hello, huge], [huge, ...others]]) {
    assertRefused(await concatenate(site, list), 413, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
  const final = addressOf(await concatenate(site, [huge]))
  assert.equal((await head(site, final)).headers.get('upload-length'), '9007199254740991')
})

test('T134 · parts whose known lengths are too large together are 413, also if that of another is not known', async (t) => {
  const site = await serve(t, { maxSize: 11 })
  const [hello, world] = await makeParts(site)
  const later = await makePartial(site, 'x', 'later')
  const before = snapshot(site.folder)
  for (const list of [[hello, world, later], [later, hello, world], [hello, later, world]]) {
    assertRefused(await concatenate(site, list), 413, site)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

for (const limit of ['of the server', 'that onCreate chose'] as const) {
  test(`T134 · a waiting final upload whose parts become larger than the maximum ${limit} is 413 from then on, and can be deleted`, async (t) => {
    const site = await serve(
      t,
      limit === 'of the server' ? { maxSize: 9 } : { onCreate: ({ parts }) => (parts ? { maxSize: 9 } : undefined) },
    )
    const later = await makePartial(site, '', 'later')
    const final = addressOf(await concatenate(site, [await makePartial(site, 'hello'), later]))
    assert.equal((await patch(site, later, 0, ' world'.slice(0, 5), ['Upload-Length: 5'])).status, 204)
    for (const server of [site, site, await serve(t, { folder: site.folder })]) assert.equal((await head(server, final)).status, 413)
    assert.equal((await ask(site, request(`DELETE ${final}`, [V]))).status, 204)
  })
}

test('T134 · onCreate may choose a smaller maximum for a final upload', async (t) => {
  const site = await serve(t, { onCreate: ({ parts }) => (parts ? { maxSize: 10 } : undefined) })
  const parts = await makeParts(site)
  const before = snapshot(site.folder)
  assertRefused(await concatenate(site, parts), 413, site)
  assert.deepEqual(snapshot(site.folder), before)
})

test('T135 · onFinish runs for a final upload once, and never for a part', async (t) => {
  const finished: { readonly id: string; readonly content: string }[] = []
  const site: Site = await serve(t, {
    onFinish: ({ id }) => void finished.push({ id, content: contentOf(site, `/files/${id}`).toString() }),
  })
  const parts = [await makePartial(site, 'hello'), await makePartial(site, ' wor', 6)]
  await patch(site, parts[1]!, 4, 'ld')
  await makePartial(site, '')
  for (const part of parts) await head(site, part)
  assert.deepEqual(finished, [])
  const final = addressOf(await concatenate(site, parts))
  for (let n = 0; n < 2; n++) await head(site, final)
  await site.tus.sweep()
  assert.deepEqual(finished, [{ id: idOf(final), content: 'hello world' }])
})

test('T135 · the answer of onFinish to a final upload is sent with its creation; what it rejects leaves nothing behind', async (t) => {
  const site = await serve(t, {
    onFinish: ({ length }) => {
      if (length === 5) throw Object.assign(new Error('secret'), { status: 422, body: 'too short' })
      return { headers: { 'X-Sum': '11' }, body: 'assembled' }
    },
  })
  const [hello, world] = await makeParts(site)
  const before = snapshot(site.folder)
  const rejected = await concatenate(site, [hello])
  assertRefused({ ...rejected, body: 'Too short\n' }, 422, site)
  assert.equal(rejected.body, 'too short\n')
  assert.deepEqual(snapshot(site.folder), before)
  const created = await concatenate(site, [hello, world])
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('x-sum'), '11')
  assert.equal(created.body, 'assembled\n')
  assert.equal((await head(site, addressOf(created))).headers.get('upload-offset'), '11')
})

test('T136 · a part may have a length that comes later, bytes of its own at its creation, and be resumed', async (t) => {
  const site = await serve(t)
  const later = await makePartial(site, 'hel', 'later')
  assert.equal((await head(site, later)).headers.get('upload-defer-length'), '1')
  assert.equal((await patch(site, later, 3, 'lo', ['Upload-Length: 5'])).headers.get('upload-offset'), '5')
  const chunks = withBody(
    request('POST /files/', [V, OCT, 'Upload-Length: 6', 'Upload-Concat: partial', 'Transfer-Encoding: chunked']),
    chunked(' world', 2),
  )
  const whole = addressOf(await ask(site, chunks))
  assert.equal(contentOf(site, addressOf(await concatenate(site, [later, whole]))).toString(), 'hello world')
})

test('T136 · a part is deleted as any upload is, and its final upload keeps its content', async (t) => {
  const site = await serve(t)
  const [hello, world] = await makeParts(site)
  const final = addressOf(await concatenate(site, [hello, world]))
  assert.equal((await ask(site, request(`DELETE ${hello}`, [V]))).status, 204)
  assert.equal((await head(site, hello)).status, 404)
  assert.equal(contentOf(site, final).toString(), 'hello world')
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
})

test('deleting a final upload, waiting or finished, leaves its parts', async (t) => {
  const site = await serve(t)
  const parts = await makeParts(site)
  const before = snapshot(site.folder)
  const finished = addressOf(await concatenate(site, parts))
  assert.equal((await ask(site, request(`DELETE ${finished}`, [V]))).status, 204)
  assert.deepEqual(snapshot(site.folder), before)
  const { final } = await makeWaiting(site)
  assert.equal((await ask(site, request(`DELETE ${final}`, [V]))).status, 204)
  assert.equal((await head(site, final)).status, 404)
  assert.equal(contentOf(site, parts[0]).toString(), 'hello')
})

test('a final upload one of whose parts is deleted before it has its bytes is 410 from then on, and can be deleted', async (t) => {
  const site = await serve(t)
  const rejected = published(t, 'longhaul:reject')
  const { final, parts } = await makeWaiting(site)
  assert.equal((await ask(site, request(`DELETE ${parts[0]}`, [V]))).status, 204)
  const later = await serve(t, { folder: site.folder })
  for (const server of [site, site, later]) {
    const answer = await ask(server, request(`HEAD ${final}`, [V]), { toHead: true })
    assert.equal(answer.status, 410)
    assert.equal(answer.headers.has('upload-offset'), false)
  }
  assert.deepEqual(rejected.map(({ upload }) => upload.id), [idOf(final)])
  assertRefused(await patch(site, final, 0, ''), 403, site)
  assert.equal((await patch(site, parts[1], 5, 'd')).status, 204, 'the other part is as it was')
  assert.equal((await ask(later, request(`DELETE ${final}`, [V]))).status, 204)
  assert.equal((await head(site, final)).status, 404)
})

test('a final upload one of whose parts expires before it has its bytes is 410 from then on', async (t) => {
  const site = await serve(t)
  const { final, parts } = await makeWaiting(site)
  const afterMs = 3_600_000
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + afterMs - 60_000 })
  const later = await serve(t, { folder: site.folder, expiration: { afterMs, from: 'activity' } })
  assert.equal((await patch(later, parts[1], 5, 'd')).status, 204) // the one that goes on lives on
  const fresh = addressOf(await concatenate(later, parts))
  assert.equal((await head(later, fresh)).headers.get('upload-offset'), '11', 'while no part has expired')
  t.mock.timers.setTime(Date.now() + 120_000)
  assertRefused(await concatenate(later, parts), 400, later)
  assert.equal((await head(later, fresh)).headers.get('upload-offset'), '11')
  for (let n = 0; n < 2; n++) assert.equal((await head(later, final)).status, 410)
})

test('a store that becomes full while a final upload is put together is 507, and nothing is left of it', async (t) => {
  const site = await serveAssembly(t)
  const parts = await makeParts(site)
  const before = snapshot(site.folder)
  site.store.gate.open()
  for (const room of [0, 7]) {
    site.store.room = room
    assertRefused(await concatenate(site, parts), 507, site)
    await site.settled()
    assert.deepEqual(snapshot(site.folder), before)
  }
  site.store.room = Infinity
  assert.equal(contentOf(site, addressOf(await concatenate(site, parts))).toString(), 'hello world')
})

test('a store that becomes full while a waiting final upload is put together is 423 to HEAD; it goes on where it was when there is space', async (t) => {
  const site = await serveAssembly(t)
  const { final, parts } = await makeWaiting(site)
  await patch(site, parts[1], 5, 'd')
  site.store.gate.open()
  site.store.room = 7
  const full = await ask(site, request(`HEAD ${final}`, [V]), { toHead: true })
  assert.equal(full.status, 423)
  assert.equal(full.headers.has('upload-offset'), false)
  assert.equal(contentOf(site, final).toString(), 'hello w')
  site.store.room = Infinity
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
  assert.equal(contentOf(site, final).toString(), 'hello world')
})

test('HEAD of a final upload that is being put together answers at once, without an offset, and does not disturb', async (t) => {
  const site = await serveAssembly(t)
  const { final, parts } = await makeWaiting(site)
  await patch(site, parts[1], 5, 'd')
  const first = head(site, final)
  await site.store.gate.arrived
  for (let n = 0; n < 3; n++) {
    const { status, headers } = await ask(site, request(`HEAD ${final}`, [V]), { toHead: true })
    assert.equal(status, 200)
    assert.equal(headers.has('upload-offset'), false)
    assert.equal(headers.get('upload-length'), '11')
  }
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 0, failed: 0 }, 'nor does a sweep wait, or disturb')
  site.store.gate.open()
  assert.equal((await first).headers.get('upload-offset'), '11')
  assert.equal((await head(site, final)).headers.get('upload-offset'), '11')
  assert.equal(site.store.assemblies, 1)
  assert.equal(contentOf(site, final).toString(), 'hello world')
})

test('HEAD of a final upload while onFinish runs answers at once, and does not say complete before it has', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { onFinish: () => gate.pass() })
  const { final, parts } = await makeWaiting(site)
  await patch(site, parts[1], 5, 'd')
  const first = head(site, final)
  await gate.arrived
  const { status, headers } = await ask(site, request(`HEAD ${final}`, [V]), { toHead: true })
  assert.equal(status, 200)
  assert.equal(headers.has('upload-offset'), false)
  assert.equal(headers.get('upload-length'), '11')
  gate.open()
  assert.equal((await first).headers.get('upload-offset'), '11')
})

test('a client that leaves while its final upload is put together does not stop that', async (t) => {
  const site = await serveAssembly(t, { onCreate: ({ parts }) => (parts ? { id: 'chosen' } : undefined) })
  const parts = await makeParts(site)
  const answer = exchange(site.port, request('POST /files/', [V, `Upload-Concat: final;${parts.join(' ')}`, 'Content-Length: 0']))
  const lost = assert.rejects(answer)
  await site.store.gate.arrived
  site.server.closeAllConnections()
  await lost
  site.store.gate.open()
  await site.settled()
  assert.equal((await head(site, '/files/chosen')).headers.get('upload-offset'), '11')
  assert.equal(contentOf(site, '/files/chosen').toString(), 'hello world')
})

test('a part that is deleted while its final upload is put together cannot damage it: it is whole, or gone', async (t) => {
  const site = await serveAssembly(t)
  const { final, parts } = await makeWaiting(site)
  await patch(site, parts[1], 5, 'd')
  const first = head(site, final)
  await site.store.gate.arrived
  assert.equal((await ask(site, request(`DELETE ${parts[1]}`, [V]))).status, 204)
  site.store.gate.open()
  assert.equal((await first).headers.has('upload-offset'), false)
  const { status, headers } = await head(site, final)
  assert.equal(status, 410)
  assert.equal(headers.has('upload-offset'), false)
})

test('the refusal of an unknown part and of one of another kind is the same for whoever asks, and authorize is asked first', async (t) => {
  const site = await serve(t, {
    authorize: (operation, { headers }) => {
      if (operation.kind === 'create' && !operation.description.partial && headers.authorization === undefined) {
        throw Object.assign(new Error(), { status: 401 })
      }
    },
  })
  const part = await makePartial(site, 'hello')
  for (const address of [part, '/files/unknown']) {
    assert.equal((await concatenate(site, [address])).status, 401, address)
  }
  assert.equal((await concatenate(site, ['/files/unknown'], ['Authorization: me'])).status, 400)
  assert.equal((await concatenate(site, [part], ['Authorization: me'])).status, 201)
})
