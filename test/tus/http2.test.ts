// SPDX-License-Identifier: MIT

/** The same handler over HTTP/2, without TLS. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  connect, createServer, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders,
} from 'node:http2'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { tusHandler, type TusHandlerOptions } from '../../lib/tus/handler.ts'
import { listen } from '../support/listen.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { WatchedStore } from '../support/watched-store.ts'

const V = { 'tus-resumable': '1.0.0' }
const OCT = { 'content-type': 'application/offset+octet-stream' }

interface Http2Site {
  readonly session: ClientHttp2Session
  readonly folder: string
  readonly store: WatchedStore
  settled(): Promise<unknown>
}

async function serve(t: TestContext, options: Omit<TusHandlerOptions, 'store'> = {}): Promise<Http2Site> {
  const folder = temporaryFolder(t)
  const store = new WatchedStore(new FileStore(folder, { sync: 'none' }))
  const tus = tusHandler({ ...options, store })
  const served: Promise<void>[] = []
  const server = createServer((req, res) => void served.push(tus(req, res)))
  server.on('checkContinue', (req, res) => void served.push(tus.checkContinue(req, res)))
  const session = connect(`http://127.0.0.1:${await listen(t, server)}`)
  t.after(() => session.destroy())
  await once(session, 'connect')
  return { session, folder, store, settled: () => Promise.all(served) }
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** The answer of a stream, however much of its request has been sent. It may close right behind its answer. */
function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let headers: IncomingHttpHeaders & { ':status'?: number | undefined } = {}
    let body = ''
    stream.setEncoding('utf8')
    stream.on('response', (received) => (headers = received))
    stream.on('data', (chunk: string) => (body += chunk))
    stream.on('end', () => resolve({ status: headers[':status'] ?? 0, headers, body }))
    stream.on('error', reject)
  })
}

function ask(site: Http2Site, method: string, path: string, headers: OutgoingHttpHeaders, body?: string | Uint8Array): Promise<Answer> {
  const stream = site.session.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return answerOf(stream)
}

async function make(site: Http2Site, length: number): Promise<string> {
  const created = await ask(site, 'POST', '/files/', { ...V, 'upload-length': length })
  assert.equal(created.status, 201)
  return created.headers.location ?? assert.fail('no Location')
}

