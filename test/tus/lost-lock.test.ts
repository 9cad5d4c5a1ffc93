// SPDX-License-Identifier: MIT

/** What becomes of requests whose lock somebody removes while they work. @module */

import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { LockFiles, type LockFilesHold } from '../../lib/lock-files/lock-files.ts'
import type { CreationChoices, UploadDescription } from '../../lib/upload/hooks.ts'
import type { AppendOptions, Locker, Upload } from '../../lib/upload/types.ts'
import { stopClock } from '../support/clock.ts'
import { addressOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { watched } from '../support/watched-store.ts'
import { request, WireClient, type WireResponse } from '../support/wire.ts'
import { idOf, makePartial, patch, post } from './steps.ts'
import { assertNoSecrets, assertPlainRefusal, head, make, offsetOf, serve, V, OCT } from './support.ts'

const PATCH = (upload: string, offset: number, length: number, content: string): string =>
  request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${length}`], content)

test('a PATCH whose lock is lost is answered 503 at once, stores nothing more, and its client goes on', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { locker, rob, beat } = await lockers(t)
  const errors = published(t, 'longhaul:error')
  const site = await serve(t, { locker, store: watched })
  const upload = addressOf(await post(site, ['Upload-Length: 100000']))
  const client = await WireClient.connect(site.port)
  await client.send(PATCH(upload, 0, 100_000, 'x'.repeat(10)))
  await site.store.arrived(10)
  const robber = await rob(idOf(upload))
  beat()
  const answer = await client.response()
  assertLost(answer, site)
  client.destroy()
  await site.settled()
  assert.deepEqual(errors.map(({ error }) => error.code), ['LOCK_LOST'])
  const stored = contentOf(site, upload)
  await robber.release()
  assert.equal(await offsetOf(site, upload), stored.length)
  assert.equal((await patch(site, upload, stored.length, 'y'.repeat(100_000 - stored.length))).status, 204)
})

test('what a slow disk has not taken when the lock is lost is never written', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { locker, rob, beat } = await lockers(t)
  const [begun, slow] = [new Gate(), new Gate()]
  let reason: unknown
  const site = await serve(t, { locker, store: (files) => new (class extends StoreBehind {
    override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
      options.signal?.addEventListener('abort', () => (reason = options.signal?.reason))
      void begun.pass()
      await slow.pass() // the body, ended by then, waits
      return super.append(upload, body, options)
    }
  })(files) })
  const upload = addressOf(await post(site, ['Upload-Length: 10']))
  const client = await WireClient.connect(site.port)
  await client.send(PATCH(upload, 0, 10, 'hello'))
  await begun.arrived
  const robber = await rob(idOf(upload))
  beat()
  while (reason === undefined) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((reason as { code?: string }).code, 'LOCK_LOST')
  slow.open()
  assertLost(await client.response(), site)
  client.destroy()
  await site.settled()
  assert.equal(contentOf(site, upload).length, 0)
  await robber.release()
})

test('bytes that were stored while the lock was lost are not acknowledged, heartbeat or not', async (t) => {
  const { locker, rob } = await lockers(t)
  const stored = new Gate()
  const site = await serve(t, { locker, store: (files) => new (class extends StoreBehind {
    override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
      const offset = await super.append(upload, body, options)
      await stored.pass()
      return offset
    }
  })(files) })
  const upload = addressOf(await post(site, ['Upload-Length: 10']))
  const answering = patch(site, upload, 0, 'hello')
  await stored.arrived
  const robber = await rob(idOf(upload))
  stored.open()
  assertLost(await answering, site)
  await robber.release()
  assert.equal(await offsetOf(site, upload), 5)
})

test('an upload whose lock is lost while onFinish runs is left to the new holder', async (t) => {
  const { locker, rob } = await lockers(t)
  const gate = new Gate()
  let runs = 0
  const site = await serve(t, { locker, onFinish: () => (runs++ === 0 ? gate.pass() : undefined) })
  const upload = addressOf(await post(site, ['Upload-Length: 5']))
  const answering = patch(site, upload, 0, 'hello')
  await gate.arrived
  const robber = await rob(idOf(upload))
  gate.open()
  assertLost(await answering, site)
  await robber.release()
  assert.equal(await offsetOf(site, upload), 5)
  assert.equal(runs, 2, 'it was not called finished')
})

test('a concatenation whose lock is lost while it is copied is answered 503 at once, and copies nothing more', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { locker, rob, beat } = await lockers(t)
  const slow = new Gate()
  const onCreate = ({ parts }: UploadDescription): CreationChoices => (parts ? { id: 'whole' } : {})
  const site = await serve(t, { locker, onCreate, store: (files) => new (class extends StoreBehind {
    override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
      const content = super.read(upload, range)
      return Readable.from((async function* () {
        yield* content
        await slow.pass()
      })())
    }
  })(files) })
  const parts = [await makePartial(site, 'hello'), await makePartial(site, 'world')]
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, `Upload-Concat: final;${parts.join(' ')}`]))
  await slow.arrived
  const robber = await rob('whole')
  beat()
  assertLost(await client.response(), site)
  slow.open()
  client.destroy()
  await site.settled()
  assert.ok('hello'.startsWith(contentOf(site, '/files/whole').toString()))
  await robber.release()
  assert.equal(await offsetOf(site, '/files/whole'), 10)
  assert.equal(contentOf(site, '/files/whole').toString(), 'helloworld')
})

test('an upload whose lock is lost while onTerminate runs is not removed, by DELETE or by a sweep', async (t) => {
  const { locker, rob } = await lockers(t)
  let gate = new Gate()
  const site = await serve(t, { locker, expiration: { afterMs: 1, from: 'creation' }, onTerminate: () => gate.pass() })
  const upload = await make(site, 10, 'hello')
  await new Promise((resolve) => setTimeout(resolve, 5)) // it expires
  const sweeping = site.tus.sweep()
  await gate.arrived
  const robber = await rob(idOf(upload))
  gate.open()
  assert.deepEqual(await sweeping, { examined: 1, expired: 0, settled: 0, failed: 1 })
  assert.equal(contentOf(site, upload).toString(), 'hello')
  await robber.release()

  const lasting = await serve(t, { locker, folder: site.folder, onTerminate: () => gate.pass() })
  gate = new Gate()
  const client = await WireClient.connect(lasting.port)
  await client.send(request(`DELETE ${upload}`, [V]))
  await gate.arrived
  const again = await rob(idOf(upload))
  gate.open()
  assertLost(await client.response(), lasting)
  client.destroy()
  assert.equal(contentOf(site, upload).toString(), 'hello')
  await again.release()
})

test('a locker that only calls onLost has the request end in the same way', async (t) => {
  const locks = new KeyedLock()
  let lose: (() => void) | undefined
  const locker: Locker = {
    acquire: (id, options) => ((lose = options.onLost), locks.acquire(id, options)),
    tryAcquire: (id) => locks.tryAcquire(id),
  }
  const site = await serve(t, { locker, store: watched })
  const upload = addressOf(await post(site, ['Upload-Length: 10']))
  const client = await WireClient.connect(site.port)
  await client.send(PATCH(upload, 0, 10, 'hello'))
  await site.store.arrived(5)
  lose?.()
  assertLost(await client.response(), site)
  client.destroy()
  await site.settled()
  assert.equal((await head(site, upload)).status, 200)
})

/** Two processes' locks over one folder: the server's, and one that takes what the server holds. */
async function lockers(t: TestContext) {
  const folder = temporaryFolder(t)
  const pass = stopClock(t)
  const [locker, other] = [await LockFiles.open(folder, { leaseMs: 40_000 }), await LockFiles.open(folder, { leaseMs: 40_000 })]
  t.after(() => Promise.all([locker.close(), other.close()]))
  const rob = (id: string): Promise<LockFilesHold> => {
    rmSync(join(folder, `${id}.lock`))
    pass(51) // so long `isHeld()` may say what it has seen before
    return other.acquire(id)
  }
  return { locker, rob, beat: () => t.mock.timers.tick(10_000) }
}

function assertLost(answer: WireResponse, site: { readonly folder: string }): void {
  assert.deepEqual([answer.status, answer.headers.get('retry-after'), answer.body], [503, '1', 'The server lost the lock on this upload\n'])
  assertPlainRefusal(answer, site)
  assertNoSecrets(answer, site)
}
