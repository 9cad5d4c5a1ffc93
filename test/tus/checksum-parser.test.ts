// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash, getHashes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { announcesChecksum, CHECKSUM_ALGORITHMS, parseChecksum } from '../../lib/tus/checksum.ts'

const SHA1 = 'Kq5sNclPz7QV2+lfQIuc6R7oRu0=' // of "hello world", as the specification has it

test('T98 · the algorithms are sha1, sha256, sha512 and md5, which node:crypto knows under the same names', () => {
  assert.deepEqual([...CHECKSUM_ALGORITHMS].sort(), ['md5', 'sha1', 'sha256', 'sha512'])
  for (const name of CHECKSUM_ALGORITHMS) assert.ok(getHashes().includes(name))
})

test('T99 · the checksum of the specification is read', () => {
  const checksum = parseChecksum(`sha1 ${SHA1}`)
  assert.equal(checksum?.algorithm, 'sha1')
  assert.deepEqual(checksum.digest, createHash('sha1').update('hello world').digest())
})

const hex = createHash('sha1').update('hello world').digest('hex')

const malformed: readonly (readonly [what: string, text: string])[] = [
  ['nothing', ''],
  ['a space', ' '],
  ['an algorithm alone', 'sha1'],
  ['an algorithm and a space', 'sha1 '],
  ['a digest alone', SHA1],
  ['a digest behind a space', ` ${SHA1}`],
  ['two spaces', `sha1  ${SHA1}`],
  ['a tab', `sha1\t${SHA1}`],
  ['a space before it', ` sha1 ${SHA1}`],
  ['a space behind it', `sha1 ${SHA1} `],
  ['a line end behind it', `sha1 ${SHA1}\n`],
  ['an algorithm that nobody knows', 'crc99 AAAA'],
  ['an algorithm that others know', `ripemd160 ${SHA1}`],
  ['an algorithm in upper case', `SHA1 ${SHA1}`],
  ['another spelling of the algorithm', `sha-1 ${SHA1}`],
  ['a name that every object has', `__proto__ ${SHA1}`],
  ['the digest of another algorithm', `sha256 ${SHA1}`],
  ['a digest that is too short', 'sha1 AAAA'],
  ['a digest that is one byte too long', `sha1 ${Buffer.alloc(21).toString('base64')}`],
  ['the digest in hexadecimal', `sha1 ${hex}`],
  ['base64 of the digest in hexadecimal', `sha1 ${Buffer.from(hex).toString('base64')}`],
  ['no base64', 'sha1 ###########################='],
  ['base64 without its padding', `sha1 ${SHA1.slice(0, -1)}`],
  ['base64 with too much padding', `sha1 ${SHA1}=`],
  ['base64 of the URL-safe alphabet', `sha1 ${SHA1.replace('+', '-')}`],
  ['padding in the middle', `sha1 ${SHA1}${SHA1}`],
  ['two checksums', `sha1 ${SHA1}, sha1 ${SHA1}`],
  ['two checksums without a space', `sha1 ${SHA1},sha1 ${SHA1}`],
  ['a parameter', `sha1 ${SHA1};x=1`],
  ['the fields of another standard', `sha1=:${SHA1}:`],
]

for (const [what, text] of malformed) {
  test(`T102, T103 · ${what} is malformed: ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parseChecksum(text), undefined))
}

const algorithms = fc.constantFrom(...CHECKSUM_ALGORITHMS)

test('every digest of every algorithm is read back as it was', () => {
  fc.assert(
    fc.property(algorithms, fc.uint8Array({ maxLength: 300 }), (algorithm, body) => {
      const digest = createHash(algorithm).update(body).digest()
      assert.deepEqual(parseChecksum(`${algorithm} ${digest.toString('base64')}`), { algorithm, digest })
    }),
  )
})

test('a digest of another length than its algorithm has is malformed', () => {
  fc.assert(
    fc.property(algorithms, fc.uint8Array({ maxLength: 100 }), (algorithm, bytes) => {
      const fits = createHash(algorithm).digest().length === bytes.length
      assert.equal(parseChecksum(`${algorithm} ${Buffer.from(bytes).toString('base64')}`) !== undefined, fits)
    }),
    { numRuns: 1000 },
  )
})

test('one character more, less or other makes a checksum malformed, or another one; never the same', () => {
  const edits = fc.record({ at: fc.nat(32), remove: fc.nat(2), insert: fc.string({ unit: 'binary', maxLength: 2 }) })
  const text = `sha1 ${SHA1}`
  fc.assert(
    fc.property(edits, ({ at, remove, insert }) => {
      const edited = text.slice(0, at) + insert + text.slice(at + remove)
      const inLastGroup = at >= text.length - 3 // its spare bits may be set; they are of no byte
      if (edited === text || inLastGroup) return
      assert.notDeepEqual(parseChecksum(edited), parseChecksum(text))
    }),
    { numRuns: 2000 },
  )
})

test('any text is a checksum of a known algorithm and the right length, or malformed; nothing throws', () => {
  const almost = fc.tuple(
    fc.oneof(algorithms, fc.string()),
    fc.constantFrom(' ', '', '  ', '\t', ', '),
    fc.oneof(fc.base64String(), fc.string()),
  )
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), almost.map((parts) => parts.join(''))), (text) => {
      const checksum = parseChecksum(text)
      if (!checksum) return
      assert.ok(CHECKSUM_ALGORITHMS.includes(checksum.algorithm))
      assert.equal(checksum.digest.length, createHash(checksum.algorithm).digest().length)
    }),
    { numRuns: 2000 },
  )
})

test('a text of any size is judged at once: no input makes the expression slow', () => {
  for (const text of [
    `sha1 ${'A'.repeat(1_000_000)}`,
    `sha1 ${'='.repeat(1_000_000)}`,
    'a'.repeat(1_000_000),
    `sha1 ${'AA=='.repeat(250_000)}`,
  ]) {
    const startedMs = performance.now()
    assert.equal(parseChecksum(text), undefined)
    assert.ok(performance.now() - startedMs < 5000)
  }
})

const trailers: readonly (readonly [announces: boolean, trailer: string | undefined])[] = [
  [true, 'Upload-Checksum'],
  [true, 'upload-checksum'],
  [true, 'UPLOAD-CHECKSUM'],
  [true, ' Upload-Checksum\t'],
  [true, 'Server-Timing, Upload-Checksum'],
  [true, 'Upload-Checksum,Server-Timing'],
  [true, ',, Upload-Checksum ,'],
  [false, undefined],
  [false, ''],
  [false, ','],
  [false, 'Upload-Checksums'],
  [false, 'X-Upload-Checksum'],
  [false, 'Upload-Checksum Server-Timing'],
  [false, '"Upload-Checksum"'],
]

for (const [announces, trailer] of trailers) {
  test(`T107 · Trailer: ${trailer} ${announces ? 'announces' : 'does not announce'} a checksum`, () => {
    assert.equal(announcesChecksum(trailer), announces)
  })
}
