// SPDX-License-Identifier: MIT

/** Checklist T53, and what else a store can do wrong: the client learns a status, the operator the cause. */

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { FileStoreError } from '../../lib/file-store/file-store.ts'
import type { NewUpload, Upload } from '../../lib/upload/types.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { request, WireClient } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, offsetOf, serve, V, type Site, type SiteOptions } from './support.ts'

type Operation = 'create' | 'find' | 'append' | 'truncate' | 'terminate'

/** A store that fails in one operation, once it is told to. */
class FaultyStore extends StoreBehind {
  fails: Operation | undefined
  thrown: unknown
  /** So many bytes of a body are stored before `append` fails; `undefined` means that it never looks at it. */
  storedFirst: number | undefined

  #fault(operation: Operation): void {
    if (this.fails === operation) throw this.thrown
  }

  override async create(upload: NewUpload): Promise<Upload> {
    this.#fault('create')
    return super.create(upload)
  }

  override async find(id: string): Promise<Upload | undefined> {
    this.#fault('find')
    return super.find(id)
  }

  override async append(upload: Upload, body: Readable, options: { readonly signal?: AbortSignal | undefined }): Promise<number> {
    if (this.fails === 'append' && this.storedFirst !== undefined) {
      const fitting: Buffer[] = []
      let room = this.storedFirst
      for await (const chunk of body as AsyncIterable<Buffer>) {
        fitting.push(chunk.subarray(0, room))
        room -= Math.min(room, chunk.length)
        if (room === 0) break
      }
      await super.append(upload, Readable.from(fitting), {})
    }
    this.#fault('append')
    return super.append(upload, body, options)
  }

  override async truncate(upload: Upload, offset: number): Promise<void> {
    this.#fault('truncate')
    return super.truncate(upload, offset)
  }

  override async terminate(upload: Upload): Promise<void> {
    this.#fault('terminate')
    return super.terminate(upload)
  }
}

function serveFaulty(t: TestContext, options?: SiteOptions): Promise<Site<FaultyStore>> {
  return serve(t, { ...options, store: (files) => new FaultyStore(files) })
}

const leaky = (): Error => Object.assign(new Error("EIO: i/o error, open '/srv/longhaul-secret/x.info'"), { code: 'EIO', status: 'secret' })

const operations: readonly (readonly [operation: Operation, text: (upload: string) => string | Buffer])[] = [
  ['find', (upload) => request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')],
  ['find', (upload) => request(`DELETE ${upload}`, [V])],
  ['append', (upload) => request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world')],
  ['append', () => request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello')],
  ['create', () => request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0'])],
  ['create', () => request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello')],
  ['terminate', (upload) => request(`DELETE ${upload}`, [V])],
]

for (const [operation, text] of operations) {
  const title = text('an upload').toString().split(' HTTP', 1)[0]
  test(`a store that fails to ${operation} (${title}) is 500 without detail, published with its cause; nothing changes`, async (t) => {
    const site = await serveFaulty(t)
    const upload = await make(site, 10, 'hello')
    const before = snapshot(site.folder)
    const messages = published(t, 'longhaul:error')
    site.store.fails = operation
    site.store.thrown = leaky()

    const answer = await ask(site, text(upload))
    assert.equal(answer.status, 500)
    assert.equal(answer.body, 'The server failed\n')
    assertPlainRefusal(answer, site)
    assert.equal(messages.length, 1)
    assert.equal(messages[0]?.error.code, 'INTERNAL')
    assert.equal(messages[0].error.cause, site.store.thrown)
    assert.ok(messages[0].req)

    site.store.fails = undefined
    await site.settled()
    assert.deepEqual(snapshot(site.folder), before)
    const next = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
    assert.equal(next.status, 204, 'the lock was released')
  })
}

for (const thrown of [undefined, null, '/srv/secret', 7, {}, { code: '__proto__' }, { code: 'INTERNAL', status: 13 }]) {
  test(`a store that throws ${JSON.stringify(thrown)} is 500 without detail`, async (t) => {
    const site = await serveFaulty(t)
    const upload = await make(site, 10, 'hello')
    site.store.fails = 'find'
    site.store.thrown = thrown
    const answer = await ask(site, request(`DELETE ${upload}`, [V]))
    assert.equal(answer.status, 500)
    assert.equal(answer.body, 'The server failed\n')
  })
}

test('refusals that are the fault of the client are not published', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 10, 'hello')
  const messages = published(t, 'longhaul:error')
  await ask(site, request('DELETE /files/unknown', [V]))
  await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 0']))
  await ask(site, request(`PUT ${upload}`, [V]))
  assert.deepEqual(messages, [])
})

test('a store that fails when the client has gone is published all the same: nobody else would learn of it', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 100)
  const messages = published(t, 'longhaul:error')
  site.store.fails = 'append'
  site.store.storedFirst = 10
  site.store.thrown = leaky()
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 100'], 'hello'))
  client.socket.end()
  await client.closed()
  await site.settled()
  assert.deepEqual(messages.map(({ error }) => error.cause), [site.store.thrown])
})

test('T53 · a store that becomes full is 507; what fitted stays, and the upload is resumed when there is space', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 10)
  const messages = published(t, 'longhaul:error')
  site.store.fails = 'append'
  site.store.storedFirst = 4
  site.store.thrown = new FileStoreError('STORE_FULL', 'No space at /srv/secret', { cause: leaky() })
  const full = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'helloworld'))
  assert.equal(full.status, 507)
  assertPlainRefusal(full, site)
  assert.equal(messages[0]?.error.code, 'STORE_FULL')
  assert.equal(await offsetOf(site, upload), 4)

  site.store.fails = undefined
  const resumed = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 4', 'Content-Length: 6'], 'oworld'))
  assert.equal(resumed.status, 204)
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
})

