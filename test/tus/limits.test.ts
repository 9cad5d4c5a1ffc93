// SPDX-License-Identifier: MIT

/** What bounds a request: how much it may append, how many are received at once, how long a client waits for the server. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { NewUpload, Upload } from '../../lib/upload/types.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { chunked, exchange, request, WireClient, type WireResponse, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, make, OCT, offsetOf, serve, V, type Site } from './support.ts'

const CODED = 'Transfer-Encoding: chunked'

function patch(upload: string, offset: number, body: string, headers: readonly string[] = []): string {
  return request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${body.length}`, ...headers], body)
}

/** A refusal that goes away by itself, and says when to come again. */
function assertTemporary(answer: WireResponse, site: Site, text: RegExp): void {
  assert.equal(answer.status, 503)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
  assertPlainRefusal(answer, site)
  assert.match(answer.body, text)
}

// maxAppendSize

test('maxAppendSize · a body of that size is stored; one byte more is 413, announced or not, and changes nothing', async (t) => {
  const site = await serve(t, { maxAppendSize: 4 })
  const upload = await make(site, 10)
  const checksum = `Upload-Checksum: sha1 ${createHash('sha1').update('hello').digest('base64')}`
  const before = snapshot(site.folder)
  const coded = (headers: readonly string[], size?: number): Buffer =>
    withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', CODED, ...headers]), chunked('hello', size))
  for (const text of [patch(upload, 0, 'hello'), patch(upload, 0, 'hello', [checksum]), coded([]), coded([], 1), coded([checksum], 2)]) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assertPlainRefusal(answer, site)
    assert.match(answer.body, /in one request/)
    await site.settled()
    assert.equal(await offsetOf(site, upload), 0)
    assert.equal(contentOf(site, upload).length, 0)
    assert.deepEqual([...snapshot(site.folder).keys()], [...before.keys()])
  }
  assert.equal((await ask(site, patch(upload, 0, 'hell'))).status, 204)
  const exact = withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 4', CODED]), chunked('owor', 3))
  assert.equal((await ask(site, exact)).status, 204)
  assert.equal((await ask(site, patch(upload, 8, 'ld'))).status, 204)
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('maxAppendSize · a creation with a larger body is 413, announced or not, and leaves nothing behind; without one it is bound by nothing', async (t) => {
  const site = await serve(t, { maxAppendSize: 4 })
  for (const length of ['Upload-Length: 10', 'Upload-Length: 5', 'Upload-Defer-Length: 1']) {
    const sized = request('POST /files/', [V, OCT, length, 'Content-Length: 5'], 'hello')
    const coded = withBody(request('POST /files/', [V, OCT, length, CODED]), chunked('hello', 2))
    for (const text of [sized, coded]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 413)
      assertPlainRefusal(answer, site)
      await site.settled()
      assert.equal(snapshot(site.folder).size, 0)
    }
  }
  await make(site, 1_000_000)
  await make(site, 10, 'hell')
})

test('maxAppendSize · what is larger than the upload is said to be so, not larger than a request may be', async (t) => {
  const site = await serve(t, { maxAppendSize: 8 })
  const upload = await make(site, 10, 'hello')
  const coded = withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', CODED]), chunked('worlds'))
  for (const text of [patch(upload, 5, 'worlds'), coded]) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assert.match(answer.body, /remaining length of the upload/)
  }
})

// maxConcurrent

/** Makes an upload of 10 bytes without a body, which takes no place. */
async function makeEmpty(site: Site, length = 10): Promise<string> {
  return addressOf(await exchange(site.port, request('POST /files/', [V, `Upload-Length: ${length}`, 'Content-Length: 0'])))
}

/** A PATCH of 10 bytes that has its place among those that are received, and keeps it. */
async function stall(site: Site, upload: string): Promise<WireClient> {
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await stored(site, upload, 5)
  return client
}

