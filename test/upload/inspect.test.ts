// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { UploadContext } from '../../lib/upload/context.ts'
import { inspectUpload, peekUpload } from '../../lib/upload/inspect.ts'
import type { NewUpload, UploadStore } from '../../lib/upload/types.ts'
import { bodyOf, requester, surroundings } from './support.ts'

const asked = { requester, end: 'at-length' } as const

/** Surroundings with an upload `a` that has `hello` of nine bytes. */
async function withUpload(t: TestContext, overrides: Partial<UploadStore> = {}, upload: Partial<NewUpload> = {}): Promise<UploadContext> {
  const context = surroundings(t, { overrides: () => overrides })
  await context.store.append(await context.store.create({ id: 'a', length: 9, ...upload }), bodyOf(['hello']).source, {})
  return context
}

for (const shared of [false, true]) {
  test(`an offset that is reported is durable, and a promise${shared ? ', also if other processes use the store' : ''}`, async (t) => {
    const flushed: number[] = []
    const context = await withUpload(t, { flush: async ({ offset }) => void flushed.push(offset), shared })
    const { offset } = await inspectUpload(context, 'a', asked)
    assert.deepEqual([offset, flushed], [5, [5]])
    assert.equal(context.acknowledged.of((await context.store.find('a'))!), 5)
    assert.ok(await context.locker.tryAcquire('a'), 'the lock is free again')
  })
}

test('if the lock is free an upload is looked up once, also if other processes use the store', async (t) => {
  const finds: string[] = []
  const context = surroundings(t, {
    overrides: (files) => ({ shared: true, find: (id) => (finds.push(id), files.find(id)) }),
  })
  await context.store.create({ id: 'a', length: 9 })
  assert.equal((await inspectUpload(context, 'a', asked)).state, 'receiving')
  assert.deepEqual(finds, ['a'])
})

test('a request for the state asks the holder to release the upload; one that peeks gets what was acknowledged', async (t) => {
  const context = await withUpload(t)
  let asks = 0
  const lock = await context.locker.acquire('a', { onReleaseRequest: () => asks++ })
  assert.equal((await peekUpload(context, 'a', { requester })).offset, 0)
  context.acknowledged.note({ ...(await context.store.find('a'))!, offset: 3 })
  assert.equal((await peekUpload(context, 'a', { requester })).offset, 3)
  assert.equal(asks, 0)
  const inspected = inspectUpload(context, 'a', asked)
  for (let turns = 0; asks === 0 && turns < 1000; turns++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(asks, 1)
  await lock.release()
  assert.equal((await inspected).offset, 5)
  assert.equal((await peekUpload(context, 'a', { requester })).offset, 5)
})

test('an upload that is complete is finished before it is called complete, and is not asked to wait for its lock then', async (t) => {
  const explicit = await withUpload(t, {}, { length: 5, completion: 'explicit' })
  assert.equal((await peekUpload(explicit, 'a', { requester })).state, 'receiving')
  assert.equal((await inspectUpload(explicit, 'a', { requester, end: 'later' })).state, 'receiving')
  assert.equal((await inspectUpload(explicit, 'a', asked)).state, 'finished')
  await explicit.locker.acquire('a', {})
  assert.equal((await inspectUpload(explicit, 'a', asked)).state, 'finished')
  assert.equal((await peekUpload(explicit, 'a', { requester })).state, 'finished')
})

test('a concatenation that is being assembled, or has no slot for that, is shown as it is', async (t) => {
  const context = surroundings(t, { limits: { maxConcurrent: 0 } })
  const part = await context.store.create({ id: 'b', length: 0, partial: true })
  await context.store.setState(part, 'finished')
  await context.store.create({ id: 'a', length: undefined, parts: ['b'] })
  assert.equal((await inspectUpload(context, 'a', asked)).state, 'receiving')
  const lock = await context.locker.acquire('a', {})
  assert.equal((await inspectUpload(context, 'a', asked)).state, 'receiving')
  await lock.release()
  const free = { ...context, limits: { ...context.limits, maxConcurrent: 1 } }
  assert.equal((await inspectUpload(free, 'a', asked)).state, 'finished')
})

test('a rejected upload answers as it was rejected, and one that is not there as that', async (t) => {
  const context = await withUpload(t)
  const outcome = { status: 422, headers: { 'X-Why': 'virus' }, body: 'No' }
  await context.store.setState((await context.store.find('a'))!, 'rejected', outcome)
  for (const ask of [() => inspectUpload(context, 'a', asked), () => peekUpload(context, 'a', { requester })]) {
    await assert.rejects(ask(), { code: 'REFUSED', status: 422, message: 'No', headers: outcome.headers })
  }
  await assert.rejects(inspectUpload(context, 'b', asked), { code: 'NOT_FOUND' })
})
