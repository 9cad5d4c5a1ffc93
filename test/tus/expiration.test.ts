// SPDX-License-Identifier: MIT

/** Checklist T.6: expiration, and what a sweep removes, finishes and leaves alone. */

import assert from 'node:assert/strict'
import { statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { request, WireClient, type WireResponse } from '../support/wire.ts'
import { concatenate, idOf, makePartial, patch, post } from './steps.ts'
import { ask, assertPlainRefusal, head, make, OCT, serve, V, type Site, type SiteOptions } from './support.ts'

const HOUR = 3_600_000
const IMF_FIXDATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/

/** From here on it is so much later for the server; file times go on as they are. */
function later(t: TestContext, byMs: number): void {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + byMs })
}

/** That an answer says so, and that it is `afterMs` from `sinceMs` on: in whole seconds, and the machine may be slow. */
function assertExpires(answer: WireResponse, afterMs: number, sinceMs = Date.now()): void {
  const text = answer.headers.get('upload-expires') ?? assert.fail('no Upload-Expires')
  assert.match(text, IMF_FIXDATE)
  const offBy = Math.abs(Date.parse(text) - (sinceMs + afterMs))
  assert.ok(offBy <= 5000, `${text} is off by ${offBy} ms`)
}

/** Everything that asks for an upload. */
function requestsFor(upload: string): readonly string[] {
  return [
    request(`HEAD ${upload}`, [V]),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 0']),
    request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 0']),
    request(`DELETE ${upload}`, [V]),
  ]
}

async function assertGone(site: Site, upload: string, status: 404 | 410): Promise<void> {
  for (const text of requestsFor(upload)) {
    const toHead = text.startsWith('HEAD')
    const answer = await ask(site, text, { toHead })
    assert.equal(answer.status, status)
    for (const name of ['upload-offset', 'upload-length', 'upload-expires']) assert.equal(answer.headers.has(name), false, name)
    if (!toHead) assertPlainRefusal(answer, site)
  }
}

test('T88 · OPTIONS offers expiration if it is configured, and only then', async (t) => {
  for (const [options, offered] of [[{}, false], [{ expiration: { afterMs: HOUR } }, true]] as const) {
    const site = await serve(t, options)
    const extensions = (await ask(site, request('OPTIONS /files/'))).headers.get('tus-extension')?.split(',') ?? []
    assert.equal(extensions.includes('expiration'), offered)
  }
})

test('T88 · without expiration no answer has Upload-Expires', async (t) => {
  const site = await serve(t)
  const created = await post(site, ['Upload-Length: 10'])
  const upload = addressOf(created)
  for (const answer of [created, await patch(site, upload, 0, 'hello'), await head(site, upload)]) {
    assert.equal(answer.headers.has('upload-expires'), false)
  }
})

for (const from of ['activity', 'creation', undefined] as const) {
  test(`T89, T90, T91 · POST, PATCH and HEAD of an unfinished upload tell when it expires (from ${from ?? 'what is the default'})`, async (t) => {
    const site = await serve(t, { expiration: { afterMs: HOUR, from } })
    const created = await post(site, ['Upload-Length: 10'])
    const upload = addressOf(created)
    const withBytes = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 5'], 'hello'))
    const deferred = await post(site, ['Upload-Defer-Length: 1'])
    const answers = [
      created,
      withBytes,
      deferred,
      await head(site, upload),
      await patch(site, upload, 0, 'hello'),
      await patch(site, upload, 5, ''),
      await head(site, upload),
    ]
    for (const answer of answers) assertExpires(answer, HOUR)
  })
}

test('T91 · from activity, bytes move the moment on; from creation it is fixed', async (t) => {
  for (const from of ['activity', 'creation'] as const) {
    await t.test(from, async (t) => {
      const site = await serve(t, { expiration: { afterMs: HOUR, from } })
      const upload = await make(site, 10)
      const createdMs = Date.now()
      later(t, HOUR / 2)
      const answer = await patch(site, upload, 0, 'hello')
      assert.equal(answer.status, 204)
      assertExpires(answer, HOUR, from === 'activity' ? Date.now() : createdMs)
    })
  }
})

test('T91 · from activity, a request without bytes moves nothing', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR } })
  const upload = await make(site, 10, 'hello')
  const past = new Date(Date.now() - HOUR / 2)
  utimesSync(join(site.folder, idOf(upload)), past, past)
  await patch(site, upload, 5, '')
  await patch(site, upload, 4, 'x')
  assertExpires(await head(site, upload), HOUR, past.getTime())
})

