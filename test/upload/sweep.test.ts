// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { UploadContext } from '../../lib/upload/context.ts'
import type { UploadHooks } from '../../lib/upload/hooks.ts'
import { sweepUploads } from '../../lib/upload/sweep.ts'
import type { NewUpload, UploadStore } from '../../lib/upload/types.ts'
import { bodyOf, published, surroundings } from './support.ts'

const expiration = { afterMs: 1 } // an upload of the year 1970 has expired

/** Surroundings in which uploads that are named `old…` have expired. */
function aged(t: TestContext, overrides: Partial<UploadStore> = {}, hooks: UploadHooks = {}, maxConcurrent = 10): UploadContext {
  return surroundings(t, {
    hooks,
    limits: { expiration, maxConcurrent },
    overrides: (files) => ({
      find: async (id) => {
        const upload = await files.find(id)
        const at = id.startsWith('old') ? new Date(0) : new Date(8e15)
        return upload && { ...upload, createdAt: at, updatedAt: at, ...(id.endsWith('moved') && { movedAt: at }) }
      },
      ...overrides,
    }),
  })
}

async function complete(context: UploadContext, upload: NewUpload): Promise<void> {
  await context.store.append(await context.store.create(upload), bodyOf(['hello']).source, {})
}

test('a sweep removes what has expired and finishes what is complete; it leaves the rest, and what a request holds, alone', async (t) => {
  const reasons: string[] = []
  const context = aged(t, {}, { onTerminate: ({ id }, reason) => void reasons.push(`${id} ${reason}`) })
  await context.store.create({ id: 'old', length: 9 })
  await context.store.create({ id: 'old-held', length: 9 })
  await context.store.create({ id: 'young', length: 9 })
  await complete(context, { id: 'done', length: 5 })
  await complete(context, { id: 'open', length: 5, completion: 'explicit' })
  await complete(context, { id: 'old-moved', length: 5 })
  await context.store.setState((await context.store.find('old-moved'))!, 'finished')
  let asks = 0
  await context.locker.acquire('old-held', { onReleaseRequest: () => asks++ })
  assert.deepEqual(await sweepUploads(context, undefined), { examined: 6, expired: 2, settled: 1, failed: 0 })
  const states = ['old', 'old-moved', 'old-held', 'young', 'done', 'open'].map(async (id) => (await context.store.find(id))?.state)
  assert.deepEqual(await Promise.all(states), [undefined, undefined, 'receiving', 'receiving', 'finished', 'receiving'])
  assert.deepEqual(reasons, ['old expired']) // of what was moved only the record expires
  assert.equal(asks, 0)
})

test('an upload that a request has changed between the look and the lock is left to that request, and not counted', async (t) => {
  for (const change of [{ updatedAt: new Date(8e15) }, { state: 'finished' }] as const) {
    let looks = 0
    const context = aged(t)
    const { store } = context
    await store.create({ id: 'old', length: 9 })
    const find: UploadStore['find'] = async (id) => {
      const upload = await store.find(id)
      return ++looks === 1 ? upload : upload && { ...upload, ...change }
    }
    const get = (target: UploadStore, name: string): unknown => (name === 'find' ? find : Reflect.get(target, name))
    const raced = { ...context, store: new Proxy(store, { get: (target, name) => get(target, String(name)) }) }
    assert.deepEqual(await sweepUploads(raced, undefined), { examined: 1, expired: 0, settled: 0, failed: 0 })
    assert.ok(await store.find('old'))
    assert.equal(looks, 2)
  }
})

test('an upload that fails is published and counted, one for which there is no slot is not, and the others are done', async (t) => {
  const events = published(t)
  const context = aged(t, {}, { onFinish: ({ id }) => { if (id === 'bad') throw new Error() } }, 0)
  for (const id of ['bad', 'good']) await complete(context, { id, length: 5 })
  await complete(context, { id: 'busy', length: 5, digest: { algorithm: 'sha256', value: 'x' } })
  assert.deepEqual(await sweepUploads(context, undefined), { examined: 3, expired: 0, settled: 1, failed: 1 })
  assert.equal(events.filter((event) => event.startsWith('error')).length, 1)
})

test('a sweep that is ended closes the list, removes no leftovers, and counts no failure', async (t) => {
  for (const aborts of [true, false]) {
    const end = new AbortController()
    const seen: string[] = []
    const context = aged(t, {
      list: () => ({
        [Symbol.asyncIterator]: () => ({
          next: async () => {
            if (aborts) end.abort()
            return { done: !aborts, value: 'a' }
          },
          return: async () => (seen.push('closed'), { done: true, value: undefined }),
        }),
      }),
      removeLeftovers: async () => void seen.push('leftovers'),
    })
    assert.equal((await sweepUploads(context, end.signal)).failed, 0)
    assert.deepEqual(seen, aborts ? ['closed'] : ['closed', 'leftovers'])
  }
})
