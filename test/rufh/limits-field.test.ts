// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CURRENT, dialectOf, type Dialect } from '../../lib/rufh/interop.ts'
import { limitField, type Limits } from '../../lib/rufh/limits.ts'
import { parseDictionary } from '../../lib/rufh/structured-fields.ts'
import type { Upload } from '../../lib/upload/types.ts'

const UNBOUND = Number.MAX_SAFE_INTEGER
const MAX_INTEGER = 999_999_999_999_999
const HOUR_MS = 3_600_000

const NO_LIMITS = { maxSize: UNBOUND, maxAppendSize: UNBOUND, expiration: undefined, minSize: 0, minAppendSize: 0 } as Limits

function fieldOf(bounds: Partial<Limits>, limits: Partial<Limits> = {}, dialect: Dialect = CURRENT, upload?: Upload): string | undefined {
  const { 'Upload-Limit': field, ...others } = limitField({ ...NO_LIMITS, ...bounds, ...limits }, { dialect, upload })
  assert.deepEqual(others, {})
  return field
}

/** The members of a field that must be a dictionary of integers. */
function membersOf(field: string | undefined): ReadonlyMap<string, number> {
  const members = parseDictionary(field ?? assert.fail('no field')) ?? assert.fail(`${field} is no dictionary`)
  return new Map(
    Array.from(members, ([key, member]) => [key, member.type === 'integer' ? member.value : assert.fail(`${key} is no integer`)]),
  )
}

function upload(details: Partial<Upload> = {}): Upload {
  return {
    id: 'a', offset: 0, length: undefined, metadata: new Map(), encodedMetadata: undefined, state: 'receiving', outcome: undefined,
    partial: false,
    parts: undefined, encodedParts: undefined, maxSize: undefined, completion: 'explicit', createdAt: new Date(), updatedAt: new Date(),
    ...details,
  }
}

test('R17 · where there are no limits, that is said', () => {
  assert.equal(fieldOf({}), 'min-size=0')
  assert.equal(fieldOf({}, {}, CURRENT, upload()), 'min-size=0')
})

test('every limit that is set is reported', () => {
  const field = fieldOf({ maxSize: 1000, maxAppendSize: 100, expiration: { afterMs: HOUR_MS } }, { minSize: 10, minAppendSize: 5 })
  assert.equal(field, 'max-size=1000, min-size=10, max-append-size=100, min-append-size=5, max-age=3600')
})

test('a limit of zero is one, if it is the most', () => {
  assert.equal(fieldOf({ maxSize: 0 }), 'max-size=0')
  assert.equal(fieldOf({ maxAppendSize: 0 }), 'max-append-size=0')
})

test('the append limit is reported where it is below the size limit', () => {
  assert.equal(fieldOf({ maxSize: 10, maxAppendSize: 10 }), 'max-size=10')
  assert.equal(fieldOf({ maxSize: 10, maxAppendSize: 11 }), 'max-size=10')
  assert.equal(fieldOf({ maxSize: 10, maxAppendSize: 9 }), 'max-size=10, max-append-size=9')
})

test('a limit above the largest integer of a structured field is not reported', () => {
  assert.equal(fieldOf({ maxSize: MAX_INTEGER }), `max-size=${MAX_INTEGER}`)
  assert.equal(fieldOf({ maxSize: MAX_INTEGER + 1 }), 'min-size=0')
})

test('an upload has the size that was said when it was made', () => {
  assert.equal(fieldOf({ maxSize: 1000 }, {}, CURRENT, upload({ maxSize: 10 })), 'max-size=10')
  assert.equal(fieldOf({ maxSize: 1000 }, {}, CURRENT, upload()), 'max-size=1000')
})

test('the age of an upload is what is left of it, never more and never less than zero', () => {
  const createdAt = new Date(Date.now() - HOUR_MS / 2)
  const left = (afterMs: number, details: Partial<Upload> = {}): number | undefined =>
    membersOf(fieldOf({ expiration: { afterMs, from: 'creation' } }, {}, CURRENT, upload({ createdAt, ...details }))).get('max-age')
  const half = left(HOUR_MS) ?? assert.fail('no age')
  assert.ok(half <= 1800 && half > 1700, String(half))
  assert.equal(left(1000), 0)
  assert.equal(left(HOUR_MS, { state: 'finished' }), undefined, 'one that is finished does not expire')
})

for (const version of [3, 4, 5] as const) {
  test(`version ${version} has no such field`, () => assert.equal(fieldOf({ maxSize: 10 }, {}, dialectOf(version)), undefined))
}

test('version 6 says expires, later ones max-age', () => {
  const bounds = { expiration: { afterMs: 2500 } }
  assert.equal(fieldOf(bounds, {}, dialectOf(6)), 'expires=2')
  assert.equal(fieldOf(bounds, {}, dialectOf(7)), 'max-age=2')
  assert.equal(fieldOf(bounds, {}, dialectOf(8)), 'max-age=2')
})

test('R20 · whatever the limits, the field is a dictionary of integers that are not negative, and none is looser than what is enforced', () => {
  const size = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 100 }), fc.constantFrom(UNBOUND, MAX_INTEGER, MAX_INTEGER + 1))
  const age = fc.option(fc.oneof(fc.integer({ min: 1, max: UNBOUND }), fc.double({ min: 1, max: UNBOUND, noNaN: true })), {
    nil: undefined,
  })
  const made = fc.option(
    fc.record({ maxSize: fc.option(size, { nil: undefined }), createdAt: fc.date({ min: new Date(0), noInvalidDate: true }) }),
    { nil: undefined },
  )
  fc.assert(
    fc.property(size, size, size, size, age, made, (maxSize, maxAppendSize, minSize, minAppendSize, afterMs, details) => {
      const expiration = afterMs === undefined ? undefined : ({ afterMs, from: 'creation' } as const)
      const members = membersOf(
        fieldOf({ maxSize, maxAppendSize, expiration }, { minSize, minAppendSize }, CURRENT, details && upload(details)),
      )
      for (const [key, value] of members) {
        assert.ok(['max-size', 'min-size', 'max-append-size', 'min-append-size', 'max-age'].includes(key), key)
        assert.ok(Number.isSafeInteger(value) && value >= 0 && value <= MAX_INTEGER, `${key}=${value}`)
      }
      const most = details?.maxSize ?? maxSize
      assert.equal(members.get('max-size'), most <= MAX_INTEGER ? most : undefined)
      if (maxAppendSize < most && maxAppendSize <= MAX_INTEGER) assert.equal(members.get('max-append-size'), maxAppendSize)
      if (minAppendSize > 0 && minAppendSize <= MAX_INTEGER) assert.equal(members.get('min-append-size'), minAppendSize)
      const least = Math.min(minSize, most) // onCreate may allow less than that is
      if (least > 0 && least <= MAX_INTEGER) assert.equal(members.get('min-size'), least)
    }),
  )
})
