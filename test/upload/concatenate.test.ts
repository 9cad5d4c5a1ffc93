// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test, type TestContext } from 'node:test'
import { assemble } from '../../lib/upload/concatenate.ts'
import type { UploadContext, UploadLimits } from '../../lib/upload/context.ts'
import type { NewUpload, Upload, UploadStore } from '../../lib/upload/types.ts'
import { bodyOf, surroundings } from './support.ts'

/** Surroundings with an upload `a` that is to be made of `hello` and ` you`, and what is looked up and read for it. */
async function concatenation(t: TestContext, details: {
  readonly overrides?: Partial<UploadStore>
  readonly limits?: Partial<UploadLimits>
  readonly shutdownSignal?: AbortSignal
  readonly upload?: Partial<NewUpload>
} = {}) {
  const calls: string[] = []
  const context = surroundings(t, {
    ...details,
    overrides: (files) => ({
      find: (id) => (calls.push(`find ${id}`), files.find(id)),
      read: (upload, range) => (calls.push(`read ${upload.id} ${range.start}-${range.end}`), files.read!(upload, range)),
      ...details.overrides,
    }),
  })
  await context.store.create({ id: 'b', length: 5, partial: true })
  await context.store.create({ id: 'c', length: undefined, partial: true })
  const upload = await context.store.create({ id: 'a', length: undefined, parts: ['b', 'c'], ...details.upload })
  const fill = async (id: string, text: string): Promise<void> => {
    const part = (await context.store.find(id))!
    await context.store.append(part, bodyOf([text]).source, {})
    if (part.length === undefined) await context.store.setLength?.(part, text.length)
    await context.store.setState((await context.store.find(id))!, 'finished')
  }
  return { context, upload, fill, calls }
}

async function contentOf(context: UploadContext): Promise<string> {
  const { offset } = (await context.store.find('a'))!
  const chunks = await context.store.read!({ id: 'a' } as Upload, { start: 0, end: offset }).toArray()
  return Buffer.concat(chunks as Buffer[]).toString()
}

test('a concatenation waits for the lengths of its parts, then for their bytes, and looks at the part that it waits for', async (t) => {
  const { context, upload, fill, calls } = await concatenation(t)
  assert.equal((await assemble(context, upload)).length, undefined)
  calls.length = 0
  assert.equal((await assemble(context, upload)).length, undefined)
  assert.deepEqual(calls, ['find c'])
  await context.store.setLength?.((await context.store.find('c'))!, 4)
  assert.equal((await assemble(context, upload)).length, 9)
  await fill('b', 'hello')
  calls.length = 0
  assert.equal((await assemble(context, upload)).length, 9)
  await fill('c', ' you')
  const whole = await assemble(context, upload)
  assert.deepEqual([whole.offset, whole.length, await contentOf(context)], [9, 9, 'hello you'])
  assert.equal(context.pendingParts.get(upload), undefined)
})

test('a copy that was interrupted continues where it was', async (t) => {
  const { context, upload, fill, calls } = await concatenation(t)
  await fill('b', 'hello')
  await fill('c', ' you')
  const begun = { ...upload, offset: await context.store.append(upload, bodyOf(['hello y']).source, {}) }
  calls.length = 0
  assert.equal((await assemble(context, begun)).offset, 9)
  assert.deepEqual(calls.filter((call) => call.startsWith('read')), ['read c 2-4'])
  assert.equal(await contentOf(context), 'hello you')
})

test('one whose part is gone, or whose parts are too large together, is rejected', async (t) => {
  const gone = await concatenation(t)
  await gone.context.store.terminate((await gone.context.store.find('b'))!)
  assert.equal((await assemble(gone.context, gone.upload)).outcome?.status, 410)
  const large = await concatenation(t, { upload: { maxSize: 4 } })
  assert.equal((await assemble(large.context, large.upload)).outcome?.status, 413)
  const fits = await concatenation(t, { limits: { maxSize: 5 } })
  assert.equal((await assemble(fits.context, fits.upload)).state, 'receiving')
  const waited = await concatenation(t)
  await assemble(waited.context, waited.upload)
  await waited.context.store.setState((await waited.context.store.find('c'))!, 'deactivated')
  assert.equal((await assemble(waited.context, waited.upload)).outcome?.status, 410)
})

test('a shutdown and a client that has gone end the copy, before or while it lasts, and nothing of it is left', async (t) => {
  for (const when of ['before', 'meanwhile'] as const) {
    for (const who of ['shutdown', 'client'] as const) {
      const [shutdown, client] = [new AbortController(), new AbortController()]
      const abort = (): void => (who === 'shutdown' ? shutdown : client).abort(new Error('gone'))
      const append: UploadStore['append'] = async (_upload, _body, { signal }) => {
        if (when === 'meanwhile') abort()
        signal?.throwIfAborted()
        return 0
      }
      const parts = await concatenation(t, { shutdownSignal: shutdown.signal })
      await parts.fill('b', 'hello')
      await parts.fill('c', ' you')
      const { store } = parts.context
      const get = (target: UploadStore, name: string): unknown => (name === 'append' ? append : Reflect.get(target, name))
      const context = { ...parts.context, store: new Proxy(store, { get: (target, name) => get(target, String(name)) }) }
      if (when === 'before') abort()
      await assert.rejects(assemble(context, parts.upload, client.signal), who === 'shutdown' ? { code: 'SHUTTING_DOWN' } : /gone/)
      for (const { signal } of [shutdown, client]) assert.equal(getEventListeners(signal, 'abort').length, 0)
      context.slots.assertFree(1)
    }
  }
})
