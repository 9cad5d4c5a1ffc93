// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { sharedOf, Slots } from '../../lib/upload/shared.ts'
import type { UploadStore } from '../../lib/upload/types.ts'

test('a slot is taken while work lasts, and free however it ends', async () => {
  const slots = new Slots()
  let end = (): void => {}
  const first = slots.use(1, () => new Promise<void>((resolve) => (end = resolve)))
  assert.throws(() => slots.assertFree(1), { code: 'BUSY' })
  await assert.rejects(slots.use(1, async () => {}), { code: 'BUSY' })
  end()
  await first
  slots.assertFree(1)
  await assert.rejects(slots.use(1, () => Promise.reject(new Error('failed'))), /failed/)
  await assert.rejects(slots.use(1, () => { throw new Error('at once') }), /at once/)
  assert.equal(await slots.use(1, async () => 'done'), 'done')
})

test('the limit is that of who asks: without one there is always room, and it counts', async () => {
  const slots = new Slots()
  let end = (): void => {}
  const first = slots.use(Infinity, () => new Promise<void>((resolve) => (end = resolve)))
  slots.assertFree(2)
  assert.throws(() => slots.assertFree(1), { code: 'BUSY' })
  assert.throws(() => slots.assertFree(0), { code: 'BUSY' })
  end()
  await first
})

test('handlers of one store share everything; another store shares nothing with it', () => {
  const [one, another] = [{} as UploadStore, {} as UploadStore]
  const shared = sharedOf(one, undefined)
  assert.equal(sharedOf(one, undefined), shared)
  assert.equal(sharedOf(one, shared.locker), shared)
  assert.throws(() => sharedOf(one, new KeyedLock()), TypeError)
  assert.notEqual(sharedOf(another, undefined).slots, shared.slots)
})

test('a store that other processes use must come with a locker that reaches them', () => {
  const store = { shared: true } as UploadStore
  assert.throws(() => sharedOf(store, undefined), TypeError)
  const locker = new KeyedLock()
  assert.equal(sharedOf(store, locker).locker, locker)
})
