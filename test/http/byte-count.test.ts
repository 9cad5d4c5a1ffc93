// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseByteCount } from '../../lib/http/byte-count.ts'

const accepted: readonly (readonly [text: string, count: number])[] = [
  ['0', 0],
  ['1', 1],
  ['10', 10],
  ['999999999999999', 999_999_999_999_999],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
]

const malformed = [
  '', ' ', ' 1', '1 ', '-1', '-0', '+0', '+5', '1.0', '1.', '.5', '1e3', '1E3', '0x10', '0b1', '0o7', '1_000', '1n', '00', '01', '0 0',
  '5, 5', '5,5', 'abc', 'NaN', 'Infinity', '1\n', '\n1', '1\r\n2', '1\0', '١', '１', '9007199254740992', '9007199254740993',
  '9223372036854775808', '18446744073709551616', '9'.repeat(100_000),
]

for (const [text, count] of accepted) {
  test(`${JSON.stringify(text)} is ${count} bytes`, () => assert.equal(parseByteCount(text), count))
}

for (const text of malformed) {
  test(`${JSON.stringify(text.slice(0, 20))} is malformed`, () => assert.equal(parseByteCount(text), undefined))
}

test('every number of bytes that can be counted exactly is read back as it was written', () => {
  fc.assert(fc.property(fc.maxSafeNat(), (count) => assert.equal(parseByteCount(String(count)), count)))
})

test('no number above Number.MAX_SAFE_INTEGER is read', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: BigInt(Number.MAX_SAFE_INTEGER) + 1n, max: 2n ** 200n }), (count) => {
      assert.equal(parseByteCount(String(count)), undefined)
    }),
  )
})

test('any text is a number of bytes in its one spelling, or malformed', () => {
  const nearlyNumbers = fc.string({ unit: fc.constantFrom(...'0123456789+-.eExX ,_n\r\n\0') })
  fc.assert(
    fc.property(fc.oneof(nearlyNumbers, fc.string({ unit: 'binary' })), (text) => {
      const count = parseByteCount(text)
      if (count === undefined) return
      assert.ok(Number.isSafeInteger(count) && count >= 0)
      assert.equal(String(count), text)
    }),
    { numRuns: 2000 },
  )
})
