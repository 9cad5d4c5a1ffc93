// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { INLINE_MEDIA_TYPES, parseMediaType } from '../../lib/download/media-type.ts'

const accepted: readonly (readonly [text: string, type: string])[] = [
  ['image/png', 'image/png'],
  ['IMAGE/Png', 'image/png'],
  ['text/plain;charset=utf-8', 'text/plain'],
  ['text/plain \t ; charset="utf-8"', 'text/plain'],
  ['text/plain;', 'text/plain'],
  ['text/plain; \r\nX: y', 'text/plain'],
  ['text/plain ', 'text/plain'],
  ['image/svg+xml', 'image/svg+xml'],
  ['application/vnd.ms-excel', 'application/vnd.ms-excel'],
  ["a/!#$%&'*+-.^_`|~", "a/!#$%&'*+-.^_`|~"],
  ['*/*', '*/*'],
]

const malformed = [
  '', ' ', '/', 'text', 'text/', '/plain', 'text/plain/x', ' text/plain', 'text /plain', 'text/ plain', 'text/plain x',
  'text/plain, text/html',
  'text/pläin', 'text/plain\r\nX: y', 'text/plain\n', 'text/plain\0', 'text\\plain', '"text/plain"', '<b>/x', 'text/plain\u00a0;',
  'text/ｈtml', ';text/plain',
]

for (const [text, type] of accepted) {
  test(`${JSON.stringify(text)} is the type ${type}`, () => assert.equal(parseMediaType(text), type))
}

for (const text of malformed) {
  test(`${JSON.stringify(text)} is malformed`, () => assert.equal(parseMediaType(text), undefined))
}

test('what may be shown is passive, and spelled as types are read', () => {
  for (const type of INLINE_MEDIA_TYPES) {
    assert.equal(parseMediaType(type), type)
    assert.doesNotMatch(type, /html|xml|svg|script|css|pdf|flash|json|application|multipart|message/)
  }
})

test('any text is a pair of tokens in lower case, or malformed', () => {
  const nearlyTypes = fc.string({ unit: fc.constantFrom(...'aZ09/;= \t+.-"\r\n') })
  fc.assert(
    fc.property(fc.oneof(nearlyTypes, fc.string({ unit: 'binary' })), (text) => {
      const type = parseMediaType(text)
      if (type === undefined) return
      assert.match(type, /^[^\s/;,A-Z"]+\/[^\s/;,A-Z"]+$/)
      assert.ok(text.toLowerCase().startsWith(type))
      assert.equal(parseMediaType(type), type)
    }),
    { numRuns: 2000 },
  )
})

test('100 KB of a type are read in linear time', () => {
  const start = performance.now()
  for (const text of ['a'.repeat(100_000), `a/${'b'.repeat(100_000)}"`, `a/b${' '.repeat(100_000)}x`, '/'.repeat(100_000)]) {
    assert.equal(parseMediaType(text), undefined)
  }
  assert.ok(performance.now() - start < 2000)
})
