// SPDX-License-Identifier: MIT

/** What clients of older versions of the draft send and are told, if their versions are served, and if not. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { InteropVersion } from '../../lib/rufh/interop.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { pattern } from '../support/pattern.ts'
import { contentOf } from '../support/stored-content.ts'
import { request, WireClient } from '../support/wire.ts'
import { ask, begin, overBoth, PU, serve, type Answer, type Call, type Exchange, type Head, type Site } from './support.ts'

/** What a version has of its own, as its draft has it. */
interface Peer {
  readonly version: InteropVersion
  /** Says that more is to come, and that this is all. */
  readonly more: Readonly<Record<string, string>>
  readonly all: Readonly<Record<string, string>>
  /** Whether an append needs its media type. */
  readonly mediaType: boolean
  /** Whether an append that says neither is the last one. */
  readonly completesByDefault: boolean
  readonly appended: number
  readonly progress: boolean
  readonly maxAge: string | undefined
}

const INCOMPLETE = { more: { 'Upload-Incomplete': '?1' }, all: { 'Upload-Incomplete': '?0' } }
const COMPLETE = { more: { 'Upload-Complete': '?0' }, all: { 'Upload-Complete': '?1' } }
const PEERS: readonly Peer[] = [
  { version: 3, ...INCOMPLETE, mediaType: false, completesByDefault: true, appended: 201, progress: false, maxAge: undefined },
  { version: 4, ...COMPLETE, mediaType: false, completesByDefault: true, appended: 201, progress: false, maxAge: undefined },
  { version: 5, ...COMPLETE, mediaType: false, completesByDefault: true, appended: 201, progress: true, maxAge: undefined },
  { version: 6, ...COMPLETE, mediaType: true, completesByDefault: true, appended: 201, progress: true, maxAge: 'expires' },
  { version: 7, ...COMPLETE, mediaType: true, completesByDefault: false, appended: 204, progress: true, maxAge: 'max-age' },
  { version: 8, ...COMPLETE, mediaType: true, completesByDefault: false, appended: 204, progress: true, maxAge: 'max-age' },
  { version: 9, ...COMPLETE, mediaType: true, completesByDefault: false, appended: 204, progress: true, maxAge: 'max-age' },
  { version: 10, ...COMPLETE, mediaType: true, completesByDefault: false, appended: 204, progress: true, maxAge: 'max-age' },
]
const ALL = PEERS.map(({ version }) => version)
const HOUR_MS = 3_600_000

function says({ version }: Pick<Peer, 'version'>): Readonly<Record<string, string>> {
  return { 'Upload-Draft-Interop-Version': String(version) }
}

/** Appends as a client of that version does. */
function appendAs(
  site: Site,
  peer: Peer,
  path: string,
  offset: number,
  end: Call['headers'],
  content: string,
  headers: Call['headers'] = {},
): Promise<Answer> {
  return ask(
    site,
    'PATCH',
    path,
    { ...says(peer), ...(peer.mediaType ? PU : {}), 'Upload-Offset': String(offset), ...end, ...headers },
    content,
  )
}

function headAs(site: Site, peer: Peer, path: string): Promise<Answer> {
  return ask(site, 'HEAD', path, says(peer))
}

async function makeAs(site: Site, peer: Peer, content: string): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...says(peer), ...peer.more }, content))
}

/** Sends content of unknown length bit by bit until something has happened, and ends it. Resolves with its length. */
async function sendUntil(exchange: Exchange, happened: () => boolean): Promise<number> {
  const piece = pattern(100)
  let length = 0
  for (; !happened(); length += piece.length) {
    await exchange.write(piece)
    await setImmediate()
  }
  exchange.end()
  return length
}

/** The answer says the completeness in the words of this version, and in no others. */
function assertSays({ headers }: Head, end: Readonly<Record<string, string>>): void {
  const said = ['Upload-Incomplete', 'Upload-Complete'].filter((name) => headers.has(name.toLowerCase()))
  assert.deepEqual(Object.fromEntries(said.map((name) => [name, headers.get(name.toLowerCase())])), end)
}

