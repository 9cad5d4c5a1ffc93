// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { expiresAt, isComplete, isExpired, isSettled, type End } from '../../lib/upload/lifecycle.ts'
import type { Completion, Upload, UploadState } from '../../lib/upload/types.ts'

function upload(offset: number, length: number | undefined, completion?: Completion, state: UploadState = 'receiving'): Upload {
  return {
    id: 'a', offset, length, state, completion, metadata: new Map(), encodedMetadata: undefined, outcome: undefined, partial: false,
    parts: undefined,
    encodedParts: undefined, maxSize: undefined, createdAt: new Date(0), updatedAt: new Date(0),
  }
}

const ENDS: readonly End[] = ['at-length', 'here', 'later']

test('an upload that completes at its length does so whatever a request says of its end', () => {
  for (const end of ENDS) {
    assert.equal(isComplete(upload(5, 5), end), true)
    assert.equal(isComplete(upload(5, 5, 'at-length'), end), true)
  }
})

test('an upload whose client says the end is complete when it has said so, or when its client knows no other end than the length', () => {
  assert.equal(isComplete(upload(5, 5, 'explicit'), 'here'), true)
  assert.equal(isComplete(upload(5, 5, 'explicit'), 'at-length'), true)
  assert.equal(isComplete(upload(5, 5, 'explicit'), 'later'), false)
})

test('an upload that lacks bytes, or whose length is not known, is not complete', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.option(fc.nat(), { nil: undefined }),
      fc.constantFrom<Completion>('at-length', 'explicit'),
      fc.constantFrom(...ENDS),
      (offset, length, completion, end) => {
        fc.pre(offset !== length)
        assert.equal(isComplete(upload(offset, length, completion), end), false)
      },
    ),
  )
})

test('an upload that is being finished had been complete; one that is settled has nothing left to complete', () => {
  for (const completion of ['at-length', 'explicit'] as const) {
    for (const end of ENDS) {
      assert.equal(isComplete(upload(5, 5, completion, 'finishing'), end), true)
      for (const state of ['finished', 'rejected', 'deactivated'] as const) {
        assert.equal(isComplete(upload(5, 5, completion, state), end), false)
      }
    }
  }
})

test('an upload is settled when nothing is left to do for it', () => {
  const states = ['receiving', 'finishing', 'finished', 'rejected', 'deactivated'] as const
  assert.deepEqual(states.filter((state) => isSettled(upload(5, 5, undefined, state))), ['finished', 'rejected', 'deactivated'])
})

const YEAR_10000_MS = Date.UTC(10_000, 0)

test('the moment of expiration follows from the last byte, or from the creation; one that no header can hold is none', () => {
  const upload5 = { ...upload(5, 9), createdAt: new Date(1000), updatedAt: new Date(3000) }
  assert.equal(expiresAt(upload5, undefined), undefined)
  assert.deepEqual(expiresAt(upload5, { afterMs: 10 }), new Date(3010))
  assert.deepEqual(expiresAt(upload5, { afterMs: 10, from: 'activity' }), new Date(3010))
  assert.deepEqual(expiresAt(upload5, { afterMs: 10, from: 'creation' }), new Date(1010))
  assert.deepEqual(expiresAt(upload5, { afterMs: YEAR_10000_MS - 3001 }), new Date(YEAR_10000_MS - 1))
  for (const afterMs of [YEAR_10000_MS - 3000, Infinity]) assert.equal(expiresAt(upload5, { afterMs }), undefined)
})

test('an upload that has all its bytes does not expire, unless they were rejected or moved away, or are a part of others', () => {
  const policy = { afterMs: 10 }
  const kept = [upload(5, 5), upload(5, 5, 'explicit', 'finishing'), upload(5, 5, undefined, 'finished')]
  for (const each of kept) assert.equal(expiresAt(each, policy), undefined)
  for (const each of kept) assert.deepEqual(expiresAt({ ...each, partial: true }, policy), new Date(10))
  const moved = { ...upload(5, 5, undefined, 'finished'), movedAt: new Date(100) }
  assert.deepEqual(expiresAt(moved, policy), new Date(110))
  for (const each of [upload(5, 5, 'explicit'), upload(5, 5, undefined, 'rejected'), upload(5, 5, undefined, 'deactivated')]) {
    assert.deepEqual(expiresAt(each, policy), new Date(10))
  }
})

test('an upload has expired from that moment on', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1000 })
  assert.equal(isExpired(upload(0, 5), { afterMs: 1001 }), false)
  assert.equal(isExpired(upload(0, 5), { afterMs: 1000 }), true)
  assert.equal(isExpired(upload(0, 5), undefined), false)
})
