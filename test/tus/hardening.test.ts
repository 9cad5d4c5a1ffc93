// SPDX-License-Identifier: MIT

/** What an audit of the handler found, each as a guarantee. @module */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import type { AppendOptions, Upload } from '../../lib/upload/types.ts'
import { Gate } from '../support/gate.ts'
import { listen } from '../support/listen.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { watched } from '../support/watched-store.ts'
import { exchange, request, WireClient } from '../support/wire.ts'
import { head, OCT, offsetOf, serve, V } from './support.ts'

const POST = (headers: readonly string[], body = ''): string => request('POST /files/', [V, ...headers], body)

test('an upload completes in a directory that is reached through a link', async (t) => {
  const folder = temporaryFolder(t)
  symlinkSync(temporaryFolder(t), join(folder, 'link'))
  const store = new FileStore(join(folder, 'link'))
  const { port } = await serve(t, { store: () => store })
  const created = await exchange(port, POST([OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))
  assert.deepEqual([created.status, created.headers.get('upload-offset')], [201, '5'])
})

test('a sweep of a directory that is gone fails, says so, and does not reject', async (t) => {
  const site = await serve(t)
  rmSync(site.folder, { recursive: true })
  const errors = await published(t, 'longhaul:error')
  assert.deepEqual(await site.tus.sweep(), { examined: 0, expired: 0, settled: 0, failed: 2 })
  assert.equal(errors.length, 2)
})

test('a creation whose upload another request takes over is answered with the stored offset, and the upload stays', async (t) => {
  const site = await serve(t, { onCreate: () => ({ id: 'mine' }), store: watched })
  const client = await WireClient.connect(site.port)
  const arrived = site.store.arrived(5)
  await client.send(POST([OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'hello'))
  await arrived
  assert.equal(await offsetOf(site, '/files/mine'), 5)
  const created = await client.response()
  assert.deepEqual([created.status, created.headers.get('location'), created.headers.get('upload-offset')], [201, '/files/mine', '5'])
  client.destroy()
})

test('the offset that a client got at a shutdown stays true, whatever becomes of the bytes that follow', async (t) => {
  for (const what of ['the store fails', 'they are too many'] as const) {
    const controller = new AbortController()
    class Store extends StoreBehind {
      appends = 0
      override append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
        if (++this.appends > 1 && what === 'the store fails') return Promise.reject(new Error('disk on fire'))
        return super.append(upload, body, options)
      }
    }
    const site = await serve(t, { signal: controller.signal, store: (files) => new Store(files) })
    const client = await WireClient.connect(site.port)
    await client.send(POST([OCT, 'Upload-Length: 10', 'Transfer-Encoding: chunked', 'Expect: 100-continue']))
    assert.equal((await client.response()).status, 100)
    await client.send('5\r\nhello\r\n')
    controller.abort(new Error('SIGTERM'))
    const created = await client.response()
    const told = Number(created.headers.get('upload-offset'))
    await client.send('10\r\n0123456789abcdef\r\n')
    await site.settled()
    client.destroy()
    const upload = await new FileStore(site.folder).find(created.headers.get('location')!.slice('/files/'.length))
    assert.ok(upload!.offset >= told, `${what}: ${upload!.offset} of ${told} bytes`)
  }
})

test('a client that waited for 100 Continue, lost patience and sends, still reads why it was refused', async (t) => {
  const gate = new Gate()
  const site = await serve(t, {
    authorize: async () => {
      await gate.pass()
      throw Object.assign(new Error('no'), { status: 401 })
    },
  })
  const arrived = once(site.server, 'checkContinue')
  const socket = connect(site.port, '127.0.0.1').on('error', () => {})
  const client = new WireClient(socket)
  socket.write(POST([OCT, 'Upload-Length: 8000000', 'Content-Length: 8000000', 'Expect: 100-continue']))
  const [req] = await arrived
  socket.write(Buffer.alloc(8_000_000))
  while (req.readableLength === 0) await new Promise((resolve) => setImmediate(resolve))
  gate.open()
  assert.equal((await client.response()).status, 401)
  client.destroy()
})

test('a response that other code has begun is cut and reported, and the server serves on', async (t) => {
  const errors = await published(t, 'longhaul:error')
  const tus = tusHandler({ store: new FileStore(temporaryFolder(t)) })
  const outcomes: Promise<void>[] = []
  const port = await listen(t, createServer((req, res) => {
    res.setHeader = () => {
      throw Object.assign(new Error('Cannot set headers after they are sent to the client'), { code: 'ERR_HTTP_HEADERS_SENT' })
    }
    outcomes.push(tus(req, res))
  }))
  const client = await WireClient.connect(port)
  await client.send(request('OPTIONS /files/'))
  await client.closed()
  await Promise.all(outcomes)
  assert.equal(errors.length, 1)
})

test('putting a concatenation together takes a place like a body that is received', async (t) => {
  const site = await serve(t, { maxConcurrent: 0 })
  const part = (await exchange(site.port, POST(['Upload-Length: 0', 'Upload-Concat: partial']))).headers.get('location')
  const before = snapshot(site.folder)
  const refused = await exchange(site.port, POST([`Upload-Concat: final;${part}`]))
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1'])
  assert.deepEqual(snapshot(site.folder), before)
})

test('a download whose client reads nothing is given up after the idle time', async (t) => {
  const site = await serve(t, { download: {}, idleTimeoutMs: 100 })
  const length = 32 * 1024 ** 2
  writeFileSync(join(site.folder, 'large'), Buffer.alloc(length))
  writeFileSync(join(site.folder, 'large.info'), JSON.stringify({ ID: 'large', Size: length }))
  const errors = await published(t, 'longhaul:error')
  const arrived = once(site.server, 'request')
  const socket = connect(site.port, '127.0.0.1').on('error', () => {})
  t.after(() => socket.destroy())
  socket.write(request('GET /files/large'))
  await arrived
  await site.settled()
  assert.deepEqual(errors, [])
})

test('a creation that was answered 503 for a hook that hangs makes nothing when that comes back', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { answerTimeoutMs: 30, onCreate: () => gate.pass() })
  const refused = await exchange(site.port, POST(['Upload-Length: 10']))
  assert.equal(refused.status, 503)
  gate.open()
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
})