test('T53 · a creation for which there is no space is 507 and leaves nothing behind, and does not say otherwise', async (t) => {
  const site = await serveFaulty(t)
  site.store.storedFirst = 4
  site.store.thrown = new FileStoreError('STORE_FULL', 'No space at /srv/secret')
  for (const fails of ['create', 'append'] as const) {
    site.store.fails = fails
    const answer = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'helloworld'))
    assert.equal(answer.status, 507)
    assertPlainRefusal(answer, site)
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
    assert.doesNotMatch(answer.body, /is stored/)
  }
})

test('T53 · a store that fails in the middle of a body is 500; HEAD reports what is really stored, and the upload is resumed', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 10)
  site.store.fails = 'append'
  site.store.storedFirst = 5
  site.store.thrown = leaky()
  const failed = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'helloworld'))
  assert.equal(failed.status, 500)
  assert.equal(await offsetOf(site, upload), 5)
  site.store.fails = undefined
  assert.equal((await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))).status, 204)
})

for (const storedFirst of [undefined, 100_000]) {
  const when = storedFirst === undefined ? 'before it reads' : 'while it reads'
  test(`the 500 of a store that fails ${when} arrives at a client that sends all of a large body first`, async (t) => {
    const site = await serveFaulty(t)
    const size = 8 * 1024 * 1024
    const upload = await make(site, size)
    site.store.fails = 'append'
    site.store.storedFirst = storedFirst
    site.store.thrown = leaky()
    const client = await WireClient.connect(site.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${size}`]))
    await client.send(Buffer.alloc(size))
    assert.equal(client.socket.errored, null, 'the server has taken all of it')
    assert.equal((await client.response()).status, 500)
    client.destroy()
  })
}

test('an upload that moved on behind the back of the server is 409', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 10, 'hello')
  site.store.fails = 'append'
  site.store.thrown = new FileStoreError('UPLOAD_MOVED_ON', 'It is at /srv/secret')
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.equal(answer.status, 409)
  assertPlainRefusal(answer, site)
})

test('a store that cannot take back what was too much is 500, never a 413 that claims that nothing changed', async (t) => {
  const site = await serveFaulty(t)
  const upload = await make(site, 10, 'hello')
  site.store.fails = 'truncate'
  site.store.thrown = leaky()
  const patch = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked'], '6\r\nworlds\r\n0\r\n\r\n')
  const answer = await ask(site, patch)
  assert.equal(answer.status, 500)
  assertPlainRefusal(answer, site)
  assert.equal(await offsetOf(site, upload), contentOf(site, upload).length)
})

test('a locker that fails is 500 without detail, and changes nothing', async (t) => {
  const fails = (): Promise<never> => Promise.reject(leaky())
  const site = await serve(t, { locker: { acquire: fails, tryAcquire: fails } })
  const messages = published(t, 'longhaul:error')
  const answer = await ask(site, request('DELETE /files/unknown', [V]))
  assert.equal(answer.status, 500)
  assertPlainRefusal(answer, site)
  assert.equal(messages.length, 1)
})

for (const code of ['EMFILE', 'ENFILE', 'ENOMEM']) {
  test(`a system that has run out of something (${code}) is 503 with Retry-After, and the operator learns of it`, async (t) => {
    const site = await serveFaulty(t)
    const upload = await make(site, 10, 'hello')
    const messages = published(t, 'longhaul:error')
    site.store.thrown = Object.assign(new Error('secret'), { code })
    site.store.fails = 'find'
    const answer = await ask(site, request(`DELETE ${upload}`, [V]))
    assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1'])
    assertPlainRefusal(answer, site)
    assert.deepEqual(messages.map(({ error }) => error.cause), [site.store.thrown])
    site.store.fails = undefined
    assert.equal(await offsetOf(site, upload), 5)
  })
}