/** The limits that the answer tells are those of this version, if it knows of any. */
function assertLimits({ headers }: Head, { maxAge }: Peer): void {
  const field = headers.get('upload-limit')
  if (maxAge === undefined) return assert.equal(field, undefined)
  assert.match(field ?? '', new RegExp(`^max-size=1000, ${maxAge}=3[56][0-9]{2}$`))
}

const LIMITED = { interopVersions: ALL, maxSize: 1000, expiration: { afterMs: HOUR_MS } }

for (const peer of PEERS) {
  const { version, more, all, appended } = peer
  const [name = ''] = Object.keys(more)

  overBoth(`version ${version} · an upload is made with ${name}, gone on with, asked for and completed in the words of its draft`, async (t, http) => {
    const site = await serve(t, http, LIMITED)
    const created = await ask(site, 'POST', '/files/', { ...says(peer), ...more }, 'hello')
    assert.deepEqual([created.status, created.headers.get('upload-offset')], [201, '5'])
    const path = locationOf(created)
    const grown = await appendAs(site, peer, path, 5, more, 'world')
    assert.deepEqual([grown.status, grown.headers.get('upload-offset')], [appended, '10'])
    const asked = await headAs(site, peer, path)
    assert.deepEqual([asked.status, asked.headers.get('upload-offset'), asked.headers.get('cache-control')], [204, '10', 'no-store'])
    for (const answer of [created, grown, asked]) {
      assertSays(answer, more)
      assertLimits(answer, peer)
    }
    const completed = await appendAs(site, peer, path, 10, all, '!')
    const afterwards = await headAs(site, peer, path)
    assert.deepEqual([completed.status, afterwards.status], [200, 204])
    for (const answer of [completed, afterwards]) {
      assertSays(answer, all)
      assert.equal(answer.headers.get('upload-offset'), '11')
    }
    assert.equal(contentOf(site, path).toString(), 'helloworld!')
  })

  overBoth(`version ${version} · 104 reports a creation before its content comes, and names that version`, async (t, http) => {
    const site = await serve(t, http, LIMITED)
    for (const end of [more, all]) {
      const creation = await begin(site, { method: 'POST', path: '/files/', headers: { ...says(peer), ...end } }, 5)
      const told = await creation.interim()
      assert.deepEqual([told.status, told.headers.get('upload-draft-interop-version')], [104, String(version)])
      const path = locationOf(told)
      assertLimits(told, peer)
      await creation.write('hello')
      creation.end()
      const answer = await creation.answer
      assert.deepEqual([answer.status, answer.headers.get('location')], [end === all ? 200 : 201, path])
      assertSays(answer, end)
      for (const each of answer.interim) assert.equal(each.headers.get('upload-draft-interop-version'), String(version))
    }
  })

  overBoth(`version ${version} · 104 ${peer.progress ? 'tells how far an append has come' : 'does not tell how far an append has come'}`, async (t, http) => {
    let progress = 0
    const site = await serve(t, http, { interopVersions: ALL, onProgress: () => void progress++ })
    const path = await makeAs(site, peer, 'hello')
    const appending = await begin(
      site,
      { method: 'PATCH', path, headers: { ...says(peer), ...PU, 'Upload-Offset': '5', ...more } },
      'unknown',
    )
    progress = 0
    const sent = 5 + (await sendUntil(appending, () => progress >= 3))
    const { status, headers, interim } = await appending.answer
    assert.deepEqual([status, headers.get('upload-offset')], [appended, String(sent)])
    const offsets = interim.map((each) => Number(each.headers.get('upload-offset')))
    if (!peer.progress) return assert.deepEqual(offsets, [])
    assert.ok(offsets.length >= 1)
    for (const [n, offset] of offsets.entries()) assert.ok(offset >= (offsets[n - 1] ?? 5) && offset <= sent, String(offsets))
    for (const each of interim) {
      assert.deepEqual(
        [each.status, each.headers.get('upload-draft-interop-version'), each.headers.has('location')],
        [104, String(version), false],
      )
    }
  })

  overBoth(`version ${version} · an append ${peer.mediaType ? 'needs its media type' : 'needs no media type'}`, async (t, http) => {
    const site = await serve(t, http, { interopVersions: ALL })
    const path = await makeAs(site, peer, '')
    let offset = 0
    for (const type of [undefined, 'application/octet-stream', 'text/plain', 'application/partial-upload']) {
      const headers = { ...says(peer), 'Upload-Offset': String(offset), ...more, ...(type === undefined ? {} : { 'Content-Type': type }) }
      const answer = await ask(site, 'PATCH', path, headers, 'hello')
      const taken = !peer.mediaType || type === PU['Content-Type']
      assert.equal(answer.status, taken ? appended : 415, `${type}`)
      assertSays(answer, more)
      if (taken) offset += 5
      assert.equal((await headAs(site, peer, path)).headers.get('upload-offset'), String(offset))
    }
  })

  overBoth(`version ${version} · an append without ${name} ${peer.completesByDefault ? 'completes the upload' : 'is refused'}`, async (t, http) => {
    let finished = 0
    const site = await serve(t, http, { interopVersions: ALL, onFinish: () => void finished++ })
    const path = await makeAs(site, peer, 'hello')
    const answer = await appendAs(site, peer, path, 5, {}, 'world')
    assert.deepEqual([answer.status, finished], peer.completesByDefault ? [200, 1] : [400, 0])
    assertSays(answer, peer.completesByDefault ? all : more)
    const asked = await headAs(site, peer, path)
    assertSays(asked, peer.completesByDefault ? all : more)
    assert.deepEqual(
      [asked.headers.get('upload-offset'), asked.headers.get('upload-length')],
      peer.completesByDefault ? ['10', '10'] : ['5', undefined],
    )
  })

  overBoth(`version ${version} · the last append does not complete the upload if it is cut off`, async (t, http) => {
    const site = await serve(t, http, { interopVersions: ALL, onFinish: () => assert.fail('it was processed') })
    const path = await makeAs(site, peer, 'hello')
    const end: Readonly<Record<string, string>> = peer.completesByDefault ? {} : all
    const cut = await begin(site, { method: 'PATCH', path, headers: { ...says(peer), ...PU, 'Upload-Offset': '5', ...end } }, 5)
    await cut.write('wor')
    cut.cut('fin')
    await cut.closed
    await site.settled()
    const asked = await headAs(site, peer, path)
    assert.equal(asked.status, 204)
    assertSays(asked, more)
  })

  overBoth(`version ${version} · a refusal says in the words of its draft that the upload is not complete`, async (t, http) => {
    const site = await serve(t, http, { interopVersions: ALL })
    const path = await makeAs(site, peer, 'hello')
    const conflict = await appendAs(site, peer, path, 4, more, 'world')
    assert.deepEqual([conflict.status, conflict.headers.get('upload-offset')], [409, '5'])
    const missing = await appendAs(site, peer, '/files/unknown', 0, all, 'world')
    assert.equal(missing.status, 404)
    for (const answer of [conflict, missing]) assertSays(answer, more)
  })

  overBoth(`version ${version} · an upload is cancelled with DELETE`, async (t, http) => {
    const site = await serve(t, http, { interopVersions: ALL })
    const path = await makeAs(site, peer, 'hello')
    assert.equal((await ask(site, 'DELETE', path, says(peer))).status, 204)
    assert.equal((await headAs(site, peer, path)).status, 404)
  })
}

