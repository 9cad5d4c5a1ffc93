// SPDX-License-Identifier: MIT

/** Checklist T113, T114: termination of an upload that somebody holds. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { Gate } from '../support/gate.ts'
import { snapshot } from '../support/snapshot.ts'
import { request } from '../support/wire.ts'
import { idOf, patch } from './steps.ts'
import { ask, assertPlainRefusal, head, make, serve, V } from './support.ts'

test('T114 · DELETE asks the holder of the lock to let go once, and removes the upload when it has', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, { locker })
  const upload = await make(site, 10, 'hello')
  let asked = 0
  const hold = await locker.acquire(idOf(upload), {
    onReleaseRequest: () => {
      asked++
      hold.release()
    },
  })
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal(asked, 1)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T114 · DELETE of an upload whose holder does not let go in time is 423, says when to come again, and changes nothing', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, { locker, lockTimeoutMs: 20, onTerminate: () => assert.fail('onTerminate ran') })
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const hold = await locker.acquire(idOf(upload))
  const answer = await ask(site, request(`DELETE ${upload}`, [V]))
  assert.equal(answer.status, 423)
  assert.equal(answer.headers.get('retry-after'), '1')
  assertPlainRefusal(answer, site)
  assert.deepEqual(snapshot(site.folder), before)
  hold.release()
  assert.equal((await head(site, upload)).status, 200)
})

test('T113 · DELETE of an unknown upload is 404, also after it had to wait for the lock of that id', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, { locker })
  const hold = await locker.acquire('unknown', { onReleaseRequest: () => hold.release() })
  for (let n = 0; n < 2; n++) {
    const answer = await ask(site, request('DELETE /files/unknown', [V]))
    assert.equal(answer.status, 404)
    assertPlainRefusal(answer, site)
  }
})

test('T114 · DELETE while onFinish runs waits for it: the upload is finished, and then removed', async (t) => {
  const gate = new Gate()
  const moments: string[] = []
  const site = await serve(t, {
    onFinish: async () => {
      await gate.pass()
      moments.push('finished')
    },
    onTerminate: ({ state }) => void moments.push(`removed when ${state}`),
  })
  const upload = await make(site, 10, 'hello')
  const patched = patch(site, upload, 5, 'world')
  await gate.arrived
  const deletion = ask(site, request(`DELETE ${upload}`, [V]))
  gate.open()
  assert.equal((await patched).status, 204)
  assert.equal((await deletion).status, 204)
  assert.deepEqual(moments, ['finished', 'removed when finished'])
  assert.equal(snapshot(site.folder).size, 0)
})

test('T114 · of ten DELETEs at once one removes the upload, and onTerminate runs once', async (t) => {
  let runs = 0
  const site = await serve(t, { onTerminate: () => void runs++ })
  const upload = await make(site, 10, 'hello')
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask(site, request(`DELETE ${upload}`, [V]))))
  assert.deepEqual(answers.map(({ status }) => status).sort(), [204, ...Array.from({ length: 9 }, () => 404)])
  assert.equal(runs, 1)
  assert.equal(snapshot(site.folder).size, 0)
})
