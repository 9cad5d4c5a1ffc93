// SPDX-License-Identifier: MIT

/** Checklist T.10: which pages of other origins may use the uploads. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { type CorsOptions } from '../../lib/http/cors.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, type WireResponse } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, serve, V, type Site } from './support.ts'

const PAGE = 'https://page.example'
const ORIGIN = `Origin: ${PAGE}`
/** Every request header of tus, and what its clients in browsers send besides. */
const REQUEST_HEADERS = [
  'content-type', 'tus-resumable', 'upload-offset', 'upload-length', 'upload-defer-length', 'upload-metadata', 'upload-concat',
  'upload-checksum',
  'x-http-method-override', 'x-request-id', 'authorization',
]
const RESPONSE_HEADERS = [
  'location', 'upload-offset', 'upload-length', 'upload-metadata', 'upload-defer-length', 'upload-concat', 'upload-expires',
  'tus-resumable', 'tus-version',
  'tus-extension', 'tus-max-size', 'tus-checksum-algorithm',
]

function listOf(answer: WireResponse, name: string): readonly string[] {
  return (answer.headers.get(name) ?? '').split(',').map((entry) => entry.trim().toLowerCase())
}

/** The names of the headers that let a page in. */
function corsNamesOf(answer: WireResponse): readonly string[] {
  return [...answer.headers.keys()].filter((name) => name.startsWith('access-control-')).sort()
}

/** One request for each kind of answer: success, and every refusal that needs no fault. */
function everyAnswer(upload: string): readonly (readonly [status: number, text: string])[] {
  const headers = [V, ORIGIN]
  return [
    [204, request('OPTIONS /files/', [ORIGIN])],
    [201, request('POST /files/', [...headers, 'Upload-Length: 10', 'Content-Length: 0'])],
    [200, request(`HEAD ${upload}`, headers)],
    [204, request(`PATCH ${upload}`, [...headers, OCT, 'Upload-Offset: 5', 'Content-Length: 0'])],
    [409, request(`PATCH ${upload}`, [...headers, OCT, 'Upload-Offset: 0', 'Content-Length: 0'])],
    [413, request(`PATCH ${upload}`, [...headers, OCT, 'Upload-Offset: 5', 'Content-Length: 6'], 'worlds')],
    [415, request(`PATCH ${upload}`, [...headers, 'Upload-Offset: 5', 'Content-Length: 0'])],
    [400, request('POST /files/', [...headers, 'Content-Length: 0'])],
    [412, request(`DELETE ${upload}`, [ORIGIN])],
    [404, request('HEAD /files/unknown', headers)],
    [404, request('DELETE /elsewhere', headers)],
    [405, request(`PUT ${upload}`, headers)],
    [204, request(`DELETE ${upload}`, headers)],
  ]
}

async function assertEveryAnswer(site: Site, check: (answer: WireResponse) => void): Promise<void> {
  for (const [status, text] of everyAnswer(await make(site, 10, 'hello'))) {
    const answer = await ask(site, text, { toHead: text.startsWith('HEAD') })
    assert.equal(answer.status, status, text)
    check(answer)
  }
}

for (const target of ['/files/', '/files/unknown']) {
  test(`T137 · a preflight of ${target} is told the methods and every header of tus, and how long that holds`, async (t) => {
    const site = await serve(t, { cors: { origins: [PAGE], allowHeaders: ['X-Tenant'] } })
    const asked = [
      ORIGIN,
      'Access-Control-Request-Method: PATCH',
      'Access-Control-Request-Headers: content-type,tus-resumable,upload-offset',
    ]
    const answer = await ask(site, request(`OPTIONS ${target}`, asked))
    assert.equal(answer.status, 204)
    assert.equal(answer.headers.get('access-control-allow-origin'), PAGE)
    const methods = target === '/files/' ? ['post'] : ['patch', 'head', 'delete']
    for (const method of methods) assert.ok(listOf(answer, 'access-control-allow-methods').includes(method), method)
    for (const name of [...REQUEST_HEADERS, 'x-tenant']) assert.ok(listOf(answer, 'access-control-allow-headers').includes(name), name)
    assert.match(answer.headers.get('access-control-max-age') ?? '', /^[1-9]\d*$/)
    assert.equal(answer.headers.get('tus-version'), '1.0.0', 'it is an answer to OPTIONS as well')
  })
}

test('T137 · a preflight may hold as long as maxAgeSeconds says', async (t) => {
  const site = await serve(t, { cors: { origins: '*', maxAgeSeconds: 60 } })
  const answer = await ask(site, request('OPTIONS /files/', [ORIGIN, 'Access-Control-Request-Method: POST']))
  assert.equal(answer.headers.get('access-control-max-age'), '60')
})

