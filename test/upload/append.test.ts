// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appendToUpload, type AppendRequest } from '../../lib/upload/append.ts'
import type { NewUpload, Upload, UploadState } from '../../lib/upload/types.ts'
import { bodyOf, requester, surroundings } from './support.ts'

/** An upload with `hello` in it, and what an append of ` you` is answered. */
const rows: readonly {
  readonly what: string
  readonly upload?: Partial<NewUpload>
  readonly state?: UploadState
  readonly asked?: Partial<AppendRequest>
  readonly announced?: number
  readonly excess?: 'cut'
  readonly answer: string
}[] = [
  { what: 'is appended where it belongs', answer: 'received' },
  { what: 'to a concatenation is refused', upload: { parts: ['b'] }, answer: 'FINAL_UPLOAD' },
  { what: 'to a rejected upload is answered as that was', state: 'rejected', answer: 'REFUSED' },
  { what: 'to a deactivated upload is refused', state: 'deactivated', answer: 'DEACTIVATED' },
  { what: 'at an offset before the end is a conflict', asked: { offset: 4 }, answer: 'OFFSET_CONFLICT' },
  { what: 'at an offset behind the end is a conflict', asked: { offset: 6 }, answer: 'OFFSET_CONFLICT' },
  { what: 'that is announced as too large is refused', upload: { length: 8 }, announced: 4, answer: 'TOO_LARGE' },
  { what: 'that is too large, and may be cut, deactivates', upload: { length: 8 }, announced: 4, excess: 'cut', answer: 'LENGTH_CONFLICT' },
  { what: 'that just fits is taken', upload: { length: 9 }, announced: 4, excess: 'cut', answer: 'received' },
  { what: 'that is not the last comes too late', upload: { length: 5 }, state: 'finished', asked: { end: 'later' }, answer: 'COMPLETED' },
  { what: 'without bytes may repeat the last request', upload: { length: 5 }, state: 'finished', announced: 0, answer: 'received' },
  { what: 'that brings too little is refused', asked: { end: 'later', minBytes: 5 }, announced: 4, answer: 'TOO_SMALL' },
  { what: 'that brings just enough is taken', asked: { end: 'later', minBytes: 4 }, announced: 4, answer: 'received' },
  { what: 'that does not say what it brings is taken', asked: { end: 'later', minBytes: 5 }, answer: 'received' },
  { what: 'that is the last one may bring little', asked: { minBytes: 5 }, announced: 4, answer: 'received' },
  { what: 'may say the length', asked: { length: 9 }, answer: 'received' },
  { what: 'may repeat the length', upload: { length: 10 }, asked: { length: 10 }, answer: 'received' },
  { what: 'may put the length off', asked: { length: 'later' }, answer: 'received' },
  { what: 'must not put off a length that is known', upload: { length: 10 }, asked: { length: 'later' }, answer: 'LENGTH_CONFLICT' },
  { what: 'must not say another length', upload: { length: 10 }, asked: { length: 9 }, answer: 'LENGTH_CONFLICT' },
  { what: 'must not say less than is there', asked: { length: 4 }, answer: 'LENGTH_CONFLICT' },
  { what: 'may say the largest length', asked: { length: 1000 }, answer: 'received' },
  { what: 'must not say a length that is not allowed', asked: { length: 1001 }, answer: 'MAX_SIZE_EXCEEDED' },
  { what: 'must not say more than its upload may hold', upload: { maxSize: 20 }, asked: { length: 21 }, answer: 'MAX_SIZE_EXCEEDED' },
  { what: 'must not announce more than its upload may hold', upload: { maxSize: 8 }, announced: 4, answer: 'MAX_SIZE_EXCEEDED' },
]

for (const { what, upload, state, asked, announced, excess, answer } of rows) {
  test(`a body ${what}`, async (t) => {
    const context = surroundings(t)
    const created = await context.store.create({ id: 'a', length: undefined, ...upload })
    await context.store.append(created, bodyOf(['hello']).source, {})
    const found = (await context.store.find('a'))!
    if (state) await context.store.setState(found, state)
    const body = bodyOf(announced === 0 ? [] : [' you'], { length: announced, excess })
    const request = { body, offset: 5, end: 'at-length', requester, ...asked } as const
    const received = await appendToUpload(context, 'a', request).catch((error: { readonly code: string }) => error.code)
    assert.equal(typeof received === 'string' ? received : received.kind, answer)
    if (answer !== 'received') assert.equal((await context.store.find('a'))?.offset, 5)
  })
}

test('an offset is made durable before any answer contains it, and is then a promise', async (t) => {
  const flushed: number[] = []
  let lost = false
  const context = surroundings(t, {
    overrides: (files) => ({
      flush: async ({ offset }: Upload) => void flushed.push(offset),
      find: async (id: string) => {
        const upload = await files.find(id)
        return lost && upload ? { ...upload, offset: 1 } : upload
      },
    }),
  })
  const created = await context.store.create({ id: 'a', length: 9 })
  await context.store.append(created, bodyOf(['hello']).source, {})
  const asked = (offset: number): AppendRequest => ({ body: bodyOf([' you']), offset, end: 'at-length', requester })
  await assert.rejects(appendToUpload(context, 'a', asked(0)), { code: 'OFFSET_CONFLICT', upload: (await context.store.find('a'))! })
  assert.deepEqual(flushed, [5])
  lost = true
  await assert.rejects(appendToUpload(context, 'a', asked(1)), { code: 'DEACTIVATED' })
  assert.equal((await context.store.find('a'))?.state, 'deactivated')
})
