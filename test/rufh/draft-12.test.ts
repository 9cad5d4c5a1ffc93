// SPDX-License-Identifier: MIT

/** Checklist R.10: what draft -12 changed, which is interop version 9, and what comes after it. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { limitsOf, stateOf } from './state-of.ts'
import { ask, begin, overBoth, PU, serve, type Answer, type Call, type Site, type SiteOptions, type Version } from './support.ts'

const COMPLETED = 'https://iana.org/assignments/http-problem-types#completed-upload'
const MORE = { 'Upload-Complete': '?0' }
const ALL = { 'Upload-Complete': '?1' }

/** Names a version, or none. */
function speaks(version: number | undefined): Readonly<Record<string, string>> {
  return version === undefined ? {} : { 'Upload-Draft-Interop-Version': String(version) }
}

function append(
  site: Site,
  path: string,
  version: number | undefined,
  offset: number,
  end: Call['headers'],
  content = '',
  headers: Call['headers'] = {},
): Promise<Answer> {
  return ask(site, 'PATCH', path, { ...speaks(version), ...PU, 'Upload-Offset': String(offset), ...end, ...headers }, content)
}

async function make(site: Site, version: number | undefined, content = '', headers: Call['headers'] = {}): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...speaks(version), ...MORE, ...headers }, content))
}

/** Makes an upload of `helloworld` that is complete. */
async function complete(site: Site, version: number | undefined): Promise<string> {
  const path = await make(site, version, 'hello')
  assert.equal((await append(site, path, version, 5, ALL, 'world')).status, 200)
  return path
}

function typeOf({ headers, body }: Answer): unknown {
  return headers.get('content-type') === 'application/problem+json' ? (JSON.parse(body) as { readonly type: unknown }).type : undefined
}

for (const [name, interopVersions, versions] of [
  ['by default', undefined, [8, 9]],
  ['if they are listed', [8, 9, 10, 99], [8, 9, 10, 99]],
] as const) {
  overBoth(`R103 · clients of versions ${versions.join(', ')} are served side by side ${name}, each with 104 in its own number`, async (t, version) => {
    const site = await serve(t, version, { interopVersions })
    const creations = await Promise.all(versions.map(async (spoken) => {
      const exchange = await begin(site, { method: 'POST', path: '/files/', headers: { ...speaks(spoken), ...ALL } }, 100_000)
      return { spoken, exchange, told: await exchange.interim() } // before any content comes
    }))
    for (const { spoken, exchange, told } of creations) {
      assert.deepEqual([told.status, told.headers.get('upload-draft-interop-version')], [104, String(spoken)])
      const path = locationOf(told)
      await exchange.write(pattern(60_000))
      exchange.cut('fin')
      await exchange.closed
      const asked = await ask(site, 'HEAD', path, speaks(spoken))
      assert.deepEqual(stateOf(asked), { status: 204, offset: '60000', complete: '?0', length: '100000' })
      const rest = await begin(
        site,
        { method: 'PATCH', path, headers: { ...speaks(spoken), ...PU, 'Upload-Offset': '60000', ...ALL } },
        40_000,
      )
      await rest.write(pattern(100_000).subarray(60_000))
      rest.end()
      const { interim, ...answer } = await rest.answer
      assert.deepEqual(stateOf(answer), { status: 200, offset: '100000', complete: '?1', length: '100000' })
      for (const each of interim) assert.equal(each.headers.get('upload-draft-interop-version'), String(spoken))
      assert.ok(contentOf(site, path).equals(pattern(100_000)))
    }
  })
}

for (const spoken of [undefined, 7, 10, 100]) {
  overBoth(
    `R104 · a client of ${spoken === undefined ? 'no version' : `version ${spoken}, which is not listed,`} is served but for 104`,
    async (t, version) => {
      const site = await serve(t, version, { download: {} })
      const created = await ask(site, 'POST', '/files/', { ...speaks(spoken), ...MORE }, 'hello')
      assert.deepEqual(stateOf(created), { status: 201, offset: '5', complete: '?0' })
      const path = locationOf(created)
      const grown = await append(site, path, spoken, 5, MORE, 'wor')
      assert.deepEqual(stateOf(grown), { status: 204, offset: '8', complete: '?0' })
      const asked = await ask(site, 'HEAD', path, speaks(spoken))
      assert.deepEqual(stateOf(asked), { status: 204, offset: '8', complete: '?0' })
      const conflict = await append(site, path, spoken, 5, ALL, 'world')
      assert.deepEqual(stateOf(conflict), { status: 409, offset: '8', complete: '?0' })
      const completed = await append(site, path, spoken, 8, ALL, 'ld')
      const again = await append(site, path, spoken, 10, ALL)
      const unsure = await append(site, path, spoken, 10, MORE)
      for (const answer of [completed, again, unsure]) {
        assert.deepEqual(stateOf(answer), { status: 200, offset: '10', complete: '?1', length: '10' })
      }
      for (const { interim } of [created, grown, asked, conflict, completed, again, unsure]) assert.deepEqual(interim, [])
      assert.equal((await ask(site, 'DELETE', path, speaks(spoken))).status, 204)
    },
  )
}

