// SPDX-License-Identifier: MIT

/**
 * Checklist R102: tus-js-client 4 in the two modes in which it speaks drafts of Resumable Uploads for HTTP:
 * draft -03, which is interop version 5, and -05, which is 6.
 *
 * Both modes are its tus client with other fields, which shows in what it cannot do. It does not listen for 104
 * and asks for an upload first, unless it brings the data along; and it never sends an empty request to say that
 * an upload is complete, but takes an offset that equals the length for that.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { npmStart } from './npm-start.js'
import {
  assertArrived,
  filesOf,
  finish,
  HEADS_BYTES,
  MB,
  offsetsOf,
  startProxy,
  startUpload,
  streamOf,
  temporaryFolder,
} from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 120_000 }

for (const protocol of ['ietf-draft-03', 'ietf-draft-05']) {
  test(`R102 · ${protocol}: an upload is created and sent by one request each`, LIMITS, async (t) => {
    const { dir, endpoint } = await startServer(t)

    const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { protocol }))

    await assertComplete(dir, upload)
    assert.deepEqual(exchanges, [
      { method: 'POST', offset: undefined, status: 201 },
      { method: 'PATCH', offset: 0, status: 200 },
    ])
  })

  test(`R102 · ${protocol}: an upload that brings its data while it is created needs no second request`, LIMITS, async (t) => {
    const { dir, endpoint } = await startServer(t)

    const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { protocol, uploadDataDuringCreation: true }))

    await assertComplete(dir, upload)
    assert.deepEqual(exchanges, [{ method: 'POST', offset: undefined, status: 200 }])
  })

  test(`R102 · ${protocol}: an upload in chunks, the first of which creates it, is complete with the last`, LIMITS, async (t) => {
    const { dir, endpoint } = await startServer(t)

    const { upload, exchanges } = await finish(
      startUpload(t, endpoint, SOURCE, { protocol, uploadDataDuringCreation: true, chunkSize: 8 * MB }),
    )

    await assertComplete(dir, upload)
    assert.deepEqual(exchanges, [
      { method: 'POST', offset: undefined, status: 201 },
      { method: 'PATCH', offset: 8 * MB, status: 201 }, // as these drafts have it
      { method: 'PATCH', offset: 16 * MB, status: 200 },
    ])
  })

  test(`R102 · ${protocol}: an upload whose connection is cut six times, by FIN and by RST, resumes each time and arrives whole`, LIMITS, async (t) => {
    const cuts = [3, 6, 9, 12, 15, 18].map((megabytes, index) => ({ atBytes: megabytes * MB, by: index % 2 === 0 ? 'FIN' : 'RST' }))
    const { dir, proxy, endpoint } = await startServer(t, cuts)

    const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { protocol }))

    assert.deepEqual(proxy.made, cuts)
    await assertComplete(dir, upload)
    const [first, ...resumed] = offsetsOf(exchanges)
    assert.equal(first, 0)
    assert.equal(resumed.length, cuts.length)
    assert.ok(resumed[0] > 3 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${resumed[0]}`)
    assert.deepEqual(resumed, resumed.toSorted((a, b) => a - b), 'nothing that was stored may be lost again')
  })

  test(`R102 · ${protocol}: an upload that is cut while it is created begins anew, as the client did not hear its address`, LIMITS, async (t) => {
    const { dir, proxy, endpoint } = await startServer(t, [{ atBytes: 8 * MB, by: 'FIN' }])

    const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { protocol, uploadDataDuringCreation: true }))

    assert.equal(proxy.made.length, 1)
    await assertComplete(dir, upload)
    assert.deepEqual(exchanges.map(({ method, status }) => [method, status]), [['POST', undefined], ['POST', 200]])
    assert.ok(
      sizesOf(dir).some((size) => size > 8 * MB - HEADS_BYTES && size < 8 * MB),
      `all that came before the FIN must be stored: ${sizesOf(dir)}`,
    )
  })

  for (const [from, to] of [['tus-v1', protocol], [protocol, 'tus-v1']]) {
    test(`An upload that was begun as ${from} and left is resumed as ${to} and arrives whole`, LIMITS, async (t) => {
      const { dir, proxy, endpoint } = await startServer(t, [{ atBytes: 8 * MB, by: 'silence' }])

      const left = startUpload(t, endpoint, SOURCE, { protocol: from })
      await Promise.race([once(proxy, 'cut'), left.done])
      await left.upload.abort()
      const { upload, exchanges } = await finish(startUpload(t, undefined, SOURCE, { protocol: to, uploadUrl: left.upload.url }))

      await assertComplete(dir, upload)
      assert.equal(upload.url, left.upload.url)
      const [offset, ...further] = offsetsOf(exchanges)
      assert.ok(offset > 8 * MB - HEADS_BYTES, `all that had arrived must be stored: resumed at ${offset}`)
      assert.deepEqual(further, [])
    })
  }

  test(`R102 · ${protocol}: a stream whose length shows at its end, cut before and after it was told, resumes each time and arrives whole`, LIMITS, async (t) => {
    const cuts = [{ atBytes: 6 * MB, by: 'FIN' }, { atBytes: 18 * MB, by: 'RST' }] // the last chunk begins at about 14 MB
    const { dir, proxy, endpoint } = await startServer(t, cuts)

    const { upload, exchanges } = await finish(
      startUpload(t, endpoint, streamOf(SOURCE), { protocol, uploadLengthDeferred: true, chunkSize: 8 * MB }),
    )

    assert.deepEqual(proxy.made, cuts)
    await assertComplete(dir, upload)
    const offsets = offsetsOf(exchanges)
    assert.ok(offsets[1] > 6 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${offsets[1]}`)
    assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b), 'nothing that was stored may be lost again')
  })

  test(`R102 · ${protocol}: abort(true) amid an upload removes its files, though its connection still hangs`, LIMITS, async (t) => {
    const { dir, proxy, endpoint } = await startServer(t, [{ atBytes: 8 * MB, by: 'silence' }])

    const { upload, exchanges, done } = startUpload(t, endpoint, SOURCE, { protocol })
    await Promise.race([once(proxy, 'cut'), done])
    assert.equal(filesOf(dir).length, 2)
    await upload.abort(true)

    assert.deepEqual(filesOf(dir), [])
    assert.deepEqual(exchanges.at(-1), { method: 'DELETE', offset: undefined, status: 204 })
  })

  // FileSource.slice() calls a piece the last one if it is as long as the whole file. Of a file in chunks, and of
  // the rest of one, the last piece is not, so it is sent with `Upload-Complete: ?0`. BufferSource does it right.
  test(`R102 · ${protocol}: a file in chunks arrives, and stays incomplete until somebody says what the client does not`, LIMITS, async (t) => {
    const { dir, endpoint } = await startServer(t)
    const file = join(temporaryFolder(t), 'source.bin')
    writeFileSync(file, SOURCE)

    const { upload, exchanges } = await finish(startUpload(t, endpoint, createReadStream(file), { protocol, chunkSize: 8 * MB }))

    assertArrived(dir, upload, SOURCE)
    assert.deepEqual(exchanges.at(-1), { method: 'PATCH', offset: 16 * MB, status: 201 })
    assert.deepEqual(await stateOf(upload), { status: 204, complete: '?0', offset: String(SOURCE.length), length: String(SOURCE.length) })
    const headers = { ...I8, 'Content-Type': 'application/partial-upload', 'Upload-Offset': String(SOURCE.length), 'Upload-Complete': '?1' }
    const answer = await fetch(upload.url, { method: 'PATCH', headers })
    assert.deepEqual([answer.status, answer.headers.get('Upload-Complete')], [200, '?1'])
    await assertComplete(dir, upload)
  })

  // _startParallelUpload() joins its parts with the fields of the tus extension "concatenation", and without
  // `Upload-Complete`, `Tus-Resumable` or anything else by which a server could tell what is asked for.
  test(`R102 · ${protocol}: parallel parts arrive, but the request that would join them is in no protocol, and is refused`, LIMITS, async (t) => {
    const { dir, endpoint } = await startServer(t)

    const { exchanges, done } = startUpload(t, endpoint, SOURCE, { protocol, parallelUploads: 2 })
    await assert.rejects(done, /unexpected response while creating upload.*response code: 412/s)

    assert.deepEqual(exchanges.at(-1), { method: 'POST', offset: undefined, status: 412 })
    assert.deepEqual(sizesOf(dir), [10 * MB, 10 * MB])
  })
}

const I8 = { 'Upload-Draft-Interop-Version': '8' }

/** Starts the program, which knows all versions, behind a proxy with these cuts. */
async function startServer(t, cuts = []) {
  const dir = temporaryFolder(t)
  const server = await npmStart(t, { dir, flags: ['--interop-versions', '3,4,5,6,7,8'] })
  return { dir, ...(await startProxy(t, server, { cuts })) }
}

/** What the server says of an upload. */
async function stateOf({ url }) {
  const { status, headers } = await fetch(url, { method: 'HEAD', headers: I8 })
  return { status, complete: headers.get('Upload-Complete'), offset: headers.get('Upload-Offset'), length: headers.get('Upload-Length') }
}

async function assertComplete(dir, upload) {
  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(await stateOf(upload), { status: 204, complete: '?1', offset: String(SOURCE.length), length: String(SOURCE.length) })
}

/** How many bytes each upload has. */
function sizesOf(dir) {
  return filesOf(dir).filter((name) => !name.includes('.')).map((name) => statSync(join(dir, name)).size)
}
