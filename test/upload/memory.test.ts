// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AcknowledgedOffsets } from '../../lib/upload/memory.ts'

const CREATED = new Date(0)
const at = (offset: number, id = 'a', createdAt = CREATED): { id: string; createdAt: Date; offset: number } => ({ id, createdAt, offset })

test('an upload has lost bytes exactly if it has fewer than the highest offset that was told', () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.nat(), (told, offset) => {
      const acknowledged = new AcknowledgedOffsets()
      for (const each of told) acknowledged.note(at(each))
      assert.equal(acknowledged.exceed(at(offset)), offset < Math.max(0, ...told))
    }),
  )
})

test('of an upload that nobody was told of, nothing is missing', () => {
  const acknowledged = new AcknowledgedOffsets()
  acknowledged.note(at(5, 'another'))
  assert.equal(acknowledged.exceed(at(0)), false)
})

test('an id that is given again is another upload', () => {
  const acknowledged = new AcknowledgedOffsets()
  acknowledged.note(at(5))
  assert.equal(acknowledged.exceed(at(0, 'a', new Date(1))), false)
  assert.equal(acknowledged.exceed(at(0)), true)
})

test('what was told of longest ago is forgotten first, so that memory has a bound', () => {
  const acknowledged = new AcknowledgedOffsets()
  acknowledged.note(at(5, 'old'))
  acknowledged.note(at(5, 'told again'))
  for (let i = 0; i < 9_998; i++) acknowledged.note(at(1, String(i)))
  acknowledged.note(at(6, 'told again'))
  assert.equal(acknowledged.exceed(at(0, 'old')), true)
  acknowledged.note(at(1, 'one more'))
  assert.equal(acknowledged.exceed(at(0, 'old')), false)
  acknowledged.note(at(1, 'and another'))
  assert.equal(acknowledged.exceed(at(0, 'told again')), true)
})
