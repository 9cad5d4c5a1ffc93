// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseByteRange, type ByteRange } from '../../lib/download/byte-range.ts'

const LENGTH = 11

const parts: readonly (readonly [header: string, start: number, end: number])[] = [
  ['bytes=0-0', 0, 1],
  ['bytes=0-4', 0, 5],
  ['bytes=10-10', 10, 11],
  ['bytes=0-10', 0, 11],
  ['bytes=0-', 0, 11],
  ['bytes=6-', 6, 11],
  ['bytes=10-', 10, 11],
  ['bytes=6-11', 6, 11],
  ['bytes=6-9007199254740991', 6, 11],
  ['bytes=6-9007199254740993', 6, 11],
  [`bytes=6-${'9'.repeat(1000)}`, 6, 11],
  ['bytes=-1', 10, 11],
  ['bytes=-11', 0, 11],
  ['bytes=-12', 0, 11],
  [`bytes=-${'9'.repeat(1000)}`, 0, 11],
  ['bytes=0000-0004', 0, 5],
  ['Bytes=0-4', 0, 5],
  ['BYTES=-5', 6, 11],
]

const unsatisfiable = [
  'bytes=11-',
  'bytes=11-11',
  'bytes=12-20',
  'bytes=9007199254740993-',
  `bytes=${'9'.repeat(1000)}-`,
  'bytes=-0',
  'bytes=-000',
]

const ignored = [
  '', ' ', 'bytes', 'bytes=', 'bytes=-', 'bytes= 0-4', 'bytes=0-4 ', ' bytes=0-4', 'bytes =0-4', 'bytes=0 -4', 'bytes=0-4-', 'bytes=--5',
  'bytes=4',
  'bytes=4-2', 'bytes=20-12', 'bytes=+0-4', 'bytes=0-+4', 'bytes=0x0-4', 'bytes=1e1-', 'bytes=0.0-4', 'bytes=a-b', 'bytes:0-4', '0-4',
  'bytes=0-4\n',
  'bytes=٠-٤', 'bytes=0-4\0', 'items=0-4', 'seconds=0-', 'none=0-4', 'xbytes=0-4', 'bytes=0-0,5-', 'bytes=0-0,5-6', 'bytes=0-0, 5-6',
  'bytes=0-,0-,0-,0-',
  'bytes=0-4,', 'bytes=,0-4', 'bytes=0-4, bytes=5-6',
]

for (const [header, start, end] of parts) {
  test(`${JSON.stringify(header.slice(0, 40))} is the bytes from ${start} up to ${end} of ${LENGTH}`, () => {
    assert.deepEqual(parseByteRange(header, LENGTH), { kind: 'part', start, end })
  })
}

for (const header of unsatisfiable) {
  test(`${JSON.stringify(header.slice(0, 40))} lies outside of ${LENGTH} bytes`, () => {
    assert.deepEqual(parseByteRange(header, LENGTH), { kind: 'unsatisfiable' })
  })
}

for (const header of ignored) {
  test(`${JSON.stringify(header)} is ignored: the answer is the whole`, () =>
    assert.deepEqual(parseByteRange(header, LENGTH), { kind: 'whole' }))
}

test('no header asks for the whole', () => assert.deepEqual(parseByteRange(undefined, LENGTH), { kind: 'whole' }))

test('empty content has no first byte, and its last bytes are the whole of it', () => {
  for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=5-9', 'bytes=-0']) {
    assert.deepEqual(parseByteRange(header, 0), { kind: 'unsatisfiable' })
  }
  for (const header of ['bytes=-1', 'bytes=-500', 'bytes=5-4', undefined]) assert.deepEqual(parseByteRange(header, 0), { kind: 'whole' })
})

test('the last byte of the longest content that can be counted is a range', () => {
  const last = Number.MAX_SAFE_INTEGER - 1
  const expected = { kind: 'part', start: last, end: Number.MAX_SAFE_INTEGER }
  assert.deepEqual(parseByteRange(`bytes=${last}-`, Number.MAX_SAFE_INTEGER), expected)
  assert.deepEqual(parseByteRange('bytes=-1', Number.MAX_SAFE_INTEGER), expected)
  assert.deepEqual(parseByteRange(`bytes=${last + 1}-`, Number.MAX_SAFE_INTEGER), { kind: 'unsatisfiable' })
})

test('a length that is no number of bytes is refused', () => {
  for (const length of [-1, 0.5, NaN, Infinity, Number.MAX_SAFE_INTEGER + 1]) {
    assert.throws(
      () => parseByteRange('bytes=0-', length),
      new RangeError(`Cannot read a range as length must be a whole number of bytes: received ${length}`),
    )
  }
})

/** The definition, position by position: those of the content that the range names. */
function model(content: number, names: (position: bigint) => boolean): ByteRange {
  const positions = Array.from({ length: content }, (_, position) => position).filter((position) => names(BigInt(position)))
  if (positions.length === 0) return { kind: 'unsatisfiable' }
  return { kind: 'part', start: positions[0]!, end: positions.at(-1)! + 1 }
}

const content = fc.nat(40)
const near = fc.bigInt(0n, 45n)
const anywhere = fc.oneof({ weight: 4, arbitrary: near }, fc.bigInt(0n, 2n ** 80n))
const zeros = fc.constantFrom('', '0', '000')

test('a range from one position to another is what its definition says, byte by byte', () => {
  fc.assert(
    fc.property(content, anywhere, anywhere, zeros, (length, first, last, zero) => {
      const range = parseByteRange(`bytes=${zero}${first}-${zero}${last}`, length)
      if (last >= first) assert.deepEqual(range, model(length, (position) => first <= position && position <= last))
      else if (last < 2n ** 53n) assert.deepEqual(range, { kind: 'whole' })
      else assert.notEqual(range.kind, 'part', 'up there, which is the lower may be lost in rounding')
    }),
    { numRuns: 2000 },
  )
})

test('an open range and the last so many bytes are what their definitions say, byte by byte', () => {
  fc.assert(
    fc.property(content, anywhere, zeros, (length, number, zero) => {
      assert.deepEqual(parseByteRange(`bytes=${zero}${number}-`, length), model(length, (position) => position >= number))
      const suffix = length === 0 && number > 0n ? { kind: 'whole' } : model(length, (position) => position >= BigInt(length) - number)
      assert.deepEqual(parseByteRange(`bytes=-${zero}${number}`, length), suffix)
    }),
    { numRuns: 2000 },
  )
})

test('any text is a part that lies within the content, or none', () => {
  const nearlyRanges = fc.string({ unit: fc.constantFrom(...'0123456789-,= bytes') }).map((text) => `bytes=${text}`)
  fc.assert(
    fc.property(fc.oneof(nearlyRanges, fc.string({ unit: 'binary' })), fc.maxSafeNat(), (header, length) => {
      const range = parseByteRange(header, length)
      if (range.kind === 'part') assert.ok(0 <= range.start && range.start < range.end && range.end <= length)
    }),
    { numRuns: 2000 },
  )
})

test('100 KB of a range are read in linear time', () => {
  const start = performance.now()
  for (const text of [
    '0'.repeat(100_000),
    `${'9'.repeat(100_000)}-x`,
    `0-${'9'.repeat(100_000)}x`,
    '0-0,'.repeat(25_000),
    '-'.repeat(100_000),
  ]) {
    assert.deepEqual(parseByteRange(`bytes=${text}`, LENGTH), { kind: 'whole' })
  }
  assert.ok(performance.now() - start < 2000)
})