for (const peer of PEERS.filter(({ version }) => ![3, 8, 9].includes(version))) {
  overBoth(`R32 · version ${peer.version} without being served is as the current one, but gets no 104`, async (t, http) => {
    let progress = 0
    const site = await serve(t, http, { expiration: { afterMs: HOUR_MS }, onProgress: () => void progress++ })
    const creation = await begin(site, { method: 'POST', path: '/files/', headers: { ...says(peer), ...peer.more } }, 'unknown')
    await sendUntil(creation, () => progress >= 2)
    const created = await creation.answer
    assert.deepEqual([created.status, created.interim], [201, []])
    assert.match(created.headers.get('upload-limit') ?? '', /max-age=/)
    const path = locationOf(created)
    const offset = Number(created.headers.get('upload-offset'))
    const untyped = await ask(site, 'PATCH', path, { ...says(peer), 'Upload-Offset': String(offset), ...peer.all }, 'hello')
    const unsaid = await ask(site, 'PATCH', path, { ...says(peer), ...PU, 'Upload-Offset': String(offset) }, 'hello')
    const grown = await ask(site, 'PATCH', path, { ...says(peer), ...PU, 'Upload-Offset': String(offset), ...peer.more }, 'hello')
    const completed = await ask(site, 'PATCH', path, { ...says(peer), ...PU, 'Upload-Offset': String(offset + 5), ...peer.all }, 'hello')
    assert.deepEqual([untyped, unsaid, grown, completed].map(({ status }) => status), [415, 400, 204, 200])
    for (const { interim } of [untyped, unsaid, grown, completed]) assert.deepEqual(interim, [])
  })
}

