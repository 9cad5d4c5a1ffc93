// SPDX-License-Identifier: MIT

/** Several handlers over one store. */

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { rufhHandler } from '../../lib/rufh/handler.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { listen } from '../support/listen.ts'
import { stored } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient } from '../support/wire.ts'
import { OCT, V } from '../tus/support.ts'

const LIMIT = { timeout: 30_000 }
const I8 = 'Upload-Draft-Interop-Version: 8'

/** tus at one port, Resumable Uploads for HTTP at another, one store. */
async function serveBoth(t: TestContext, options: { readonly maxConcurrent?: number } = {}) {
  const folder = temporaryFolder(t)
  const store = new FileStore(folder, { sync: 'none' })
  const finished: string[] = []
  const common = { store, onFinish: ({ id }: { readonly id: string }) => void finished.push(id), ...options }
  const tus = await listen(t, createServer(tusHandler(common)))
  const rufh = await listen(t, createServer(rufhHandler(common)))
  return { folder, finished, tus, rufh }
}

test('a request to one handler takes over from one to another of the same store, and no byte is written twice', LIMIT, async (t) => {
  const { folder, finished, tus, rufh } = await serveBoth(t)
  const created = await exchange(tus, request('POST /files/', [V, 'Upload-Length: 10', 'Content-Length: 0']))
  const upload = created.headers.get('location')!
  const stalled = await WireClient.connect(tus)
  await stalled.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await stored({ folder }, upload, 5)
  const asked = await exchange(rufh, request(`HEAD ${upload}`, [I8]), { toHead: true })
  assert.equal(asked.headers.get('upload-offset'), '5')
  assert.equal((await stalled.response()).status, 409)
  stalled.destroy()
  const rest = request(
    `PATCH ${upload}`,
    [I8, 'Content-Type: application/partial-upload', 'Upload-Offset: 5', 'Upload-Complete: ?1', 'Content-Length: 5'],
    'world',
  )
  assert.equal((await exchange(rufh, rest)).status, 200)
  assert.deepEqual(finished, [upload.slice('/files/'.length)])
})

test('what one handler receives counts for the limit of all', LIMIT, async (t) => {
  const { folder, tus, rufh } = await serveBoth(t, { maxConcurrent: 1 })
  const created = await exchange(tus, request('POST /files/', [V, 'Upload-Length: 10', 'Content-Length: 0']))
  const stalled = await WireClient.connect(tus)
  await stalled.send(request(`PATCH ${created.headers.get('location')}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await stored({ folder }, created.headers.get('location')!, 5)
  assert.equal((await exchange(rufh, request('POST /files/', [I8, 'Upload-Complete: ?0', 'Content-Length: 1'], 'x'))).status, 503)
  stalled.destroy()
})

test('a busy server refuses a download, and still answers HEAD', LIMIT, async (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'none' })
  const port = await listen(t, createServer(tusHandler({ store })))
  const busy = await listen(t, createServer(tusHandler({ store, download: {}, maxConcurrent: 0 })))
  const created = await exchange(port, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))
  const upload = created.headers.get('location')
  assert.equal((await exchange(busy, request(`GET ${upload}`))).status, 503)
  assert.equal((await exchange(busy, request(`HEAD ${upload}`), { toHead: true })).status, 200)
})

test('handlers of one store that were given different lockers are refused; one that was given none takes that of the others', (t) => {
  const store = new FileStore(temporaryFolder(t))
  const [locker, other] = [new KeyedLock(), new KeyedLock()]
  tusHandler({ store, locker })
  rufhHandler({ store })
  rufhHandler({ store, locker })
  assert.throws(() => rufhHandler({ store, locker: other }), { name: 'TypeError', message: /share one locker/ })
  const plain = new FileStore(temporaryFolder(t))
  tusHandler({ store: plain })
  assert.throws(() => tusHandler({ store: plain, locker }), { name: 'TypeError', message: /share one locker/ })
})