test('maxConcurrent · one body more than that is 503 with Retry-After and changes nothing; what brings no body is served', async (t) => {
  const site = await serve(t, { maxConcurrent: 1 })
  const [first, second, complete] = [await makeEmpty(site), await makeEmpty(site), await make(site, 5, 'hello')]
  const stalled = await stall(site, first)
  const before = snapshot(site.folder)
  const created = published(t, 'longhaul:create')

  const coded = withBody(request(`PATCH ${second}`, [V, OCT, 'Upload-Offset: 0', CODED]), chunked('hello'))
  const creation = request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], 'hello')
  for (const text of [patch(second, 0, 'hello'), coded, creation]) assertTemporary(await ask(site, text), site, /Too many/)
  assert.deepEqual(snapshot(site.folder), before)
  assert.deepEqual(created, [], 'not even for a moment')

  assert.equal(await offsetOf(site, second), 0)
  assert.equal((await ask(site, request('OPTIONS /files/'))).status, 204)
  assert.equal((await ask(site, patch(complete, 5, ''))).status, 204, 'a client that asks whether all has come')
  await makeEmpty(site)
  assert.equal((await ask(site, request(`DELETE ${complete}`, [V]))).status, 204)

  await stalled.send('world')
  assert.equal((await stalled.response()).status, 204, 'who had a place keeps it')
  stalled.destroy()
  assert.equal((await ask(site, patch(second, 0, 'hello'))).status, 204, 'and then it is free')
})