overBoth('R32 · where version 3 is not served, its requests neither create nor resume an upload', async (t, http) => {
  const site = await serve(t, http)
  const headers = { 'Upload-Draft-Interop-Version': '3', 'Upload-Incomplete': '?1' }
  const refused = await ask(site, 'POST', '/files/', headers, 'hello')
  assert.deepEqual([refused.status, refused.interim], [412, []])
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
  const peer = PEERS.find(({ version }) => version === 9) ?? assert.fail('no version 9')
  const path = await makeAs(site, peer, 'hello')
  for (const [status, type] of [[415, {}], [400, PU]] as const) {
    const answer = await ask(site, 'PATCH', path, { ...headers, ...type, 'Upload-Offset': '5' }, 'world')
    assert.deepEqual([answer.status, answer.interim], [status, []])
    assertSays(answer, peer.more)
  }
  assert.equal((await headAs(site, peer, path)).headers.get('upload-offset'), '5')
})

overBoth('version 3 does not hear Upload-Complete, nor version 4 Upload-Incomplete', async (t, http) => {
  const site = await serve(t, http, { interopVersions: ALL })
  for (const [version, headers] of [['3', COMPLETE.all], ['4', INCOMPLETE.all]] as const) {
    const answer = await ask(site, 'POST', '/files/', { 'Upload-Draft-Interop-Version': version, ...headers }, 'hello')
    assert.deepEqual([answer.status, answer.interim], [412, []])
  }
  await site.settled()
  assert.deepEqual(filesIn(site.folder), [])
})

for (const [what, interopVersions] of [['no version', []], ['version 6 alone', [6]]] as const) {
  overBoth(`with ${what} served a client of another one gets no 104, and is served all the same`, async (t, http) => {
    const site = await serve(t, http, { interopVersions })
    for (const version of ALL) {
      const headers = { 'Upload-Draft-Interop-Version': String(version), 'Upload-Complete': '?1', 'Upload-Incomplete': '?0' }
      const { status, interim } = await ask(site, 'POST', '/files/', headers, 'hello')
      assert.deepEqual([status, interim.length > 0], [200, interopVersions.some((each) => each === version)], String(version))
    }
    const { status, interim } = await ask(site, 'POST', '/files/', COMPLETE.all, 'hello')
    assert.deepEqual([status, interim], [200, []])
  })
}

overBoth('an upload that one version began is continued in all others, each with its own fields', async (t, http) => {
  const site = await serve(t, http, LIMITED)
  const [first = assert.fail('no versions'), ...others] = PEERS
  const path = await makeAs(site, first, 'a')
  for (const [n, peer] of others.entries()) {
    const last = n === others.length - 1
    const grown = await appendAs(site, peer, path, n + 1, last ? peer.all : peer.more, 'b')
    assert.equal(grown.status, last ? 200 : peer.appended)
    for (const each of PEERS) {
      const asked = await headAs(site, each, path)
      assert.equal(asked.headers.get('upload-offset'), String(n + 2))
      assertSays(asked, last ? each.all : each.more)
      if (!last) assertLimits(asked, each)
    }
  }
  assert.equal(contentOf(site, path).toString(), 'abbbbbbb')
})

test('a client of HTTP/1.0 gets no 104, whatever version it speaks', async (t) => {
  const site = await serve(t, 'HTTP/1.1', { interopVersions: ALL })
  for (const peer of PEERS) {
    const lines = Object.entries({ ...says(peer), ...peer.all }).map(([name, value]) => `${name}: ${value}`)
    const client = await WireClient.connect(site.port)
    await client.send(request('POST /files/', [...lines, 'Content-Length: 5'], 'hello').replace('HTTP/1.1', 'HTTP/1.0'))
    assert.equal((await client.response()).status, 200, 'the first answer is the final one')
    client.destroy()
  }
})