overBoth('R105 · with download, every answer about a finished upload says where it stands, to clients that name no version', async (t, version) => {
  const site = await serve(t, version, { download: {}, maxSize: 100 })
  const path = await complete(site, undefined)
  const { headers } = await ask(site, 'HEAD', path)
  const [etag = '', modified = ''] = ['etag', 'last-modified'].map((name) => headers.get(name))
  const rows: readonly (readonly [status: number, method: string, headers: Call['headers'], body: string])[] = [
    [200, 'HEAD', {}, ''],
    [200, 'GET', {}, 'helloworld'],
    [206, 'GET', { Range: 'bytes=5-' }, 'world'],
    [304, 'GET', { 'If-None-Match': etag }, ''],
    [304, 'HEAD', { 'If-Modified-Since': modified }, ''],
    [412, 'GET', { 'If-Match': '"other"' }, ''],
    [416, 'GET', { Range: 'bytes=10-' }, ''],
  ]
  for (const [status, method, conditions, body] of rows) {
    const answer = await ask(site, method, path, conditions)
    assert.deepEqual(stateOf(answer), { status, offset: '10', complete: '?1', length: '10' })
    assert.deepEqual(limitsOf(answer), { 'max-size': 100 })
    assert.equal(answer.body, body)
  }
})

overBoth('R105 · a handler of tus alone says nothing of it in its downloads', async (t, version) => {
  const folder = (await serve(t, version)).folder
  const path = await complete(await serve(t, version, { folder }), 9)
  const site = await serve(t, version, { folder, download: {}, handler: tusHandler })
  const { status, headers } = await ask(site, 'GET', path)
  assert.deepEqual(stateOf({ status, headers }), { status: 200 })
})

