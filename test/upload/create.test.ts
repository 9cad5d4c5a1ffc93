// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { IncomingBody, UploadContext } from '../../lib/upload/context.ts'
import { createUpload, type CreationRequest } from '../../lib/upload/create.ts'
import type { CreationChoices, UploadHooks } from '../../lib/upload/hooks.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { bodyOf, endless, published, requester, surroundings } from './support.ts'

const request = new IncomingMessage(new Socket())
const choices = { onCreate: () => ({ id: 'a' }) }
const full = Object.assign(new Error('no space'), { code: 'STORE_FULL' })
const fail = async (): Promise<never> => { throw full }

function asked(details: Partial<CreationRequest> = {}): CreationRequest {
  return { description: { length: 5 }, body: bodyOf(['hello']), end: 'at-length', request, requester, ...details }
}

/** The state and offset of what is left in the store. */
async function left(context: UploadContext): Promise<string | undefined> {
  const upload = await context.store.find('a')
  return upload && `${upload.state} ${upload.offset} of ${upload.length}`
}

const REFUSE = { onFinish: () => { throw Object.assign(new Error(), { status: 403 }) } }
const FAIL = { onFinish: () => { throw new Error() } }
const refuse = (): never => { throw full }

/** What becomes of an upload whose address was not announced, and of one whose address was. */
const rows: readonly {
  readonly what: string
  readonly chunks?: readonly string[]
  readonly body?: Partial<IncomingBody>
  readonly hooks?: UploadHooks
  readonly overrides?: Partial<UploadStore>
  readonly unannounced: string | undefined
  readonly announced: string
}[] = [
  { what: 'is finished', unannounced: 'finished 5 of 5', announced: 'finished 5 of 5' },
  { what: 'was interrupted', chunks: ['hel'], body: { length: 5 }, unannounced: 'receiving 3 of 5', announced: 'receiving 3 of 5' },
  { what: 'got too large a body', chunks: ['hello', '!'], unannounced: undefined, announced: 'receiving 0 of 5' },
  { what: 'lost count of', chunks: ['hello', '!'], body: { excess: 'cut' }, unannounced: undefined, announced: 'deactivated 5 of 5' },
  { what: 'could not be stored', overrides: { append: fail }, unannounced: undefined, announced: 'receiving 0 of 5' },
  { what: 'was not accepted', body: { accept: refuse }, unannounced: undefined, announced: 'receiving 0 of 5' },
  { what: 'was rejected', hooks: REFUSE, unannounced: undefined, announced: 'rejected 5 of 5' },
  { what: 'is being finished', hooks: FAIL, unannounced: 'finishing 5 of 5', announced: 'finishing 5 of 5' },
  { what: 'could not be changed', hooks: FAIL, overrides: { setState: fail }, unannounced: undefined, announced: 'receiving 5 of 5' },
]

for (const { what, chunks = ['hello'], body, hooks, overrides = {}, unannounced, announced } of rows) {
  for (const isAnnounced of [false, true]) {
    const expected = isAnnounced ? announced : unannounced
    const name = `an upload that ${what} ${expected ? 'is kept' : 'is removed'} if its address was ${isAnnounced ? '' : 'not '}announced`
    test(name, async (t) => {
      const context = surroundings(t, { hooks: { ...choices, ...hooks }, overrides: () => overrides })
      await createUpload(context, asked({ body: bodyOf(chunks, body), announce: () => isAnnounced })).catch(() => {})
      assert.equal(await left(context), expected)
    })
  }
}

test('an upload that onFinish was told of stays, even if the store fails after it has kept that', async (t) => {
  const told: string[] = []
  const context = surroundings(t, {
    hooks: { ...choices, onFinish: ({ id }) => void told.push(id) },
    overrides: (files) => ({
      setState: async (upload, state) => {
        await files.setState(upload, state)
        if (state === 'finished') throw full
      },
    }),
  })
  await assert.rejects(createUpload(context, asked()), full)
  assert.deepEqual([told, await left(context)], [['a'], 'finished 5 of 5'])
})

test('the answer to a shutdown announces the address: whatever fails after it, the upload stays', async (t) => {
  for (const { hooks, overrides, expected } of [
    { hooks: FAIL, overrides: { setState: fail }, expected: 'receiving 5 of 5' },
    { hooks: REFUSE, overrides: {}, expected: 'rejected 5 of 5' },
  ]) {
    const shutdown = new AbortController()
    const { signal: shutdownSignal } = shutdown
    const source = endless('hel')
    const body: IncomingBody = bodyOf([], {
      source,
      progress: () => shutdown.abort(),
      answerShutdown: async (_upload, drain) => {
        source.push('lo')
        source.push(null)
        await drain(new AbortController().signal)
      },
    })
    const context = surroundings(t, { hooks: { ...choices, ...hooks }, overrides: () => overrides, shutdownSignal })
    await createUpload(context, asked({ body })).catch(() => {})
    assert.equal(await left(context), expected)
  }
})

test('an announcement that fails leaves nothing behind, and no byte is asked for', async (t) => {
  const context = surroundings(t, { hooks: choices })
  const body = bodyOf(['hello'])
  await assert.rejects(createUpload(context, asked({ body, announce: refuse })), full)
  assert.equal(await left(context), undefined)
  assert.equal(body.source.readableDidRead, false)
})

