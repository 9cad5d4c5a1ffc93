// SPDX-License-Identifier: MIT

/** Answers with headers that a store or a hook brought in, and that cannot be sent, or are not theirs to send. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer as createHttp2Server } from 'node:http2'
import { createServer } from 'node:http'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { uploadHandler, type UploadHandlerOptions } from '../../lib/upload-handler.ts'
import type { Outcome, Upload } from '../../lib/upload/types.ts'
import { listen } from '../support/listen.ts'
import { published } from '../support/published.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'

/** A store that others have written to: what it finds is changed. */
class ForeignStore extends StoreBehind {
  change: Partial<Upload> = {}

  override async find(id: string): Promise<Upload | undefined> {
    const upload = await super.find(id)
    return upload && { ...upload, ...this.change }
  }
}

interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

interface Site {
  readonly store: ForeignStore
  ask(method: string, path: string, headers: Readonly<Record<string, string>>): Promise<Answer>
}

type Version = 'HTTP/1.1' | 'HTTP/2'

async function serve(t: TestContext, version: Version, options: Omit<UploadHandlerOptions, 'store'> = {}): Promise<Site> {
  const store = new ForeignStore(new FileStore(temporaryFolder(t), { sync: 'none' }))
  const handler = uploadHandler({ ...options, store })
  if (version === 'HTTP/1.1') {
    const client = await WireClient.connect(await listen(t, createServer((req, res) => void handler(req, res))))
    t.after(() => client.destroy())
    return { store, async ask(method, path, headers) {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
      await client.send(request(`${method} ${path}`, ['Content-Length: 0', ...lines]))
      return client.response({ toHead: method === 'HEAD' }) // all on one connection, which must stay in step
    } }
  }
  const session = connect(`http://127.0.0.1:${await listen(t, createHttp2Server((req, res) => void handler(req, res)))}`)
  t.after(() => session.destroy())
  return { store, async ask(method, path, headers) {
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { endStream: true }).setEncoding('utf8')
    let body = ''
    stream.on('data', (text: string) => (body += text))
    const [[received]] = (await Promise.all([once(stream, 'response'), once(stream, 'end')])) as [[Record<string, string>], unknown]
    return { status: Number(received[':status']), headers: new Map(Object.entries(received)), body }
  } }
}

function overBoth(name: string, run: (t: TestContext, version: Version) => Promise<void>): void {
  for (const version of ['HTTP/1.1', 'HTTP/2'] as const) test(`${version} · ${name}`, (t) => run(t, version))
}

const TUS = { 'tus-resumable': '1.0.0' }
const rejected = (outcome: Partial<Outcome>): Partial<Upload> => ({
  state: 'rejected',
  outcome: { status: 422, headers: {}, body: '', ...outcome } as Outcome,
})

/** What a sidecar may hold that no answer can. */
const unsendable: readonly (readonly [what: string, change: Partial<Upload>])[] = [
  ['a header with a line break', rejected({ headers: { 'X-Job': 'a\r\nSet-Cookie: b' } })],
  ['a header beyond Latin-1', rejected({ headers: { 'X-Job': '名' } })],
  ['a header whose name is none', rejected({ headers: { 'X Job': 'a' } })],
  ['a header without a name', rejected({ headers: { '': 'a' } })],
  ['a header without a value', rejected({ headers: { 'X-Job': undefined as unknown as string } })],
  ['a status above 599', rejected({ status: 1000 })],
  ['a status below 200', rejected({ status: 101 })],
  ['a status that is no number', rejected({ status: NaN })],
]

