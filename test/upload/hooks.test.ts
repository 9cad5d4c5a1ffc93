// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { callHook, hooksOf, isOutcome, type UploadHooks } from '../../lib/upload/hooks.ts'

const refusals = [
  { thrown: { status: 403 }, code: 'REFUSED', status: 403, message: 'Forbidden', headers: {} },
  { thrown: { status: 400, body: 'No' }, code: 'REFUSED', status: 400, message: 'No', headers: {} },
  { thrown: { status: 599, headers: { A: 'b' } }, code: 'REFUSED', status: 599, message: '', headers: { A: 'b' } },
  { thrown: { status: 403, body: null, headers: null }, code: 'REFUSED', status: 403, message: 'Forbidden', headers: {} },
]
const failures = [
  undefined, null, 'no', new Error('secret'), { status: 399 }, { status: 600 }, { status: 403.5 }, { status: '403' }, { status: 403n },
  { status: Symbol('403') }, { status: 403, body: 7 }, { status: 403, headers: [] }, { status: 403, headers: 'A: b' },
  { status: 403, headers: { 'A b': 'c' } },
  { status: 403, headers: { A: 'b\nc' } }, { status: 403, headers: { A: 7 } }, { status: 403, body: 'x'.repeat(256 * 1024) },
]

for (const { thrown, ...expected } of refusals) {
  test(`a hook that throws ${inspect(thrown)} refuses`, async () => {
    await assert.rejects(callHook(() => { throw thrown }), expected)
    await assert.rejects(callHook(() => Promise.reject(thrown)), expected)
  })
}

for (const thrown of failures) {
  test(`a hook that throws ${inspect(thrown).slice(0, 60)} has failed, and the client learns nothing`, async () => {
    await assert.rejects(callHook(() => { throw thrown }), { code: 'INTERNAL', status: 500, message: 'The server failed', cause: thrown })
  })
}

test('what a hook returns is passed on', async () => {
  assert.equal(await callHook(() => 7), 7)
  assert.equal(await callHook(async () => 7), 7)
})

test('an answer can be kept if its status is final or missing, and all of it is small', () => {
  const answer = (status: unknown, body: unknown = ''): boolean => isOutcome({ status, headers: {}, body })
  assert.deepEqual([undefined, 200, 599, 199, 600, null].map((status) => answer(status)), [true, true, true, false, false, false])
  const around = JSON.stringify([{}, '']).length
  assert.equal(answer(200, 'x'.repeat(256 * 1024 - around)), true)
  assert.equal(answer(200, 'x'.repeat(256 * 1024 - around + 1)), false)
})

test('of options, the hooks are the hooks and nothing else', () => {
  const hooks: UploadHooks = { authorize() {}, onCreate() {}, onFinish() {}, onTerminate() {}, onProgress() {} }
  assert.deepEqual(hooksOf({ ...hooks, store: 'secret' } as UploadHooks), hooks)
})
