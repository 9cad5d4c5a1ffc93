// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { fence } from '../../lib/upload/fence.ts'
import type { Lock, UploadStore } from '../../lib/upload/types.ts'
import { temporaryFolder } from '../support/temporary.ts'

const bytes = (text: string): Readable => Readable.from([Buffer.from(text)])

test('a store behind a lock that is held does all that it does, and what it cannot do is still missing', async (t) => {
  const files = new FileStore(temporaryFolder(t))
  const store = fence(files, lockThat(async () => true))
  assert.equal(store.shared, files.shared)
  const upload = await store.create({ id: 'a', length: 5 })
  assert.equal(await store.append(upload, bytes('hello'), {}), 5)
  await store.setState((await store.find('a'))!, 'finished')
  assert.equal((await files.find('a'))?.state, 'finished')
  const listed = []
  for await (const id of store.list!()) listed.push(id)
  assert.deepEqual(listed, ['a'])

  const bare = fence({ find: async () => undefined } as unknown as UploadStore, lockThat(async () => true))
  assert.equal(bare.setLength, undefined)
  assert.equal(bare.list, undefined)
})

test('once the lock is lost every change is refused before it begins, and reading is not', async (t) => {
  const files = new FileStore(temporaryFolder(t))
  const upload = await files.create({ id: 'a', length: undefined })
  const changes: string[] = []
  const watched = new Proxy(files, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => (changes.push(String(name)), member.apply(target, args))
    },
  })
  const store = fence(watched, lockThat(async () => false))
  const refused = [
    store.create({ id: 'b', length: 1 }),
    store.createWhole!({ id: 'b', length: 1 }, Buffer.from('x'), 'finished'),
    store.append(upload, bytes('x'), {}),
    store.appendVerified!(upload, bytes('x'), { verify: () => true }),
    store.truncate(upload, 0),
    store.setState(upload, 'finished'),
    store.setLength!(upload, 1),
    store.terminate(upload),
  ]
  for (const change of refused) await assert.rejects(change, { code: 'LOCK_LOST', status: 503 })
  assert.deepEqual(changes, [])
  assert.equal((await store.find('a'))?.offset, 0)
})

test('an append during which the lock was lost is not acknowledged', async (t) => {
  for (const verified of [false, true]) {
    const files = new FileStore(temporaryFolder(t))
    const upload = await files.create({ id: 'a', length: undefined })
    let asked = 0
    const store = fence(files, lockThat(async () => ++asked === 1))
    const append = verified ? store.appendVerified!(upload, bytes('x'), { verify: () => true }) : store.append(upload, bytes('x'), {})
    await assert.rejects(append, { code: 'LOCK_LOST' })
    assert.equal((await files.find('a'))?.offset, 1)
  }
})

test('a lock that cannot say whether it is held costs nothing', (t) => {
  const files = new FileStore(temporaryFolder(t))
  assert.equal(fence(files, { release() {} }), files)
})

function lockThat(isHeld: () => Promise<boolean>): Lock {
  return { isHeld, release() {} }
}
