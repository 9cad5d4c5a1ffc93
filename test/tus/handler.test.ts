// SPDX-License-Identifier: MIT

/** Misuse of the handler by a programmer fails when it is made, not when it is used. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import type { Locker } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request } from '../support/wire.ts'
import { ask, head, OCT, serve, V } from './support.ts'

for (const path of ['', 'files', 'files/', '/files', '/files?/', '/files#/', '/a/b', 'http://test/files/']) {
  test(`the path ${JSON.stringify(path)} is a TypeError: it must begin and end with a slash`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, path }), {
      name: 'TypeError',
      message: /^Cannot mount uploads as path must begin and end with a slash.*: received /,
    })
  })
}

for (const path of ['//files/', '//', '/\\files/', '/a\r\nX: y/', '/with space/', '/ä/', '/a\0/']) {
  test(`the path ${JSON.stringify(path)} is a TypeError: Location would name another host, or be no URL`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, path }), { name: 'TypeError' })
  })
}

for (const maxSize of [-1, 1.5, NaN, Infinity, 2 ** 53, '10' as unknown as number]) {
  test(`a maxSize of ${maxSize} (${typeof maxSize}) is a RangeError`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, maxSize }), { name: 'RangeError', message: /maxSize .*received/ })
  })
}

for (const name of ['idleTimeoutMs', 'graceMs', 'lockTimeoutMs', 'answerTimeoutMs', 'progressIntervalMs'] as const) {
  const least = name === 'graceMs' || name === 'progressIntervalMs' ? 0 : 1
  for (const value of [least - 1, NaN, -Infinity, 2 ** 31]) {
    test(`${name} of ${value} is a RangeError: Node's timers would fire at once`, (t) => {
      const store = new FileStore(temporaryFolder(t))
      assert.throws(() => tusHandler({ store, [name]: value }), { name: 'RangeError', message: new RegExp(`${name} .*received`) })
    })
  }

  test(`${name} may be as long as a timer of Node can be, or Infinity, and must be a number`, (t) => {
    const store = new FileStore(temporaryFolder(t))
    assert.throws(() => tusHandler({ store, [name]: '1000' }), {
      name: 'TypeError',
      message: `Cannot wait as ${name} must be a number: received string`,
    })
    for (const value of [least, 2 ** 31 - 1, Infinity]) assert.equal(typeof tusHandler({ store, [name]: value }), 'function')
  })
}

test('a handler all of whose times are Infinity receives, hands over and offers for download, and nothing times out', async (t) => {
  const never = {
    idleTimeoutMs: Infinity,
    graceMs: Infinity,
    lockTimeoutMs: Infinity,
    answerTimeoutMs: Infinity,
    progressIntervalMs: Infinity,
  }
  const timeouts: unknown[] = []
  const locks = new KeyedLock()
  const locker: Locker = {
    acquire: (id, options) => (timeouts.push(options.timeoutMs), locks.acquire(id, options)),
    tryAcquire: (id) => locks.tryAcquire(id),
  }
  const site = await serve(t, { ...never, locker, download: {} })
  const created = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 2'], 'he'))
  const upload = addressOf(created)
  assert.equal((await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 2', 'Content-Length: 3'], 'llo'))).status, 204)
  const downloaded = await ask(site, request(`GET ${upload}`))
  assert.deepEqual([downloaded.status, downloaded.body], [200, 'hello'])
  assert.deepEqual(timeouts, [undefined, undefined], 'a locker of somebody else need not know of Infinity')
})

test('options that are undefined are the defaults', (t) => {
  const store = new FileStore(temporaryFolder(t))
  const timers = { idleTimeoutMs: undefined, graceMs: undefined, lockTimeoutMs: undefined }
  const none = { ...timers, path: undefined, locker: undefined, maxSize: undefined, signal: undefined }
  assert.equal(typeof tusHandler({ store, ...none }), 'function')
})

for (const path of ['/', '/files/', '/api/v1/uploads/', '/a-b_c.d~e/', '/with%20space/']) {
  test(`below ${path} an upload is created, and found where Location says`, async (t) => {
    const site = await serve(t, { path })
    const created = await ask(site, request(`POST ${path}`, [V, 'Upload-Length: 10', 'Content-Length: 0', 'Connection: close']))
    assert.equal(created.status, 201)
    const location = created.headers.get('location') ?? ''
    assert.ok(location.startsWith(path))
    assert.equal((await head(site, location)).status, 200)
    assert.equal((await head(site, `/elsewhere${location}`)).status, 404)
  })
}

test('the handler resolves and does not reject, whatever becomes of the answer', async (t) => {
  const site = await serve(t)
  const results: unknown[] = []
  site.server.removeAllListeners('request')
  site.server.on('request', (req, res) => {
    res.on('close', () => results.push('closed'))
    res.destroy()
    void site.tus(req, res).then(() => results.push('resolved'), (error) => results.push(error))
  })
  await assert.rejects(ask(site, request('OPTIONS /files/')))
  await assert.rejects(ask(site, request('PATCH /files/x', [V])))
  assert.deepEqual(results.filter((result) => result !== 'closed'), ['resolved', 'resolved'])
})
