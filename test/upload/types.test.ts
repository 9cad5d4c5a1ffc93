// SPDX-License-Identifier: MIT

/** Stores and lockers meet the interfaces of the core by their shape: they do not import them. */

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'
import type { Locker, UploadStore } from '../../lib/upload/types.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('a FileStore is an UploadStore that can do all that is optional', async (t) => {
  const store: Required<UploadStore> = new FileStore(temporaryFolder(t)) satisfies UploadStore
  const upload = await store.create({ id: 'a', length: undefined })
  assert.equal(await store.append(upload, Readable.from([Buffer.from('hello')]), {}), 5)
  assert.equal((await store.find('a'))?.offset, 5)
  await store.truncate(upload, 2)
  const found = (await store.find('a'))!
  assert.equal(await store.appendVerified(found, Readable.from([Buffer.from('y')]), { verify: () => true }), 3)
  await store.setLength(found, 3)
  await store.setState(found, 'finished')
  assert.deepEqual([(await store.find('a'))?.length, (await store.find('a'))?.state], [3, 'finished'])
  const finished = (await store.find('a'))!
  await store.setDigest(finished, { algorithm: 'md5', value: 'y' })
  assert.deepEqual((await store.find('a'))?.digest, { algorithm: 'md5', value: 'y' })
  assert.equal(await text(store.read(found, { start: 1, end: 3 })), 'ey')
  for await (const id of store.list()) assert.equal(id, 'a')
  await store.removeLeftovers()
  await store.terminate(upload)
  assert.equal(await store.find('a'), undefined)
  await store.createWhole({ id: 'b', length: 2 }, Buffer.from('hi'), 'finished')
  assert.deepEqual([(await store.find('b'))?.offset, (await store.find('b'))?.state], [2, 'finished'])
})

const lockers: Readonly<Record<string, (t: TestContext) => Promise<Locker>>> = {
  KeyedLock: async () => new KeyedLock() satisfies Locker,
  LockFiles: async (t) => {
    const locks = (await LockFiles.open(temporaryFolder(t))) satisfies Locker
    t.after(() => locks.close())
    return locks
  },
}

for (const [name, open] of Object.entries(lockers)) {
  test(`${name} is a Locker`, async (t) => {
    const locker = await open(t)
    const asked: string[] = []
    const first = await locker.acquire('a', { onReleaseRequest: () => asked.push('first') })
    assert.equal(await locker.tryAcquire('a'), undefined)
    assert.deepEqual(asked, [])
    const second = locker.acquire('a', {})
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(asked, ['first'])
    assert.notEqual(await first.isHeld?.(), false)
    await first.release()
    await (await second).release()
    await (await locker.tryAcquire('a'))!.release()
  })

  test(`${name} gives up with the code that the core answers with 423`, async (t) => {
    const locker = await open(t)
    const hold = await locker.acquire('a', {})
    await assert.rejects(locker.acquire('a', { timeoutMs: 1 }), { code: 'LOCK_TIMEOUT' })
    await hold.release()
  })
}