test('T91 · an upload that would expire after the year 9999 has no date that says so, and does not expire', async (t) => {
  for (const afterMs of [8000 * 365 * 24 * HOUR, 8.64e15, Number.MAX_SAFE_INTEGER, Infinity]) {
    const site = await serve(t, { expiration: { afterMs } })
    const created = await post(site, ['Upload-Length: 10'])
    assert.equal(created.headers.has('upload-expires'), false, String(afterMs))
    assert.equal((await site.tus.sweep()).expired, 0)
    assert.equal((await head(site, addressOf(created))).status, 200)
  }
})

test('T89 · an upload that is finished does not expire, and no answer says so; a part does, as long as it is one', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR } })
  const upload = await make(site, 10, 'hello')
  const whole = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))
  for (const answer of [await patch(site, upload, 5, 'world'), await head(site, upload), whole, await post(site, ['Upload-Length: 0'])]) {
    assert.equal(answer.headers.has('upload-expires'), false)
  }
  const part = await makePartial(site, 'hello')
  assertExpires(await head(site, part), HOUR)
  const final = await concatenate(site, [part])
  assert.equal(final.headers.has('upload-expires'), false)
  assert.equal((await head(site, addressOf(final))).headers.has('upload-expires'), false)
})

for (const from of ['activity', 'creation'] as const) {
  test(`T92, T93 · what has expired is 410 while it is known (from ${from}), and nothing is touched before a sweep`, async (t) => {
    const site = await serve(t, { expiration: { afterMs: HOUR, from } })
    const uploads = [await make(site, 10, 'hello'), await makePartial(site, 'hello', 10), await makePartial(site, 'hello')]
    const before = snapshot(site.folder)
    later(t, HOUR)
    for (const upload of uploads) await assertGone(site, upload, 410)
    assert.deepEqual(snapshot(site.folder), before)
  })
}

test('T92 · a moment before it expires an upload is there, and goes on', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' } })
  const upload = await make(site, 10, 'hello')
  later(t, HOUR - 10_000)
  assert.equal((await head(site, upload)).status, 200)
  assert.equal((await patch(site, upload, 5, 'world')).status, 204)
})

test('T93 · the time of the data file is what counts, also after a restart, and for uploads from before there was a policy', async (t) => {
  const site = await serve(t)
  const [old, young] = [await make(site, 10, 'hello'), await make(site, 10, 'hello')]
  const past = new Date(Date.now() - HOUR)
  utimesSync(join(site.folder, idOf(old)), past, past)
  const restarted = await serve(t, { folder: site.folder, expiration: { afterMs: HOUR } })
  await assertGone(restarted, old, 410)
  assert.equal((await head(restarted, young)).status, 200)
})

test('T92, T94 · a sweep removes what has expired with its files, and leaves what is finished or young', async (t) => {
  const expired = published(t, 'longhaul:expire')
  const terminated = published(t, 'longhaul:terminate')
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' } })
  const finished = await make(site, 5, 'hello')
  const parts = [await makePartial(site, 'hello'), await makePartial(site, ' wor', 6)]
  const final = addressOf(await concatenate(site, [parts[0]!]))
  const kept = snapshot(site.folder)
  for (const part of parts) for (const name of [idOf(part), `${idOf(part)}.info`]) kept.delete(name)
  const unfinished = [await make(site, 10), await make(site, 10, 'hello'), addressOf(await post(site, ['Upload-Defer-Length: 1']))]
  const waiting = addressOf(await concatenate(site, parts))

  later(t, HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 8, expired: 6, settled: 0, failed: 0 })
  assert.deepEqual(snapshot(site.folder), kept)
  const gone = [...unfinished, ...parts, waiting]
  assert.deepEqual(expired.map(({ upload }) => upload.id).sort(), gone.map(idOf).sort())
  assert.deepEqual(terminated, [])
  for (const upload of gone) await assertGone(site, upload, 404)
  for (const upload of [finished, final]) assert.equal((await head(site, upload)).headers.get('upload-offset'), '5')

  const young = await make(site, 10, 'hello')
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 0, failed: 0 })
  assert.equal((await head(site, young)).status, 200)
})

test('T94 · without a policy a sweep removes nothing, however old', async (t) => {
  const site = await serve(t)
  await make(site, 10, 'hello')
  await makePartial(site, 'hello')
  const before = snapshot(site.folder)
  later(t, 1_000_000 * HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 2, expired: 0, settled: 0, failed: 0 })
  assert.deepEqual(snapshot(site.folder), before)
})

