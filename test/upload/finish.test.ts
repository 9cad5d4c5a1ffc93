// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { UploadContext } from '../../lib/upload/context.ts'
import { findHeld, findReadable, findUpload } from '../../lib/upload/find.ts'
import { finishUpload } from '../../lib/upload/finish.ts'
import type { UploadHooks } from '../../lib/upload/hooks.ts'
import { remove } from '../../lib/upload/terminate.ts'
import type { NewUpload, UploadState, UploadStore } from '../../lib/upload/types.ts'
import { bodyOf, published, surroundings } from './support.ts'

type Overrides = (files: UploadStore) => Partial<UploadStore>

/** Surroundings with a complete upload `a`, and the states that it goes through. */
async function complete(t: TestContext, { hooks = {}, upload = {}, state, overrides = () => ({}) }: {
  hooks?: UploadHooks
  upload?: Partial<NewUpload>
  state?: UploadState
  overrides?: Overrides
} = {}) {
  const states: string[] = []
  const context = surroundings(t, {
    hooks,
    overrides: (files) => ({
      setState: (upload, to, outcome) => (states.push(to), files.setState(upload, to, outcome)),
      ...overrides(files),
    }),
  })
  await context.store.append(await context.store.create({ id: 'a', length: 5, ...upload }), bodyOf(['hello']).source, {})
  if (state) await context.store.setState((await context.store.find('a'))!, state)
  states.length = 0
  const finish = async () => finishUpload(context, (await context.store.find('a'))!, { end: 'later' })
  return { context, states, finish }
}

const refusal = (status: number) => ({ onFinish: () => { throw Object.assign(new Error(), { status, body: 'No' }) } })

test('onFinish runs when the state says so, and is run again, without another change of state, if it failed', async (t) => {
  const keys: string[] = []
  let fails = true
  const hooks: UploadHooks = {
    onFinish: ({ state }, { idempotencyKey }) => {
      keys.push(`${state} ${idempotencyKey}`)
      if (fails) throw new Error()
    },
  }
  const { states, finish } = await complete(t, { hooks })
  await assert.rejects(finish(), { code: 'INTERNAL' })
  fails = false
  assert.equal((await finish()).state, 'finished')
  assert.deepEqual(states, ['finishing', 'finished'])
  assert.match(keys[0]!, /^finishing a-/)
  assert.equal(keys[0], keys[1])
  await finish()
  assert.equal(keys.length, 2)
})

test('without the hook, and for a part of another upload, there is nothing to run', async (t) => {
  const hooks = { onFinish: () => assert.fail('it ran') }
  for (const details of [{}, { hooks, upload: { partial: true } }]) {
    const { states, finish } = await complete(t, details)
    await finish()
    assert.deepEqual(states, ['finished'])
  }
})

test('a refusal below 500 is for good and is kept, another one is not', async (t) => {
  for (const status of [403, 499, 500, 503]) {
    const expected = status < 500 ? ['finishing', 'rejected'] : ['finishing']
    const { context, states, finish } = await complete(t, { hooks: refusal(status) })
    await finish().catch((error: { readonly status: number }) => assert.equal(error.status, status))
    assert.deepEqual(states, expected)
    const { outcome } = (await context.store.find('a'))!
    assert.deepEqual(outcome, status < 500 ? { status, headers: {}, body: 'No' } : undefined)
  }
})

test('bytes that do not match their digest are rejected, before the hook; they are read once', async (t) => {
  let reads = 0
  const overrides: Overrides = (files) => ({ read: (...all) => (reads++, files.read!(...all)) })
  const upload = { digest: { algorithm: 'sha256', value: 'another' } }
  const { states, finish } = await complete(t, { upload, hooks: { onFinish: () => assert.fail('it ran') }, overrides })
  assert.equal((await finish()).outcome?.status, 400)
  assert.deepEqual([states, reads], [['rejected'], 1])
  const begun = await complete(t, { upload, state: 'finishing', overrides, hooks: { onFinish: () => {} } }) // verified before
  assert.equal((await begun.finish()).state, 'finished')
  const only = await complete(t, { upload: { digest: { algorithm: 'sha256' } }, overrides }) // wanted, not expected
  assert.equal((await only.finish()).state, 'finished')
  assert.equal(reads, 1)
})

