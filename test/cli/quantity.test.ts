// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDuration, parseSize } from '../../lib/cli/quantity.ts'

const SIZES: Readonly<Record<string, number>> = {
  '0': 0,
  '1': 1,
  '4096': 4096,
  '007': 7,
  '512B': 512,
  '2KB': 2000,
  '2kB': 2000,
  '2MB': 2_000_000,
  '2GB': 2_000_000_000,
  '2TB': 2_000_000_000_000,
  '10KiB': 10_240,
  '10MiB': 10_485_760,
  '100GiB': 107_374_182_400,
  '1TiB': 1_099_511_627_776,
  '8191TiB': 8191 * 2 ** 40,
  '999999999999999': 999_999_999_999_999,
  '9007199254740991': Number.MAX_SAFE_INTEGER,
}

const DURATIONS: Readonly<Record<string, number>> = {
  '0ms': 0,
  '500ms': 500,
  '30s': 30_000,
  '5m': 300_000,
  '24h': 86_400_000,
}

const NO_QUANTITIES = [
  '', ' ', 'MiB', 's', '-1', '+1', '-1s', '1.5GiB', '1,5GB', '1_000', '1e3', '0x10', '1n', ' 1', '1 ', '1\n', '1 MiB', '1 s',
  'NaN', 'Infinity', '١', '１', '1MiBs', '1MiB1', '9007199254740993', '10000000000000000', '9999999999999999GiB', 'constructor',
  '1__proto__',
]

for (const [text, bytes] of Object.entries(SIZES)) {
  test(`The size ${text} is ${bytes} bytes`, () => assert.equal(parseSize(text), bytes))
}

for (const [text, ms] of Object.entries(DURATIONS)) {
  test(`The duration ${text} is ${ms} milliseconds`, () => assert.equal(parseDuration(text), ms))
}

for (const text of NO_QUANTITIES) {
  test(`${JSON.stringify(text)} is neither a size nor a duration`, () => {
    assert.equal(parseSize(text), undefined)
    assert.equal(parseDuration(text), undefined)
  })
}

test('A size has no unit of time, and no unit in another case', () => {
  for (const text of ['1s', '1ms', '1h', '1kb', '1Kb', '1mb', '1mib', '1MIB', '1K', '1M', '1G', '1b', '1PB']) {
    assert.equal(parseSize(text), undefined, text)
  }
})

test('A duration has a unit, and not one of size', () => {
  for (const text of ['0', '500', '1S', '1MS', '1H', '1d', '1w', '1us', '1B', '1min']) {
    assert.equal(parseDuration(text), undefined, text)
  }
})

test('A size beyond what a number holds exactly is refused, not rounded', () => {
  assert.equal(parseSize('8192TiB'), undefined)
  assert.equal(parseSize('9007TB'), 9007e12)
  assert.equal(parseSize('9008TB'), undefined)
})

const BYTES_BY_UNIT = {
  '': 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
}
const MS_BY_UNIT = { ms: 1, s: 1e3, m: 60e3, h: 3600e3 }

test('Every whole number with a unit is that number of units, if it can be held exactly', () => {
  for (const [parse, factors] of [[parseSize, BYTES_BY_UNIT], [parseDuration, MS_BY_UNIT]] as const) {
    const written = fc.record({ count: fc.nat({ max: 999_999_999_999_999 }), unit: fc.constantFrom(...Object.entries(factors)) })
    fc.assert(fc.property(written, ({ count, unit: [unit, factor] }) => {
      const exact = BigInt(count) * BigInt(factor)
      const expected = exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : undefined
      assert.equal(parse(`${count}${unit}`), expected)
    }))
  }
})

test('Any text at all is a whole number of units or nothing', () => {
  const almost = fc.stringMatching(/^[-+ ]?[0-9]{0,17}[ .,]?[0-9]?[A-Za-z]{0,4}$/)
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), almost), (text) => {
    for (const parse of [parseSize, parseDuration]) {
      const quantity = parse(text)
      if (quantity === undefined) continue
      assert.match(text, /^[0-9]{1,15}([KMGT]i?B|B|ms|s|m|h)?$/)
      assert.ok(Number.isSafeInteger(quantity) && quantity >= 0)
    }
  }))
})
