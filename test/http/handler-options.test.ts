// SPDX-License-Identifier: MIT

/** Options that contradict each other are refused when the handler is made, not when a request comes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { rufhHandler } from '../../lib/rufh/handler.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { addressOf } from '../support/address-of.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request } from '../support/wire.ts'
import { ask, OCT, serve, V } from '../tus/support.ts'

test('a store that is shared between processes needs a locker', (t) => {
  const store = new FileStore(temporaryFolder(t), { shared: true })
  for (const handler of [tusHandler, rufhHandler]) assert.throws(() => handler({ store }), { name: 'TypeError', message: /locker/ })
  assert.equal(typeof tusHandler({ store, locker: new KeyedLock() }), 'function')
})

test('a store of one process needs no locker', (t) => {
  assert.equal(typeof tusHandler({ store: new FileStore(temporaryFolder(t)) }), 'function')
})

for (const [least, most] of [['minSize', 'maxSize'], ['minAppendSize', 'maxAppendSize']] as const) {
  test(`${least} may be equal to ${most}, and not above it`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => rufhHandler({ store, [least]: 101, [most]: 100 }), { name: 'RangeError', message: new RegExp(`${least}.*${most}`) })
    assert.equal(typeof rufhHandler({ store, [least]: 100, [most]: 100 }), 'function')
  })

  test(`${least} must be a whole number, not negative`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    for (const value of [-1, 0.5, NaN]) {
      assert.throws(() => rufhHandler({ store, [least]: value }), { name: 'RangeError', message: new RegExp(least) })
    }
    assert.equal(typeof rufhHandler({ store, [least]: 0 }), 'function')
  })
}

for (const name of ['idleTimeoutMs', 'lockTimeoutMs', 'answerTimeoutMs']) {
  test(`${name} must be at least 1: with 0, every request would be over at once`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, [name]: 0 }), { name: 'RangeError', message: new RegExp(name) })
    assert.equal(typeof tusHandler({ store, [name]: 1 }), 'function')
  })
}

test('uploads must be kept for at least a millisecond: with 0, each would have expired when it is created', (t) => {
  const store = new FileStore(temporaryFolder(t))
  assert.throws(() => tusHandler({ store, expiration: { afterMs: 0 } }), { name: 'RangeError', message: /expiration.afterMs/ })
  assert.equal(typeof tusHandler({ store, expiration: { afterMs: 1 } }), 'function')
})

test('graceMs and progressIntervalMs may be 0, which is at once', (t) => {
  const store = new FileStore(temporaryFolder(t))
  assert.equal(typeof tusHandler({ store, graceMs: 0, progressIntervalMs: 0 }), 'function')
})

test('behind a framework that cuts the path off and keeps the whole as originalUrl, uploads are found by the whole', async (t) => {
  const cutOff = '/files'.length
  const site = await serve(t, {
    before: (req) => {
      Object.assign(req, { originalUrl: req.url, url: req.url!.slice(cutOff) })
      return undefined
    },
  })
  const upload = addressOf(await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 2'], 'he')))
  const patch = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 2', 'Content-Length: 3'], 'llo')
  assert.equal((await ask(site, patch)).status, 204)
  assert.equal(contentOf(site, upload).toString(), 'hello')
})
