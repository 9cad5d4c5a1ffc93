// SPDX-License-Identifier: MIT

/** Checklist R.4: where an upload stands. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'
import { snapshot } from '../support/snapshot.ts'
import { limitsOf, stateOf, type State } from './state-of.ts'
import { append, ask, I8, make, overBoth, serve, type Answer, type Call, type Site } from './support.ts'

const HOUR = 3_600_000
const METHODS = ['HEAD', 'GET']

/** Asks for an upload in both ways, which have to agree, and returns the answer; it never has content. */
async function inspect(site: Site, upload: string, headers: Call['headers'] = I8): Promise<Answer> {
  const [answer, other] = await Promise.all(METHODS.map((method) => ask(site, method, upload, headers))) as [Answer, Answer]
  assert.deepEqual(stateOf(other), stateOf(answer))
  assert.equal(other.headers.get('upload-limit'), answer.headers.get('upload-limit'))
  if (answer.status === 204) assert.equal(other.body, '')
  for (const { headers } of [answer, other]) assert.equal(headers.get('cache-control'), 'no-store')
  return answer
}

/** From here on it is so much later for the server; file times go on as they are. */
function later(t: TestContext, byMs: number): void {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + byMs })
}

overBoth('R50, R51, R52, R54, R56 · HEAD and GET tell where an upload of known length stands, from its first byte to the last', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '10' })
  const expectState = async (state: State): Promise<void> => assert.deepEqual(stateOf(await inspect(site, upload)), state)
  await expectState({ status: 204, offset: '0', complete: '?0', length: '10' })
  assert.equal((await append(site, upload, 0, false, 'hello')).status, 204)
  await expectState({ status: 204, offset: '5', complete: '?0', length: '10' })
  assert.equal((await append(site, upload, 5, false, 'world')).status, 204)
  await expectState({ status: 204, offset: '10', complete: '?0', length: '10' }) // its client has not said that this is all
  assert.equal((await append(site, upload, 10, true)).status, 200)
  await expectState({ status: 204, offset: '10', complete: '?1', length: '10' })
})

overBoth('R50, R51, R52 · HEAD and GET tell no length before somebody knows it, and always from completion on', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site)
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 204, offset: '0', complete: '?0' })
  assert.equal((await append(site, upload, 0, false, 'hello')).status, 204)
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 204, offset: '5', complete: '?0' })
  const last = { ...I8, 'Content-Type': 'application/partial-upload', 'Upload-Offset': '5', 'Upload-Complete': '?1' }
  assert.equal((await ask(site, 'PATCH', upload, last, 'world', 'unknown')).status, 200)
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 204, offset: '10', complete: '?1', length: '10' })

  const whole = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello', 'unknown')
  assert.deepEqual(stateOf(await inspect(site, whole.headers.get('location') ?? '')), {
    status: 204,
    offset: '5',
    complete: '?1',
    length: '5',
  })
})

overBoth('R50 · a new server over the same uploads tells of them what the old one told', async (t, version) => {
  const site = await serve(t, version)
  const uploads = [
    await make(site),
    await make(site, { 'Upload-Length': '10' }, 'hello'),
    await make(site, {}, 'hello'),
    await make(site, { 'Upload-Length': '5' }, 'hello'),
  ]
  const complete = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello')
  const next = await serve(t, version, { folder: site.folder })
  for (const upload of [...uploads, complete.headers.get('location') ?? '']) {
    assert.deepEqual(stateOf(await inspect(next, upload)), stateOf(await inspect(site, upload)))
  }
})

