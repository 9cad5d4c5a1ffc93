// SPDX-License-Identifier: MIT

/**
 * What becomes of a file once it is complete is its server's business: `onFinish` may move it away or remove it. The
 * clients of tus must be told success then, and not send it again.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Upload as Upload4 } from 'tus-js-client'
import { Upload as Upload5 } from 'tus-js-client-5'
import { launchChromium } from './browser/chromium.js'
import { servePage } from './browser/page-server.js'
import { uploadWithTuspy, whyNoTuspy } from './tuspy.js'
import { filesOf, HEADS_BYTES, MB, startProxy, temporaryFolder } from './uploading.js'

const SERVER = fileURLToPath(new URL('finished-files-server.js', import.meta.url))
const SOURCE = randomBytes(2 * MB)
const PATIENCE = { delayMs: 100, retries: 100 }
const RETRY_DELAYS = Array(PATIENCE.retries).fill(PATIENCE.delayMs)
const LIMITS = { timeout: 60_000 }
let browser

before(async () => {
  browser = await launchChromium()
})
after(() => browser?.close())

/** How each client uploads a file; resolves with the address once it has reported success, and rejects with its error. */
const CLIENTS = {
  'tus-js-client 4': { upload: (t, endpoint, options) => uploadWithTusJsClient(Upload4, endpoint, options), inOtherWays: true },
  'tus-js-client 5': { upload: (t, endpoint, options) => uploadWithTusJsClient(Upload5, endpoint, options), inOtherWays: true },
  'Uppy': { upload: uploadWithUppy, inOtherWays: true },
  'tuspy': { upload: uploadWithPython, skip: whyNoTuspy() },
}

for (const [client, { upload, skip, inOtherWays = false }] of Object.entries(CLIENTS)) {
  const options = { ...LIMITS, skip }

  test(`${client} sends a file once that onFinish moves away, and its record says complete and gone`, options, async (t) => {
    const server = await startServer(t, 'move')

    const url = await upload(t, server.endpoint)

    assertTakenOnce(server, url)
    assert.equal(server.runs.length, 1)
    await assertCompleteAndGone(url)
  })

  test(`${client} sends a file once that onFinish removes, and it is not found then`, options, async (t) => {
    const server = await startServer(t, 'remove')

    const url = await upload(t, server.endpoint)

    assertSentOnce(server)
    assert.equal(server.runs.length, 1)
    assert.deepEqual(filesOf(server.dir), [])
    await assertNotFound(url)
  })

  test(`${client} sends a file once whose two files onFinish renames, and it is not found then`, options, async (t) => {
    const server = await startServer(t, 'rename both files')

    const url = await upload(t, server.endpoint)

    assertTakenOnce(server, url)
    assert.equal(server.runs.length, 1)
    assert.deepEqual(filesOf(server.dir), [])
    await assertNotFound(url)
  })

  test(`${client} sends a file once though onFinish fails three times after it has moved it away`, options, async (t) => {
    const server = await startServer(t, 'move, then fail three times')

    const url = await upload(t, server.endpoint)

    assertTakenOnce(server, url)
    assertRunAgain(server)
    await assertCompleteAndGone(url)
  })

  test(`${client} creates one upload though the server dies in onFinish after the move, and is started again`, options, async (t) => {
    const server = await startServer(t, 'move, then die')
    void once(server.process, 'exit').then(() => server.restart('move'))

    const url = await upload(t, server.endpoint)

    // Chromium may send a request again by itself whose connection is cut.
    assertTakenOnce(server, url, { bytes: client !== 'Uppy' })
    assertRunAgain(server)
    await assertCompleteAndGone(url)
  })

  if (!inOtherWays) continue

  test(`${client} sends a file once, in the request that creates it, that onFinish moves away`, options, async (t) => {
    const server = await startServer(t, 'move')

    const url = await upload(t, server.endpoint, { uploadDataDuringCreation: true })

    assertTakenOnce(server, url)
    assert.equal(server.runs.length, 1)
    assert.ok(!server.requests.includes('PATCH'))
    await assertCompleteAndGone(url)
  })

  test(`${client} sends a file once, in three parallel parts, whose concatenation onFinish moves away`, options, async (t) => {
    const server = await startServer(t, 'move')

    const url = await upload(t, server.endpoint, { parallelUploads: 3 })

    assertTakenOnce(server, url, { creations: 3 + 1 })
    assert.equal(server.runs.length, 1)
    await assertCompleteAndGone(url)
  })
}

