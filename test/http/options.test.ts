// SPDX-License-Identifier: MIT

/** What a handler takes for options, and what it refuses before it serves anything. */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import type { HandlerOptions } from '../../lib/http/options.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { rufhHandler, type RufhOptions } from '../../lib/rufh/handler.ts'
import type { TusOptions } from '../../lib/tus/handler.ts'
import { uploadHandler } from '../../lib/upload-handler.ts'
import { temporaryFolder } from '../support/temporary.ts'

type Options = Partial<HandlerOptions & TusOptions & RufhOptions>

function make(t: TestContext, options: Options): () => unknown {
  const store = new FileStore(temporaryFolder(t), { sync: 'none' })
  return () => uploadHandler({ store, ...options })
}

test('a store that several processes share is refused without a locker that reaches them', (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'none', shared: true })
  for (const handler of [uploadHandler, rufhHandler]) {
    assert.throws(() => handler({ store }), { name: 'TypeError', message: /shared between processes .* locker/ })
  }
  assert.equal(typeof uploadHandler({ store, locker: new KeyedLock() }), 'function')
  assert.equal(typeof rufhHandler({ store }), 'function', 'the locker of the store is known by then')
})

test('options that are refused do not decide on the locker of their store', (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'none' })
  const refused: readonly Options[] = [
    { maxSize: -1 }, { maxConcurrent: -1 }, { progressIntervalMs: -1 }, { graceMs: -1 }, { path: 'files' },
    { expiration: { afterMs: 0 } }, { cors: { origins: 'https://app.example' as unknown as '*' } },
  ]
  for (const options of refused) assert.throws(() => uploadHandler({ store, ...options }), { message: /^Cannot / })
  assert.equal(typeof uploadHandler({ store, locker: new KeyedLock() }), 'function')
})

/** Each option that is a whole number, and how it is given. */
const WHOLE_NUMBERS: readonly (readonly [name: string, give: (value: number) => Options])[] = [
  ['maxSize', (maxSize) => ({ maxSize })],
  ['maxAppendSize', (maxAppendSize) => ({ maxAppendSize })],
  ['maxConcurrent', (maxConcurrent) => ({ maxConcurrent })],
  ['maxMetadataSize', (maxMetadataSize) => ({ maxMetadataSize })],
  ['minSize', (minSize) => ({ minSize })],
  ['minAppendSize', (minAppendSize) => ({ minAppendSize })],
  ['cors.maxAgeSeconds', (maxAgeSeconds) => ({ cors: { origins: '*', maxAgeSeconds } })],
]

for (const [name, give] of WHOLE_NUMBERS) {
  test(`${name} must be a non-negative whole number; 0 is one`, (t) => {
    for (const value of [-1, 1.5, NaN, Infinity, 2 ** 53, '10' as unknown as number]) {
      const message = `Cannot serve uploads as ${name} must be a non-negative whole number: received ${value}`
      assert.throws(make(t, give(value)), { name: 'RangeError', message })
    }
    assert.equal(typeof make(t, give(0))(), 'function')
  })
}

test('the least of an upload or of an append may be as much as the most, and not more', (t) => {
  assert.equal(typeof make(t, { minSize: 10, maxSize: 10, minAppendSize: 5, maxAppendSize: 5 })(), 'function')
  assert.throws(make(t, { minSize: 11, maxSize: 10 }), { name: 'RangeError', message: /minSize .* received 11 and 10$/ })
  const message = /minAppendSize .* received 6 and 5$/
  assert.throws(make(t, { minAppendSize: 6, maxAppendSize: 5 }), { name: 'RangeError', message })
})

test('a time after which uploads expire may be longer than a timer runs, and must not be 0', (t) => {
  for (const afterMs of [1, 2 ** 31, Number.MAX_SAFE_INTEGER, Infinity]) {
    assert.equal(typeof make(t, { expiration: { afterMs } })(), 'function')
  }
  for (const afterMs of [0, -1, NaN]) {
    assert.throws(make(t, { expiration: { afterMs } }), { name: 'RangeError', message: /expiration\.afterMs .* received / })
  }
  for (const from of ['creation', 'activity'] as const) {
    assert.equal(typeof make(t, { expiration: { afterMs: 1, from } })(), 'function')
  }
  const from = 'now' as unknown as 'creation'
  assert.throws(make(t, { expiration: { afterMs: 1, from } }), { name: 'TypeError', message: /expiration\.from .* received now$/ })
})

test('downloads are refused where the store cannot read', (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'none' })
  const blind = new Proxy(store, { get: (target, name) => (name === 'read' ? undefined : Reflect.get(target, name)) })
  assert.throws(() => uploadHandler({ store: blind, download: {} }), { name: 'TypeError', message: /have a read method/ })
  assert.equal(typeof uploadHandler({ store: blind }), 'function')
})
