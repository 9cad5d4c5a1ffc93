// SPDX-License-Identifier: MIT

/** Checklist T.3: PATCHes that are cut, stalled or overtaken, and creations that are cut. */

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { KeyedLock, type KeyedLockHold } from '../../lib/keyed-lock.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { pattern } from '../support/pattern.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { watched } from '../support/watched-store.ts'
import { exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, head, make, OCT, offsetOf, serve, V, type Site } from './support.ts'

const MiB = 1024 * 1024

/** A PATCH whose body has begun, on a connection of its own. */
async function beginPatch(site: Site, upload: string, offset: number, length: number, begin: string | Uint8Array): Promise<WireClient> {
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${length}`]))
  await client.send(begin)
  return client
}

/** Goes on from where HEAD says, to the end. */
async function resume(site: Site, upload: string, source: Buffer): Promise<number> {
  const offset = await offsetOf(site, upload)
  const rest = source.subarray(offset)
  const patch = withBody(request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${rest.length}`]), rest)
  const answer = await ask(site, patch)
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), String(source.length))
  assert.ok(contentOf(site, upload).equals(source), 'the stored bytes are those of the source')
  return offset
}

test('T40, T41 · of a PATCH whose client closes in the middle (FIN), every byte is stored', async (t) => {
  const site = await serve(t)
  const source = pattern(MiB)
  const upload = await make(site, MiB)
  const client = await beginPatch(site, upload, 0, MiB, source.subarray(0, 300_000))
  client.socket.end()
  await client.closed()
  assert.equal(await resume(site, upload, source), 300_000)
})

test('T41 · of a PATCH whose client resets the connection (RST), every byte that the server had is stored', async (t) => {
  const site = await serve(t, { store: watched })
  const source = pattern(MiB)
  const upload = await make(site, MiB)
  const client = await beginPatch(site, upload, 0, MiB, source.subarray(0, 300_000))
  await site.store.arrived(300_000)
  client.socket.resetAndDestroy()
  assert.equal(await resume(site, upload, source), 300_000)
})

test('T40 · a PATCH whose client resets the connection at once is resumed from what HEAD reports, and gives the right bytes', async (t) => {
  const site = await serve(t, { store: watched })
  const source = pattern(MiB)
  for (let round = 0; round < 10; round++) {
    const upload = await make(site, MiB)
    const client = await beginPatch(site, upload, 0, MiB, source.subarray(0, round * 30_000))
    client.socket.resetAndDestroy()
    const offset = await resume(site, upload, source)
    assert.ok(offset <= round * 30_000)
  }
})

test('T40 · an upload is complete after it was cut in every place', async (t) => {
  const site = await serve(t, { store: watched })
  const source = pattern(MiB)
  const upload = await make(site, MiB)
  let offset = 0
  for (const cut of ['end', 'resetAndDestroy', 'destroy', 'end', 'resetAndDestroy', 'destroy'] as const) {
    const arrived = site.store.arrived(offset + 1)
    const client = await beginPatch(site, upload, offset, MiB - offset, source.subarray(offset, offset + 100_000))
    await arrived
    client.socket[cut]()
    const next = await offsetOf(site, upload)
    assert.ok(next > offset && next <= offset + 100_000, `${next} after ${offset}`)
    assert.ok(contentOf(site, upload).equals(source.subarray(0, next)))
    offset = next
  }
  await resume(site, upload, source)
})

test('T42 · a PATCH that falls silent is answered 423 with Retry-After, which clients try again, and closed; what came is stored, and the upload is free', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const source = pattern(MiB)
  const upload = await make(site, MiB)
  const client = await beginPatch(site, upload, 0, MiB, source.subarray(0, 1000))
  const answer = await client.response()
  assert.deepEqual([answer.status, answer.headers.get('retry-after'), answer.body], [423, '1', 'Timed out waiting for data\n'])
  assert.equal(answer.headers.get('connection'), 'close')
  assertPlainRefusal(answer, site)
  assert.equal(contentOf(site, upload).length, 1000)
  assert.equal(await resume(site, upload, source), 1000)
  client.socket.end()
  assert.equal(await client.closed(), '')
})

