// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isComplete, type End } from '../../lib/upload/completion.ts'
import type { Completion, Upload, UploadState } from '../../lib/upload/types.ts'

function upload(offset: number, length: number | undefined, completion?: Completion, state: UploadState = 'receiving'): Upload {
  return {
    id: 'a', offset, length, state, completion, metadata: new Map(), encodedMetadata: undefined, outcome: undefined, partial: false, parts: undefined,
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
  assert.equal(isComplete(upload(5, 5, 'explicit')), false)
})

test('an upload that lacks bytes, or whose length is not known, is not complete', () => {
  fc.assert(
    fc.property(fc.nat(), fc.option(fc.nat(), { nil: undefined }), fc.constantFrom<Completion>('at-length', 'explicit'), fc.constantFrom(...ENDS), (offset, length, completion, end) => {
      fc.pre(offset !== length)
      assert.equal(isComplete(upload(offset, length, completion), end), false)
    }),
  )
})

test('an upload that is being finished had been complete; one that is settled has nothing left to complete', () => {
  for (const completion of ['at-length', 'explicit'] as const) {
    for (const end of ENDS) {
      assert.equal(isComplete(upload(5, 5, completion, 'finishing'), end), true)
      for (const state of ['finished', 'rejected', 'deactivated'] as const) assert.equal(isComplete(upload(5, 5, completion, state), end), false)
    }
  }
})
