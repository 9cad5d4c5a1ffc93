// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatHttpDate } from '../../lib/download/http-date.ts'
import { evaluatePreconditions, rangeApplies, type ConditionalHeaders, type Verdict } from '../../lib/download/preconditions.ts'

const CURRENT = { etag: '"a-1"', modifiedSeconds: 784_111_777 }
const BEFORE = 'Sun, 06 Nov 1994 08:49:36 GMT'
const THEN = 'Sun, 06 Nov 1994 08:49:37 GMT'
const AFTER = 'Sun, 06 Nov 1994 08:49:38 GMT'
const OBSOLETE = 'Sunday, 06-Nov-94 08:49:36 GMT'

const verdicts: readonly (readonly [headers: ConditionalHeaders, verdict: Verdict])[] = [
  [{}, 'passed'],

  [{ 'if-match': '"a-1"' }, 'passed'],
  [{ 'if-match': '*' }, 'passed'],
  [{ 'if-match': '"x", "a-1"' }, 'passed'],
  [{ 'if-match': 'W/"x" ,\t"a-1",' }, 'passed'],
  [{ 'if-match': '"b-2"' }, 'failed'],
  [{ 'if-match': 'W/"a-1"' }, 'failed'],
  [{ 'if-match': '' }, 'failed'],
  [{ 'if-match': 'a-1' }, 'failed'],
  [{ 'if-match': '"*"' }, 'failed'],
  [{ 'if-match': '*, "a-1"' }, 'failed'],
  [{ 'if-match': '"a-1" "b-2"' }, 'failed'],
  [{ 'if-match': '"A-1"' }, 'failed'],

  [{ 'if-unmodified-since': BEFORE }, 'failed'],
  [{ 'if-unmodified-since': THEN }, 'passed'],
  [{ 'if-unmodified-since': AFTER }, 'passed'],
  [{ 'if-unmodified-since': OBSOLETE }, 'passed'],
  [{ 'if-unmodified-since': '' }, 'passed'],
  [{ 'if-match': '"a-1"', 'if-unmodified-since': BEFORE }, 'passed'],
  [{ 'if-match': '"b-2"', 'if-unmodified-since': AFTER }, 'failed'],
  [{ 'if-match': '', 'if-unmodified-since': AFTER }, 'failed'],

  [{ 'if-none-match': '"a-1"' }, 'not-modified'],
  [{ 'if-none-match': 'W/"a-1"' }, 'not-modified'],
  [{ 'if-none-match': '*' }, 'not-modified'],
  [{ 'if-none-match': '"x,y" , W/"a-1"' }, 'not-modified'],
  [{ 'if-none-match': ', ,"a-1"' }, 'not-modified'],
  [{ 'if-none-match': '"\x80ÿ", "a-1"' }, 'not-modified'],
  [{ 'if-none-match': '"b-2"' }, 'passed'],
  [{ 'if-none-match': '' }, 'passed'],
  [{ 'if-none-match': 'a-1' }, 'passed'],
  [{ 'if-none-match': 'w/"a-1"' }, 'passed'],
  [{ 'if-none-match': '"a-1" x' }, 'passed'],
  [{ 'if-none-match': '"a-1' }, 'passed'],
  [{ 'if-none-match': '"x"a-1"' }, 'passed'],

  [{ 'if-modified-since': BEFORE }, 'passed'],
  [{ 'if-modified-since': THEN }, 'not-modified'],
  [{ 'if-modified-since': AFTER }, 'not-modified'],
  [{ 'if-modified-since': OBSOLETE }, 'passed'],
  [{ 'if-modified-since': 'tomorrow' }, 'passed'],
  [{ 'if-none-match': '"a-1"', 'if-modified-since': BEFORE }, 'not-modified'],
  [{ 'if-none-match': '"b-2"', 'if-modified-since': AFTER }, 'passed'],
  [{ 'if-none-match': 'malformed', 'if-modified-since': AFTER }, 'passed'],

  [{ 'if-match': '"b-2"', 'if-none-match': '"a-1"' }, 'failed'],
  [{ 'if-match': '"a-1"', 'if-none-match': '"a-1"' }, 'not-modified'],
  [{ 'if-unmodified-since': BEFORE, 'if-none-match': '"a-1"' }, 'failed'],
  [{ 'if-unmodified-since': THEN, 'if-modified-since': THEN }, 'not-modified'],
]

for (const [headers, verdict] of verdicts) {
  test(`${JSON.stringify(headers)}: ${verdict}`, () => assert.equal(evaluatePreconditions(headers, CURRENT), verdict))
}