test('T137 · an OPTIONS that is no preflight is not told what only preflights ask', async (t) => {
  const site = await serve(t, { cors: { origins: '*' } })
  assert.deepEqual(corsNamesOf(await ask(site, request('OPTIONS /files/', [ORIGIN]))), [
    'access-control-allow-origin',
    'access-control-expose-headers',
  ])
})

test('T137 · a preflight asks neither authorize nor the store', async (t) => {
  const site = await serve(t, { cors: { origins: '*' }, authorize: () => assert.fail('it was asked') })
  assert.equal((await ask(site, request('OPTIONS /files/unknown', [ORIGIN, 'Access-Control-Request-Method: PATCH']))).status, 204)
})

const allowing: readonly (readonly [what: string, origins: CorsOptions['origins'], allowed: string])[] = [
  ['any', '*', '*'],
  ['a list', ['https://other.example', PAGE], PAGE],
  ['a function', (origin) => origin === PAGE, PAGE],
  ['a function that takes its time', async (origin) => origin.endsWith('.example'), PAGE],
]

for (const [what, origins, allowed] of allowing) {
  test(`T138 · with ${what} of origins every answer, errors too, lets the page in and shows it every header of tus`, async (t) => {
    const site = await serve(t, { cors: { origins } })
    await assertEveryAnswer(site, (answer) => {
      assert.equal(answer.headers.get('access-control-allow-origin'), allowed)
      for (const name of RESPONSE_HEADERS) assert.ok(listOf(answer, 'access-control-expose-headers').includes(name), name)
      assert.equal(answer.headers.has('access-control-allow-credentials'), false)
      assert.equal(answer.headers.get('vary'), allowed === '*' ? undefined : 'Origin')
    })
  })
}

test('T138 · a refusal by a hook, a failure and a download let the page in too', async (t) => {
  let status: number | undefined = 401
  const authorize = (): void => {
    if (status !== undefined) throw Object.assign(new Error('secret'), { status })
  }
  const site = await serve(t, { cors: { origins: [PAGE] }, download: {}, authorize })
  for (const [thrown, expected] of [[401, 401], [700, 500], [undefined, 404]] as const) {
    status = thrown
    const answer = await ask(site, request('GET /files/unknown', [ORIGIN]))
    assert.equal(answer.status, expected)
    assert.equal(answer.headers.get('access-control-allow-origin'), PAGE)
  }
  const upload = await make(site, 5, 'hello')
  const answer = await ask(site, request(`GET ${upload}`, [ORIGIN]))
  assert.deepEqual([answer.status, answer.body], [200, 'hello'])
  assert.equal(answer.headers.get('access-control-allow-origin'), PAGE)
})

test('T139 · credentials are allowed to the origins that are, by name, and to no other', async (t) => {
  for (const origins of [[PAGE], (origin: string) => origin === PAGE] as const) {
    const site = await serve(t, { cors: { origins, credentials: true } })
    await assertEveryAnswer(site, ({ headers }) => {
      assert.equal(headers.get('access-control-allow-origin'), PAGE)
      assert.equal(headers.get('access-control-allow-credentials'), 'true')
      assert.equal(headers.get('vary'), 'Origin')
    })
    const stranger = await ask(
      site,
      request('OPTIONS /files/', ['Origin: https://stranger.example', 'Access-Control-Request-Method: POST']),
    )
    for (const name of ['access-control-allow-origin', 'access-control-allow-credentials']) assert.equal(stranger.headers.has(name), false)
  }
})

test('T139 · an origin that is not on the list, however alike, is not let in; caches are told that others may be', async (t) => {
  for (const origins of [[PAGE], (origin: string) => origin === PAGE] as const) {
    const site = await serve(t, { cors: { origins } })
    const strangers = [
      'https://stranger.example', 'null', `${PAGE}.evil.example`, `${PAGE}:444`, 'http://page.example', 'https://PAGE.example', `${PAGE}/`,
      'page.example', '*', '',
      `${PAGE}, https://stranger.example`, 'https://sub.page.example',
    ]
    for (const stranger of strangers) {
      for (const text of [
        request('OPTIONS /files/', [`Origin: ${stranger}`, 'Access-Control-Request-Method: POST']),
        request('DELETE /files/unknown', [V, `Origin: ${stranger}`]),
      ]) {
        const answer = await ask(site, text)
        for (const name of ['access-control-allow-origin', 'access-control-expose-headers']) {
          assert.equal(answer.headers.has(name), false, stranger)
        }
        assert.equal(answer.headers.get('vary'), 'Origin')
      }
    }
  }
})

test('T139 · a request of another origin is served: CORS keeps pages from reading answers, and guards nothing else', async (t) => {
  const site = await serve(t, { cors: { origins: [PAGE] } })
  const answer = await ask(site, request('POST /files/', [V, 'Origin: https://stranger.example', 'Upload-Length: 10', 'Content-Length: 0']))
  assert.equal(answer.status, 201)
  assert.equal(snapshot(site.folder).size, 2)
})

