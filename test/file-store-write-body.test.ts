// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { batchesOf, WriteBudget } from '../lib/file-store/write-body.ts'

const MIB = 1024 * 1024

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a body pauses as soon as all bodies together have spent the budget, however little of it is its own', async () => {
  const budget = new WriteBudget(MIB)
  const [large, small] = [new PassThrough(), new PassThrough()]
  const [ofLarge, ofSmall] = [batchesOf(large, budget, undefined), batchesOf(small, budget, undefined)]
  const batches = [ofLarge.next(), ofSmall.next()]
  large.write(Buffer.alloc(MIB - 10))
  small.write(Buffer.alloc(2000))
  for (const batch of batches) await batch // each is being written now, and held
  await turns()
  small.write(Buffer.alloc(2000))
  await turns()
  assert.equal(small.isPaused(), true)
  const next = ofLarge.next() // what was large is written
  await turns()
  assert.equal(small.isPaused(), false)
  large.destroy()
  small.destroy()
  await assert.rejects(next, { code: 'ERR_STREAM_PREMATURE_CLOSE' })
})

test('a body that ends while it waits for room is not resumed when there is some', async () => {
  const budget = new WriteBudget(MIB)
  budget.hold(MIB)
  const body = new PassThrough()
  const first = batchesOf(body, budget, undefined).next()
  let resumed = 0
  body.on('resume', () => resumed++)
  body.destroy(new Error('The client left'))
  await assert.rejects(first, { message: 'The client left' })
  budget.release(MIB)
  await turns()
  assert.equal(resumed, 0)
})