for (const [what, change] of unsendable) {
  overBoth(`an upload that was stored with ${what} is 500 in both protocols, published with its cause, and the connection serves on`, async (t, version) => {
    const errors = published(t, 'longhaul:error')
    const site = await serve(t, version)
    const created = await site.ask('POST', '/files/', { ...TUS, 'upload-length': '10' })
    const upload = created.headers.get('location') ?? ''
    site.store.change = change
    const asked = [
      ['HEAD', TUS],
      ['PATCH', { ...TUS, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' }],
      ['HEAD', {}],
    ] as const
    for (const [method, headers] of asked) {
      const answer = await site.ask(method, upload, headers)
      assert.equal(answer.status, 500)
      assert.equal(answer.body, method === 'HEAD' ? '' : 'The server failed\n')
      for (const name of ['x-job', 'x job', 'set-cookie']) assert.equal(answer.headers.has(name), false)
    }
    const failures = errors.filter(({ error }) => error.code === 'INTERNAL')
    assert.equal(failures.length, 3)
    for (const { error } of failures) assert.ok(error.cause instanceof Error)
    site.store.change = {}
    assert.equal((await site.ask('HEAD', upload, TUS)).status, 200)
  })
}

overBoth('HEAD of an upload whose metadata cannot be sent is 500, and the next HEAD is answered', async (t, version) => {
  const site = await serve(t, version)
  const upload = (await site.ask('POST', '/files/', { ...TUS, 'upload-length': '10' })).headers.get('location') ?? ''
  for (const change of [
    { encodedMetadata: 'k eA==\r\nX: y' },
    { encodedMetadata: 'größe 名' },
    { state: 'finished', parts: ['a'], encodedParts: 'final;\n' } as const,
  ]) {
    site.store.change = change
    assert.equal((await site.ask('HEAD', upload, TUS)).status, 500)
  }
  site.store.change = { metadata: new Map([['größe', 'a'], ['a\r\nb', 'b'], ['filename', 'x']]) }
  assert.equal((await site.ask('HEAD', upload, TUS)).headers.get('upload-metadata'), 'filename eA==')
})

overBoth('what describes the connection is ours: a hook that sets it changes nothing, and the answer is whole', async (t, version) => {
  const set = [
    { 'Transfer-Encoding': 'chunked' }, { 'Transfer-Encoding': 'chunked', 'Content-Length': '7' }, { 'CONTENT-LENGTH': '1' },
    { Connection: 'upgrade', Upgrade: 'h2c' },
    { 'Keep-Alive': 'timeout=1' }, { TE: 'trailers' }, { Trailer: 'X-Sum' }, { 'Proxy-Connection': 'close' },
    { 'HTTP2-Settings': 'AAMAAABk' },
  ]
  let headers: Readonly<Record<string, string>> = {}
  const site = await serve(t, version, { onFinish: () => ({ status: 202, headers: { ...headers, 'X-Job': '7' }, body: 'done' }) })
  for (headers of set) {
    const answer = await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })
    assert.deepEqual(
      [answer.status, answer.headers.get('x-job'), answer.headers.get('content-length'), answer.body],
      [202, '7', '5', 'done\n'],
    )
    for (const name of ['transfer-encoding', 'upgrade', 'te', 'trailer', 'proxy-connection', 'http2-settings']) {
      assert.equal(answer.headers.has(name), false)
    }
  }
})

overBoth('a hook may spell a header as it likes: it is sent once, as the hook wants it', async (t, version) => {
  const headers = { 'content-type': 'application/json', 'CACHE-CONTROL': 'private', 'tus-resumable': '1.0.0', 'upload-expires': 'never' }
  const site = await serve(t, version, { onFinish: () => ({ headers, body: '{}' }) })
  for (let turn = 0; turn < 2; turn++) {
    const answer = await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })
    for (const [name, value] of Object.entries(headers)) assert.equal(answer.headers.get(name.toLowerCase()), value)
  }
})

overBoth('an answer of a hook that can have no body has none, whatever its text', async (t, version) => {
  let status = 200
  const site = await serve(t, version, { onFinish: () => ({ status, headers: { 'Content-Length': '5' }, body: 'done' }) })
  for (status of [204, 205, 304]) {
    const answer = await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })
    assert.deepEqual([answer.status, answer.headers.get('content-length'), answer.body], [status, status === 205 ? '0' : undefined, ''])
  }
  status = 200
  assert.equal((await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })).body, 'done\n')
})

overBoth('a text that ends its line is sent as it is', async (t, version) => {
  const site = await serve(t, version, { onFinish: () => ({ body: 'done\n' }) })
  assert.equal((await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })).body, 'done\n')
})

test('HTTP/2 · an upload that was stored with two values for a header that has one is 500', async (t) => {
  const errors = published(t, 'longhaul:error')
  const site = await serve(t, 'HTTP/2')
  const upload = (await site.ask('POST', '/files/', { ...TUS, 'upload-length': '10' })).headers.get('location') ?? ''
  site.store.change = rejected({ headers: { ETag: ['"a"', '"b"'] as unknown as string } })
  const answer = await site.ask('PATCH', upload, { ...TUS, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' })
  assert.deepEqual([answer.status, answer.body, answer.headers.has('etag')], [500, 'The server failed\n', false])
  assert.deepEqual(errors.map(({ error }) => error.code), ['INTERNAL'])
})

test('HTTP/2 · headers that are too large for it are 500, published with their cause, and the session serves on', async (t) => {
  const errors = published(t, 'longhaul:error')
  let headers: Readonly<Record<string, string>> = {}
  const site = await serve(t, 'HTTP/2', { onFinish: () => ({ headers }) })
  const many = Object.fromEntries(Array.from({ length: 1900 }, (_, n) => [`x-${n}`, '']))
  for (headers of [{ 'X-Job': 'a'.repeat(100_000) }, { 'X-Job': 'ü'.repeat(65_536) }, many]) {
    const answer = await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })
    assert.deepEqual([answer.status, answer.body], [500, 'The server failed\n'])
  }
  assert.deepEqual(errors.map(({ error }) => (error.cause as Error).name), ['RangeError', 'RangeError', 'RangeError'])
  headers = { 'X-Job': 'ü'.repeat(59_000) }
  assert.equal((await site.ask('POST', '/files/', { ...TUS, 'upload-length': '0' })).status, 201)
})
