// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { npmStart } from './npm-start.js'
import {
  assertArrived,
  dataOf,
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

test('An upload whose connection is cut six times, by FIN and by RST, resumes each time and arrives whole', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const cuts = [3, 6, 9, 12, 15, 18].map((megabytes, index) => ({ atBytes: megabytes * MB, by: index % 2 === 0 ? 'FIN' : 'RST' }))
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), { cuts })

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE))

  assert.deepEqual(proxy.made, cuts)
  assertArrived(dir, upload, SOURCE)
  const [first, ...resumed] = offsetsOf(exchanges)
  assert.equal(first, 0)
  assert.equal(resumed.length, cuts.length)
  assert.ok(resumed[0] > 3 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${resumed[0]}`)
  assert.deepEqual(resumed, resumed.toSorted((a, b) => a - b), 'nothing that was stored may be lost again')
})

test('A server that is stopped amid an upload says so, ends with 0, and its successor takes the rest', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const cut = { atBytes: 8 * MB, by: 'silence' }
  const server = await npmStart(t, { dir })
  const { proxy, endpoint } = await startProxy(t, server, { cuts: [cut] })

  const running = startUpload(t, endpoint, SOURCE)
  await once(proxy, 'cut')
  proxy.targetPort = undefined // to try a loopback port that nobody listens on can occupy it
  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  const storedBytes = dataOf(dir, running.upload).length
  proxy.targetPort = (await npmStart(t, { dir, port: server.port })).port
  const { upload, exchanges } = await finish(running)

  assertArrived(dir, upload, SOURCE)
  assert.ok(storedBytes > cut.atBytes - HEADS_BYTES, `all that had arrived must be stored: ${storedBytes} bytes were`)
  assert.deepEqual(offsetsOf(exchanges), [0, storedBytes])
  assert.equal(exchanges.find(({ method }) => method === 'PATCH').status, 503)
})

test('An upload that brings its data while it is created needs no second request', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { endpoint } = await startProxy(t, await npmStart(t, { dir }))

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { uploadDataDuringCreation: true }))

  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(exchanges, [{ method: 'POST', offset: undefined, status: 201 }])
})

test('An upload that brings its first chunk while it is created goes on behind it', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { endpoint } = await startProxy(t, await npmStart(t, { dir }))

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { uploadDataDuringCreation: true, chunkSize: 8 * MB }))

  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(exchanges, [
    { method: 'POST', offset: undefined, status: 201 },
    { method: 'PATCH', offset: 8 * MB, status: 204 },
    { method: 'PATCH', offset: 16 * MB, status: 204 },
  ])
})

test('abort(true) amid an upload removes its files, though its connection still hangs', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), { cuts: [{ atBytes: 8 * MB, by: 'silence' }] })

  const { upload, exchanges } = startUpload(t, endpoint, SOURCE)
  await once(proxy, 'cut')
  assert.equal(filesOf(dir).length, 2)
  await upload.abort(true)

  assert.deepEqual(filesOf(dir), [])
  assert.deepEqual(exchanges.at(-1), { method: 'DELETE', offset: undefined, status: 204 })
})

test('An upload in four parallel parts, two of which are cut, arrives as one', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const cuts = [{ atBytes: 6 * MB, by: 'FIN' }, { atBytes: 12 * MB, by: 'RST' }]
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), { cuts })

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { parallelUploads: 4 }))

  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(proxy.made, cuts)
  const creations = exchanges.filter(({ method }) => method === 'POST')
  assert.deepEqual(creations, Array(4 + 1).fill({ method: 'POST', offset: undefined, status: 201 }))
})

test('A stream whose length shows at its end, cut before and after it was told, resumes each time and arrives whole', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const cuts = [{ atBytes: 6 * MB, by: 'FIN' }, { atBytes: 18 * MB, by: 'RST' }] // the last chunk begins at about 14 MB
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), { cuts })

  const { upload, exchanges } = await finish(startUpload(t, endpoint, streamOf(SOURCE), { uploadLengthDeferred: true, chunkSize: 8 * MB }))

  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(proxy.made, cuts)
  const offsets = offsetsOf(exchanges)
  assert.ok(offsets[1] > 6 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${offsets[1]}`)
  assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b), 'nothing that was stored may be lost again')
})
