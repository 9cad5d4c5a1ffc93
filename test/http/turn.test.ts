// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { connect } from 'node:net'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { Gate } from '../support/gate.ts'
import { listen } from '../support/listen.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'
import { make, OCT, serve, V } from '../tus/support.ts'

/** A broken guarantee often shows as an answer that never comes. */
const LIMIT = { timeout: 60_000 }
/** More than the buffers of a socket hold. */
const LARGE = 'x'.repeat(8 * 1024 * 1024)

/** Counts the downloads. */
class CountingStore extends StoreBehind {
  opened = 0
  open = 0

  override read(...args: Parameters<StoreBehind['read']>): Readable {
    this.opened++
    this.open++
    return super.read(...args).once('close', () => this.open--)
  }
}

/** How many requests have been handed over since the call. */
function counter(server: Server): () => number {
  let count = 0
  server.prependListener('request', () => count++)
  return () => count
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('of the downloads that a client pipelines and does not read, one is open, and all end when the client leaves', LIMIT, async (t) => {
  const site = await serve(t, { download: {}, store: (files) => new CountingStore(files) })
  const upload = await make(site, LARGE.length, LARGE)
  const client = await WireClient.connect(site.port)
  client.socket.pause()
  const handedOver = counter(site.server)
  await client.send(request(`GET ${upload}`).repeat(500))
  while (handedOver() < 500 || site.store.open === 0) await nextTurn()
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.deepEqual({ opened: site.store.opened, open: site.store.open }, { opened: 1, open: 1 })
  client.destroy()
  await site.settled()
  while (site.store.open > 0) await nextTurn()
  assert.equal(site.store.opened, 1)
})

test('4,000 pipelined requests are all answered, and those that wait are never more than one packet brings', LIMIT, async (t) => {
  const first = new Gate()
  let hasBegun = false
  const site = await serve(t, { authorize: async () => (hasBegun ? undefined : ((hasBegun = true), first.pass())) })
  const handedOver = counter(site.server)
  const client = connect(site.port, '127.0.0.1')
  let answers = ''
  client.on('data', (chunk: Buffer) => (answers += chunk.toString('latin1')))
  const head = request('HEAD /files/none', [V])
  client.write(head.repeat(4_000))
  let seen = -1
  for (let quietTurns = 0; quietTurns < 200; quietTurns++) {
    await nextTurn()
    if (handedOver() !== seen) quietTurns = 0
    seen = handedOver()
  }
  assert.ok(seen >= 64 && seen < 2000, `${seen} requests wait`)
  first.open()
  await site.settled()
  client.end() // once it has read all that was sent to it
  await once(client, 'end')
  assert.equal(answers.split('HTTP/1.1 404 ').length - 1, 4_000)
  await site.settled()
})

test('what a pipelined PATCH brought is stored, though its client has left before its turn came', LIMIT, async (t) => {
  const first = new Gate()
  const site = await serve(t, { authorize: ({ kind }) => (kind === 'inspect' ? first.pass() : undefined) })
  const uploads = [await make(site, 10), await make(site, 10)]
  const handedOver = counter(site.server)
  const client = await WireClient.connect(site.port)
  const patch = (upload: string, text: string): string =>
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${text.length}`], text)
  await client.send(
    request(`HEAD ${uploads[0]}`, [V]) + patch(uploads[0]!, 'hello') + patch(uploads[1]!, 'world') + request(`DELETE ${uploads[0]}`, [V]),
  )
  while (handedOver() < 4) await nextTurn()
  client.destroy()
  await once(client.socket, 'close')
  first.open()
  await site.settled()
  assert.deepEqual(uploads.map((upload) => contentOf(site, upload).toString()), ['hello', 'world'])
})

test('a pipelined creation whose client has left before its turn came makes nothing: nobody would know its address', LIMIT, async (t) => {
  const first = new Gate()
  const site = await serve(t, { authorize: ({ kind }) => (kind === 'inspect' ? first.pass() : undefined) })
  const upload = await make(site, 10)
  const before = snapshot(site.folder)
  const handedOver = counter(site.server)
  const client = await WireClient.connect(site.port)
  const creation = request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], 'hello')
  await client.send(request(`HEAD ${upload}`, [V]) + creation)
  while (handedOver() < 2) await nextTurn()
  client.destroy()
  await once(client.socket, 'close')
  first.open()
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})

test('a response that other code ended while it waited for its turn does not hold up the next one', LIMIT, async (t) => {
  const site = await serve(t, { before: (_req, res) => void res.end('taken') })
  const client = await WireClient.connect(site.port)
  await client.send(request('GET /files/none').repeat(3))
  for (let index = 0; index < 3; index++) assert.equal((await client.response()).body, 'taken')
  client.destroy()
  await site.settled()
})

for (const [method, refused] of [
  ['DELETE', 503],
  ['HEAD', 423],
] as const)
  test(`HTTP/2: a ${method} above 100 streams is answered ${refused}, and the session serves on`, LIMIT, async (t) => {
    const first = new Gate()
    const tus = tusHandler({ store: new FileStore(temporaryFolder(t), { sync: 'none' }), authorize: () => first.pass() })
    const session = connectHttp2(`http://127.0.0.1:${await listen(t, createHttp2Server((req, res) => void tus(req, res)))}`)
    t.after(() => session.destroy())
    const statuses: number[] = []
    const ask = async (): Promise<void> => {
      const stream = session.request({ ':method': method, ':path': '/files/none', 'tus-resumable': '1.0.0' })
      const [headers] = (await once(stream.resume(), 'response')) as [IncomingHttpHeaders & { ':status': number }]
      statuses.push(headers[':status'])
      await once(stream, 'close')
    }
    const answers = Array.from({ length: 103 }, ask)
    while (statuses.length < 3) await nextTurn()
    assert.deepEqual(statuses, [refused, refused, refused])
    first.open()
    await Promise.all(answers)
    assert.deepEqual(statuses.slice(3), Array.from({ length: 100 }, () => 404))
    await ask()
    assert.equal(statuses.at(-1), 404)
  })

for (const method of ['GET', 'HEAD']) {
  test(`HTTP/2: a ${method} with a body that nobody reads ends with its answer, and leaves room for the next ones`, LIMIT, async (t) => {
    const tus = tusHandler({ store: new FileStore(temporaryFolder(t), { sync: 'none' }), download: {} })
    const work: Promise<void>[] = []
    const closed: Promise<void>[] = []
    const server = createHttp2Server((req, res) => {
      closed.push(new Promise<void>((resolve) => req.stream.once('close', resolve)))
      work.push(tus(req, res))
    })
    const session = connectHttp2(`http://127.0.0.1:${await listen(t, server)}`)
    t.after(() => session.destroy())
    const ask = async (headers: OutgoingHttpHeaders, body: string): Promise<IncomingHttpHeaders> => {
      const stream = session.request(headers, { endStream: false })
      stream.resume().end(body)
      const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders]
      return answer
    }
    const creation = { 'tus-resumable': '1.0.0', 'upload-length': 5, 'content-type': 'application/offset+octet-stream' }
    const { location } = await ask({ ':method': 'POST', ':path': '/files/', ...creation }, 'hello')
    for (let count = 0; count < 101; count++) {
      const answer = await ask({ ':method': method, ':path': location }, 'a body')
      assert.equal(answer[':status'], 200)
    }
    await Promise.all([...work, ...closed])
  })
}
