// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { problemOf, PROBLEM_MEDIA_TYPE } from '../../lib/rufh/problem.ts'
import { UploadError, type UploadErrorCode } from '../../lib/upload/errors.ts'
import type { Upload } from '../../lib/upload/types.ts'

const REGISTRY = 'https://iana.org/assignments/http-problem-types#'
const WITH_TYPE: readonly UploadErrorCode[] = ['OFFSET_CONFLICT', 'LENGTH_CONFLICT', 'TOO_LARGE', 'COMPLETED']
const WITHOUT_TYPE: readonly UploadErrorCode[] = [
  'BAD_REQUEST', 'TOO_SMALL', 'FINAL_UPLOAD', 'NOT_FOUND', 'METHOD_NOT_ALLOWED', 'IDLE', 'TAKEN_OVER', 'UPLOAD_EXISTS', 'EXPIRED',
  'DEACTIVATED',
  'PART_GONE', 'UNSUPPORTED_VERSION', 'MAX_SIZE_EXCEEDED', 'APPEND_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'LOCKED', 'METADATA_TOO_LARGE',
  'CHECKSUM_MISMATCH', 'REFUSED', 'BODY_CONSUMED', 'INTERNAL', 'UPLOAD_CORRUPT', 'BUSY', 'OVERDUE', 'SHUTTING_DOWN', 'STORE_FULL',
]

const upload = (offset: number): Upload => ({
  id: 'secret', offset, length: 10, metadata: new Map([['filename', 'secret']]), encodedMetadata: undefined, state: 'receiving',
  outcome: undefined,
  partial: false, parts: undefined, encodedParts: undefined, maxSize: undefined, createdAt: new Date(0), updatedAt: new Date(0),
})

function textOf(code: UploadErrorCode, offset?: number, providedOffset?: number): string | undefined {
  const details = offset === undefined ? {} : { upload: upload(offset) }
  return problemOf(new UploadError(code, { message: 'secret', cause: new Error('secret'), ...details }), providedOffset)
}

function detailsOf(code: UploadErrorCode, offset?: number, providedOffset?: number): unknown {
  return JSON.parse(textOf(code, offset, providedOffset) ?? assert.fail(`${code} has no type`))
}

test('the media type is that of RFC 9457', () => assert.equal(PROBLEM_MEDIA_TYPE, 'application/problem+json'))

test('R65 · a wrong offset is reported with both offsets, as numbers', () => {
  const { title, ...members } = detailsOf('OFFSET_CONFLICT', 5, 7) as Record<string, unknown>
  assert.deepEqual(members, { type: `${REGISTRY}mismatching-upload-offset`, 'expected-offset': 5, 'provided-offset': 7 })
  assert.equal(typeof title, 'string')
})

test('an offset of zero is reported as 0', () => {
  const members = detailsOf('OFFSET_CONFLICT', 0, 0) as Record<string, unknown>
  assert.deepEqual([members['expected-offset'], members['provided-offset']], [0, 0])
})

test('an offset that the request did not say is left out; without the right one there is no problem to describe', () => {
  assert.deepEqual(Object.keys(detailsOf('OFFSET_CONFLICT', 5) as object).sort(), ['expected-offset', 'title', 'type'])
  assert.equal(textOf('OFFSET_CONFLICT'), undefined)
})

for (const [code, type] of [
  ['LENGTH_CONFLICT', 'inconsistent-upload-length'],
  ['TOO_LARGE', 'inconsistent-upload-length'],
  ['COMPLETED', 'completed-upload'],
] as const) {
  test(`${code} is a problem of the type ${type}, without offsets`, () => {
    const details = detailsOf(code, 5, 5) as Record<string, unknown>
    assert.equal(details['type'], `${REGISTRY}${type}`)
    assert.deepEqual(Object.keys(details).sort(), ['title', 'type'])
  })
}

for (const code of WITHOUT_TYPE) {
  test(`${code} has no type`, () => assert.equal(problemOf(new UploadError(code, { upload: upload(5) }), 5), undefined))
}

test('whatever the numbers, a problem is one line of JSON that tells nothing but them', () => {
  const count = fc.option(fc.maxSafeNat(), { nil: undefined })
  fc.assert(
    fc.property(fc.constantFrom(...WITH_TYPE), count, count, (code, offset, providedOffset) => {
      const text = textOf(code, offset, providedOffset) ?? ''
      assert.doesNotMatch(text, /secret|[\r\n]/)
    }),
  )
})