test('nothing is created for a client that was answered meanwhile, nor while the server is busy', async (t) => {
  const events = published(t)
  for (const body of [bodyOf(['hello']), undefined]) {
    const answered = { ...requester, answered: true }
    await assert.rejects(createUpload(surroundings(t), asked({ body, requester: answered })), { code: 'OVERDUE' })
  }
  const busy = surroundings(t, { limits: { maxConcurrent: 0 } })
  await assert.rejects(createUpload(busy, asked()), { code: 'BUSY' })
  assert.deepEqual(events, [])
})

test('an upload without a body is created without its lock, and not announced: nobody else knows of it', async (t) => {
  const locker = new KeyedLock()
  await locker.acquire('a')
  const context = { ...surroundings(t, { hooks: choices, limits: { maxConcurrent: 0 } }), locker }
  const { kind, upload } = await createUpload(context, asked({ body: undefined, announce: refuse }))
  assert.deepEqual([kind, upload.offset, await left(context)], ['received', 0, 'receiving 0 of 5'])
})

test('an upload of no bytes is finished at once, unless its client is to say the end', async (t) => {
  const empty = { description: { length: 0 }, body: undefined } as const
  const context = surroundings(t, { hooks: choices })
  await createUpload(context, asked(empty))
  assert.equal(await left(context), 'finished 0 of 0')
  const later = surroundings(t, { hooks: choices })
  await createUpload(later, asked({ ...empty, description: { length: 0, completion: 'explicit' }, end: 'later' }))
  assert.equal(await left(later), 'receiving 0 of 0')
})

test('an id that is taken is refused before its holder is asked for the lock', async (t) => {
  const context = surroundings(t, { hooks: choices })
  await context.store.create({ id: 'a', length: 5 })
  const asks: string[] = []
  await context.locker.acquire('a', { onReleaseRequest: () => asks.push('a') })
  await assert.rejects(createUpload(context, asked()), { code: 'UPLOAD_EXISTS' })
  assert.deepEqual(asks, [])
})

for (const { what, choice } of [
  { what: 'an id with a slash', choice: { id: 'a/b' } },
  { what: 'an id that is no string', choice: { id: 7 } },
  { what: 'metadata in an object', choice: { metadata: { a: 'b' } } },
  { what: 'a key with a space', choice: { metadata: new Map([['a b', 'c']]) } },
  { what: 'a key that is no string', choice: { metadata: new Map([[7, 'c']]) } },
  { what: 'a value that is no string', choice: { metadata: new Map([['a', 7]]) } },
  { what: 'a negative maxSize', choice: { maxSize: -1 } },
  { what: 'a fraction of a byte', choice: { maxSize: 0.5 } },
]) {
  test(`onCreate that chooses ${what} is a failure of the server`, async (t) => {
    const context = surroundings(t, { hooks: { onCreate: () => choice as CreationChoices } })
    await assert.rejects(createUpload(context, asked()), { code: 'INTERNAL' })
  })
}

test('onCreate may lower the limit of an upload, and not raise it', async (t) => {
  for (const [maxSize, expected] of [[7, 7], [2000, 1000]] as const) {
    const context = surroundings(t, { hooks: { onCreate: () => ({ id: 'a', maxSize }) } })
    const { upload } = await createUpload(context, asked({ description: { length: undefined }, body: undefined }))
    assert.equal(upload.maxSize, expected)
    const large = asked({ description: { length: expected + 1 } })
    await context.store.terminate(upload)
    await assert.rejects(createUpload(context, large), { code: 'MAX_SIZE_EXCEEDED', maxSize: expected })
  }
})

/** Surroundings with a finished part `b` of 5 bytes. */
async function withPart(t: TestContext, details: Parameters<typeof surroundings>[1] = {}): Promise<UploadContext> {
  const context = surroundings(t, { hooks: choices, ...details })
  const part = await context.store.create({ id: 'b', length: 5, partial: true })
  await context.store.append(part, bodyOf(['hello']).source, {})
  await context.store.setState((await context.store.find('b'))!, 'finished')
  return context
}
const final = (parts: readonly string[]) => asked({ description: { length: undefined, parts }, body: undefined })

test('a concatenation gets the bytes of its parts; one that cannot be assembled leaves nothing behind', async (t) => {
  const context = await withPart(t)
  await createUpload(context, final(['b']))
  assert.equal(await left(context), 'finished 5 of 5')

  const busy = await withPart(t, { limits: { maxConcurrent: 0 } })
  await assert.rejects(createUpload(busy, final(['b'])), { code: 'BUSY' })
  assert.equal(await left(busy), undefined)

  const waiting = await withPart(t)
  await waiting.store.create({ id: 'c', length: 3, partial: true })
  await createUpload(waiting, final(['b', 'c']))
  assert.equal(await left(waiting), 'receiving 0 of 8')
})

test('a concatenation names partial uploads of this server, each once, and so many at most', async (t) => {
  const context = await withPart(t)
  await context.store.create({ id: 'whole', length: 5 })
  const many = Array.from({ length: 10_001 }, (_, i) => `${i}`)
  for (const parts of [['b', 'b'], ['none'], ['whole'], many]) {
    await assert.rejects(createUpload(context, final(parts)), { code: 'BAD_REQUEST' })
  }
  await assert.rejects(createUpload(await withPart(t, { limits: { maxSize: 4 } }), final(['b'])), { code: 'MAX_SIZE_EXCEEDED' })
})

test('a store that does not keep what it is given is a failure of the server, and nothing is left', async (t) => {
  const context = surroundings(t, { hooks: choices, overrides: (files) => ({ create: ({ id, length }) => files.create({ id, length }) }) })
  await assert.rejects(createUpload(context, asked({ description: { length: 5, completion: 'explicit' } })), { code: 'INTERNAL' })
  assert.equal(await left(context), undefined)
})
