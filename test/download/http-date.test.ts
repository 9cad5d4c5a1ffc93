// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatHttpDate, parseHttpDate } from '../../lib/download/http-date.ts'

const accepted: readonly (readonly [text: string, seconds: number])[] = [
  ['Sun, 06 Nov 1994 08:49:37 GMT', 784_111_777],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['Wed, 31 Dec 1969 23:59:59 GMT', -1],
  ['Thu, 29 Feb 2024 12:00:00 GMT', 1_709_208_000],
  ['Tue, 19 Jan 2038 03:14:08 GMT', 2 ** 31],
  ['Fri, 31 Dec 9999 23:59:59 GMT', 253_402_300_799],
]

const malformed = [
  '', ' ', 'now', '0', '784111777', '1994-11-06T08:49:37Z', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994',
  'Mon, 06 Nov 1994 08:49:37 GMT', 'sun, 06 Nov 1994 08:49:37 GMT', 'Sun, 06 nov 1994 08:49:37 GMT', 'Sun, 06 Nov 1994 08:49:37 gmt',
  'Sun, 06 Nov 1994 08:49:37 UTC', 'Sun, 06 Nov 1994 08:49:37 +0000', 'Sun, 06 Nov 1994 08:49:37', 'Sun, 6 Nov 1994 08:49:37 GMT',
  'Sun, 06 Nov 94 08:49:37 GMT', 'Sun, 06 Nov 1994 8:49:37 GMT', 'Sun, 06 Nov 1994 08:49 GMT', 'Sun, 06 Nov 1994 08:49:37.0 GMT',
  'Sun, 06 Nov 1994 24:00:00 GMT', 'Mon, 07 Nov 1994 24:00:00 GMT', 'Sun, 06 Nov 1994 08:60:00 GMT', 'Sat, 31 Dec 2016 23:59:60 GMT',
  'Thu, 30 Feb 2023 00:00:00 GMT', 'Thu, 02 Mar 2023 00:00:00 GMT ', ' Thu, 02 Mar 2023 00:00:00 GMT', 'Wed, 29 Feb 2023 00:00:00 GMT',
  'Sun, 00 Nov 1994 08:49:37 GMT', 'Sun, 32 Nov 1994 08:49:37 GMT', 'Sun, 06 Foo 1994 08:49:37 GMT', 'Foo, 06 Nov 1994 08:49:37 GMT',
  'Sun,  06 Nov 1994 08:49:37 GMT', 'Sun,06 Nov 1994 08:49:37 GMT', 'Sun 06 Nov 1994 08:49:37 GMT', 'Sun, 06-Nov-1994 08:49:37 GMT',
  'Sun, 06 Nov 1994 08:49:37 GMT\n', 'Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT', 'Sun, ٠٦ Nov 1994 08:49:37 GMT',
  'Sat, 01 Jan 10000 00:00:00 GMT', '"Sun, 06 Nov 1994 08:49:37 GMT"',
]

for (const [text, seconds] of accepted) {
  test(`${text} is ${seconds} seconds from 1970`, () => {
    assert.equal(parseHttpDate(text), seconds)
    assert.equal(formatHttpDate(seconds), text)
  })
}

for (const text of malformed) {
  test(`${JSON.stringify(text)} is malformed`, () => assert.equal(parseHttpDate(text), undefined))
}

const secondsOf = (year: number): number => Date.UTC(year, 0) / 1000

test('every second of the years 100 to 9999 is read back as it was written', () => {
  fc.assert(
    fc.property(fc.integer({ min: secondsOf(100), max: secondsOf(10_000) - 1 }), (seconds) => {
      assert.equal(parseHttpDate(formatHttpDate(seconds)), seconds)
    }),
    { numRuns: 2000 },
  )
})

test('any text is a date in its one spelling, or malformed', () => {
  const one = (...texts: string[]): fc.Arbitrary<string> => fc.constantFrom(...texts)
  const digits = (width: number): fc.Arbitrary<string> => fc.nat(10 ** width - 1).map((number) => String(number).padStart(width, '0'))
  const nearlyDates = fc
    .tuple(one('Sun', 'Mon', 'Thu', 'Xyz'), digits(2), one('Jan', 'Feb', 'Nov', 'Abc'), digits(4), fc.nat(25), fc.nat(61), fc.nat(61))
    .map(([name, day, month, year, ...time]) => `${name}, ${day} ${month} ${year} ${time.map((part) => String(part).padStart(2, '0')).join(':')} GMT`)
  fc.assert(
    fc.property(fc.oneof(nearlyDates, fc.string({ unit: 'binary' })), (text) => {
      const seconds = parseHttpDate(text)
      if (seconds !== undefined) assert.equal(formatHttpDate(seconds), text)
    }),
    { numRuns: 5000 },
  )
})