test('T42 · a client that says nothing after its 423 has its connection closed all the same', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const upload = await make(site, 100)
  const client = await beginPatch(site, upload, 0, 100, 'x'.repeat(10))
  assert.equal((await client.response()).status, 423)
  assert.equal(await client.closed(), '')
  assert.equal(await offsetOf(site, upload), 10)
})

test('T48 · of two PATCHes at once exactly one is stored, and never a mix', async (t) => {
  const site = await serve(t)
  for (let round = 0; round < 50; round++) {
    const upload = await make(site, 4000)
    const patch = (letter: string): string =>
      request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 4000'], letter.repeat(4000))
    const answers = await Promise.all(['a', 'b'].map((letter) => exchange(site.port, patch(letter))))
    assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 409])
    const winner = answers[0]?.status === 204 ? 'a' : 'b'
    assert.equal(contentOf(site, upload).toString(), winner.repeat(4000))
  }
})

test('T48 · of two large PATCHes at once what is stored is a beginning of one of them, and HEAD reports its size', async (t) => {
  const site = await serve(t)
  for (let round = 0; round < 5; round++) {
    const upload = await make(site, 4 * MiB)
    const patch = (letter: string): Buffer =>
      withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${4 * MiB}`]), Buffer.alloc(4 * MiB, letter))
    const answers = await Promise.all(['a', 'b'].map((letter) => exchange(site.port, patch(letter))))
    const statuses = answers.map(({ status }) => status).sort()
    assert.ok(['204,409', '409,409'].includes(statuses.join()), statuses.join())
    const content = contentOf(site, upload).toString('latin1')
    assert.match(content, /^(?:a*|b*)$/)
    assert.equal(await offsetOf(site, upload), content.length)
    if (statuses[0] === 204) assert.equal(content.length, 4 * MiB)
  }
})

test('T49 · a stalled PATCH lets go for a HEAD, whose offset counts all that came; the next PATCH continues there', async (t) => {
  const site = await serve(t, { store: watched })
  const source = pattern(300_000)
  const upload = await make(site, source.length)
  const stalled = await beginPatch(site, upload, 0, source.length, source.subarray(0, 100_000))
  await site.store.arrived(100_000)

  assert.equal(await offsetOf(site, upload), 100_000)
  const overtaken = await stalled.response()
  assert.equal(overtaken.status, 409)
  assert.equal(overtaken.headers.get('connection'), 'close')
  assertPlainRefusal(overtaken, site)

  await stalled.send(Buffer.alloc(50_000, 'x')) // comes too late to be stored
  assert.equal(await resume(site, upload, source), 100_000)
  await stalled.send(Buffer.alloc(150_000, 'x'))
  assert.equal(await stalled.closed(), '')
  await site.settled()
  assert.ok(contentOf(site, upload).equals(source))
})

test('T49 · a stalled PATCH lets go for a PATCH that knows its offset', async (t) => {
  const site = await serve(t, { store: watched })
  const upload = await make(site, 10)
  const stalled = await beginPatch(site, upload, 0, 10, 'hello')
  await site.store.arrived(5)
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.equal(answer.status, 204)
  assert.equal((await stalled.response()).status, 409)
  assert.equal(contentOf(site, upload).toString(), 'helloworld')
  stalled.destroy()
})

test('T49 · a stalled PATCH lets go for a PATCH at another offset, which is 409; what came stays', async (t) => {
  const site = await serve(t, { store: watched })
  const upload = await make(site, 10)
  const stalled = await beginPatch(site, upload, 0, 10, 'hello')
  await site.store.arrived(5)
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'XXXXX'))
  assert.equal(answer.status, 409)
  assert.equal((await stalled.response()).status, 409)
  assert.equal(contentOf(site, upload).toString(), 'hello')
  stalled.destroy()
})

for (const method of ['HEAD', 'PATCH', 'DELETE']) {
  test(`${method} of an upload that is not let go of in time is 423 with Retry-After, and changes nothing`, async (t) => {
    const locker = new KeyedLock()
    const site = await serve(t, { locker, lockTimeoutMs: 20 })
    const upload = await make(site, 10, 'hello')
    const before = snapshot(site.folder)
    const lock = await locker.acquire(upload.slice('/files/'.length))
    const body = method === 'PATCH' ? 'world' : ''
    const text = request(`${method} ${upload}`, [V, OCT, 'Upload-Offset: 5', `Content-Length: ${body.length}`], body)
    const answer = await ask(site, text, { toHead: method === 'HEAD' })
    assert.equal(answer.status, 423)
    assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
    assert.deepEqual(snapshot(site.folder), before)
    lock.release()
    assert.equal(await offsetOf(site, upload), 5)
  })
}

test('an offset that HEAD has reported is not taken back, even if the PATCH turns out to be too large', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Transfer-Encoding: chunked'], 'a\r\nhelloworld\r\n'))
  await stored(site, upload, 10)
  const told = await offsetOf(site, upload)
  await client.send('1\r\n!\r\n0\r\n\r\n')
  await client.response()
  client.destroy()
  await site.settled()
  assert.ok((await offsetOf(site, upload)) >= told, `HEAD told ${told} and then ${await offsetOf(site, upload)}`)
})

async function cutCreation(t: TestContext, cut: 'end' | 'resetAndDestroy'): Promise<void> {
  const site = await serve(t, { store: watched })
  const source = pattern(MiB)
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, OCT, `Upload-Length: ${MiB}`, `Content-Length: ${MiB}`]))
  await client.send(source.subarray(0, 300_000))
  await site.store.arrived(300_000)
  client.socket[cut]()
  await site.settled()

  const ids = [...snapshot(site.folder).keys()].filter((name) => !name.includes('.'))
  assert.equal(ids.length, 1)
  assert.equal(await resume(site, `/files/${ids[0]}`, source), 300_000)
}

test('T83 · a creation with upload that was cut (FIN) exists, with every byte that came', (t) => cutCreation(t, 'end'))
test('T83 · a creation with upload that was cut (RST) exists, with every byte that came', (t) => cutCreation(t, 'resetAndDestroy'))

test('a creation with upload that stalls is answered with the offset that is really stored', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Content-Length: 10'], 'hello'))
  const answer = await client.response()
  client.destroy()
  await site.settled()
  assert.deepEqual([answer.status, answer.headers.get('upload-offset'), answer.headers.get('connection')], [201, '5', 'close'])
  assert.equal(await offsetOf(site, answer.headers.get('location') ?? ''), 5)
})

test('a client that goes while it waits for the lock leaves nothing behind: the upload stays usable', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, { locker, graceMs: 1 })
  const upload = await make(site, 10, 'hello')
  const id = upload.slice('/files/'.length)
  let lock: KeyedLockHold | undefined
  const asked = new Promise<void>((resolve) => {
    void locker.acquire(id, { onReleaseRequest: resolve }).then((hold) => (lock = hold))
  })
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'wor'))
  await asked
  client.destroy()
  await site.settled()
  lock?.release()
  assert.equal((await head(site, upload)).headers.get('upload-offset'), '5')
})

test('a request that ends before all of its body is stored is published once, with the reason and what is stored', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const interrupts = published(t, 'longhaul:interrupt') as readonly { readonly upload: Upload; readonly code: string }[]
  const upload = await make(site, 20)

  const leaving = await beginPatch(site, upload, 0, 20, 'hello')
  leaving.socket.end()
  await leaving.closed()
  const silent = await beginPatch(site, upload, await offsetOf(site, upload), 15, 'world')
  assert.equal((await silent.response()).status, 423)
  silent.destroy()
  const wrong = request(
    `PATCH ${upload}`,
    [V, OCT, 'Upload-Offset: 10', 'Content-Length: 5', `Upload-Checksum: sha1 ${'A'.repeat(27)}=`],
    'wrong',
  )
  assert.equal((await ask(site, wrong)).status, 460)
  assert.equal((await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 10', 'Content-Length: 5'], 'right'))).status, 204)

  assert.deepEqual(interrupts.map(({ upload, code }) => [upload.offset, code]), [[5, 'ABORTED'], [10, 'IDLE'], [10, 'CHECKSUM_MISMATCH']])
})