overBoth('R106 · a refusal over a limit tells the limits, also where the length is inconsistent besides', async (t, version) => {
  const site = await serve(t, version, { maxSize: 20, maxAppendSize: 12, minSize: 2, minAppendSize: 3 })
  const limits = { 'max-size': 20, 'max-append-size': 12, 'min-size': 2, 'min-append-size': 3 }
  const path = await make(site, 9, 'hello', { 'Upload-Length': '15' })
  const before = snapshot(site.folder)
  const post = (headers: Call['headers'], content: string): Promise<Answer> =>
    ask(site, 'POST', '/files/', { ...speaks(9), ...headers }, content)
  const rows: readonly (readonly [status: number, answer: Promise<Answer>])[] = [
    [413, post({ ...MORE, 'Upload-Length': '21' }, 'hello')],
    [400, post({ ...ALL, 'Upload-Length': '21' }, 'x')],
    [400, post({ ...ALL, 'Upload-Length': '1' }, 'hello')],
    [413, post({ ...MORE, 'Upload-Length': '20' }, 'x'.repeat(13))],
    [400, post({ ...ALL, 'Upload-Length': '1' }, 'x')],
    [400, post({ ...MORE, 'Upload-Length': '20' }, 'xx')],
    [400, append(site, path, 9, 5, MORE, 'xx')],
  ]
  for (const [index, [status, answer]] of rows.entries()) {
    assert.equal((await answer).status, status, `row ${index}`)
    assert.deepEqual(limitsOf(await answer), limits, `row ${index}`)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

overBoth('R106 · an upload that ends short of its length in chunks is refused with its own limits', async (t, version) => {
  const site = await serve(t, version, { maxSize: 20, onCreate: () => ({ maxSize: 15 }) })
  const path = await make(site, 9, 'hello', { 'Upload-Length': '15' })
  const answer = await ask(site, 'PATCH', path, { ...speaks(9), ...PU, 'Upload-Offset': '5', ...ALL }, 'world', 'unknown')
  assert.deepEqual(stateOf(answer), { status: 400, offset: '10', complete: '?0' })
  assert.deepEqual(limitsOf(answer), { 'max-size': 15 })
})

overBoth('R107 · OPTIONS, HEAD and GET tell the limits to clients that name no version', async (t, version) => {
  const site = await serve(t, version, { maxSize: 20, expiration: { afterMs: 3_600_000 } })
  const path = await make(site, undefined, 'hello')
  for (const answer of [await ask(site, 'OPTIONS', '/files/'), await ask(site, 'HEAD', path), await ask(site, 'GET', path)]) {
    assert.equal(answer.status, 204)
    const { 'max-size': maxSize, 'max-age': maxAge = NaN } = limitsOf(answer)
    assert.equal(maxSize, 20)
    assert.ok(maxAge > 3500 && maxAge <= 3600, `${maxAge}`)
  }
})

for (const spoken of [9, 10, undefined]) {
  const name = spoken === undefined ? 'a client of no version' : `a client of version ${spoken}`
  overBoth(`R108 · ${name} that appends nothing to a complete upload gets its final response again, and nothing is done twice`, async (t, version) => {
    let runs = 0
    const onFinish = (): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string } => {
      return { status: 201, headers: { 'X-Run': String(++runs) }, body: 'done' }
    }
    const site = await serve(t, version, { interopVersions: [9, 10], onFinish, minAppendSize: 2 })
    const path = await make(site, spoken, 'hello')
    const first = await append(site, path, spoken, 5, ALL, 'world')
    const before = snapshot(site.folder)
    const later = [await append(site, path, spoken, 10, ALL), await append(site, path, spoken, 10, MORE)]
    const chunked = await ask(site, 'PATCH', path, { ...speaks(spoken), ...PU, 'Upload-Offset': '10', ...MORE }, '', 'unknown')
    for (const answer of [first, ...later, chunked]) {
      assert.deepEqual(stateOf(answer), { status: 201, offset: '10', complete: '?1', length: '10' })
      assert.deepEqual([answer.headers.get('x-run'), answer.body], ['1', 'done\n'])
    }
    assert.equal(runs, 1)
    assert.deepEqual(snapshot(site.folder), before)
  })

  overBoth(`R109 · ${name} cannot add to a complete upload: 400, with no type of its own, and nothing changes`, async (t, version) => {
    const site = await serve(t, version, { interopVersions: [9, 10], onFinish: () => ({ body: 'done' }) })
    const path = await complete(site, spoken)
    const before = snapshot(site.folder)
    for (const end of [MORE, ALL]) {
      const known = await append(site, path, spoken, 10, end, '!')
      const chunked = await ask(site, 'PATCH', path, { ...speaks(spoken), ...PU, 'Upload-Offset': '10', ...end }, '!', 'unknown')
      const otherLength = await append(site, path, spoken, 10, end, '', { 'Upload-Length': '11' })
      for (const answer of [known, chunked, otherLength]) {
        assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [400, '?0'])
        assert.notEqual(typeOf(answer), COMPLETED)
      }
    }
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal((await ask(site, 'HEAD', path, speaks(spoken))).headers.get('upload-complete'), '?1')
  })
}

overBoth('R108 · a client of version 8 is refused as its draft has it', async (t, version) => {
  const site = await serve(t, version)
  const path = await complete(site, 8)
  const answer = await append(site, path, 8, 10, MORE)
  assert.deepEqual([answer.status, answer.headers.get('upload-complete'), typeOf(answer)], [400, '?0', COMPLETED])
})

overBoth('R110 · an append at another offset is 409 with the right one and Upload-Complete: ?0, also if the upload is complete', async (t, version) => {
  const site = await serve(t, version)
  const rows = [[await make(site, 9, 'hello'), '5'], [await complete(site, 9), '10']] as const
  for (const [path, offset] of rows) {
    for (const [claimed, content] of [[0, 'hello'], [4, ''], [99, 'x']] as const) {
      for (const end of [MORE, ALL]) {
        const answer = await append(site, path, 9, claimed, end, content)
        assert.deepEqual(stateOf(answer), { status: 409, offset, complete: '?0' })
      }
    }
  }
})

/** What can come of an upload, and whether the answer is that of what it was for. */
const results: readonly (readonly [what: string, status: number, '?0' | '?1', options: SiteOptions, headers?: Call['headers']])[] = [
  ['what onFinish answers', 202, '?1', { onFinish: () => ({ status: 202 }) }],
  ['a redirection by onFinish', 303, '?1', { onFinish: () => ({ status: 303, headers: { Location: '/done' } }) }],
  ['what onFinish refuses', 422, '?1', { onFinish: () => { throw Object.assign(new Error(), { status: 422 }) } }],
  [
    'another digest than the upload was to have',
    400,
    '?1',
    {},
    { 'Repr-Digest': `sha-256=:${createHash('sha256').update('other').digest('base64')}:` },
  ],
  ['what onFinish fails at', 500, '?0', { onFinish: () => { throw new Error() } }],
  [
    'a right that is missing',
    403,
    '?0',
    {
      authorize: ({ kind }) => {
        if (kind === 'append') throw Object.assign(new Error(), { status: 403 })
      },
    },
  ],
  [
    'a redirection by authorize, which cannot refuse so',
    500,
    '?0',
    {
      authorize: ({ kind }) => {
        if (kind === 'append') throw Object.assign(new Error(), { status: 303 })
      },
    },
  ],
  ['more than one request may bring', 413, '?0', { maxAppendSize: 5 }],
]

for (const [what, status, end, options, headers = {}] of results) {
  overBoth(`R111 · the answer to the last append says ${end} if it is ${what}, which is ${status}`, async (t, version) => {
    const site = await serve(t, version, options)
    const path = await make(site, 9, 'hello', headers)
    const answer = await append(site, path, 9, 5, ALL, ' world')
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [status, end])
    const asked = await ask(site, 'HEAD', path, speaks(9))
    if (end === '?1') assert.equal(asked.headers.get('upload-complete'), '?1')
    else assert.notEqual(asked.headers.get('upload-complete'), '?1')
  })
}