test('T94 · an upload that has all its bytes when the server stops is finished by a sweep, however late that comes', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  writeFileSync(join(site.folder, idOf(upload)), 'helloworld') // as after a crash between the last byte and what follows it
  later(t, 2 * HOUR)
  let finished = 0
  const restarted = await serve(t, {
    folder: site.folder,
    expiration: { afterMs: HOUR, from: 'creation' },
    onFinish: () => void finished++,
  })
  assert.deepEqual(await restarted.tus.sweep(), { examined: 1, expired: 0, settled: 1, failed: 0 })
  assert.equal(finished, 1)
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T94 · an upload that is rejected expires as one that is not finished', async (t) => {
  const onFinish = (): never => {
    throw Object.assign(new Error(), { status: 422 })
  }
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' }, onFinish })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 422)
  assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
  assert.equal((await head(site, upload)).status, 422)
  later(t, HOUR)
  assert.equal((await head(site, upload)).status, 410)
  assert.equal((await site.tus.sweep()).expired, 1)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T95 · a sweep leaves an upload alone that a PATCH is appending to; the upload is kept when that completes it', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' }, store: watched })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)
  later(t, 2 * HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
  await client.send('world')
  const answer = await client.response()
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '10')
  client.destroy()
  await site.settled()
  assert.equal((await site.tus.sweep()).expired, 0)
  assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T95 · an upload that expired during a PATCH is 410 after it, and removed by the next sweep', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' }, store: watched })
  const upload = await make(site, 20)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await site.store.arrived(5)
  later(t, 2 * HOUR)
  await client.send('world')
  assert.equal((await client.response()).status, 204)
  client.destroy()
  await site.settled()
  await assertGone(site, upload, 410)
  assert.equal((await site.tus.sweep()).expired, 1)
  assert.equal(snapshot(site.folder).size, 0)
})

test('T95 · from activity, an upload to which bytes come slowly does not expire', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR } })
  const upload = await make(site, 10)
  const old = new Date(Date.now() - 2 * HOUR)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await stored(site, upload, 5)
  utimesSync(join(site.folder, idOf(upload)), old, old)
  await client.send('worl')
  await stored(site, upload, 9)
  client.socket.end()
  await client.closed()
  await site.settled()
  assert.equal((await site.tus.sweep()).expired, 0)
  assertExpires(await head(site, upload), HOUR)
})

test('T95 · a sweep does not ask the holder of a lock to let go, whoever it is', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, { locker, expiration: { afterMs: HOUR, from: 'creation' } })
  const upload = await make(site, 10, 'hello')
  let asked = 0
  const hold = await locker.acquire(idOf(upload), { onReleaseRequest: () => void asked++ })
  later(t, HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
  assert.equal(asked, 0)
  hold.release()
  assert.equal((await site.tus.sweep()).expired, 1)
})

test('T95 · sweeps, PATCHes and HEADs at once leave an upload whole or gone, never a file without the other', async (t) => {
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' } })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  for (let round = 0; round < 20; round++) {
    const upload = await make(site, 10, 'hello')
    t.mock.timers.setTime(Date.now() + HOUR)
    const [patched] = await Promise.all([patch(site, upload, 5, 'world'), site.tus.sweep(), head(site, upload), site.tus.sweep()])
    assert.ok([404, 410].includes(patched.status), String(patched.status))
    const files = snapshot(site.folder)
    assert.ok(files.size === 0 || (files.size === 2 && files.get(idOf(upload)) === '5 bytes: hello'), [...files.keys()].join())
    await site.tus.sweep()
    assert.equal(snapshot(site.folder).size, 0)
  }
})

test('two sweeps at once remove each upload once', async (t) => {
  const removed: string[] = []
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' }, onTerminate: ({ id }) => void removed.push(id) })
  const ids = new Set<string>()
  for (let n = 0; n < 20; n++) ids.add(idOf(await make(site, 10)))
  later(t, HOUR)
  const reports = await Promise.all([site.tus.sweep(), site.tus.sweep()])
  assert.equal(reports.reduce((sum, { expired }) => sum + expired, 0), 20)
  assert.deepEqual(removed.sort(), [...ids].sort())
  assert.equal(snapshot(site.folder).size, 0)
})