test('HTTP/2 · creation, two appends and HEAD make up an upload', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const first = await ask(site, 'PATCH', upload, { ...V, ...OCT, 'upload-offset': '0', 'content-length': 5 }, 'hello')
  assert.deepEqual([first.status, first.headers['upload-offset']], [204, '5'])
  const second = await ask(site, 'PATCH', upload, { ...V, ...OCT, 'upload-offset': '5' }, 'world')
  assert.deepEqual([second.status, second.headers['upload-offset']], [204, '10'])
  const { status, headers, body } = await ask(site, 'HEAD', upload, V)
  assert.deepEqual([status, headers['upload-offset'], headers['upload-length'], body], [200, '10', '10', ''])
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('HTTP/2 · creation with upload, and termination', async (t) => {
  const site = await serve(t)
  const created = await ask(site, 'POST', '/files/', { ...V, ...OCT, 'upload-length': '10' }, 'hello')
  assert.deepEqual([created.status, created.headers['upload-offset']], [201, '5'])
  assert.equal((await ask(site, 'DELETE', created.headers.location ?? '', V)).status, 204)
  assert.equal(snapshot(site.folder).size, 0)
})

test('HTTP/2 · a large body is stored whole', async (t) => {
  const site = await serve(t)
  const source = pattern(8 * 1024 * 1024)
  const upload = await make(site, source.length)
  const answer = await ask(site, 'PATCH', upload, { ...V, ...OCT, 'upload-offset': '0' }, source)
  assert.deepEqual([answer.status, answer.headers['upload-offset']], [204, String(source.length)])
  assert.ok(contentOf(site, upload).equals(source))
})

const refusals: readonly (readonly [status: number, method: string, headers: OutgoingHttpHeaders])[] = [
  [400, 'PATCH', { ...V, ...OCT, 'upload-offset': '-1' }],
  [405, 'PUT', V],
  [409, 'PATCH', { ...V, ...OCT, 'upload-offset': '7' }],
  [412, 'PATCH', { ...OCT, 'upload-offset': '0' }],
  [413, 'PATCH', { ...V, ...OCT, 'upload-offset': '0', 'content-length': '1000' }],
  [415, 'PATCH', { ...V, 'upload-offset': '0' }],
]

for (const [status, method, headers] of refusals) {
  test(`HTTP/2 · an early ${status} arrives at a client that is still sending, and the connection goes on`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 10)
    const before = snapshot(site.folder)
    const stream = site.session.request({ ':method': method, ':path': upload, ...headers })
    stream.write('hello')
    const answer = await answerOf(stream)
    assert.equal(answer.status, status)
    assert.match(answer.body, /^[A-Z][^\r\n]*\n$/)
    assert.equal(answer.headers['tus-resumable'], '1.0.0')
    if (!stream.closed) await once(stream, 'close')
    assert.equal(stream.rstCode, 0)
    assert.equal((await ask(site, 'HEAD', upload, V)).headers['upload-offset'], '0')
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('HTTP/2 · a body that turns out too large is 413, and all of it is taken back', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const before = snapshot(site.folder)
  assert.equal((await ask(site, 'PATCH', upload, { ...V, ...OCT, 'upload-offset': '0' }, 'helloworlds')).status, 413)
  assert.deepEqual(snapshot(site.folder), before)
})

test('HTTP/2 · a client that expects 100-continue gets it, or a refusal', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const patch = (offset: number): ClientHttp2Stream =>
    site.session.request({ ':method': 'PATCH', ':path': upload, ...V, ...OCT, 'upload-offset': String(offset), expect: '100-continue' })

  const accepted = patch(0)
  await once(accepted, 'continue')
  accepted.end('hello')
  assert.equal((await answerOf(accepted)).status, 204)

  const refused = patch(0)
  let continued = false
  refused.on('continue', () => (continued = true))
  assert.equal((await answerOf(refused)).status, 409)
  assert.equal(continued, false)
})

test('HTTP/2 · of a stream that is reset, every byte that the server had is stored', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 1000)
  const stream = site.session.request({ ':method': 'PATCH', ':path': upload, ...V, ...OCT, 'upload-offset': '0', 'content-length': '1000' })
  stream.on('error', () => {})
  stream.write('x'.repeat(600))
  await site.store.arrived(600)
  stream.close(8) // CANCEL
  assert.equal((await ask(site, 'HEAD', upload, V)).headers['upload-offset'], '600')
})

test('HTTP/2 · a stalled PATCH lets go for a HEAD', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const stalled = site.session.request({ ':method': 'PATCH', ':path': upload, ...V, ...OCT, 'upload-offset': '0' })
  stalled.write('hello')
  await site.store.arrived(5)
  const [overtaken, head] = await Promise.all([answerOf(stalled), ask(site, 'HEAD', upload, V)])
  assert.equal(head.headers['upload-offset'], '5')
  assert.equal(overtaken.status, 409)
})

test('HTTP/2 · a PATCH that is in progress at a shutdown is answered 503, and what came is stored', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal })
  const upload = await make(site, 10)
  const stream = site.session.request({ ':method': 'PATCH', ':path': upload, ...V, ...OCT, 'upload-offset': '0' })
  stream.write('hello')
  await site.store.arrived(5)
  shutdown.abort()
  const answer = await answerOf(stream)
  assert.equal(answer.status, 503)
  assert.match(String(answer.headers['retry-after']), /^[1-9]\d*$/)
  await site.settled()
  assert.equal((await ask(site, 'HEAD', upload, V)).headers['upload-offset'], '5')
})
