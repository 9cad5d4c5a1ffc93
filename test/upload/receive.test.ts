// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { getEventListeners } from 'node:events'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import type { ExpectedChecksum, IncomingBody, UploadContext } from '../../lib/upload/context.ts'
import { receive, type BoundedBody } from '../../lib/upload/receive.ts'
import { bodyOf, endless, published, requester, surroundings } from './support.ts'

const full = Object.assign(new Error('no space'), { code: 'STORE_FULL' })
const checksum: ExpectedChecksum = {
  algorithms: ['sha1'],
  read: () => ({ algorithm: 'sha1', digest: createHash('sha1').update('hello').digest() }),
}

function bounded(body: IncomingBody, details: Partial<BoundedBody> = {}): BoundedBody {
  return { body, maxBytes: 100, stop: new AbortController().signal, signal: requester.signal, ...details }
}

/** Who listens to a source, but for the one that swallows a late error. */
const listeners = (source: Readable): number =>
  ['data', 'end', 'close', 'error', 'aborted'].reduce((sum, name) => sum + source.listenerCount(name), 0) - 1

for (const kind of ['plain', 'verified'] as const) {
  test(`a store that fails releases the source of a ${kind} body alive and paused, so that others can discard it`, async (t) => {
    const fail = async (): Promise<never> => { throw full }
    const context = surroundings(t, { overrides: () => ({ append: fail, appendVerified: fail }) })
    const upload = await context.store.create({ id: 'a', length: 5 })
    const source = endless('he')
    const stop = new AbortController()
    const body = bodyOf([], { source, ...(kind === 'verified' && { checksum }) })
    await assert.rejects(receive(context, upload, bounded(body, { stop: stop.signal })), full)
    assert.equal(listeners(source), 0)
    assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
    assert.equal(source.destroyed, false)
    context.slots.assertFree(1)
  })
}

/** Receives `first`, shuts down, and drains `rest`. */
async function shutDown(context: UploadContext, end: AbortController, { maxBytes = 100 } = {}) {
  const upload = await context.store.create({ id: 'a', length: undefined })
  const source = endless('hello')
  const acknowledged: number[] = []
  const answerShutdown: IncomingBody['answerShutdown'] = async ({ offset }, drain) => {
    acknowledged.push(offset)
    source.push(' world')
    source.push(null)
    await drain(requester.signal)
    assert.equal(listeners(source), 0)
  }
  const progress = (): void => end.abort()
  const body = bodyOf([], { source, answerShutdown, progress })
  const received = await receive(context, upload, bounded(body, { stop: end.signal, maxBytes }))
  return { kind: received.kind, offset: received.upload.offset, acknowledged }
}

test('what a client sends before it has read the answer to a shutdown is stored too', async (t) => {
  const end = new AbortController()
  const context = surroundings(t, { shutdownSignal: end.signal })
  assert.deepEqual(await shutDown(context, end), { kind: 'answered', offset: 11, acknowledged: [5] })
  assert.equal((await context.store.find('a'))?.offset, 11)
})

test('if that cannot be stored it is published, and the upload ends where the answer says', async (t) => {
  const events = published(t)
  const end = new AbortController()
  let calls = 0
  const context = surroundings(t, {
    shutdownSignal: end.signal,
    overrides: (files) => ({
      append: (upload, body, options) => (++calls === 1 ? files.append(upload, body, options) : Promise.reject(full)),
    }),
  })
  assert.deepEqual(await shutDown(context, end), { kind: 'answered', offset: 5, acknowledged: [5] })
  assert.deepEqual(events, ['error no space', 'append', 'interrupt SHUTTING_DOWN'])
  context.slots.assertFree(1)
})

test('if that is more than the upload may hold, it is cut where the answer says', async (t) => {
  const end = new AbortController()
  const context = surroundings(t, { shutdownSignal: end.signal })
  assert.deepEqual(await shutDown(context, end, { maxBytes: 8 }), { kind: 'answered', offset: 5, acknowledged: [5] })
  assert.equal((await context.store.find('a'))?.offset, 5)
})

test('the body is accepted, then read, then stored; a body that is not accepted is not read', async (t) => {
  const context = surroundings(t)
  const upload = await context.store.create({ id: 'a', length: 5 })
  const steps: string[] = []
  const callbacks = { accept: () => void steps.push('accept'), stored: () => void steps.push('stored') }
  await receive(context, upload, bounded(bodyOf(['hello'], { ...callbacks, progress: (offset) => void steps.push(`${offset}`) })))
  assert.deepEqual(steps, ['accept', '5', 'stored'])

  const refused = bodyOf(['x'], { ...callbacks, accept: () => { throw full } })
  await assert.rejects(receive(context, upload, bounded(refused)), full)
  assert.equal(refused.source.readableDidRead, false)
  assert.deepEqual(steps, ['accept', '5', 'stored'])
  context.slots.assertFree(1)
})

test('a body without bytes is no activity', async (t) => {
  const context = surroundings(t)
  const upload = await context.store.create({ id: 'a', length: 5 })
  assert.deepEqual(await receive(context, upload, bounded(bodyOf([]))), { kind: 'received', upload })
  const { upload: grown } = await receive(context, { ...upload, updatedAt: new Date(0) }, bounded(bodyOf(['hello'])))
  assert.ok(grown.updatedAt > new Date(0))
})

test('a body that its client cancelled when it had ended is whole if its length was announced, and else is not', async (t) => {
  for (const [length, kind] of [[5, 'received'], [undefined, 'gone']] as const) {
    const body = bodyOf(['hello'], { length })
    const context = surroundings(t, {
      overrides: (files) => ({
        append: async (...all) => {
          const offset = await files.append(...all)
          Object.assign(body.source, { aborted: true })
          return offset
        },
      }),
    })
    const received = await receive(context, await context.store.create({ id: 'a', length: undefined }), bounded(body))
    assert.deepEqual([received.kind, received.upload.offset], [kind, 5])
  }
})

test('progress is reported when the offset has grown, no more often than it may be, and what was reported is acknowledged', async (t) => {
  for (const [progressIntervalMs, expected] of [[0, [2, 5]], [3_600_000, []]] as const) {
    const seen: number[] = []
    const told: number[] = []
    const context = surroundings(t, {
      limits: { progressIntervalMs },
      hooks: { onProgress: ({ offset }) => void seen.push(offset) },
      overrides: () => ({
        append: async (_upload, body, { onProgress }) => {
          for (const offset of [0, 2, 2, 5]) onProgress?.(offset)
          return body.resume(), 5
        },
      }),
    })
    const upload = await context.store.create({ id: 'a', length: 9 })
    await receive(context, upload, bounded(bodyOf(['hello'], { progress: (offset) => void told.push(offset) })))
    assert.deepEqual([seen, told], [expected, expected])
    assert.equal(context.acknowledged.of(upload), expected.at(-1) ?? 0)
  }
})
