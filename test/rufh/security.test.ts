// SPDX-License-Identifier: MIT

/** Checklist R.8: who may do what, what an address tells, names that strangers chose, and clients that take their time. */

import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { UploadHooks } from '../../lib/upload/hooks.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { locationOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { request, WireClient } from '../support/wire.ts'
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
  type Exchange,
  type Site,
  type Version,
} from './support.ts'

const ANN = { Authorization: 'Bearer ann' }
const BEN = { Authorization: 'Bearer ben' }

function refusal(status: number): Error {
  return Object.assign(new Error('secret: ann may, ben may not'), { status })
}

// R91: other clients

/** Hooks that let each upload be used by whoever created it, and refuse all others with a status. */
function ownersOnly(status: number): Pick<UploadHooks, 'authorize' | 'onCreate'> {
  return {
    onCreate: ({ metadata = new Map() }, { headers }) => ({ metadata: new Map([...metadata, ['owner', headers.authorization ?? '']]) }),
    authorize: (operation, { headers: { authorization } }) => {
      if (operation.kind === 'create') {
        if (authorization === undefined) throw refusal(401)
      } else if (operation.upload?.metadata.get('owner') !== authorization) throw refusal(status)
    },
  }
}

for (const status of [401, 403, 404]) {
  for (const [whose, credential] of [['another credential', BEN], ['no credential', {}]] as const) {
    overBoth(`R91 · with ${whose} nothing can be asked of an upload, nor done to it: ${status}, and it is as it was`, async (t, version) => {
      const site = await serve(t, version, ownersOnly(status))
      const path = await make(site, ANN, 'hello')
      const before = snapshot(site.folder)
      const at = { ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' }
      const answers: readonly (readonly [method: string, answer: Answer])[] = [
        ['HEAD', await ask(site, 'HEAD', path, { ...I8, ...credential })],
        ['GET', await ask(site, 'GET', path, { ...I8, ...credential })],
        ['PATCH', await ask(site, 'PATCH', path, { ...I8, ...at, ...credential }, 'world')],
        ['PATCH', await ask(site, 'PATCH', path, { ...I8, ...at, ...credential, 'Upload-Offset': '0' }, '')],
        ['DELETE', await ask(site, 'DELETE', path, { ...I8, ...credential })],
      ]
      for (const [method, answer] of answers) {
        assert.equal(answer.status, status, method)
        for (const name of ['upload-offset', 'upload-length', 'upload-limit', 'location']) {
          assert.equal(answer.headers.has(name), false, `${method} ${name}`)
        }
        assert.equal(answer.headers.get('upload-complete'), method === 'PATCH' ? '?0' : undefined)
        assert.doesNotMatch([...answer.headers.values(), answer.body].join('\n'), /secret|ann|hello/)
        assert.deepEqual(answer.interim, [])
      }
      await site.settled()
      assert.deepEqual(snapshot(site.folder), before)
      const completed = await append(site, path, 5, true, 'world', ANN)
      assert.deepEqual([completed.status, contentOf(site, path).toString()], [200, 'helloworld'])
    })
  }
}

overBoth('R91 · an upload that is there and one that is not are refused alike, if the hook does', async (t, version) => {
  const site = await serve(t, version, ownersOnly(404))
  const path = await make(site, ANN, 'hello')
  const unknown = path.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
  for (const method of ['HEAD', 'GET', 'DELETE', 'PATCH']) {
    const headers = { ...I8, ...BEN, ...(method === 'PATCH' ? { ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?0' } : {}) }
    const content = method === 'PATCH' ? 'world' : undefined
    const [there, missing] = [await ask(site, method, path, headers, content), await ask(site, method, unknown, headers, content)]
    const told = ({ status, headers, body }: Answer): unknown => [status, [...headers].filter(([name]) => name !== 'date'), body]
    assert.deepEqual(told(there), told(missing), method)
  }
})

overBoth('R91 · a creation without a credential is refused, without 104, and nothing is made', async (t, version) => {
  const site = await serve(t, version, ownersOnly(403))
  for (const end of ['?0', '?1']) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': end }, 'hello')
    assert.deepEqual(
      [answer.status, answer.headers.get('upload-complete'), answer.interim, answer.headers.has('location')],
      [401, '?0', [], false],
    )
  }
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

overBoth('R91 · a client without permission does not end the request of a client with permission', async (t, version) => {
  const site = await serve(t, version, ownersOnly(403))
  const path = await make(site, ANN, '')
  const appending = await begin(
    site,
    { method: 'PATCH', path, headers: { ...I8, ...PU, ...ANN, 'Upload-Offset': '0', 'Upload-Complete': '?1' } },
    10,
  )
  await appending.write('hello')
  await stored(site, path, 5)
  for (const method of ['HEAD', 'DELETE']) assert.equal((await ask(site, method, path, { ...I8, ...BEN })).status, 403)
  assert.equal((await append(site, path, 5, true, 'other', BEN)).status, 403)
  await appending.write('world')
  appending.end()
  assert.equal((await appending.answer).status, 200)
  assert.equal(contentOf(site, path).toString(), 'helloworld')
})

// R92, R93: addresses

const NAMES = {
  'Content-Disposition': 'attachment; filename="marker-file.png"',
  'Content-Type': 'image/marker-type',
  Authorization: 'Basic marker-user',
}

/** Creates uploads one after the other on one connection; their addresses. */
async function addresses(site: Site, count: number): Promise<readonly string[]> {
  const client = await WireClient.connect(site.port)
  const fields = Object.entries({ ...I8, ...NAMES, 'Upload-Complete': '?0' }).map(([name, value]) => `${name}: ${value}`)
  const locations: string[] = []
  for (let n = 0; n < count; n++) {
    await client.send(request('POST /files/?marker-query', [...fields, 'Content-Length: 0']).replace('Host: test', 'Host: marker-host'))
    let answer = await client.response()
    while (answer.status === 104) answer = await client.response()
    assert.equal(answer.status, 201)
    locations.push(locationOf(answer))
  }
  client.destroy()
  return locations
}

test('R92, R93 · of 1000 addresses each has 128 bits that look random: none is used twice, none follows from another, and they tell nothing', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const locations = await addresses(site, 1000)
  assert.equal(new Set(locations).size, 1000)

  for (const location of locations) {
    assert.match(location, /^\/files\/[0-9a-f]{32}$/, 'nothing but the path of the creation URL and 128 bits')
  }
  const bits = locations.map((location) => BigInt(`0x${location.slice('/files/'.length)}`))
  for (let bit = 0n; bit < 128n; bit++) {
    const set = bits.filter((each) => (each >> bit) & 1n).length
    assert.ok(set > 350 && set < 650, `bit ${bit} is set in ${set} of them`) // nine standard deviations
  }
  const ascents = bits.filter((each, n) => n > 0 && each > bits[n - 1]!).length
  assert.ok(ascents > 400 && ascents < 600, `${ascents} are greater than the one before`) // ten standard deviations
  const changed = bits.slice(1).map((each, n) => [...(each ^ bits[n]!).toString(2)].filter((digit) => digit === '1').length)
  assert.ok(Math.min(...changed) > 20, 'neighbours differ in many bits')
})

overBoth('R93 · an address is the same in 104 and in the answer, and tells nothing of what it was made from', async (t, version) => {
  const site = await serve(t, version)
  const answer = await ask(
    site,
    'POST',
    '/files/',
    { ...I8, ...NAMES, 'Upload-Complete': '?0', Forwarded: 'host=marker.example', 'X-Forwarded-Host': 'marker.example' },
    'hello',
  )
  assert.equal(answer.status, 201)
  const locations = [...answer.interim, answer].map(({ headers }) => headers.get('location')).filter((location) => location !== undefined)
  assert.ok(locations.length >= 2)
  assert.equal(new Set(locations).size, 1)
  assert.match(locations[0]!, /^\/files\/[0-9a-f]{32}$/)
})

// R94: names

const VISIBLE = /^[ -~]*$/

const names: readonly (readonly [what: string, disposition: string, told: string, saved: RegExp])[] = [
  ['a path', 'attachment; filename="../../etc/passwd"', '../../etc/passwd', /^attachment; filename="passwd"$/],
  ['a path that is encoded', "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", '../../etc/passwd', /^attachment; filename="passwd"$/],
  ['a path of Windows', 'attachment; filename="..\\\\..\\\\boot.ini"', '..\\..\\boot.ini', /^attachment; filename="boot\.ini"$/],
  ['a path alone', 'attachment; filename="../.."', '../..', /^attachment$/],
  [
    'line ends',
    "attachment; filename*=UTF-8''x%0D%0ASet-Cookie%3A%20a%3Db",
    'x\r\nSet-Cookie: a=b',
    /^attachment; filename="xSet-Cookie: a=b"$/,
  ],
  ['a NUL', "attachment; filename*=UTF-8''a%00.png", 'a\0.png', /^attachment; filename="a\.png"$/],
  [
    'a quote',
    'attachment; filename="a\\"; filename=b.exe"',
    'a"; filename=b.exe',
    /^attachment; filename="a_; filename=b\.exe"; filename\*=UTF-8''a%22%3B%20filename%3Db\.exe$/,
  ],
  ['text that runs the other way', "attachment; filename*=UTF-8''gpj%E2%80%AE.exe", 'gpj\u202e.exe', /^attachment; filename="gpj\.exe"$/],
  ['a device of Windows', 'attachment; filename="con.html"', 'con.html', /^attachment; filename="con\.html"$/],
  ['a name for objects', 'attachment; filename="__proto__"', '__proto__', /^attachment; filename="__proto__"$/],
  ['9000 characters', `attachment; filename="${'x'.repeat(9000)}.exe"`, `${'x'.repeat(9000)}.exe`, /^attachment; filename="x{255}"$/],
]

for (const [what, disposition, told, saved] of names) {
  overBoth(`R94 · a name that is ${what} reaches hooks as it is, and neither the file system nor a header`, async (t, version) => {
    const seen: (string | undefined)[] = []
    const site = await serve(t, version, { download: {}, onFinish: ({ metadata }) => void seen.push(metadata.get('filename')) })
    const answer = await ask(
      site,
      'POST',
      '/files/',
      { ...I8, 'Upload-Complete': '?1', 'Content-Disposition': disposition, 'Content-Type': 'text/html' },
      '<script>',
    )
    assert.equal(answer.status, 200)
    assert.deepEqual(seen, [told])
    const path = locationOf(answer)
    assert.match(path, /^\/files\/[0-9a-f]{32}$/)
    const id = basename(path)
    assert.deepEqual(filesIn(site.folder), [id, `${id}.info`])

    const download = await ask(site, 'GET', path)
    assert.equal(download.status, 200)
    assert.match(download.headers.get('content-disposition') ?? '', saved)
    assert.deepEqual(
      [download.headers.get('content-type'), download.headers.get('x-content-type-options')],
      ['application/octet-stream', 'nosniff'],
    )
    const inTus = await ask(site, 'HEAD', path, { 'Tus-Resumable': '1.0.0' })
    for (const each of [answer, download, inTus]) {
      assert.equal(each.headers.has('set-cookie'), false)
      for (const value of each.headers.values()) assert.match(value, VISIBLE)
    }
  })
}

const types = [
  'text/html', 'TEXT/HTML; charset=utf-8', 'image/svg+xml', 'text/html\t;', '../x', 'x', '; text/plain', 'text/plain, text/html',
  `${'a'.repeat(4000)}/b`,
  'multipart/form-data; boundary="a"',
]

overBoth('R94 · a media type that a browser might run, or a malformed one, is never the type of a download', async (t, version) => {
  const site = await serve(t, version, { download: {} })
  for (const type of types) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', 'Content-Type': type }, '<script>')
    assert.equal(answer.status, 200, type)
    const download = await ask(site, 'GET', locationOf(answer))
    assert.deepEqual([download.status, download.headers.get('content-type')], [200, 'application/octet-stream'], type)
    assert.match(download.headers.get('content-disposition') ?? '', /^attachment/)
  }
})

test('R94 · a name of 64 KiB is more than Node takes: nothing is made', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const answer = await ask(site, 'POST', '/files/', {
    ...I8,
    'Upload-Complete': '?0',
    'Content-Disposition': `attachment; filename="${'x'.repeat(64 * 1024)}"`,
  })
  assert.equal(answer.status, 431)
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

// R95: a right that is revoked

overBoth('R95 · whose right is revoked meanwhile cannot complete the upload, which is not processed', async (t, version) => {
  let revoked = false
  const finished: Upload[] = []
  const authorize = (): void => {
    if (revoked) throw refusal(403)
  }
  const site = await serve(t, version, { authorize, onFinish: (upload) => void finished.push(upload) })
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  const full = await make(site, {}, 'hello')
  revoked = true
  for (const answer of [
    await append(site, path, 5, true, 'world'),
    await append(site, full, 5, true),
    await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello'),
  ]) {
    assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.body], [403, '?0', 'Forbidden\n'])
  }
  assert.equal(finished.length, 0)
  revoked = false
  assert.equal(await offsetOf(site, path), 5)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
  assert.equal((await append(site, path, 5, true, 'world')).status, 200)
  assert.equal(finished.length, 1)
})

overBoth('R95 · a right that is revoked while the last bytes come is for onFinish to see: it refuses for good, and the answer says so', async (t, version) => {
  let revoked = false
  const onFinish = (): void => {
    if (revoked) throw refusal(403)
  }
  const site = await serve(t, version, { onFinish })
  const path = await make(site, {}, 'hello')
  const last = await begin(site, { method: 'PATCH', path, headers: { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' } }, 5)
  await last.write('wor')
  await stored(site, path, 8)
  revoked = true
  await last.write('ld')
  last.end()
  const { status, headers, body } = await last.answer
  assert.deepEqual([status, headers.get('upload-complete'), body], [403, '?1', 'Forbidden\n'])
  revoked = false
  for (const answer of [await head(site, path), await append(site, path, 10, true)]) {
    assert.deepEqual([answer.status, answer.headers.get('upload-complete')], [403, '?1'])
  }
})

// R96: clients that take their time

const PLACES = 8

/** Takes every place that the server has with uploads that come byte by byte, and keeps them coming until the test is over. */
async function trickle(
  t: TestContext,
  site: Site,
): Promise<readonly { readonly path: string; readonly exchange: Exchange; fallSilent(): void }[]> {
  const slow = await Promise.all(
    Array.from({ length: PLACES }, async () => {
      const path = await make(site)
      const exchange = await begin(
        site,
        { method: 'PATCH', path, headers: { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?0' } },
        1_000_000,
      )
      await exchange.write('a')
      await stored(site, path, 1)
      const timer = setInterval(() => void exchange.write('a'), 50)
      const fallSilent = (): void => clearInterval(timer)
      t.after(() => {
        fallSilent()
        exchange.cut('rst')
      })
      return { path, exchange, fallSilent }
    }),
  )
  return slow
}

/** Serves so many bodies at once, and waits some seconds for the next byte of each. */
function serveFew(t: TestContext, version: Version): Promise<Site> {
  return serve(t, version, { maxConcurrent: PLACES, idleTimeoutMs: 3000 })
}

overBoth('R96 · while slow uploads fill maxConcurrent, another body is refused with Retry-After, and requests without a body are served', async (t, version) => {
  const site = await serveFew(t, version)
  const other = await make(site, {}, 'hello')
  const slow = await trickle(t, site)
  const refused = [
    await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello'),
    await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0' }, 'hello'),
    await append(site, other, 5, true, 'world'),
  ]
  for (const { status, headers, interim } of refused) {
    assert.deepEqual([status, headers.get('retry-after'), headers.get('upload-complete'), interim], [503, '1', '?0', []])
  }
  for (let n = 0; n < 20; n++) {
    assert.equal((await ask(site, 'OPTIONS', '/files/')).status, 204)
    assert.equal(await offsetOf(site, other), 5)
    const made = await make(site)
    assert.equal((await ask(site, 'DELETE', made, I8)).status, 204)
    assert.equal((await append(site, '/files/unknown', 0, false)).status, 404)
  }
  assert.ok((await offsetOf(site, slow[0]!.path)) >= 1, 'also of a slow one, which ends')
  assert.deepEqual(
    [(await slow[0]!.exchange.answer).status, (await append(site, other, 5, true, 'world')).status],
    [409, 200],
    'which leaves its place to another',
  )
})

overBoth('R96 · a slow upload that falls silent is ended in time: its bytes are kept, its place is free, and the others go on', async (t, version) => {
  const site = await serveFew(t, version)
  const slow = await trickle(t, site)
  const [silent = assert.fail('none'), ...others] = slow
  assert.equal((await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello')).status, 503)
  silent.fallSilent()
  const { status, headers } = await silent.exchange.answer
  assert.deepEqual([status, headers.get('upload-complete')], [503, '?0'])
  assert.ok((await offsetOf(site, silent.path)) >= 1)
  const stillGoing = await Promise.race([
    Promise.race(others.map(({ exchange }) => exchange.answer)),
    ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello'),
  ])
  assert.deepEqual(
    [stillGoing.status, stillGoing.headers.get('upload-complete')],
    [200, '?1'],
    'a place is free, and no other upload has ended',
  )
})

overBoth('R96 · empty appends, one after the other, hold no place, and leave nothing behind', async (t, version) => {
  const site = await serveFew(t, version)
  const path = await make(site, {}, 'hello')
  const before = snapshot(site.folder)
  for (let n = 0; n < 200; n++) assert.deepEqual((await append(site, path, 5, false)).status, 204)
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal((await append(site, path, 5, true, 'world')).status, 200)
})
