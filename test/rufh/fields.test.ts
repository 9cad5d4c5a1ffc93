// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { test } from 'node:test'
import fc from 'fast-check'
import { completenessField, readFields, VERSION_FIELD, type RequestFields } from '../../lib/rufh/fields.ts'
import { CURRENT, dialectOf, type Dialect, type InteropVersion } from '../../lib/rufh/interop.ts'
import type { UploadRequest } from '../../lib/upload/hooks.ts'

const ALL: readonly InteropVersion[] = [3, 4, 5, 6, 7, 8, 9, 10, 99]

function fieldsOf(headers: IncomingHttpHeaders, served: readonly InteropVersion[] = [9]): RequestFields {
  return readFields({ headers } as UploadRequest, served)
}

function dialect(version: InteropVersion): Dialect {
  return dialectOf(version) ?? assert.fail(`there is no version ${version}`)
}

test('the version is named in Upload-Draft-Interop-Version', () => assert.equal(VERSION_FIELD, 'Upload-Draft-Interop-Version'))

test('a request that says nothing is of the current version, and its client is not to be sent 104', () => {
  assert.deepEqual(fieldsOf({}), { dialect: CURRENT, interim: false, complete: undefined, offset: undefined, length: undefined })
})

test('a request is read as what it says', () => {
  const headers = { 'upload-draft-interop-version': '9', 'upload-complete': '?0', 'upload-offset': '5', 'upload-length': '100' }
  assert.deepEqual(fieldsOf(headers), { dialect: CURRENT, interim: true, complete: false, offset: 5, length: 100 })
})

for (const text of ['7', '8', '10', '09x', 'abc', '"9"', '9, 9', '9, 7', '9.0', '-9', '?1', '', ' ']) {
  test(`R32 · the version ${JSON.stringify(text)} is not served: the request is read as of the current one, without 104`, () => {
    const { dialect, interim, complete } = fieldsOf({ 'upload-draft-interop-version': text, 'upload-complete': '?1' })
    assert.deepEqual([dialect, interim, complete], [CURRENT, false, true])
  })
}

for (const text of ['9', ' 9', '9 ', '9;draft=12', '0009']) {
  test(`the version ${JSON.stringify(text)} is 9`, () => assert.equal(fieldsOf({ 'upload-draft-interop-version': text }).interim, true))
}

for (const version of ALL) {
  test(`a request of version ${version} is read in its dialect if that is served`, () => {
    const headers = {
      'upload-draft-interop-version': String(version),
      [version === 3 ? 'upload-incomplete' : 'upload-complete']: version === 3 ? '?0' : '?1',
    }
    const { dialect: read, interim, complete } = fieldsOf(headers, ALL)
    assert.deepEqual([read, interim, complete], [dialect(version), true, true])
    assert.equal(fieldsOf(headers, ALL.filter((each) => each !== version)).interim, false)
  })
}

test('Upload-Incomplete means something to version 3 only, and Upload-Complete to all others', () => {
  const both = { 'upload-complete': '?0', 'upload-incomplete': '?0' }
  for (const version of ALL) {
    assert.equal(fieldsOf({ 'upload-draft-interop-version': String(version), ...both }, ALL).complete, version === 3)
  }
  assert.equal(fieldsOf({ 'upload-draft-interop-version': '3', ...both }).complete, false, 'version 3 is not served')
  assert.equal(fieldsOf({ 'upload-incomplete': '?0' }, ALL).complete, undefined)
})

for (const text of [
  'abc', '-1', '1.0', '"0"', '?0', '0 0', '0, 0', '1000000000000000', '', '+1', '1e3', '0x1', '@1', ':AA==:', '(1)', '\u0663',
]) {
  test(`R4, R8 · ${JSON.stringify(text)} is no number of bytes, as if it were not there`, () => {
    const { offset, length } = fieldsOf({ 'upload-offset': text, 'upload-length': text })
    assert.deepEqual([offset, length], [undefined, undefined])
  })
}

for (const [text, count] of [
  ['0', 0],
  ['-0', 0],
  ['0;foo=bar', 0],
  [' 0 ', 0],
  ['10;a=1', 10],
  ['007', 7],
  ['999999999999999', 999_999_999_999_999],
] as const) {
  test(`R5 · ${JSON.stringify(text)} is ${count} bytes`, () => {
    const { offset, length } = fieldsOf({ 'upload-offset': text, 'upload-length': text })
    assert.ok(Object.is(offset, count) && Object.is(length, count))
  })
}

for (const text of ['true', '1', '?2', '"?1"', '?1, ?1', '?1 ?1', '', '?', '?1;', '??1']) {
  test(`R6 · ${JSON.stringify(text)} does not say whether it is complete, as if it were not there`, () => {
    assert.equal(fieldsOf({ 'upload-complete': text }).complete, undefined)
  })
}

for (const [text, complete] of [['?0;x', false], ['?1;a=b', true], [' ?1 ', true], ['?0', false]] as const) {
  test(`R5 · ${JSON.stringify(text)} says whether it is complete`, () =>
    assert.equal(fieldsOf({ 'upload-complete': text }).complete, complete))
}

test('whatever the fields, they are read as numbers of bytes that are exact, booleans, or nothing', () => {
  const value = fc.option(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer().map(String),
      fc.bigInt().map(String),
      fc.constantFrom('?0', '?1', '3', '8', '9', '10'),
    ),
    { nil: undefined },
  )
  const headers = fc.dictionary(
    fc.constantFrom('upload-offset', 'upload-length', 'upload-complete', 'upload-incomplete', 'upload-draft-interop-version'),
    value,
  )
  fc.assert(
    fc.property(headers, fc.subarray([...ALL]), (fields, served) => {
      const { dialect, interim, complete, offset, length } = fieldsOf(fields as IncomingHttpHeaders, served)
      for (const count of [offset, length]) {
        assert.ok(count === undefined || (Number.isSafeInteger(count) && count >= 0 && !Object.is(count, -0)))
      }
      assert.ok(complete === undefined || typeof complete === 'boolean')
      assert.ok(interim ? served.includes(dialect.version) : dialect === CURRENT)
    }),
  )
})

test('whatever is written of completeness is read the same in every dialect', () => {
  fc.assert(
    fc.property(fc.constantFrom(...ALL), fc.boolean(), (version, isComplete) => {
      const [[name, value] = assert.fail('no field'), ...rest] = Object.entries(completenessField(dialect(version), isComplete))
      assert.deepEqual(rest, [])
      assert.equal(fieldsOf({ [name.toLowerCase()]: value, 'upload-draft-interop-version': String(version) }, ALL).complete, isComplete)
    }),
  )
})

test('completeness is written as the dialect has it', () => {
  assert.deepEqual(completenessField(dialect(9), true), { 'Upload-Complete': '?1' })
  assert.deepEqual(completenessField(dialect(9), false), { 'Upload-Complete': '?0' })
  assert.deepEqual(completenessField(dialect(3), true), { 'Upload-Incomplete': '?0' })
  assert.deepEqual(completenessField(dialect(3), false), { 'Upload-Incomplete': '?1' })
})
