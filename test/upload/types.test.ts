// SPDX-License-Identifier: MIT

/** Stores and lockers meet the interfaces of the core by their shape: they do not import them. */

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { Locker, UploadStore } from '../../lib/upload/types.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('a FileStore is an UploadStore', async (t) => {
  const store: UploadStore = new FileStore(temporaryFolder(t)) satisfies UploadStore
  const upload = await store.create({ id: 'a', length: 5 })
  assert.equal(await store.append(upload, Readable.from([Buffer.from('hello')]), {}), 5)
  assert.equal((await store.find('a'))?.offset, 5)
  await store.truncate(upload, 2)
  assert.equal((await store.find('a'))?.offset, 2)
  await store.terminate(upload)
  assert.equal(await store.find('a'), undefined)
})

test('a KeyedLock is a Locker', async () => {
  const locker: Locker = new KeyedLock() satisfies Locker
  const asked: string[] = []
  const first = await locker.acquire('a', { onReleaseRequest: () => asked.push('first') })
  const second = locker.acquire('a', {})
  assert.deepEqual(asked, ['first'])
  await first.release()
  await (await second).release()
})

test('a KeyedLock gives up with the code that the core answers with 423', async () => {
  const locker: Locker = new KeyedLock()
  await locker.acquire('a', {})
  await assert.rejects(locker.acquire('a', { timeoutMs: 1 }), { code: 'LOCK_TIMEOUT' })
})
