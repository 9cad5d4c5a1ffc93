// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { toUploadError, UploadError, type UploadErrorCode } from '../../lib/upload/errors.ts'

/** Every code; the compiler complains about a missing one. */
const STATUS = {
  BAD_REQUEST: 400,
  LENGTH_CONFLICT: 400,
  COMPLETED: 400,
  TOO_SMALL: 400,
  SHORT: 400,
  FINAL_UPLOAD: 403,
  REFUSED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  IDLE: 408,
  OFFSET_CONFLICT: 409,
  TAKEN_OVER: 409,
  UPLOAD_EXISTS: 409,
  EXPIRED: 410,
  DEACTIVATED: 410,
  PART_GONE: 410,
  MOVED: 410,
  UNSUPPORTED_VERSION: 412,
  TOO_LARGE: 413,
  MAX_SIZE_EXCEEDED: 413,
  APPEND_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  LOCKED: 423,
  METADATA_TOO_LARGE: 431,
  CHECKSUM_MISMATCH: 460,
  BODY_CONSUMED: 500,
  INTERNAL: 500,
  UPLOAD_CORRUPT: 500,
  UNSUPPORTED_CODING: 501,
  BUSY: 503,
  LOCK_LOST: 503,
  OVERDUE: 503,
  SHUTTING_DOWN: 503,
  STORE_FULL: 507,
} as const satisfies Record<UploadErrorCode, number>
const CODES = Object.keys(STATUS) as UploadErrorCode[]
const INTERNAL = 'The server failed'

for (const code of CODES) {
  test(`${code} is answered with ${STATUS[code]} and one line that tells nothing about the server`, () => {
    const error = new UploadError(code)
    assert.equal(error.code, code)
    assert.equal(error.status, STATUS[code])
    assert.deepEqual(error.headers, {})
    assert.match(error.message, /^[A-Z][\x20-\x7e]+$/)
    assert.doesNotMatch(error.message, /[/\\]|node:|\.ts|\bat\b.*:\d/)
  })
}

test('an error of the table is passed on as it is', () => {
  for (const code of CODES) {
    const error = new UploadError(code, { message: 'In other words' })
    assert.equal(toUploadError(error), error)
  }
})

const mapped: readonly (readonly [thrown: string, code: UploadErrorCode])[] = [
  ['LOCK_TIMEOUT', 'LOCKED'],
  ['LOCKS_CLOSED', 'SHUTTING_DOWN'],
  ['UPLOAD_MOVED_ON', 'OFFSET_CONFLICT'],
  ['UPLOAD_CORRUPT', 'UPLOAD_CORRUPT'],
  ['STORE_FULL', 'STORE_FULL'],
  ['ENOSPC', 'STORE_FULL'],
  ['EDQUOT', 'STORE_FULL'],
  ['UPLOAD_EXISTS', 'UPLOAD_EXISTS'],
  ['ENOENT', 'INTERNAL'],
  ['EACCES', 'INTERNAL'],
  ['NOT_FOUND', 'INTERNAL'],
  ['REFUSED', 'INTERNAL'],
  ['CHECKSUM_MISMATCH', 'INTERNAL'],
  ['__proto__', 'INTERNAL'],
  ['constructor', 'INTERNAL'],
]

for (const [thrown, code] of mapped) {
  test(`what is thrown with the code ${thrown} is ${code}, in the words of the table, with its cause`, () => {
    const cause = Object.assign(new Error("ENOENT: no such file or directory, open '/srv/uploads/secret'"), { code: thrown })
    const error = toUploadError(cause)
    assert.equal(error.code, code)
    assert.equal(error.status, STATUS[code])
    assert.equal(error.message, new UploadError(code).message)
    assert.equal(error.cause, cause)
  })
}

const anything = [
  undefined, null, '', 'ENOENT /srv/secret', 0, NaN, true, 10n,
  Symbol('secret'),
  {},
  [],
  () => {},
  { code: 7 },
  { code: null },
]

for (const thrown of anything) {
  test(`${inspect(thrown)} that was thrown is INTERNAL`, () => {
    const error = toUploadError(thrown)
    assert.equal(error.code, 'INTERNAL')
    assert.equal(error.status, 500)
    assert.equal(error.message, INTERNAL)
  })
}

test('what a hook decided goes in the place of the status of the table, with its headers', () => {
  const error = new UploadError('REFUSED', {
    message: 'No more today',
    cause: new Error('secret'),
    status: 429,
    headers: { 'Retry-After': '60' },
  })
  assert.deepEqual([error.code, error.status, error.message], ['REFUSED', 429, 'No more today'])
  assert.deepEqual(error.headers, { 'Retry-After': '60' })
  assert.equal(toUploadError(error), error)
})

test('a foreign error with headers and a status gets neither sent', () => {
  const error = toUploadError(Object.assign(new Error('secret'), { code: 'REFUSED', status: 302, headers: { Location: '/secret' } }))
  assert.equal(error.status, 500)
  assert.deepEqual(error.headers, {})
})

test('a foreign error with a code of the table but another status is INTERNAL: its status is never sent', () => {
  for (const status of [13, 0, 200, 404.5, NaN, -1, 1000]) {
    const error = toUploadError(Object.assign(new Error('/srv/secret'), { code: 'INTERNAL', status }))
    assert.equal(error.status, 500)
    assert.equal(error.message, INTERNAL)
  }
})

test('a foreign error that looks like one of the table does not get its message sent', () => {
  const foreign = Object.assign(new Error("open '/srv/uploads/secret'\n    at open (node:fs:1:1)"), {
    name: 'UploadError', code: 'NOT_FOUND', status: 404,
  })
  assert.doesNotMatch(toUploadError(foreign).message, /secret|\n/)
})

test('whatever is thrown, the answer is an error status and one line', () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true, withMap: true }), (thrown) => {
      const error = toUploadError(thrown)
      assert.equal(error.status, STATUS[error.code])
      assert.doesNotMatch(error.message, /[\r\n]/)
    }),
    { numRuns: 1000 },
  )
})