test('T139 · a request without an origin is let in nowhere, and varies all the same', async (t) => {
  for (const [origins, vary] of [['*', undefined], [[PAGE], 'Origin'], [() => true, 'Origin']] as const) {
    const site = await serve(t, { cors: { origins } })
    const answer = await ask(site, request('OPTIONS /files/'))
    assert.deepEqual(corsNamesOf(answer), [])
    assert.equal(answer.headers.get('vary'), vary)
  }
})

test('T139 · the origin of a sandboxed page, "null", is let in only by a function, or by all', async (t) => {
  const opaque = ['Origin: null', 'Access-Control-Request-Method: POST']
  const decided = await serve(t, { cors: { origins: (origin) => origin === 'null' } })
  assert.equal((await ask(decided, request('OPTIONS /files/', opaque))).headers.get('access-control-allow-origin'), 'null')
  const any = await serve(t, { cors: { origins: '*' } })
  assert.equal((await ask(any, request('OPTIONS /files/', opaque))).headers.get('access-control-allow-origin'), '*')
})

test('without the option no answer lets a page in, and none varies', async (t) => {
  const site = await serve(t)
  await assertEveryAnswer(site, (answer) => {
    assert.deepEqual(corsNamesOf(answer), [])
    assert.equal(answer.headers.has('vary'), false)
  })
  assert.deepEqual(corsNamesOf(await ask(site, request('OPTIONS /files/', [ORIGIN, 'Access-Control-Request-Method: PATCH']))), [])
})

test('an origin function that fails is 500 without detail, published, and admits no origin', async (t) => {
  const errors = published(t, 'longhaul:error')
  const site = await serve(t, { cors: { origins: () => Promise.reject(new Error('secret')) } })
  const answer = await ask(site, request('DELETE /files/unknown', [V, ORIGIN, 'Connection: close']))
  assert.equal(answer.status, 500)
  assertPlainRefusal(answer, site)
  assert.deepEqual(corsNamesOf(answer), [])
  assert.equal(errors.length, 1)
})

const mistakes: readonly (readonly [what: string, cors: unknown])[] = [
  ['any origin with credentials', { origins: '*', credentials: true }],
  ...[
    '*',
    'null',
    '',
    'page.example',
    `${PAGE}/`,
    `${PAGE}/path`,
    `${PAGE},https://other.example`,
    `${PAGE} `,
    'https://',
    '//page.example',
    'https://*.page.example',
  ].map((origin) => [`the origin ${JSON.stringify(origin)} in a list`, { origins: [origin] }] as const),
  ['one origin that is no list', { origins: PAGE }],
  ['a choice without origins', {}],
  ['one header that is no list', { origins: '*', exposeHeaders: 'X-Foo' }],
  ['a header that is no text', { origins: '*', exposeHeaders: [5] }],
  ...['file://', 'file:///', 'capacitor://', 'capacitor:localhost', 'capacitor://localhost/'].map(
    (origin) => [`the origin ${origin} in a list`, { origins: [origin] }] as const,
  ),
  ...['', 'X Tenant', 'X-Tenant:', 'X-Tenant, X-Other', 'X-\r\nSet-Cookie: a', 'Größe'].flatMap((name) =>
    ['allowHeaders', 'exposeHeaders'].map(
      (option) => [`${option} with ${JSON.stringify(name)}`, { origins: '*', [option]: [name] }] as const,
    ),
  ),
]

for (const [what, cors] of mistakes) {
  test(`${what} is a TypeError when the handler is made`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, cors: cors as CorsOptions }), { name: 'TypeError' })
  })
}

test('a time for which browsers may remember an answer must be a whole number of seconds', (t) => {
  const store = new FileStore(temporaryFolder(t))
  for (const maxAgeSeconds of [-1, 0.5, NaN, Infinity, '1' as never]) {
    assert.throws(() => tusHandler({ store, cors: { origins: '*', maxAgeSeconds } }), {
      name: 'RangeError',
      message: /maxAgeSeconds must be a non-negative whole number/,
    })
  }
})

test('the origins null and file:// are refused in a list, with what may be done instead', (t) => {
  const store = new FileStore(temporaryFolder(t))
  for (const origin of ['null', 'file://']) {
    assert.throws(() => tusHandler({ store, cors: { origins: [PAGE, origin] } }), {
      name: 'TypeError',
      message: /: received "(?:null|file:\/\/)"\. Any local file has it: use a function$/,
    })
  }
})