test('an upload that another server began is not taken for complete while its last bytes are still being judged', async (t) => {
  const site = await serve(t, { store: watched })
  writeFileSync(join(site.folder, 'theirs'), 'he')
  writeFileSync(join(site.folder, 'theirs.info'), JSON.stringify({ ID: 'theirs', Size: 5 }))
  const client = await WireClient.connect(site.port)
  const arrived = site.store.arrived(3)
  await client.send(request('PATCH /files/theirs', [V, OCT, 'Upload-Offset: 2', 'Transfer-Encoding: chunked'], '3\r\nllo\r\n'))
  await arrived
  const files = new FileStore(site.folder)
  while ((await files.find('theirs'))!.offset < 5) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await files.find('theirs'))!.state, 'receiving')
  await client.send('1\r\nX\r\n')
  assert.equal((await client.response()).status, 413)
  client.destroy()
  assert.equal((await head(site, '/files/theirs')).headers.get('upload-offset'), '2')
})

test('an upload that another server began is finished by us, also if that fails at first', async (t) => {
  const finished: string[] = []
  class Store extends StoreBehind {
    failures = 1
    override setState(...args: Parameters<StoreBehind['setState']>): Promise<void> {
      return this.failures-- > 0 ? Promise.reject(new Error('disk on fire')) : super.setState(...args)
    }
  }
  const site = await serve(t, { store: (files) => new Store(files), onFinish: ({ id }) => void finished.push(id) })
  writeFileSync(join(site.folder, 'theirs'), 'he')
  writeFileSync(join(site.folder, 'theirs.info'), JSON.stringify({ ID: 'theirs', Size: 5 }))
  const patch = request('PATCH /files/theirs', [V, OCT, 'Upload-Offset: 2', 'Content-Length: 3'], 'llo')
  assert.equal((await exchange(site.port, patch)).status, 500)
  assert.deepEqual(finished, [])
  assert.equal(await offsetOf(site, '/files/theirs'), 5)
  assert.deepEqual(finished, ['theirs'])
})

test('a download whose store is slow is not given up, and its connection serves the next request without haste', async (t) => {
  const gate = new Gate()
  class Store extends StoreBehind {
    override read(...args: Parameters<StoreBehind['read']>): Readable {
      const files = this.files
      return Readable.from((async function* () {
        await gate.pass()
        yield* files.read(...args)
      })())
    }
  }
  const slow = new Gate()
  const site = await serve(t, { download: {}, idleTimeoutMs: 50, store: (files) => new Store(files), onTerminate: () => slow.pass() })
  writeFileSync(join(site.folder, 'small'), 'hello')
  writeFileSync(join(site.folder, 'small.info'), JSON.stringify({ ID: 'small', Size: 5 }))
  const client = await WireClient.connect(site.port)
  await client.send(request('GET /files/small') + request('DELETE /files/small', [V]))
  await gate.arrived
  await longerThan(200)
  gate.open()
  assert.equal((await client.response()).body, 'hello')
  await slow.arrived
  await longerThan(200)
  slow.open()
  assert.equal((await client.response()).status, 204)
  client.destroy()
})

/** Lets timers of the server pass that are shorter. */
function longerThan(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

test('a place that is missing for a concatenation is no failure of a sweep, and HEAD says that it waits', async (t) => {
  const site = await serve(t, { maxConcurrent: 1 })
  const part = (await exchange(site.port, POST(['Upload-Length: 5', 'Upload-Concat: partial']))).headers.get('location')!
  const whole = (await exchange(site.port, POST([`Upload-Concat: final;${part}`]))).headers.get('location')!
  const patch = request(`PATCH ${part}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello')
  assert.equal((await exchange(site.port, patch)).status, 204)
  const busy = await WireClient.connect(site.port)
  await busy.send(POST([OCT, 'Upload-Length: 5', 'Content-Length: 5', 'Expect: 100-continue']))
  assert.equal((await busy.response()).status, 100)
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 0, failed: 0 })
  const waiting = await head(site, whole)
  assert.deepEqual([waiting.status, waiting.headers.has('upload-offset')], [200, false])
  busy.destroy()
  await site.settled()
  assert.equal(await offsetOf(site, whole), 5)
})
