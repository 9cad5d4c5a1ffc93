// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import type { ExpectedChecksum, IncomingBody } from '../../lib/upload/context.ts'
import { UploadError } from '../../lib/upload/errors.ts'
import { receive, type BoundedBody } from '../../lib/upload/receive.ts'
import { bodyOf, requester, surroundings } from './support.ts'

function checksumOf(text: string, read?: ExpectedChecksum['read']): ExpectedChecksum {
  const digest = createHash('sha1').update(text).digest()
  return { algorithms: ['md5', 'sha1'], read: read ?? (() => ({ algorithm: 'sha1', digest })) }
}

/** How receiving a body that has to match ended, and what is stored. */
async function received(t: TestContext, body: IncomingBody, bounds: Partial<BoundedBody> = {}) {
  const context = surroundings(t)
  const upload = await context.store.create({ id: 'a', length: undefined })
  const { signal } = requester
  const result = await receive(context, upload, { body, maxBytes: 100, stop: signal, signal, ...bounds })
  return [result.kind, 'error' in result ? result.error.code : undefined, (await context.store.find('a'))?.offset]
}

test('a body that matches its checksum is kept, and one that does not is not', async (t) => {
  assert.deepEqual(await received(t, bodyOf(['hel', 'lo'], { checksum: checksumOf('hello') })), ['received', undefined, 5])
  assert.deepEqual(await received(t, bodyOf(['hello'], { checksum: checksumOf('hallo') })), ['refused', 'CHECKSUM_MISMATCH', 0])
})

test('a checksum of an algorithm that was not computed does not match; one that is unreadable is what it is said to be', async (t) => {
  const unknown = checksumOf('', () => ({ algorithm: 'sha256', digest: createHash('sha256').update('hello').digest() }))
  assert.deepEqual(await received(t, bodyOf(['hello'], { checksum: unknown })), ['refused', 'CHECKSUM_MISMATCH', 0])
  const unreadable = checksumOf('', () => { throw new UploadError('BAD_REQUEST') })
  assert.deepEqual(await received(t, bodyOf(['hello'], { checksum: unreadable })), ['refused', 'BAD_REQUEST', 0])
  const broken = checksumOf('', () => { throw new TypeError('a bug') })
  await assert.rejects(received(t, bodyOf(['hello'], { checksum: broken })), /a bug/)
})

test('a body that is not whole is not kept, although what came of it matches', async (t) => {
  const checksum = checksumOf('hello')
  assert.deepEqual(await received(t, bodyOf(['hello'], { checksum, length: 6 })), ['interrupted', 'SHORT', 0])
  assert.deepEqual(await received(t, bodyOf(['hello', '!'], { checksum }), { maxBytes: 5 }), ['refused', 'MAX_SIZE_EXCEEDED', 0])
  const source = bodyOf(['hello']).source
  source.destroy()
  assert.deepEqual(await received(t, bodyOf([], { checksum, source })), ['gone', undefined, 0])
})

test('what is wrong with the body goes before what is wrong with its checksum', async (t) => {
  const checksum = checksumOf('', () => { throw new UploadError('BAD_REQUEST') })
  const large = bodyOf(['hello', '!'], { checksum })
  assert.deepEqual(await received(t, large, { maxBytes: 5 }), ['refused', 'MAX_SIZE_EXCEEDED', 0])
})

test('a body of no bytes for an upload that takes none has to match as well', async (t) => {
  assert.deepEqual(await received(t, bodyOf([], { checksum: checksumOf('') }), { maxBytes: 0 }), ['received', undefined, 0])
  assert.deepEqual(await received(t, bodyOf([], { checksum: checksumOf('x') }), { maxBytes: 0 }), ['refused', 'CHECKSUM_MISMATCH', 0])
})
