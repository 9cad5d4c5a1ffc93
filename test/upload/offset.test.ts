// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { planAppend, remainingBytes, tooLargeCode, type AppendPlan } from '../../lib/upload/offset.ts'

const MAX = Number.MAX_SAFE_INTEGER

const rows: readonly (readonly [what: string, input: Parameters<typeof planAppend>[0], plan: AppendPlan])[] = [
  ['the first bytes of an upload are accepted up to its length',
    { offset: 0, length: 10, maxSize: 100, claimedOffset: 0, bodyLength: 5 }, { kind: 'accepted', maxBytes: 10 }],
  ['what exactly fits is accepted',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 5, bodyLength: 5 }, { kind: 'accepted', maxBytes: 5 }],
  ['one byte more than fits is too large',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 5, bodyLength: 6 }, { kind: 'refused', code: 'TOO_LARGE' }],
  ['an offset before the stored one is a conflict',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 4, bodyLength: 1 }, { kind: 'refused', code: 'OFFSET_CONFLICT' }],
  ['an offset behind the stored one is a conflict',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 6, bodyLength: 1 }, { kind: 'refused', code: 'OFFSET_CONFLICT' }],
  ['a conflict goes before a body that is too large',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 6, bodyLength: 99 }, { kind: 'refused', code: 'OFFSET_CONFLICT' }],
  ['a complete upload takes an empty body',
    { offset: 10, length: 10, maxSize: 100, claimedOffset: 10, bodyLength: 0 }, { kind: 'accepted', maxBytes: 0 }],
  ['a complete upload takes no byte',
    { offset: 10, length: 10, maxSize: 100, claimedOffset: 10, bodyLength: 1 }, { kind: 'refused', code: 'TOO_LARGE' }],
  ['a body of unknown length is accepted up to what fits',
    { offset: 4, length: 10, maxSize: 100, claimedOffset: 4, bodyLength: undefined }, { kind: 'accepted', maxBytes: 6 }],
  ['an upload of unknown length ends at the maximum',
    { offset: 4, length: undefined, maxSize: 100, claimedOffset: 4, bodyLength: 96 }, { kind: 'accepted', maxBytes: 96 }],
  ['an upload of unknown length does not pass the maximum',
    { offset: 4, length: undefined, maxSize: 100, claimedOffset: 4, bodyLength: 97 }, { kind: 'refused', code: 'MAX_SIZE_EXCEEDED' }],
  ['the last byte that can be counted is accepted',
    { offset: MAX - 1, length: MAX, maxSize: MAX, claimedOffset: MAX - 1, bodyLength: 1 }, { kind: 'accepted', maxBytes: 1 }],
  ['the first byte that cannot be counted is refused',
    { offset: MAX - 1, length: MAX, maxSize: MAX, claimedOffset: MAX - 1, bodyLength: 2 }, { kind: 'refused', code: 'TOO_LARGE' }],
  ['neighbours at the end of the exact numbers are told apart',
    { offset: MAX - 1, length: MAX, maxSize: MAX, claimedOffset: MAX, bodyLength: 0 }, { kind: 'refused', code: 'OFFSET_CONFLICT' }],
  ['an upload that is beyond a maximum that was lowered takes no byte',
    { offset: 50, length: undefined, maxSize: 10, claimedOffset: 50, bodyLength: 1 }, { kind: 'refused', code: 'MAX_SIZE_EXCEEDED' }],
  ['as much as one request may append is accepted',
    { offset: 4, length: 10, maxSize: 100, claimedOffset: 4, bodyLength: 3, maxAppendSize: 3 }, { kind: 'accepted', maxBytes: 3 }],
  [
    'one byte more than one request may append is too large for a request, not for the upload',
    { offset: 4, length: 10, maxSize: 100, claimedOffset: 4, bodyLength: 4, maxAppendSize: 3 },
    { kind: 'refused', code: 'APPEND_TOO_LARGE' },
  ],
  [
    'a body of unknown length is accepted up to what one request may append',
    { offset: 4, length: undefined, maxSize: 100, claimedOffset: 4, bodyLength: undefined, maxAppendSize: 3 },
    { kind: 'accepted', maxBytes: 3 },
  ],
  ['a limit of requests that is as large as what is left does not show',
    { offset: 4, length: 10, maxSize: 100, claimedOffset: 4, bodyLength: 7, maxAppendSize: 6 }, { kind: 'refused', code: 'TOO_LARGE' }],
  [
    'what is left may be less than one request may append',
    { offset: 4, length: undefined, maxSize: 10, claimedOffset: 4, bodyLength: 7, maxAppendSize: 7 },
    { kind: 'refused', code: 'MAX_SIZE_EXCEEDED' },
  ],
  [
    'a conflict goes before a body that is too large for one request',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 6, bodyLength: 4, maxAppendSize: 3 },
    { kind: 'refused', code: 'OFFSET_CONFLICT' },
  ],
  ['where requests may append nothing an empty one is accepted',
    { offset: 5, length: 10, maxSize: 100, claimedOffset: 5, bodyLength: 0, maxAppendSize: 0 }, { kind: 'accepted', maxBytes: 0 }],
]