overBoth('R50 · to ask changes nothing, however often and in whichever version of the draft', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  const before = snapshot(site.folder)
  const versions = [{}, ...['8', '6', '3', 'abc'].map((value) => ({ 'Upload-Draft-Interop-Version': value }))]
  const answers = await Promise.all(versions.flatMap((headers) => [1, 2, 3, 4].map(() => inspect(site, upload, headers))))
  for (const answer of answers) {
    assert.deepEqual(stateOf(answer), { status: 204, offset: '5', complete: '?0', length: '10' })
    assert.deepEqual(answer.interim, [])
  }
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R51 · what could not be finished is not called complete: to ask tries again, until that succeeds', async (t, version) => {
  let works = false
  const finished: string[] = []
  const onFinish = ({ id }: Upload): void => {
    if (!works) throw new Error('secret')
    finished.push(id)
  }
  const site = await serve(t, version, { onFinish, onCreate: () => ({ id: 'one' }) })
  assert.equal((await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello')).status, 500)
  assert.deepEqual(stateOf(await inspect(site, '/files/one')), { status: 500 })
  works = true
  for (let time = 0; time < 2; time++) {
    assert.deepEqual(stateOf(await inspect(site, '/files/one')), { status: 204, offset: '5', complete: '?1', length: '5' })
  }
  assert.deepEqual(finished, ['one'])
})

overBoth('R51 · what onFinish refused is answered with that refusal, which is complete', async (t, version) => {
  const refusal = { status: 422, body: 'no image', headers: { 'X-Reason': '7' } }
  const site = await serve(t, version, {
    onFinish: () => Promise.reject(Object.assign(new Error('secret'), refusal)),
    onCreate: () => ({ id: 'one' }),
  })
  assert.equal((await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello')).status, 422)
  const answer = await inspect(site, '/files/one')
  assert.deepEqual(stateOf(answer), { status: 422, complete: '?1' })
  assert.equal(answer.headers.get('x-reason'), '7')
  assert.equal((await ask(site, 'GET', '/files/one', I8)).body, 'no image\n')
})

overBoth('R53 · HEAD and GET tell the limits, or that there are none, also when the upload is complete', async (t, version) => {
  const rows = [
    [{}, { 'max-size': 100 * 1024 ** 3 }],
    [{ maxSize: Number.MAX_SAFE_INTEGER }, { 'min-size': 0 }],
    [
      { maxSize: 200, maxAppendSize: 150, minSize: 5, minAppendSize: 3 },
      { 'max-size': 200, 'min-size': 5, 'max-append-size': 150, 'min-append-size': 3 },
    ],
    [{ maxSize: 200, onCreate: () => ({ maxSize: 120 }) }, { 'max-size': 120 }],
  ] as const
  for (const [options, limits] of rows) {
    const site = await serve(t, version, options)
    const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
    assert.deepEqual(limitsOf(await inspect(site, upload)), limits)
    assert.equal((await append(site, upload, 5, true, 'world')).status, 200)
    assert.deepEqual(limitsOf(await inspect(site, upload)), limits)
  }
})

overBoth('R53 · HEAD and GET tell for how long an upload is kept, but nothing of that when it is complete', async (t, version) => {
  const site = await serve(t, version, { maxSize: Number.MAX_SAFE_INTEGER, expiration: { afterMs: HOUR, from: 'creation' } })
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  const { 'max-age': before = NaN, ...others } = limitsOf(await inspect(site, upload))
  assert.ok(before > 3590 && before <= 3600, `${before} of 3600 s`)
  assert.deepEqual(others, {})
  later(t, HOUR / 2)
  const { 'max-age': after = NaN } = limitsOf(await inspect(site, upload))
  assert.ok(after > 1790 && after <= 1800, `${after} of 1800 s`)
  assert.equal((await append(site, upload, 5, true, 'world')).status, 200)
  assert.deepEqual(limitsOf(await inspect(site, upload)), { 'min-size': 0 })
})

overBoth('R55 · an address that is spelled otherwise leads nowhere, and never elsewhere', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  const id = upload.slice('/files/'.length)
  const rows = [
    `${upload}/`,
    `${upload}//`,
    `/files//${id}`,
    `//files/${id}`,
    `/FILES/${id}`,
    `/files/${id.toUpperCase()}`,
    `/files/./${id}`,
    `/files/%${id.charCodeAt(0).toString(16)}${id.slice(1)}`,
  ]
  for (const path of rows) {
    const answer = await inspect(site, path)
    assert.deepEqual(stateOf(answer), { status: 404 }, path)
    assert.equal(answer.headers.has('location'), false, path)
  }
  for (const path of [`${upload}?a=b`, upload]) {
    assert.deepEqual(stateOf(await inspect(site, path)), { status: 204, offset: '5', complete: '?0', length: '10' }, path)
  }
})

overBoth('R56 · a server that offers downloads gives the bytes of what is finished to whoever names no version of the draft', async (t, version) => {
  const site = await serve(t, version, { download: {} })
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 204, offset: '5', complete: '?0', length: '10' })
  assert.deepEqual(stateOf(await ask(site, 'HEAD', upload)), { status: 204, offset: '5', complete: '?0', length: '10' })
  assert.equal((await append(site, upload, 5, false, 'world')).status, 204)
  assert.deepEqual(stateOf(await ask(site, 'HEAD', upload)), { status: 204, offset: '10', complete: '?0', length: '10' })
  assert.deepEqual(stateOf(await ask(site, 'GET', upload)), { status: 404 })
  assert.equal((await append(site, upload, 10, true)).status, 200)

  for (const headers of [I8, { 'Upload-Draft-Interop-Version': '6' }, { 'Upload-Draft-Interop-Version': 'abc' }]) {
    assert.deepEqual(stateOf(await inspect(site, upload, headers)), { status: 204, offset: '10', complete: '?1', length: '10' })
  }
  for (const method of METHODS) {
    const { status, headers, body } = await ask(site, method, upload)
    assert.deepEqual([status, headers.get('content-length'), body], [200, '10', method === 'GET' ? 'helloworld' : ''])
    assert.deepEqual(stateOf({ status, headers }), { status: 200, offset: '10', complete: '?1', length: '10' })
  }
})