test('a hook may remove the upload or leave bytes that are not it any more; a store that fails is an error all the same', async (t) => {
  const events = published(t)
  let context: UploadContext
  const removes = { onFinish: async () => context.store.terminate((await context.store.find('a'))!) }
  const removed = await complete(t, { hooks: removes })
  context = removed.context
  const upload = await removed.finish()
  assert.deepEqual([upload.state, upload.movedAt instanceof Date], ['finished', true])
  assert.equal(await context.store.find('a'), undefined)
  assert.deepEqual(events.slice(-1), ['finish'])
  assert.deepEqual(removed.states, ['finishing'])

  for (const [code, expected] of [['UPLOAD_CORRUPT', ['finishing', 'finished']], ['EIO', ['finishing']]] as const) {
    let ran = false
    const overrides: Overrides = (files) => ({
      find: (id) => (ran ? Promise.reject(Object.assign(new Error(), { code })) : files.find(id)),
    })
    const { states, finish } = await complete(t, { hooks: { onFinish: () => void (ran = true) }, overrides })
    if (code === 'EIO') await assert.rejects(finish(), { code })
    else assert.equal((await finish()).state, 'finished')
    assert.deepEqual(states, expected)
  }
})

test('an upload that has lost acknowledged bytes is deactivated; one that is settled is not', async (t) => {
  for (const [state, expected] of [[undefined, 'deactivated'], ['finished', 'finished']] as const) {
    const { context } = await complete(t, state ? { state } : {})
    const found = (await context.store.find('a'))!
    context.acknowledged.note({ ...found, offset: 6 })
    const held = findHeld(context, 'a')
    if (state) assert.equal((await held).offset, 5)
    else await assert.rejects(held, { code: 'DEACTIVATED' })
    assert.equal((await context.store.find('a'))?.state, expected)
  }
})

test('what can be read is a finished upload that is no part, and whose bytes are here', async (t) => {
  const rows = [
    [{}, 'NOT_FOUND'], [{ state: 'finishing' }, 'NOT_FOUND'], [{ state: 'rejected' }, 'REFUSED'], [{ state: 'deactivated' }, 'DEACTIVATED'],
    [{ state: 'finished', upload: { partial: true } }, 'NOT_FOUND'],
  ] as const
  for (const [details, code] of rows) await assert.rejects(findReadable((await complete(t, details)).context, 'a'), { code })
  const { context } = await complete(t, { state: 'finished' })
  assert.equal((await findReadable(context, 'a')).length, 5)
  await assert.rejects(findUpload(context, 'b'), { code: 'NOT_FOUND' })
  const old = { ...context, limits: { ...context.limits, expiration: { afterMs: 1 } } }
  await context.store.create({ id: 'b', length: 5 })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 1000 })
  await assert.rejects(findUpload(old, 'b'), { code: 'EXPIRED' })
})

test('an upload whose hook refuses to let it go stays; the record of moved bytes goes without the hook', async (t) => {
  const events = published(t)
  const { context } = await complete(t, { hooks: { onTerminate: () => { throw Object.assign(new Error(), { status: 409 }) } } })
  const found = (await context.store.find('a'))!
  await assert.rejects(remove(context, found, 'expired'), { code: 'REFUSED', status: 409 })
  await assert.rejects(remove(context, { ...found, movedAt: new Date() }, 'terminated'), { code: 'REFUSED', status: 409 })
  assert.ok(await context.store.find('a'))
  context.pendingParts.set(found, { id: 'b', length: undefined })
  await remove(context, { ...found, movedAt: new Date() }, 'expired')
  assert.equal(await context.store.find('a'), undefined)
  assert.deepEqual(events.slice(-1), ['expire'])
  assert.ok(context.pendingParts.get(found))
  await remove({ ...context, hooks: {} }, { ...found, partial: true }, 'terminated')
  assert.equal(context.pendingParts.get(found), undefined)
})
