// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { rufhHandler } from '../../lib/rufh/handler.ts'
import { CURRENT, DEFAULT_VERSIONS, dialectOf, type Dialect, type InteropVersion } from '../../lib/rufh/interop.ts'
import { temporaryFolder } from '../support/temporary.ts'

const VERSIONS: readonly InteropVersion[] = [3, 4, 5, 6, 7, 8, 9]
const LATER: readonly InteropVersion[] = [10, 11, 50, 99]

/** The versions for which something holds. */
function versionsWhere(holds: (dialect: Dialect) => boolean): readonly number[] {
  return VERSIONS.filter((version) => holds(dialectOf(version) ?? assert.fail(`there is no version ${version}`)))
}

test('the current version is 9, and the one before it is served as well unless others are chosen', () => {
  assert.equal(CURRENT.version, 9)
  assert.equal(dialectOf(9), CURRENT)
  assert.deepEqual(DEFAULT_VERSIONS, [8, 9])
})

test('each dialect is that of its version', () => {
  for (const version of VERSIONS) assert.equal(dialectOf(version)?.version, version)
})

test('a later version is the current one under its own number', () => {
  for (const version of LATER) assert.deepEqual(dialectOf(version), { ...CURRENT, version })
})

test('whatever else the number is, it has no dialect', () => {
  const number = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(undefined, NaN, Infinity, 0, 1, 2, 100, -3, 3.5, 10.5))
  fc.assert(fc.property(number, (version) => {
    fc.pre(!(Number.isInteger(version) && version !== undefined && version >= 3 && version <= 99))
    assert.equal(dialectOf(version), undefined)
  }))
})

test('Upload-Incomplete is of version 3 alone; there it is ?0 that means complete', () => {
  assert.deepEqual(versionsWhere(({ completeness }) => completeness.name === 'Upload-Incomplete' && !completeness.complete), [3])
  assert.deepEqual(
    versionsWhere(({ completeness }) => completeness.name === 'Upload-Complete' && completeness.complete),
    [4, 5, 6, 7, 8, 9],
  )
})

test('up to version 6 an append that says nothing of it completes, and one that does not complete is answered 201', () => {
  assert.deepEqual(versionsWhere(({ completesByDefault }) => completesByDefault), [3, 4, 5, 6])
  assert.deepEqual(versionsWhere(({ appended }) => appended === 201), [3, 4, 5, 6])
  assert.deepEqual(versionsWhere(({ appended }) => appended === 204), [7, 8, 9])
})

test('from version 6 on appends have a media type', () => {
  assert.deepEqual(versionsWhere(({ mediaType }) => mediaType), [6, 7, 8, 9])
})

test('from version 5 on 104 reports progress', () => {
  assert.deepEqual(versionsWhere(({ progress }) => progress), [5, 6, 7, 8, 9])
})

test('from version 6 on there is Upload-Limit, at first with another name for the age', () => {
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === undefined), [3, 4, 5])
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === 'expires'), [6])
  assert.deepEqual(versionsWhere(({ maxAge }) => maxAge === 'max-age'), [7, 8, 9])
})

test('up to version 6 HEAD and DELETE must not give an offset or completeness', () => {
  assert.deepEqual(versionsWhere(({ refusesState }) => refusesState), [3, 4, 5, 6])
})

test('from version 9 on an append that adds nothing to a complete upload gets the final response again', () => {
  assert.deepEqual(versionsWhere(({ replays }) => replays), [9])
})

test('a handler speaks any choice of the versions, also of none, and of one twice', (t) => {
  const store = new FileStore(temporaryFolder(t))
  const choice = fc.array(fc.constantFrom(...VERSIONS, ...LATER))
  fc.assert(
    fc.property(choice, (interopVersions) => assert.equal(typeof rufhHandler({ store, interopVersions }), 'function')),
    { numRuns: 20 },
  )
  for (const interopVersions of [[], [8, 8, 9, 9], undefined]) assert.equal(typeof rufhHandler({ store, interopVersions }), 'function')
})

test('a number that cannot be a version is a RangeError that names it', (t) => {
  const store = new FileStore(temporaryFolder(t))
  for (const version of [0, 1, 2, 100, 3.5, 9.5, -9, NaN, Infinity]) {
    assert.throws(() => rufhHandler({ store, interopVersions: [8, version] }), {
      name: 'RangeError',
      message: `Cannot accept draft versions as interopVersions must be whole numbers from 3 to 99: received ${version}`,
    })
  }
})

test('a choice of versions that is not an array of numbers is a TypeError', (t) => {
  const store = new FileStore(temporaryFolder(t))
  const rows: readonly (readonly [choice: unknown, expected: string])[] = [
    ['8', 'an array: received string'],
    [8, 'an array: received number'],
    [new Set([8]), 'an array: received object'],
    [['8'], 'numbers: received string'],
    [[8, undefined], 'numbers: received undefined'],
    [[8n], 'numbers: received bigint'],
  ]
  for (const [choice, expected] of rows) {
    assert.throws(() => rufhHandler({ store, interopVersions: choice as InteropVersion[] }), {
      name: 'TypeError',
      message: `Cannot accept draft versions as interopVersions must be ${expected}`,
    })
  }
})