overBoth('R57 · HEAD and GET of an upload that never was, or was cancelled, are 404 and tell of no offset', async (t, version) => {
  const site = await serve(t, version)
  const cancelled = await make(site, { 'Upload-Length': '10' }, 'hello')
  assert.equal((await ask(site, 'DELETE', cancelled, I8)).status, 204)
  const rows = [
    cancelled,
    `/files/${'0'.repeat(32)}`,
    '/files/x',
    `/files/${'x'.repeat(5000)}`,
    '/files/%00',
    '/files/..%2f',
    '/files/x.info',
    '/files/__proto__',
    '/filesx',
  ]
  for (const path of rows) assert.deepEqual(stateOf(await inspect(site, path)), { status: 404 }, path)
})

overBoth('R57 · HEAD and GET of an upload that was deactivated are 410 and tell of no offset', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  assert.equal((await append(site, upload, 5, false, 'too much')).status, 400)
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 410 })
  assert.deepEqual(stateOf(await inspect(await serve(t, version, { folder: site.folder }), upload)), { status: 410 })
})

overBoth('R57 · HEAD and GET of an upload that has expired are 410 and tell of no offset', async (t, version) => {
  const site = await serve(t, version, { expiration: { afterMs: HOUR } })
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  later(t, HOUR + 1000)
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 410 })
  await site.uploads.sweep()
  assert.deepEqual(stateOf(await inspect(site, upload)), { status: 404 })
})

overBoth('R58 · what HEAD and GET say of an offset, a length or completeness themselves is ignored', async (t, version) => {
  const site = await serve(t, version)
  const upload = await make(site, { 'Upload-Length': '10' }, 'hello')
  const before = snapshot(site.folder)
  const rows = [
    { 'Upload-Offset': '10' },
    { 'Upload-Offset': 'x' },
    { 'Upload-Complete': '?0' },
    { 'Upload-Complete': '?1' },
    { 'Upload-Complete': 'x' },
    { 'Upload-Length': '5' },
  ]
  for (const headers of rows) {
    for (const speaker of [I8, {}]) {
      assert.deepEqual(
        stateOf(await inspect(site, upload, { ...speaker, ...headers })),
        { status: 204, offset: '5', complete: '?0', length: '10' },
        JSON.stringify(headers),
      )
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})
