// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { UploadContext } from '../../lib/upload/context.ts'
import type { End } from '../../lib/upload/lifecycle.ts'
import { take, type TakenBody } from '../../lib/upload/take.ts'
import type { NewUpload } from '../../lib/upload/types.ts'
import { bodyOf, published, requester, surroundings } from './support.ts'

/** Takes a body into a new upload, and says how that ended and what is stored. */
async function taken(context: UploadContext, upload: Omit<NewUpload, 'id'>, details: Partial<TakenBody> = {}) {
  const found = await context.store.create({ id: 'a', ...upload })
  const { signal } = requester
  const all = { body: bodyOf(['hello']), end: 'at-length', length: found.length, maxBytes: 100, stop: signal, signal, ...details } as const
  const received = await take(context, found, all).catch((error: { readonly code: string }) => error.code)
  const { state, offset, length } = (await context.store.find('a'))!
  return [typeof received === 'string' ? received : received.kind, `${state} ${offset} of ${length}`]
}

const noHooks = (t: TestContext, calls: string[] = []): UploadContext => surroundings(t, {
  overrides: (files) => ({ setLength: (upload, length) => (calls.push(`setLength ${length}`), files.setLength!(upload, length)) }),
})

test('the end of a last body is the length of an upload that had none', async (t) => {
  const explicit = { length: undefined, completion: 'explicit' } as const
  assert.deepEqual(await taken(noHooks(t), explicit, { end: 'here' }), ['received', 'finished 5 of 5'])
  assert.deepEqual(await taken(noHooks(t), explicit, { end: 'later' }), ['received', 'receiving 5 of undefined'])
  assert.deepEqual(await taken(noHooks(t), { ...explicit, length: 5 }, { end: 'here' }), ['received', 'finished 5 of 5'])
})

test('a last body that ends elsewhere than at the length is kept, and is a conflict', async (t) => {
  const explicit = { length: 7, completion: 'explicit' } as const
  assert.deepEqual(await taken(noHooks(t), explicit, { end: 'here' }), ['interrupted', 'receiving 5 of 7'])
})

test('a body that was cut off says nothing of the end, unless the length alone decides', async (t) => {
  for (const [end, state] of [['here', 'receiving'], ['later', 'receiving'], ['at-length', 'finished']] as const) {
    const body = bodyOf(['hello'], { length: 9 }) // its sender had announced more
    const result = await taken(noHooks(t), { length: 5, completion: 'explicit' }, { end, body })
    assert.deepEqual(result, ['interrupted', `${state} 5 of 5`], end)
    const unknown = { body: bodyOf(['hello'], { length: 9 }), end }
    assert.deepEqual(await taken(noHooks(t), { length: undefined }, unknown), ['interrupted', 'receiving 5 of undefined'])
  }
})

test('a length is stored with the first byte, once, and not with a body of which nothing came', async (t) => {
  const calls: string[] = []
  const whole = await taken(noHooks(t, calls), { length: undefined }, { length: 7 })
  assert.deepEqual([whole, calls], [['received', 'receiving 5 of 7'], ['setLength 7']])
  const some = await taken(noHooks(t), { length: undefined }, { length: 7, body: bodyOf(['hel'], { length: 7 }) })
  assert.deepEqual(some, ['interrupted', 'receiving 3 of 7'])
  const none = await taken(noHooks(t), { length: undefined }, { length: 7, body: bodyOf([], { length: 7 }) })
  assert.deepEqual(none, ['interrupted', 'receiving 0 of undefined'])
  const empty = await taken(noHooks(t), { length: undefined }, { length: 7, body: bodyOf([]) })
  assert.deepEqual(empty, ['received', 'receiving 0 of 7'])
  const known: string[] = []
  await taken(noHooks(t, known), { length: 7 })
  assert.deepEqual(known, [])
})

test('a refused body changes nothing, not even an upload that only waits to be finished', async (t) => {
  const context = noHooks(t)
  for (const end of ['at-length', 'here'] as const satisfies readonly End[]) {
    assert.deepEqual(await taken(context, { length: 0 }, { end, maxBytes: 0 }), ['refused', 'receiving 0 of 0'])
    await context.store.terminate((await context.store.find('a'))!)
  }
  assert.equal(context.acknowledged.of((await context.store.create({ id: 'a', length: 0 }))), 0)
})

test('what is taken is acknowledged', async (t) => {
  const context = noHooks(t)
  await taken(context, { length: 7 })
  assert.equal(context.acknowledged.of((await context.store.find('a'))!), 5)
})

test('a client that sends more than the length has its upload deactivated where a body may be cut; a complete one stays', async (t) => {
  const events = published(t)
  const excess = (): TakenBody['body'] => bodyOf(['hello', '!'], { excess: 'cut' })
  assert.deepEqual(await taken(noHooks(t), { length: 5 }, { body: excess(), maxBytes: 5 }), ['LENGTH_CONFLICT', 'deactivated 5 of 5'])
  assert.deepEqual(await taken(noHooks(t), { length: 0 }, { body: excess(), maxBytes: 0 }), ['LENGTH_CONFLICT', 'receiving 0 of 0'])
  const unknown = await taken(noHooks(t), { length: undefined }, { body: excess(), maxBytes: 5 })
  assert.deepEqual(unknown, ['interrupted', 'receiving 5 of undefined']) // it is the server's limit that it exceeds
  assert.deepEqual(events, ['append', 'interrupt TOO_LARGE', 'reject', 'interrupt TOO_LARGE', 'append', 'interrupt MAX_SIZE_EXCEEDED'])
})
