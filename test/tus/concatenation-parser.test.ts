// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseConcatenation } from '../../lib/tus/concatenation.ts'

const finals: readonly (readonly [header: string, addresses: readonly string[]])[] = [
  ['final;/files/a', ['/files/a']],
  ['final;/files/a /files/b', ['/files/a', '/files/b']],
  ['final;/files/a /files/a', ['/files/a', '/files/a']],
  ['final;http://test/files/a /files/b', ['http://test/files/a', '/files/b']],
  ['final;a;b', ['a;b']],
  ['final;a,b', ['a,b']],
  ['final;final;a', ['final;a']],
  ['final;partial', ['partial']],
]

const malformed = [
  '', ' ', ';', 'foo', 'final', 'final ', 'final;', 'final; ', 'final;  ', 'final; a', 'final;a ', 'final;a  b', 'final;a\tb', 'final;a\nb',
  'final;a\r\nX: y',
  'final;\0', 'final;é', 'final;/files/ä', 'final;\u00a0', 'final a', 'final:a', 'Final;a', 'FINAL;a', ' final;a', 'partial;', 'partial;x',
  'partial ',
  ' partial', 'Partial', 'PARTIAL', 'partial, partial', 'partial,final;a', 'final;a\n', 'partial\n',
]

test('"partial" is a part', () => assert.deepEqual(parseConcatenation('partial'), { kind: 'partial' }))

for (const [header, addresses] of finals) {
  test(`${JSON.stringify(header)} is the concatenation of ${addresses.join(' and ')}`, () => {
    assert.deepEqual(parseConcatenation(header), { kind: 'final', addresses })
  })
}

for (const header of malformed) {
  test(`${JSON.stringify(header)} is malformed`, () => assert.equal(parseConcatenation(header), undefined))
}

const address = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), minLength: 1 })

test('addresses of visible characters are read back as they were joined, in their order', () => {
  fc.assert(
    fc.property(fc.array(address, { minLength: 1 }), (addresses) => {
      assert.deepEqual(parseConcatenation(`final;${addresses.join(' ')}`), { kind: 'final', addresses })
    }),
  )
})

test('any text is a part, a list that spells the same text again, or malformed; nothing throws', () => {
  const nearly = fc.string({ unit: fc.constantFrom('final;', 'partial', 'final', ';', ' ', '/files/', 'a', 'é', '\n', '\0', ',') })
  let finals = 0
  fc.assert(
    fc.property(fc.oneof(nearly, fc.string({ unit: 'binary' }), nearly.map((text) => `final;${text}`)), (header) => {
      const concatenation = parseConcatenation(header)
      if (concatenation === undefined) return
      if (concatenation.kind === 'partial') return assert.equal(header, 'partial')
      finals++
      assert.equal(`final;${concatenation.addresses.join(' ')}`, header)
      for (const part of concatenation.addresses) assert.match(part, /^[!-~]+$/)
    }),
    { numRuns: 5000 },
  )
  assert.ok(finals > 0, 'some of the texts were lists')
})

const size = 100 * 1024
const large: readonly (readonly [what: string, header: string, addresses: number | undefined])[] = [
  ['one address', `final;${'a'.repeat(size)}`, 1],
  ['many addresses', `final;${Array.from({ length: size / 2 }, () => 'a').join(' ')}`, size / 2],
  ['many addresses that end badly', `final;${'a '.repeat(size / 2)}`, undefined],
  ['many addresses with a control character behind them', `final;${'a b'.repeat(size / 3)}\0`, undefined],
  ['spaces', `final;${' '.repeat(size)}`, undefined],
]

for (const [what, header, count] of large) {
  test(`100 KB are read in linear time: ${what}`, () => {
    const start = performance.now()
    const concatenation = parseConcatenation(header)
    assert.equal(concatenation?.kind === 'final' ? concatenation.addresses.length : undefined, count)
    assert.ok(performance.now() - start < 2000)
  })
}
