// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import type { UploadContext } from '../../lib/upload/context.ts'
import { digestOf, wantedDigest } from '../../lib/upload/digest.ts'
import type { Upload, UploadDigest } from '../../lib/upload/types.ts'
import { bodyOf, surroundings } from './support.ts'

const DIGEST = createHash('sha256').update('hello').digest('base64')

test('a digest is that of all bytes, and takes a slot while it is computed', async (t) => {
  const context = surroundings(t, { limits: { maxConcurrent: 1 } })
  const upload = await context.store.create({ id: 'a', length: 5 })
  await context.store.append(upload, bodyOf(['hel', 'lo']).source, {})
  const stored = (await context.store.find('a'))!
  const computing = digestOf(context, stored, 'sha256')
  await assert.rejects(digestOf(context, stored, 'sha256'), { code: 'BUSY' })
  assert.equal(await computing, DIGEST)
  assert.equal(await digestOf(context, stored, 'sha256'), DIGEST)
})

test('a shutdown ends a digest that is being computed; nothing more is read, and the slot is free', async (t) => {
  const end = new AbortController()
  let chunks = 0
  const source = new Readable({
    highWaterMark: 1,
    read() {
      if (++chunks === 3) end.abort()
      this.push(chunks < 100 ? 'x' : null)
    },
  })
  const context = surroundings(t, { shutdownSignal: end.signal, overrides: () => ({ read: () => source }) })
  const upload = { ...(await context.store.create({ id: 'a', length: 99 })), offset: 99 }
  await assert.rejects(digestOf(context, upload, 'sha256'), { code: 'SHUTTING_DOWN' })
  assert.ok(chunks < 10, `${chunks} chunks were read`)
  assert.equal(source.destroyed, true)
  context.slots.assertFree(1)
})

test('a wanted digest that a shutdown ended is undefined, and is computed again when it is asked for again', async (t) => {
  const end = new AbortController()
  const context = surroundings(t, { shutdownSignal: end.signal })
  const upload = await context.store.create({ id: 'a', length: 5 })
  await context.store.append(upload, bodyOf(['hello']).source, {})
  await context.store.setState((await context.store.find('a'))!, 'finished')
  const stored = (await context.store.find('a'))!
  end.abort()
  assert.equal(await wantedDigest(context, stored, { algorithm: 'sha256', maxWaitMs: 60_000 }), undefined)
  const again = { ...context, shutdownSignal: undefined }
  const known = await wantedDigest(again, stored, { algorithm: 'sha256', maxWaitMs: 60_000 })
  assert.deepEqual(known, { algorithm: 'sha256', value: DIGEST })
  assert.deepEqual((await context.store.find('a'))?.digest, known)
})

/** A finished upload `a` of `hello`, and how often its bytes are read; each read waits for `go`. */
async function finished(t: TestContext, { digest, go }: { digest?: UploadDigest; go?: Promise<void> } = {}) {
  const reads: string[] = []
  const context = surroundings(t, {
    overrides: (files) => ({
      read: (upload, range) => {
        reads.push(upload.id)
        return Readable.from((async function* () { await go; yield* files.read!(upload, range) })(), { objectMode: false })
      },
    }),
  })
  const finish = async (id: string): Promise<Upload> => {
    await context.store.append(await context.store.create({ id, length: 5, digest }), bodyOf(['hello']).source, {})
    await context.store.setState((await context.store.find(id))!, 'finished')
    return (await context.store.find(id))!
  }
  return { context, reads, finish }
}

const wanted = { algorithm: 'sha256', maxWaitMs: 60_000 }
const stored = async (context: UploadContext): Promise<UploadDigest | undefined> => (await context.store.find('a'))?.digest

test('two digests are computed at once, a hundred wait, and one more is not computed', async (t) => {
  let go = (): void => {}
  const { context, reads, finish } = await finished(t, { go: new Promise((resolve) => (go = resolve)) })
  const asked: Promise<unknown>[] = []
  for (let i = 0; i < 102; i++) asked.push(wantedDigest(context, await finish(`u${i}`), wanted))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(reads, ['u0', 'u1'])
  assert.equal(await wantedDigest(context, await finish('late'), wanted), undefined)
  go()
  for (const each of await Promise.all(asked)) assert.deepEqual(each, { algorithm: 'sha256', value: DIGEST })
  assert.equal(reads.length, 102)
  assert.deepEqual(await wantedDigest(context, (await context.store.find('late'))!, wanted), { algorithm: 'sha256', value: DIGEST })
  assert.deepEqual([context.digests.computing, context.digests.waiting.length], [0, 0])
})

test('an upload whose bytes are elsewhere has no digest, unless it was computed before', async (t) => {
  const { context, reads, finish } = await finished(t)
  const upload = { ...(await finish('a')), movedAt: new Date() }
  assert.equal(await wantedDigest(context, upload, wanted), undefined)
  assert.deepEqual(reads, [])
  const digest = { algorithm: 'sha256', value: 'known' }
  assert.deepEqual(await wantedDigest(context, { ...upload, digest }, wanted), digest)
})

test('a digest that could not be kept as the lock was taken is kept when it is asked for again, and not computed again', async (t) => {
  const { context, reads, finish } = await finished(t)
  const upload = await finish('a')
  const lock = await context.locker.acquire('a', {})
  assert.ok(await wantedDigest(context, upload, wanted))
  assert.equal(await stored(context), undefined)
  await lock.release()
  assert.ok(await wantedDigest(context, upload, wanted))
  assert.deepEqual(await stored(context), { algorithm: 'sha256', value: DIGEST })
  assert.equal(reads.length, 1)
})

test('a digest is kept with the upload that it is of, and in no place of another one', async (t) => {
  const kept = { 'replaced': undefined, 'wants another': { algorithm: 'sha512' }, 'has one': { algorithm: 'sha512', value: 'known' } }
  for (const [change, digest] of Object.entries(kept)) {
    const { context, finish } = await finished(t, digest && { digest })
    const upload = await finish('a')
    const asked = change === 'replaced' ? { ...upload, createdAt: new Date(0) } : upload
    assert.deepEqual(await wantedDigest(context, asked, wanted), { algorithm: 'sha256', value: DIGEST })
    assert.deepEqual(await stored(context), digest, change)
  }
})