test('a sweep finishes what is complete and failed to be finished, and leaves what is not complete', async (t) => {
  let fails = true
  const finished: string[] = []
  const site = await serve(t, {
    onFinish: ({ id }) => {
      if (fails) throw new Error('secret')
      finished.push(id)
    },
  })
  const uploads = [await make(site, 10, 'hello'), await make(site, 10, 'hello')]
  for (const upload of uploads) assert.equal((await patch(site, upload, 5, 'world')).status, 500)
  const part = await makePartial(site, 'hel', 5)
  const errors = published(t, 'longhaul:error')
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 0, failed: 2 })
  assert.equal(errors.length, 2)
  fails = false
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 2, failed: 0 })
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 0, settled: 0, failed: 0 })
  assert.deepEqual(finished.sort(), uploads.map(idOf).sort())
  for (const upload of uploads) assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
  assert.equal((await head(site, part)).headers.get('upload-offset'), '3')
})

/** A store whose next answer to `find` comes late. */
class LateStore extends StoreBehind {
  late: Gate | undefined

  override async find(id: string): Promise<Upload | undefined> {
    const upload = await super.find(id)
    const gate = this.late
    this.late = undefined
    await gate?.pass()
    return upload
  }
}

test('a sweep looks again once it has the lock: what a request finished meanwhile is not counted, nor finished twice', async (t) => {
  let runs = 0
  const site = await serve(t, {
    store: (files) => new LateStore(files),
    onFinish: () => {
      if (++runs === 1) throw new Error('secret')
    },
  })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 500)
  const gate = new Gate()
  site.store.late = gate
  const sweep = site.tus.sweep()
  await gate.arrived
  assert.equal((await head(site, upload)).status, 200)
  gate.open()
  assert.deepEqual(await sweep, { examined: 1, expired: 0, settled: 0, failed: 0 })
  assert.equal(runs, 2)
})

test('a sweep counts an upload that is rejected as settled', async (t) => {
  let status = 500
  const onFinish = (): never => {
    throw Object.assign(new Error(), { status })
  }
  const site = await serve(t, { onFinish })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 500)
  status = 422
  assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 1, failed: 0 })
  assert.equal((await head(site, upload)).status, 422)
})

test('a damaged sidecar is counted, published and left for repair, and the sweep continues', async (t) => {
  const errors = published(t, 'longhaul:error')
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' } })
  for (let n = 0; n < 10; n++) await make(site, 10)
  const damaged = ['damaged', 'without-data']
  writeFileSync(join(site.folder, 'damaged'), 'hello')
  for (const id of damaged) writeFileSync(join(site.folder, `${id}.info`), '{"ID":')
  later(t, HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 12, expired: 10, settled: 0, failed: 2 })
  assert.deepEqual(errors.map(({ error }) => error.code), ['UPLOAD_CORRUPT', 'UPLOAD_CORRUPT'])
  assert.deepEqual(filesIn(site.folder), ['damaged', 'damaged.info', 'without-data.info'])
})

test('onTerminate runs for an expired upload under its lock, before it is removed', async (t) => {
  const locker = new KeyedLock()
  const told: { readonly id: string; readonly offset: number; readonly reason: string; readonly there: boolean; readonly free: boolean }[] =
    []
  const site: Site = await serve(t, {
    locker,
    expiration: { afterMs: HOUR, from: 'creation' },
    onTerminate: async ({ id, offset }, reason) => {
      told.push({
        id,
        offset,
        reason,
        there: statSync(join(site.folder, id)).size === 5,
        free: (await locker.tryAcquire(id)) !== undefined,
      })
    },
  })
  const upload = await make(site, 10, 'hello')
  later(t, HOUR)
  assert.equal((await site.tus.sweep()).expired, 1)
  assert.deepEqual(told, [{ id: idOf(upload), offset: 5, reason: 'expired', there: true, free: false }])
  assert.equal(snapshot(site.folder).size, 0)
})

for (const status of [undefined, 409, 503]) {
  test(`an onTerminate that throws (${status ?? 'without a status'}) keeps what has expired, which the next sweep removes; the others go`, async (t) => {
    let kept: string | undefined
    const site = await serve(t, {
      expiration: { afterMs: HOUR, from: 'creation' },
      onTerminate: async ({ id }) => {
        if (id === kept) throw Object.assign(new Error('secret'), status === undefined ? {} : { status })
      },
    })
    const upload = await make(site, 10, 'hello')
    kept = idOf(upload)
    const before = snapshot(site.folder)
    await make(site, 10)
    const errors = published(t, 'longhaul:error')
    later(t, HOUR)
    assert.deepEqual(await site.tus.sweep(), { examined: 2, expired: 1, settled: 0, failed: 1 })
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal(errors.length, 1)
    assert.equal((errors[0]?.error.cause as Error).message, 'secret')
    await assertGone(site, upload, 410)
    kept = undefined
    assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 1, settled: 0, failed: 0 })
  })
}