/** Requests that a repetition would serve. */
const transient: readonly (readonly [
  what: string,
  status: number,
  act: (t: Parameters<typeof serve>[0], version: Version) => Promise<Answer>,
])[] = [
  ['a body that falls silent', 503, async (t, version) => {
    const site = await serve(t, version, { idleTimeoutMs: 50 })
    const path = await make(site, 9, 'hello')
    const exchange = await begin(site, { method: 'PATCH', path, headers: { ...speaks(9), ...PU, 'Upload-Offset': '5', ...ALL } }, 5)
    await exchange.write('wor')
    const answer = await exchange.answer
    assert.equal(answer.headers.get('upload-offset'), '8')
    return answer
  }],
  ['an upload that another request does not let go', 503, async (t, version) => {
    const locker = new KeyedLock()
    const site = await serve(t, version, { locker, lockTimeoutMs: 50, onCreate: () => ({ id: 'held' }) })
    const path = await make(site, 9, 'hello')
    const lock = await locker.acquire('held')
    t.after(() => lock.release())
    return append(site, path, 9, 5, ALL, 'world')
  }],
  ['a server without a place for it', 503, async (t, version) => {
    const site = await serve(t, version, { maxConcurrent: 0 })
    return append(site, await make(site, 9), 9, 0, ALL, 'world')
  }],
  ['an upload that a newer request has taken', 409, async (t, version) => {
    const site = await serve(t, version)
    const path = await make(site, 9, 'hello')
    const older = await begin(site, { method: 'PATCH', path, headers: { ...speaks(9), ...PU, 'Upload-Offset': '5', ...ALL } }, 5)
    await older.write('w')
    await stored(site, path, 6)
    await ask(site, 'HEAD', path, speaks(9))
    return older.answer
  }],
]

for (const [what, status, act] of transient) {
  overBoth(`R112 · ${what} is ${status}, which clients retry, and not complete`, async (t, version) => {
    const answer = await act(t, version)
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [status, '?0'])
  })
}

for (const spoken of [3, 4, 5, 6, 7, 8, 9, 10]) {
  const strict = spoken <= 6
  overBoth(`R113 · HEAD and DELETE in version ${spoken} with a field for the offset or completeness: ${strict ? '400, and nothing changes' : 'it is ignored'}`, async (t, version) => {
    const site = await serve(t, version, { interopVersions: [3, 4, 5, 6, 7, 8, 9, 10] })
    const completeness = spoken === 3 ? 'Upload-Incomplete' : 'Upload-Complete'
    const path = await make(site, 9, 'hello')
    const before = snapshot(site.folder)
    for (const headers of [
      { 'Upload-Offset': '5' },
      { [completeness]: '?0' },
      { 'Upload-Offset': 'abc' },
      { [completeness]: '?1', 'Upload-Offset': '0' },
    ]) {
      assert.equal((await ask(site, 'HEAD', path, { ...speaks(spoken), ...headers })).status, strict ? 400 : 204)
      const cancelled = strict ? path : await make(site, 9, 'hello')
      assert.equal((await ask(site, 'DELETE', cancelled, { ...speaks(spoken), ...headers })).status, strict ? 400 : 204)
    }
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal((await ask(site, 'HEAD', path, speaks(spoken))).status, 204)
    assert.equal((await ask(site, 'DELETE', path, speaks(spoken))).status, 204)
  })
}

overBoth('R114 · digests are checked for version 9 as well, whose draft does not speak of them', async (t, version) => {
  const site = await serve(t, version)
  const digest = (text: string): string => `sha-256=:${createHash('sha256').update(text).digest('base64')}:`
  const path = await make(site, 9, 'hello', { 'Want-Repr-Digest': 'sha-256=10' })
  const wrong = await append(site, path, 9, 5, ALL, 'world', { 'Content-Digest': digest('other') })
  assert.deepEqual(stateOf(wrong), { status: 400, offset: '5', complete: '?0' })
  const right = await append(site, path, 9, 5, ALL, 'world', { 'Content-Digest': digest('world') })
  assert.equal(right.status, 200)
  assert.equal(right.headers.get('repr-digest'), digest('helloworld'))
})