for (const origin of [
  'capacitor://localhost', 'ionic://localhost', 'app://my.app', 'chrome-extension://abcdefghijklmnop', 'http://localhost:3000',
  'http://[::1]:80',
]) {
  test(`T138 · the origin ${origin} may be in a list`, async (t) => {
    const site = await serve(t, { cors: { origins: [origin], credentials: true } })
    const answer = await ask(site, request('OPTIONS /files/', [`Origin: ${origin}`, 'Access-Control-Request-Method: POST']))
    assert.equal(answer.headers.get('access-control-allow-origin'), origin)
  })
}

test('T138 · a page may read all of a download, and what hooks add; it may ask for ranges, and whether it has it already', async (t) => {
  const onFinish = (): object => ({ status: 200, headers: { 'X-Job': '7' } })
  const site = await serve(t, { cors: { origins: [PAGE], exposeHeaders: ['X-Job'] }, download: {}, onFinish })
  const upload = await make(site, 10, 'hello')
  const finished = await ask(site, request(`PATCH ${upload}`, [V, OCT, ORIGIN, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.deepEqual([finished.status, finished.headers.get('x-job')], [200, '7'])
  const part = await ask(site, request(`GET ${upload}`, [ORIGIN, 'Range: bytes=2-3']))
  assert.equal(part.status, 206)
  const safelisted = ['cache-control', 'content-length', 'content-type', 'last-modified'] // which pages may read anyway
  const ofBrowsers = [
    'connection', 'content-security-policy', 'cross-origin-resource-policy', 'date', 'keep-alive', 'vary', 'x-content-type-options',
  ]
  for (const answer of [finished, part, await ask(site, request(`GET ${upload}`, [ORIGIN]))]) {
    const exposed = listOf(answer, 'access-control-expose-headers')
    const hidden = [...answer.headers.keys()].filter(
      (name) => ![...exposed, ...safelisted, ...ofBrowsers].includes(name) && !name.startsWith('access-control-'),
    )
    assert.deepEqual(hidden, [])
    assert.equal(exposed.length, new Set(exposed).size, 'each is named once')
    assert.deepEqual(exposed.filter((name) => safelisted.includes(name)), [])
  }
  const preflight = await ask(
    site,
    request(`OPTIONS ${upload}`, [ORIGIN, 'Access-Control-Request-Method: GET', 'Access-Control-Request-Headers: if-range,range']),
  )
  for (const name of ['range', 'if-range', 'if-none-match']) {
    assert.ok(listOf(preflight, 'access-control-allow-headers').includes(name), name)
  }
  assert.ok(listOf(preflight, 'access-control-allow-methods').includes('get'))
})

test('without downloads, the headers of downloads are not exposed to pages', async (t) => {
  const site = await serve(t, { cors: { origins: '*' } })
  const answer = await ask(site, request('OPTIONS /files/', [ORIGIN, 'Access-Control-Request-Method: POST']))
  for (const name of ['etag', 'content-range']) assert.equal(listOf(answer, 'access-control-expose-headers').includes(name), false)
  assert.equal(listOf(answer, 'access-control-allow-headers').includes('range'), false)
})

test('a download may be embedded by the pages that may read it, and by no others', async (t) => {
  const rows: readonly (readonly [cors: CorsOptions | undefined, origin: string | undefined, policy: string])[] = [
    [undefined, PAGE, 'same-origin'],
    [{ origins: '*' }, undefined, 'cross-origin'],
    [{ origins: '*' }, 'null', 'cross-origin'],
    [{ origins: [PAGE] }, PAGE, 'cross-origin'],
    [{ origins: [PAGE] }, 'https://stranger.example', 'same-origin'],
    [{ origins: [PAGE] }, 'null', 'same-origin'],
    [{ origins: [PAGE] }, undefined, 'same-origin'],
    [{ origins: (origin) => origin === PAGE }, PAGE, 'cross-origin'],
    [{ origins: (origin) => origin === PAGE }, 'https://stranger.example', 'same-origin'],
  ]
  for (const [cors, origin, policy] of rows) {
    const site = await serve(t, { cors, download: {} })
    const upload = await make(site, 5, 'hello')
    for (const headers of [[], ['Range: bytes=0-1']]) {
      const answer = await ask(site, request(`GET ${upload}`, [...(origin === undefined ? [] : [`Origin: ${origin}`]), ...headers]))
      assert.equal(answer.headers.get('cross-origin-resource-policy'), policy)
      assert.match(answer.headers.get('cache-control') ?? '', /\bno-transform\b/)
    }
  }
})

test('a function for origins that fails is a failure of the server, whatever code its error has', async (t) => {
  for (const code of ['ENOSPC', 'LOCK_TIMEOUT']) {
    const site = await serve(t, { cors: { origins: () => { throw Object.assign(new Error('secret'), { code }) } } })
    const { status, body } = await exchange(site.port, request('OPTIONS /files/', [`Origin: ${PAGE}`]))
    assert.deepEqual([status, body], [500, 'The server failed\n'])
  }
})