const ifRanges: readonly (readonly [ifRange: string | undefined, applies: boolean])[] = [
  [undefined, true],
  ['"a-1"', true],
  [THEN, true],
  ['"b-2"', false],
  ['W/"a-1"', false],
  ['*', false],
  ['"a-1", "b-2"', false],
  [' "a-1"', false],
  ['a-1', false],
  ['', false],
  [BEFORE, false],
  [AFTER, false],
  [OBSOLETE, false],
  ['Sunday, 06-Nov-94 08:49:37 GMT', false],
]

for (const [ifRange, applies] of ifRanges) {
  test(`If-Range ${JSON.stringify(ifRange) ?? 'absent'} lets a range ${applies ? 'be heard' : 'pass by'}`, () => {
    assert.equal(rangeApplies(ifRange, CURRENT), applies)
  })
}

test('a weak tag of our own matches weakly only', () => {
  const weak = { etag: 'W/"a-1"', modifiedSeconds: 0 }
  assert.equal(evaluatePreconditions({ 'if-match': 'W/"a-1"' }, weak), 'failed')
  assert.equal(evaluatePreconditions({ 'if-none-match': '"a-1"' }, weak), 'not-modified')
  assert.equal(rangeApplies('W/"a-1"', weak), false)
})

const etagc = fc
  .integer({ min: 0x21, max: 0xff })
  .filter((code) => code !== 0x22 && (code < 0x7f || code > 0x7f))
  .map((code) => String.fromCharCode(code))
const opaqueTag = fc.string({ unit: fc.oneof(etagc, fc.constantFrom(',', 'W', '/')) }).map((text) => `"${text}"`)

test('a tag is found in a list if, and only if, it is one of its elements', () => {
  const tags = fc.array(fc.tuple(fc.constantFrom('', 'W/'), opaqueTag))
  const comma = fc.constantFrom(',', ', ', ' ,\t', ',,', ' , , ')
  fc.assert(
    fc.property(tags, opaqueTag, fc.nat(), comma, (list, other, index, separator) => {
      const etag = index % 2 ? (list[index % (list.length || 1)]?.[1] ?? other) : other
      const header = list.map((tag) => tag.join('')).join(separator)
      const current = { etag, modifiedSeconds: 0 }
      const isStrongly = list.some(([weak, tag]) => weak === '' && tag === etag)
      assert.equal(evaluatePreconditions({ 'if-match': header }, current), isStrongly ? 'passed' : 'failed')
      const isWeakly = list.some(([, tag]) => tag === etag)
      assert.equal(evaluatePreconditions({ 'if-none-match': header }, current), isWeakly ? 'not-modified' : 'passed')
    }),
    { numRuns: 2000 },
  )
})

test('dates are compared by the second', () => {
  const second = fc.integer({ min: 0, max: 2 ** 32 })
  fc.assert(
    fc.property(second, fc.oneof(second, fc.integer({ min: -2, max: 2 })), (modifiedSeconds, other) => {
      const seconds = Math.abs(other) <= 2 ? Math.max(modifiedSeconds + other, 0) : other
      const [date, current] = [formatHttpDate(seconds), { etag: '"x"', modifiedSeconds }]
      assert.equal(evaluatePreconditions({ 'if-modified-since': date }, current), modifiedSeconds <= seconds ? 'not-modified' : 'passed')
      assert.equal(evaluatePreconditions({ 'if-unmodified-since': date }, current), modifiedSeconds <= seconds ? 'passed' : 'failed')
      assert.equal(rangeApplies(date, current), modifiedSeconds === seconds)
    }),
  )
})

test('any text is judged', () => {
  const nearlyTags = fc.string({ unit: fc.constantFrom(...'"W/, *a-1') })
  fc.assert(
    fc.property(fc.oneof(nearlyTags, fc.string({ unit: 'binary' })), (text) => {
      assert.match(evaluatePreconditions({ 'if-match': text }, CURRENT), /^(?:passed|failed)$/)
      assert.match(evaluatePreconditions({ 'if-none-match': text }, CURRENT), /^(?:passed|not-modified)$/)
      rangeApplies(text, CURRENT)
    }),
    { numRuns: 2000 },
  )
})

test('100 KB of tags are read in linear time', () => {
  const start = performance.now()
  for (const text of [' ', '\t', ',', '"', '"a"', '"a",', '"a" ,', 'W/', 'W/"', '" ', 'a', ' ,', '"",W/"",\t']) {
    const header = text.repeat(100_000 / text.length)
    for (const ending of ['', 'x', '"', ' x']) {
      evaluatePreconditions({ 'if-match': header + ending, 'if-none-match': ending + header }, CURRENT)
    }
  }
  assert.ok(performance.now() - start < 5000)
})
