// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileStore } from '../../lib/file-store.ts'
import { rufhHandler } from '../../lib/rufh/handler.ts'
import { CURRENT, dialectOf, type Dialect, type InteropVersion } from '../../lib/rufh/interop.ts'
import { temporaryFolder } from '../support/temporary.ts'

const VERSIONS: readonly InteropVersion[] = [3, 4, 5, 6, 7, 8]

/** The versions for which something holds. */
function versionsWhere(holds: (dialect: Dialect) => boolean): readonly number[] {
  return VERSIONS.filter((version) => holds(dialectOf(version) ?? assert.fail(`there is no version ${version}`)))
}

test('the current version is 8', () => {
  assert.equal(CURRENT.version, 8)
  assert.equal(dialectOf(8), CURRENT)
})

test('each dialect is that of its version', () => {
  for (const version of VERSIONS) assert.equal(dialectOf(version)?.version, version)
})

test('whatever else the number is, it has no dialect', () => {
  const number = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(undefined, NaN, Infinity, 0, 1, 2, 9, -3, 3.5))
  fc.assert(fc.property(number, (version) => {
    fc.pre(!VERSIONS.some((each) => each === version))
    assert.equal(dialectOf(version), undefined)
  }))
})

test('Upload-Incomplete is of version 3 alone; there it is ?0 that means complete', () => {
  assert.deepEqual(versionsWhere(({ completeness }) => completeness.name === 'Upload-Incomplete' && !completeness.complete), [3])
  assert.deepEqual(versionsWhere(({ completeness }) => completeness.name === 'Upload-Complete' && completeness.complete), [4, 5, 6, 7, 8])
})

test('up to version 6 an append that says nothing of it completes, and one that does not complete is answered 201', () => {
  assert.deepEqual(versionsWhere(({ completesByDefault }) => completesByDefault), [3, 4, 5, 6])
  assert.deepEqual(versionsWhere(({ appended }) => appended === 201), [3, 4, 5, 6])
  assert.deepEqual(versionsWhere(({ appended }) => appended === 204), [7, 8])
})

test('from version 6 on appends have a media type', () => {
  assert.deepEqual(versionsWhere(({ mediaType }) => mediaType), [6, 7, 8])
})

test('from version 5 on 104 tells of progress', () => {
  assert.deepEqual(versionsWhere(({ progress }) => progress), [5, 6, 7, 8])
})

test('from version 6 on there is Upload-Limit, at first with another name for the age', () => {
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === undefined), [3, 4, 5])
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === 'expires'), [6])
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === 'max-age'), [7, 8])
})

test('a handler speaks any choice of the versions, and refuses one that there is not', (t) => {
  const store = new FileStore(temporaryFolder(t))
  fc.assert(fc.property(fc.subarray([...VERSIONS]), (interopVersions) => assert.equal(typeof rufhHandler({ store, interopVersions }), 'function')), { numRuns: 20 })
  for (const version of [0, 1, 2, 9, 3.5, NaN, '8']) {
    assert.throws(() => rufhHandler({ store, interopVersions: [8, version as InteropVersion] }), {
      name: 'RangeError',
      message: `Cannot speak a version of the draft as interopVersions must be of 3 to 8: received ${version}`,
    })
  }
})
