// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatMetadata, parseMetadata, trimMetadata } from '../../lib/tus/metadata.ts'

const accepted: readonly (readonly [header: string, entries: readonly (readonly [string, string])[]])[] = [
  ['filename d29ybGQ=', [['filename', 'world']]],
  ['filename d29ybGQ=,is_confidential', [['filename', 'world'], ['is_confidential', '']]],
  ['filename d29ybGQ=, filetype eA==', [['filename', 'world'], ['filetype', 'x']]],
  ['a eA==\t ,\t b,c eQ==  , d ', [['a', 'x'], ['b', ''], ['c', 'y'], ['d', '']]],
  [' k eA== ', [['k', 'x']]],
  [' eA==', [['eA==', '']]],
  ['k  , l', [['k', ''], ['l', '']]],
  ['k', [['k', '']]],
  ['k ', [['k', '']]],
  ['a ,b eA==', [['a', ''], ['b', 'x']]],
  ['k w6k=', [['k', 'é']]],
  ['k eA==,K eQ==', [['k', 'x'], ['K', 'y']]],
  ['__proto__ eA==', [['__proto__', 'x']]],
  ['constructor eA==,toString eQ==,hasOwnProperty', [['constructor', 'x'], ['toString', 'y'], ['hasOwnProperty', '']]],
  ['a=b;c"d eA==', [['a=b;c"d', 'x']]],
  ['k Li4vLi4vZXRjL3Bhc3N3ZA==', [['k', '../../etc/passwd']]],
  ['k eA0KU2V0LUNvb2tpZTogYT0x', [['k', 'x\r\nSet-Cookie: a=1']]],
]

const malformed = [
  '', ' ', ',', 'k a b', 'k  eA==', 'k\t eA==', 'k eA==\u00a0', '\u3000k eA==', 'k !!!', 'k eA', 'k eA=', 'k e===', 'k =', 'k eA==eA==',
  'k -_-_',
  'k eA==,', ',k eA==', 'k eA==,,l eA==', 'k eA==, , l eA==', 'k eA==, ', 'k eA==, k eQ==', 'k eA==,\r\n l', 'k eA==,k eQ==', 'k,k',
  '__proto__ eA==,__proto__', 'k\teA==', 'k eA==\r\nX: y',
  'k\0 eA==', 'ключ eA==', 'k é', '\u00a0', 'k e A==',
]

for (const [header, entries] of accepted) {
  test(`${JSON.stringify(header)} has ${entries.length === 1 ? 'one entry' : `${entries.length} entries`}`, () => {
    assert.deepEqual([...(parseMetadata(header) ?? [])], entries)
  })
}

for (const header of malformed) {
  test(`${JSON.stringify(header)} is malformed`, () => assert.equal(parseMetadata(header), undefined))
}

test('a map without entries is no header', () => assert.equal(formatMetadata(new Map()), undefined))

test('an empty value is a key alone', () => assert.equal(formatMetadata(new Map([['k', ''], ['l', 'x']])), 'k,l eA=='))

const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
const key = fc.oneof(
  fc.string({ unit: visible.filter((character) => character !== ','), minLength: 1 }),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'valueOf', 'filename'),
)
const entries = fc.uniqueArray(fc.tuple(key, fc.string({ unit: 'binary' })), { selector: ([name]) => name, minLength: 1 })

test('metadata that were written are read back the same, in the same order', () => {
  fc.assert(
    fc.property(entries, (entries) => {
      const header = formatMetadata(new Map(entries)) ?? ''
      assert.match(header, /^[\x20-\x7e]+$/)
      assert.deepEqual([...(parseMetadata(header) ?? [])], entries)
    }),
  )
})