for (const [what, input, plan] of rows) test(what, () => assert.deepEqual(planAppend(input), plan))

/** The same decision in numbers that are always exact. */
function exactPlan(input: Parameters<typeof planAppend>[0]): AppendPlan {
  if (BigInt(input.claimedOffset) !== BigInt(input.offset)) return { kind: 'refused', code: 'OFFSET_CONFLICT' }
  const end = BigInt(input.length ?? input.maxSize)
  const left = end > BigInt(input.offset) ? end - BigInt(input.offset) : 0n
  const most = input.maxAppendSize === undefined ? left : BigInt(input.maxAppendSize)
  const room = most < left ? most : left
  if (input.bodyLength !== undefined && BigInt(input.bodyLength) > room) {
    if (most < left) return { kind: 'refused', code: 'APPEND_TOO_LARGE' }
    return { kind: 'refused', code: input.length === undefined ? 'MAX_SIZE_EXCEEDED' : 'TOO_LARGE' }
  }
  return { kind: 'accepted', maxBytes: Number(room) }
}

const bytes = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 20 }), fc.nat({ max: 20 }).map((distance) => MAX - distance))
const appends = fc
  .record({
    offset: bytes, length: fc.option(bytes, { nil: undefined }), maxSize: bytes, bodyLength: fc.option(bytes, { nil: undefined }),
    maxAppendSize: fc.option(bytes, { nil: undefined }),
  })
  .chain((input) => fc.oneof(fc.constant(input.offset), bytes).map((claimedOffset) => ({ ...input, claimedOffset })))

test('every decision is the one that exact arithmetic makes, up to Number.MAX_SAFE_INTEGER', () => {
  fc.assert(fc.property(appends, (input) => assert.deepEqual(planAppend(input), exactPlan(input))), { numRuns: 5000 })
})

test('what is accepted never leads past the length, the maximum, or the numbers that are exact', () => {
  fc.assert(
    fc.property(appends, (input) => {
      const plan = planAppend(input)
      if (plan.kind === 'refused') return
      assert.ok(Number.isSafeInteger(plan.maxBytes) && plan.maxBytes >= 0)
      assert.ok((input.bodyLength ?? 0) <= plan.maxBytes)
      assert.ok(plan.maxBytes <= (input.maxAppendSize ?? Infinity))
      const end = BigInt(input.offset) + BigInt(plan.maxBytes)
      assert.ok(plan.maxBytes === 0 || end <= BigInt(input.length ?? input.maxSize))
      assert.ok(end <= BigInt(MAX))
    }),
    { numRuns: 5000 },
  )
})

test('an upload that is stored in any number of pieces takes each that fits, and ends exactly at its length', () => {
  fc.assert(
    fc.property(bytes, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 }), (length, shares) => {
      let offset = 0
      for (const share of shares) {
        const bodyLength = Math.floor(remainingBytes(offset, length, MAX) * share)
        assert.equal(planAppend({ offset, length, maxSize: MAX, claimedOffset: offset, bodyLength }).kind, 'accepted')
        offset += bodyLength
        assert.equal(BigInt(offset) + BigInt(remainingBytes(offset, length, MAX)), BigInt(length))
      }
      offset += remainingBytes(offset, length, MAX)
      assert.equal(offset, length)
      assert.equal(remainingBytes(offset, length, MAX), 0)
    }),
  )
})

test('a body that turns out too large has the code that it would have had, had it said so before', () => {
  fc.assert(
    fc.property(appends, (input) => {
      const plan = planAppend({ ...input, claimedOffset: input.offset, bodyLength: Infinity })
      assert.deepEqual(plan, { kind: 'refused', code: tooLargeCode(input) })
    }),
    { numRuns: 2000 },
  )
})

test('what is left is never negative', () => {
  fc.assert(
    fc.property(bytes, fc.option(bytes, { nil: undefined }), bytes, (offset, length, maxSize) => {
      const exact = BigInt(length ?? maxSize) - BigInt(offset)
      assert.equal(BigInt(remainingBytes(offset, length, maxSize)), exact > 0n ? exact : 0n)
    }),
  )
})