/** A store that counts what is asked of it at the same time. */
class CountingStore extends StoreBehind {
  listed = 0
  found = 0
  underWay = 0
  mostUnderWay = 0
  mostAhead = 0
  listsEnded = 0

  override async find(id: string): Promise<Upload | undefined> {
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay)
    try {
      await new Promise(setImmediate)
      return await super.find(id)
    } finally {
      this.underWay--
      this.found++
    }
  }

  override async *list(): AsyncGenerator<string> {
    try {
      for await (const id of super.list()) {
        this.mostAhead = Math.max(this.mostAhead, ++this.listed - this.found)
        yield id
      }
    } finally {
      this.listsEnded++
    }
  }
}

function serveCounting(t: TestContext, options?: SiteOptions): Promise<Site<CountingStore>> {
  return serve(t, { ...options, store: (files) => new CountingStore(files) })
}

test('a sweep looks at a few uploads at a time, and does not run ahead of itself through the list', async (t) => {
  const site = await serveCounting(t, { expiration: { afterMs: HOUR } })
  for (let n = 0; n < 50; n++) await make(site, 10)
  site.store.mostUnderWay = site.store.found = 0
  assert.equal((await site.tus.sweep()).examined, 50)
  assert.equal(site.store.found, 50)
  assert.ok(site.store.mostUnderWay >= 2 && site.store.mostUnderWay <= 8, `${site.store.mostUnderWay} at once`)
  assert.ok(site.store.mostAhead <= 8, `${site.store.mostAhead} ids in hand`)
  assert.equal(site.store.listsEnded, 1)
})

test('a sweep ends early, without an error, when the server shuts down; the rest waits for the next', async (t) => {
  const controller = new AbortController()
  const site = await serveCounting(t, {
    signal: controller.signal,
    expiration: { afterMs: HOUR, from: 'creation' },
    onTerminate: () => controller.abort(new Error('The server shuts down')),
  })
  for (let n = 0; n < 50; n++) await make(site, 10)
  later(t, HOUR)
  const report = await site.tus.sweep()
  assert.ok(report.expired >= 1 && report.examined <= 10, JSON.stringify(report))
  assert.equal(report.failed, 0)
  assert.equal(snapshot(site.folder).size, 2 * (50 - report.expired))
  assert.equal(site.store.listsEnded, 1, 'the folder was closed')
  assert.deepEqual(await site.tus.sweep(), { examined: 0, expired: 0, settled: 0, failed: 0 }, 'nor does one begin then')

  const restarted = await serve(t, { folder: site.folder, expiration: { afterMs: HOUR, from: 'creation' } })
  assert.equal((await restarted.tus.sweep()).expired, 50 - report.expired)
})

test('a sweep resolves when all its work is done, also with an onTerminate that takes its time', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { expiration: { afterMs: HOUR, from: 'creation' }, onTerminate: () => gate.pass() })
  await make(site, 10)
  later(t, HOUR)
  let swept = false
  const sweep = site.tus.sweep().then(() => (swept = true))
  await gate.arrived
  await ask(site, request('OPTIONS /files/'))
  assert.equal(swept, false)
  gate.open()
  await sweep
  assert.equal(snapshot(site.folder).size, 0)
})

test('a sweep removes what crashes left behind', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  writeFileSync(join(site.folder, `${idOf(upload)}.info.0123456789ab.tmp`), '{"ID":')
  writeFileSync(join(site.folder, 'reserved'), '')
  assert.equal((await site.tus.sweep()).examined, 1)
  assert.equal(snapshot(site.folder).size, before.size + 2, 'what is young may still be at work')
  later(t, 2 * HOUR)
  await site.tus.sweep()
  assert.deepEqual(snapshot(site.folder), before)
})

test('a store that cannot list is not swept', async (t) => {
  const site = await serve(t, {
    expiration: { afterMs: HOUR, from: 'creation' },
    store: (files) => Object.assign(new StoreBehind(files), { list: undefined }),
  })
  await make(site, 10)
  later(t, HOUR)
  assert.deepEqual(await site.tus.sweep(), { examined: 0, expired: 0, settled: 0, failed: 0 })
})

for (const afterMs of [0, -1, NaN, -Infinity, 2 ** 53, '1000' as unknown as number]) {
  const name = typeof afterMs === 'number' ? 'RangeError' : 'TypeError'
  test(`expiration after ${afterMs} (${typeof afterMs}) is a ${name}`, async (t) => {
    await assert.rejects(serve(t, { expiration: { afterMs } }), { name, message: /expiration\.afterMs .*received/ })
  })
}