test('any text is a map of unique keys, or malformed; nothing throws and no prototype changes', () => {
  const nearlyMetadata = fc.string({ unit: fc.constantFrom(...'k,l = eA+/-_\t\r\n\0é', '__proto__', 'eA==', 'constructor') })
  fc.assert(
    fc.property(fc.oneof(nearlyMetadata, fc.string({ unit: 'binary' })), (header) => {
      const metadata = parseMetadata(header)
      if (metadata === undefined) return
      assert.equal(metadata.size, header.split(',').length)
      for (const name of metadata.keys()) assert.match(name, /^[!-+\--~]+$/)
      assert.equal(Object.getPrototypeOf({}), Object.prototype)
    }),
    { numRuns: 5000 },
  )
})

test('whatever is accepted can be written and read again without a change', () => {
  const value = fc.base64String()
  const header = fc
    .uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, minLength: 1 })
    .map((pairs) => pairs.map(([name, text]) => `${name} ${text}`).join(','))
  fc.assert(
    fc.property(header, (header) => {
      const metadata = parseMetadata(header) ?? assert.fail(`${header} was refused`)
      assert.deepEqual(parseMetadata(formatMetadata(metadata) ?? ''), metadata)
    }),
  )
})

test('white space around commas is taken out, and nothing else', () => {
  assert.equal(trimMetadata(' a eA== ,\tb , c,d\t,e  '), 'a eA==,b ,c,d,e ')
  fc.assert(
    fc.property(entries, fc.constantFrom('', ' ', '\t', ' \t '), fc.constantFrom('', ' ', '\t '), (entries, before, after) => {
      const sent = formatMetadata(new Map(entries)) ?? ''
      assert.equal(trimMetadata(sent), sent)
      const spaced = sent.split(',').map((entry) => (/ /.test(entry) ? `${after}${entry}${before}` : `${after}${entry}`)).join(',')
      assert.deepEqual([...(parseMetadata(spaced) ?? [])], entries)
      assert.equal(trimMetadata(spaced), sent)
    }),
  )
})

const size = 100 * 1024
const large: readonly (readonly [what: string, header: string, entries: number | undefined])[] = [
  ['one value', `k ${'A'.repeat(size)}`, 1],
  ['one value that ends badly', `k ${'A'.repeat(size)}!`, undefined],
  ['one value with its padding short', `k ${'A'.repeat(size + 1)}`, undefined],
  ['one key', 'k'.repeat(size), 1],
  ['one key that ends badly', `${'k'.repeat(size)}\n`, undefined],
  ['many entries', Array.from({ length: size / 10 }, (_, n) => `k${n} eA==`).join(','), size / 10],
  ['many entries, the last one repeated', `${Array.from({ length: size / 10 }, (_, n) => `k${n} eA==`).join(',')},k0`, undefined],
  ['commas', ','.repeat(size), undefined],
  ['spaces', ' '.repeat(size), undefined],
  ['one entry with spaces behind it', `k${' '.repeat(size)}`, 1],
  ['one entry with spaces behind it that ends badly', `k ${' '.repeat(size)}!`, undefined],
  [
    'spaces around commas',
    Array.from({ length: 100 }, (_, n) => `${' '.repeat(size / 200)}k${n}${'\t'.repeat(size / 200)}`).join(','),
    100,
  ],
  ['padding', `k ${'='.repeat(size)}`, undefined],
]

for (const [what, header, count] of large) {
  test(`100 KB of metadata are read in linear time: ${what}`, () => {
    const start = performance.now()
    assert.equal(parseMetadata(header)?.size, count)
    assert.ok(performance.now() - start < 2000)
  })
}

test('a key that does not fit into a header, as a store of another server may hold it, is left out', () => {
  const metadata = new Map([
    ['größe', 'a'],
    ['with space', 'b'],
    ['', 'c'],
    ['a,b', 'd'],
    ['line\r\nbreak', 'e'],
    ['名', 'f'],
    ['filename', 'x'],
  ])
  assert.equal(formatMetadata(metadata), 'filename eA==')
  assert.equal(formatMetadata(new Map([['größe', 'a']])), undefined)
})
