// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Upload } from 'tus-js-client'
import { CuttingProxy } from './cutting-proxy.js'
import { npmStart } from './npm-start.js'

const MB = 1_000_000
/** More than all the heads of a test's requests. */
const HEADS_BYTES = 16 * 1024
const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 120_000 }

test('An upload whose connection is cut six times, by FIN and by RST, resumes each time and arrives whole', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const cuts = [3, 6, 9, 12, 15, 18].map((megabytes, index) => ({ atBytes: megabytes * MB, by: index % 2 === 0 ? 'FIN' : 'RST' }))
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), cuts)

  const { upload, exchanges } = await finish(startUpload(t, endpoint))

  assert.deepEqual(proxy.made, cuts)
  assertArrived(dir, upload)
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
  const { proxy, endpoint } = await startProxy(t, server, [cut])

  const running = startUpload(t, endpoint)
  await once(proxy, 'cut')
  proxy.targetPort = undefined // to try a loopback port that nobody listens on can occupy it
  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  const storedBytes = dataOf(dir, running.upload).length
  proxy.targetPort = (await npmStart(t, { dir, port: server.port })).port
  const { upload, exchanges } = await finish(running)

  assertArrived(dir, upload)
  assert.ok(storedBytes > cut.atBytes - HEADS_BYTES, `all that had arrived must be stored: ${storedBytes} bytes were`)
  assert.deepEqual(offsetsOf(exchanges), [0, storedBytes])
  assert.equal(exchanges.find(({ method }) => method === 'PATCH').status, 503)
})

test('An upload that brings its data while it is created needs no second request', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { endpoint } = await startProxy(t, await npmStart(t, { dir }), [])

  const { upload, exchanges } = await finish(startUpload(t, endpoint, { uploadDataDuringCreation: true }))

  assertArrived(dir, upload)
  assert.deepEqual(exchanges, [{ method: 'POST', offset: undefined, status: 201 }])
})

test('An upload that brings its first chunk while it is created goes on behind it', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { endpoint } = await startProxy(t, await npmStart(t, { dir }), [])

  const { upload, exchanges } = await finish(startUpload(t, endpoint, { uploadDataDuringCreation: true, chunkSize: 8 * MB }))

  assertArrived(dir, upload)
  assert.deepEqual(exchanges, [
    { method: 'POST', offset: undefined, status: 201 },
    { method: 'PATCH', offset: 8 * MB, status: 204 },
    { method: 'PATCH', offset: 16 * MB, status: 204 },
  ])
})

test('abort(true) amid an upload removes its files, though its connection still hangs', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const { proxy, endpoint } = await startProxy(t, await npmStart(t, { dir }), [{ atBytes: 8 * MB, by: 'silence' }])

  const { upload, exchanges } = startUpload(t, endpoint)
  await once(proxy, 'cut')
  assert.equal(readdirSync(dir).length, 2)
  await upload.abort(true)

  assert.deepEqual(readdirSync(dir), [])
  assert.deepEqual(exchanges.at(-1), { method: 'DELETE', offset: undefined, status: 204 })
})

/** Puts a proxy with these cuts in front of the server. */
async function startProxy(t, server, cuts) {
  const proxy = new CuttingProxy(server.port, cuts)
  t.after(() => proxy.close())
  return { proxy, endpoint: `http://127.0.0.1:${await proxy.listen()}/files/` }
}

/** Starts to upload the source, and writes down what goes over the wire. */
function startUpload(t, endpoint, options = {}) {
  const exchanges = []
  const byRequest = new Map()
  let upload
  const done = new Promise((resolve, reject) => {
    upload = new Upload(SOURCE, {
      endpoint,
      retryDelays: Array(600).fill(100), // patience for a server that is being built and started
      ...options,
      onBeforeRequest: (request) => {
        const offset = request.getHeader('Upload-Offset')
        const exchange = { method: request.getMethod(), offset: offset === undefined ? undefined : Number(offset), status: undefined }
        byRequest.set(request, exchange)
        exchanges.push(exchange)
      },
      onAfterResponse: (request, response) => {
        byRequest.get(request).status = response.getStatus()
      },
      onSuccess: resolve,
      onError: reject,
    })
    upload.start()
  })
  t.after(() => upload.abort())
  return { upload, exchanges, done }
}

async function finish(running) {
  await running.done
  return running
}

function offsetsOf(exchanges) {
  return exchanges.filter(({ method }) => method === 'PATCH').map(({ offset }) => offset)
}

function dataOf(dir, upload) {
  return readFileSync(join(dir, new URL(upload.url).pathname.split('/').at(-1)))
}

function assertArrived(dir, upload) {
  assert.equal(sha256(dataOf(dir, upload)), sha256(SOURCE))
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}

/** Makes an empty folder and removes it after the test. */
function temporaryFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-interop-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