/** What was taken away is what was sent. */
function assertTakenOnce(server, url, options) {
  assertSentOnce(server, options)
  const id = url.split('/').at(-1)
  assert.deepEqual(readdirSync(server.taken).filter((name) => !name.endsWith('.info')), [id])
  assert.equal(sha256(readFileSync(join(server.taken, id))), sha256(SOURCE))
}

function assertSentOnce({ requests, proxy }, { creations = 1, bytes = true } = {}) {
  assert.equal(requests.filter((method) => method === 'POST').length, creations, `${requests}`)
  if (bytes) assert.deepEqual(proxy.made, [], `the file must be sent once: ${requests}`)
}

function assertRunAgain({ runs }) {
  assert.ok(runs.length > 1, `${runs}`)
  assert.equal(new Set(runs).size, 1, `the key must be the same in each run: ${runs}`)
}

/** A client that has lost the answer must learn that nothing is left to send; whoever wants the bytes, that they are gone. */
async function assertCompleteAndGone(url) {
  const head = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
  assert.deepEqual(
    [head.status, head.headers.get('Upload-Offset'), head.headers.get('Upload-Length')],
    [200, `${SOURCE.length}`, `${SOURCE.length}`],
  )
  assert.equal((await fetch(url)).status, 410)
}

async function assertNotFound(url) {
  assert.equal((await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })).status, 404)
  assert.equal((await fetch(url)).status, 404)
}

/** Starts the server behind a proxy that cuts a client off as soon as it sends more than one file. */
async function startServer(t, way) {
  const [dir, taken] = [temporaryFolder(t), temporaryFolder(t)]
  const server = { dir, taken, requests: [], runs: [] }
  const start = async (way, port) => {
    server.process = fork(SERVER, [dir, taken, String(port), way])
    t.after(() => server.process.kill('SIGKILL'))
    return new Promise((resolve) => server.process.on('message', ({ request, run, port }) => {
      if (request !== undefined) server.requests.push(request)
      if (run !== undefined) server.runs.push(run)
      if (port !== undefined) resolve(port)
    }))
  }
  const port = await start(way, 0)
  const { proxy, endpoint } = await startProxy(t, { port }, { cuts: [{ atBytes: SOURCE.length + HEADS_BYTES, by: 'FIN' }] })
  const restart = async (way) => {
    proxy.targetPort = undefined
    proxy.targetPort = await start(way, 0)
  }
  return Object.assign(server, { proxy, endpoint, restart })
}

function uploadWithTusJsClient(Upload, endpoint, options) {
  return new Promise((resolve, reject) => {
    const onSuccess = () => resolve(upload.url)
    const upload = new Upload(SOURCE, { endpoint, retryDelays: RETRY_DELAYS, ...options, onSuccess, onError: reject })
    upload.start()
  })
}

async function uploadWithUppy(t, endpoint, options) {
  const context = await browser.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  await page.goto(`http://127.0.0.1:${await servePage(t)}/`)
  await page.setInputFiles('input', { name: 'source.bin', mimeType: 'application/octet-stream', buffer: SOURCE })
  return page.evaluate((options) => uploadChosenFile(options), { endpoint, retryDelays: RETRY_DELAYS, ...options })
}

async function uploadWithPython(t, endpoint) {
  const file = join(temporaryFolder(t), 'source.bin')
  writeFileSync(file, SOURCE)
  const [{ url, error }] = await uploadWithTuspy(t, [{ endpoint, file }], {
    retries: PATIENCE.retries,
    retryDelay: PATIENCE.delayMs / 1000,
  })
  if (error !== undefined) throw new Error(error)
  return url
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