test('maxConcurrent · the 503 arrives at a client that sends all of a large body before it reads', async (t) => {
  const site = await serve(t, { maxConcurrent: 0 })
  const size = 8 * 1024 * 1024
  const upload = await makeEmpty(site, size)
  const text = withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${size}`]), Buffer.alloc(size))
  assertTemporary(await ask(site, text), site, /Too many/)
})

test('maxConcurrent · the 503 comes in the place of 100 Continue', async (t) => {
  const site = await serve(t, { maxConcurrent: 0 })
  const upload = await makeEmpty(site)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', 'Expect: 100-continue']))
  assertTemporary(await client.response(), site, /Too many/)
  assert.equal(await client.closed(), '')
})

test('maxConcurrent · a client whose own stalled request has the last place resumes: that request lets go, and its place is free', async (t) => {
  const site = await serve(t, { maxConcurrent: 1 })
  const checksum = `Upload-Checksum: sha1 ${createHash('sha1').update('world').digest('base64')}`
  for (const headers of [[], [], [checksum]]) {
    const upload = await makeEmpty(site)
    const stalled = await stall(site, upload)
    assert.equal((await ask(site, patch(upload, 5, 'world', headers))).status, 204)
    const overtaken = await stalled.response()
    assert.equal(overtaken.status, 409)
    assertPlainRefusal(overtaken, site)
    stalled.destroy()
    assert.equal(contentOf(site, upload).toString(), 'helloworld')
  }
})

test('maxConcurrent · a HEAD of the upload whose stalled request has the last place tells its offset, and frees that place', async (t) => {
  const site = await serve(t, { maxConcurrent: 1 })
  const [first, second] = [await makeEmpty(site), await makeEmpty(site)]
  const stalled = await stall(site, first)
  assert.equal(await offsetOf(site, first), 5)
  assert.equal((await ask(site, patch(second, 0, 'hello'))).status, 204)
  assert.equal((await stalled.response()).status, 409)
  stalled.destroy()
})

const checksumOfOther = `Upload-Checksum: sha1 ${createHash('sha1').update('other').digest('base64')}`

/** Everything that a body can end in; each takes an upload of 10 bytes, and is over when it resolves. */
const endings: readonly (readonly [what: string, end: (site: Site, upload: string) => Promise<unknown>])[] = [
  ['is complete', (site, upload) => ask(site, patch(upload, 0, 'helloworld'))],
  ['is cut', async (site, upload) => {
    const client = await WireClient.connect(site.port)
    await client.send(patch(upload, 0, 'helloworld').slice(0, -1))
    client.socket.end()
    await client.closed()
    await site.settled()
  }],
  ['falls silent', async (site, upload) => {
    const client = await WireClient.connect(site.port)
    await client.send(patch(upload, 0, 'helloworld').slice(0, -1))
    assert.equal((await client.response()).status, 423)
    client.destroy()
    await site.settled()
  }],
  [
    'is too large',
    (site, upload) => ask(site, withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', CODED]), chunked('helloworlds', 3))),
  ],
  ['does not match its checksum', (site, upload) => ask(site, patch(upload, 0, 'hello', [checksumOfOther]))],
  ['is too large for its creation', (site) =>
    ask(site, withBody(request('POST /files/', [V, OCT, 'Upload-Length: 3', CODED]), chunked('hello')))],
  ['cannot be stored', (site, upload) => ask(site, patch(upload, 0, 'fault'))],
]

for (const [what, end] of endings) {
  test(`maxConcurrent · a body that ${what} gives its place back`, async (t) => {
    class FaultyStore extends StoreBehind {
      override async append(...[upload, body, options]: Parameters<StoreBehind['append']>): Promise<number> {
        const offset = await super.append(upload, body, options)
        if (contentOf(site, `/files/${upload.id}`).includes('fault')) throw new Error('secret')
        return offset
      }
    }
    const site: Site = await serve(t, { maxConcurrent: 1, idleTimeoutMs: 200, store: (files) => new FaultyStore(files) })
    for (let round = 0; round < 3; round++) await end(site, await makeEmpty(site))
    assert.equal((await ask(site, patch(await makeEmpty(site), 0, 'hello'))).status, 204)
  })
}

/** A store that counts bodies, and whose `create` and `setLength` wait until so many of their kind have come, or `open` is called. */
class GatheringStore extends StoreBehind {
  readonly #expected: number
  readonly #gate = new Gate()
  readonly open = (): void => this.#gate.open()
  #calls = 0
  #appending = 0
  most = 0
  gathers = false

  constructor(files: ConstructorParameters<typeof StoreBehind>[0], expected: number) {
    super(files)
    this.#expected = expected
  }

  async #gather(): Promise<void> {
    if (!this.gathers) return
    if (++this.#calls === this.#expected) this.open()
    await this.#gate.pass()
  }

  override async create(upload: NewUpload): Promise<Upload> {
    await this.#gather()
    return super.create(upload)
  }

  override async setLength(upload: Upload, length: number): Promise<void> {
    await this.#gather()
    return super.setLength(upload, length)
  }

  override async append(...args: Parameters<StoreBehind['append']>): Promise<number> {
    this.most = Math.max(this.most, ++this.#appending)
    try {
      return await super.append(...args)
    } finally {
      this.#appending--
    }
  }
}

for (const [what, interrupted, text] of [
  ['creations', 201, () => request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'hello')],
  ['PATCHes that bring a length', 423, (upload: string) =>
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Upload-Length: 10', 'Content-Length: 10'], 'hello')],
] as const) {
  test(`maxConcurrent · of ${what} that come at once no more are received than that`, async (t) => {
    const site = await serve(t, { maxConcurrent: 1, idleTimeoutMs: 200, store: (files) => new GatheringStore(files, 3) })
    const uploads = await Promise.all([1, 2, 3].map(async () => {
      const created = await exchange(site.port, request('POST /files/', [V, 'Upload-Defer-Length: 1', 'Content-Length: 0']))
      return locationOf(created)
    }))
    site.store.gathers = true
    const { open } = site.store
    const answers = await Promise.all(uploads.map((upload) => exchange(site.port, text(upload)).finally(open)))
    await site.settled()
    assert.equal(site.store.most, 1)
    assert.deepEqual(answers.map(({ status }) => status).sort(), [interrupted, 503, 503])
  })
}

// answerTimeoutMs

test('answerTimeoutMs · an onFinish that hangs leads to 503 with Retry-After; it goes on, and is not run again', async (t) => {
  const gate = new Gate()
  let runs = 0
  const site = await serve(t, { answerTimeoutMs: 500, lockTimeoutMs: 20, onFinish: () => (runs++, gate.pass()) })
  const upload = await makeEmpty(site)
  assertTemporary(await ask(site, patch(upload, 0, 'helloworld')), site, /still working/)
  assert.equal((await head(site, upload)).status, 423, 'until it is done nobody is told that it is complete')
  gate.open()
  await site.settled()
  const { status, headers } = await head(site, upload)
  assert.deepEqual([status, headers.get('upload-offset'), headers.get('upload-length')], [200, '10', '10'])
  assert.equal(runs, 1)
})

test('answerTimeoutMs · an onCreate that hangs leads to 503; no byte is taken later, and no upload is left', async (t) => {
  const gate = new Gate()
  const errors = published(t, 'longhaul:error') as readonly { readonly error: { readonly code: string } }[]
  const site = await serve(t, { answerTimeoutMs: 500, onCreate: () => gate.pass() })
  const creation = request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], 'hello')
  assertTemporary(await ask(site, creation), site, /still working/)
  gate.open()
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
  assert.deepEqual(errors.map(({ error }) => error.code), ['OVERDUE'], 'the operator learns of it')
})

test('answerTimeoutMs · an authorize that hangs leads to 503 for a client that is still sending; no byte is taken later', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { answerTimeoutMs: 500, authorize: ({ kind }) => (kind === 'append' ? gate.pass() : undefined) })
  const upload = await makeEmpty(site)
  const client = await WireClient.connect(site.port)
  await client.send(patch(upload, 0, 'helloworld').slice(0, -5))
  assertTemporary(await client.response(), site, /still working/)
  await client.send('world')
  assert.equal(await client.closed(), '')
  gate.open()
  await site.settled()
  assert.equal(await offsetOf(site, upload), 0)
  assert.equal(contentOf(site, upload).length, 0)
})

test('answerTimeoutMs · an authorize that hangs leads to 503 for a client that waits for 100 Continue, which never comes', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { answerTimeoutMs: 500, authorize: ({ kind }) => (kind === 'append' ? gate.pass() : undefined) })
  const upload = await makeEmpty(site)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10', 'Expect: 100-continue']))
  assertTemporary(await client.response(), site, /still working/)
  assert.equal(await client.closed(), '')
  gate.open()
  await site.settled()
  assert.equal(await offsetOf(site, upload), 0)
})

test('answerTimeoutMs · an onTerminate that hangs leads to 503; the upload is gone when it is done', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { answerTimeoutMs: 500, onTerminate: () => gate.pass() })
  const upload = await makeEmpty(site)
  assertTemporary(await ask(site, request(`DELETE ${upload}`, [V])), site, /still working/)
  gate.open()
  await site.settled()
  assert.equal((await head(site, upload)).status, 404)
  assert.equal(snapshot(site.folder).size, 0)
})

test('answerTimeoutMs · a store that hangs leads to 503, and to 423 where tus asks by HEAD', async (t) => {
  const gate = new Gate()
  class HangingStore extends StoreBehind {
    override async find(id: string): Promise<Upload | undefined> {
      await gate.pass()
      return super.find(id)
    }
  }
  const site = await serve(t, { answerTimeoutMs: 500, store: (files) => new HangingStore(files) })
  const upload = await makeEmpty(site)
  const answer = await head(site, upload)
  assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [423, undefined])
  assertTemporary(await ask(site, patch(upload, 0, '')), site, /still working/)
  gate.open()
  await site.settled()
  assert.equal(await offsetOf(site, upload), 0)
})

test('answerTimeoutMs · a client may take longer than that to send its body: the time is that of the server', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { answerTimeoutMs: 500, onTerminate: () => gate.pass() })
  const [upload, other] = [await makeEmpty(site), await makeEmpty(site)]
  const slow = await stall(site, upload)
  const overdue = await ask(site, request(`DELETE ${other}`, [V])) // which began after it, and now that time is over
  assert.equal(overdue.status, 503)
  await slow.send('world')
  assert.equal((await slow.response()).status, 204)
  slow.destroy()
  gate.open()
  await site.settled()
})

test('answerTimeoutMs · a hook that refuses in the very moment in which its time is over leads to one answer, and the handler resolves', async (t) => {
  const refusal = Object.assign(new Error('secret'), { status: 403, body: 'Not you' })
  const results: unknown[] = []
  const site = await serve(t, {
    answerTimeoutMs: 30,
    // A timer of the same length, started in the same turn of the event loop: it runs right behind the handler's own.
    onCreate: () => new Promise((_, reject) => setTimeout(() => reject(refusal), 30)),
  })
  site.server.removeAllListeners('request')
  site.server.on('request', (req, res) => void site.tus(req, res).then(() => results.push('resolved'), (error) => results.push(error)))
  for (let round = 0; round < 5; round++) {
    const client = await WireClient.connect(site.port)
    await client.send(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'hello'))
    const { status } = await client.response()
    assert.ok(status === 403 || status === 503, String(status))
    client.socket.end()
    assert.equal(await client.closed(), '')
  }
  assert.deepEqual(results.filter((result) => result !== 'resolved'), [])
})

test('answerTimeoutMs · a hook that agrees in the very moment in which its time is over leads to 503, and no byte is taken', async (t) => {
  /** A store that answers at once, so that all of it is in that moment. */
  class QuickStore extends StoreBehind {
    known: Upload | undefined

    override find(id: string): Promise<Upload | undefined> {
      return this.known ? Promise.resolve(this.known) : super.find(id)
    }
  }
  const site = await serve(t, {
    answerTimeoutMs: 30, idleTimeoutMs: 1000,
    store: (files) => new QuickStore(files),
    authorize: ({ kind }) => (kind === 'append' ? new Promise((resolve) => setTimeout(resolve, 30)) : undefined),
  })
  const upload = `/files/${(await site.store.create({ id: 'quick', length: 10 })).id}`
  site.store.known = await site.store.find('quick')
  for (let round = 0; round < 5; round++) {
    const client = await WireClient.connect(site.port)
    await client.send(patch(upload, 0, 'helloworld').slice(0, -5))
    assertTemporary(await client.response(), site, /still working/)
    await client.send('world')
    client.socket.end()
    assert.equal(await client.closed(), '')
    await site.settled()
    assert.equal(contentOf(site, upload).toString(), '')
  }
})

test('maxConcurrent · a download that is being sent takes a place, HEAD of a finished upload does not, and the place is free when its client leaves', async (t) => {
  const site = await serve(t, { maxConcurrent: 1, download: {} })
  const upload = await make(site, 8 * 1024 * 1024, 'x'.repeat(8 * 1024 * 1024))
  const reader = await WireClient.connect(site.port)
  await reader.send(request(`GET ${upload}`))
  assert.equal((await readHead(reader)).startsWith('HTTP/1.1 200 '), true)
  reader.socket.pause()
  assertTemporary(await exchange(site.port, request(`GET ${upload}`)), site, /Too many/)
  assert.equal((await exchange(site.port, request(`HEAD ${upload}`), { toHead: true })).status, 200)
  reader.destroy()
  await site.settled()
  assert.equal((await exchange(site.port, request(`GET ${upload}`, ['Range: bytes=0-4']))).body, 'xxxxx')
})

/** The first bytes of an answer, of which there is more. */
function readHead(client: WireClient): Promise<string> {
  return new Promise((resolve) => client.socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1'))))
}
