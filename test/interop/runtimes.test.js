// SPDX-License-Identifier: MIT

/**
 * The program in Bun and in Deno, as their packages bring them: what is promised there is what is tested here.
 *
 * Both have a `node:http` of their own. Bun's server is not a `net.Server`, and it learns of a connection
 * only when that sends something, so one that never does is closed by the end of the process.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startBuilt } from './built-program.js'
import { create, OFFSET_STREAM, startRequest, stored, TUS } from './raw-requests.js'
import { assertArrived, dataOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const SMALL = randomBytes(1000).toString('hex')
const RUFH = { 'Upload-Draft-Interop-Version': '8', 'Upload-Complete': '?1' }
const LIMITS = { timeout: 120_000 }
const BINARIES = fileURLToPath(new URL('node_modules/.bin/', import.meta.url))
const RUNTIMES = [['Bun', [join(BINARIES, 'bun')]], ['Deno', [join(BINARIES, 'deno'), 'run', '--allow-all']]]

for (const [name, runtime] of RUNTIMES) {
  test(`${name}: an upload by tus-js-client that is cut by FIN and by RST resumes each time, and arrives whole`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const cuts = [{ atBytes: 6 * MB, by: 'FIN' }, { atBytes: 12 * MB, by: 'RST' }]
    const { proxy, endpoint } = await startProxy(t, await startBuilt(t, { dir, runtime }), { cuts })

    const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE))

    assert.deepEqual(proxy.made, cuts)
    assertArrived(dir, upload, SOURCE)
    const [first, second, third, ...more] = offsetsOf(exchanges)
    assert.deepEqual([first, more], [0, []])
    assert.ok(second > 6 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${second}`)
    assert.ok(third >= second, 'nothing that was stored may be lost again')
  })

  test(`${name}: SIGTERM, twice, amid an upload saves what came, answers 503 and ends with 0, and the next program takes the rest`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const cut = { atBytes: 8 * MB, by: 'silence' }
    const server = await startBuilt(t, { dir, runtime })
    const { proxy, endpoint } = await startProxy(t, server, { cuts: [cut] })

    const running = startUpload(t, endpoint, SOURCE)
    await once(proxy, 'cut')
    proxy.targetPort = undefined
    void server.stop()
    assert.deepEqual(await server.stop(), { code: 0, signal: null })
    const storedBytes = dataOf(dir, running.upload).length
    proxy.targetPort = (await startBuilt(t, { dir, port: server.port, runtime })).port
    const { upload, exchanges } = await finish(running)

    assertArrived(dir, upload, SOURCE)
    assert.ok(storedBytes > cut.atBytes - HEADS_BYTES, `all that had arrived must be stored: ${storedBytes} bytes were`)
    assert.deepEqual(offsetsOf(exchanges), [0, storedBytes])
    assert.equal(exchanges.find(({ method }) => method === 'PATCH').status, 503)
  })

  test(`${name}: Resumable Uploads for HTTP say by a 104 where to resume, and an upload that was reset is finished there`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const { port } = await startBuilt(t, { dir, runtime })
    const cut = startRequest(port, 'POST /files/', { ...RUFH, 'Content-Length': String(SMALL.length) }, SMALL.slice(0, 700))
    const [interim] = await once(cut.socket, 'data')
    const [, location] = /^HTTP\/1\.1 104 [^]*\r\nLocation: (\/files\/[0-9a-f]{32})\r\n/.exec(interim) ?? assert.fail(interim)
    await stored(dir, location, 700)
    cut.socket.resetAndDestroy()

    const url = `http://127.0.0.1:${port}${location}`
    const { headers } = await fetch(url, { method: 'HEAD', headers: { 'Upload-Draft-Interop-Version': '8' } })
    assert.equal(headers.get('Upload-Offset'), '700')
    const rest = { ...RUFH, 'Upload-Offset': '700', 'Content-Type': 'application/partial-upload' }
    assert.equal((await fetch(url, { method: 'PATCH', headers: rest, body: SMALL.slice(700) })).status, 200)
    assertArrived(dir, { url }, SMALL)
  })

  test(`${name}: a refusal reaches a client that goes on sending, and another program takes an upload over`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const [one, two] = [await startBuilt(t, { dir, runtime, flags: ['--max-size', '1MiB'] }), await startBuilt(t, { dir, runtime })]
    const large = { ...OFFSET_STREAM, 'Upload-Length': String(SOURCE.length), 'Content-Length': String(SOURCE.length) }
    const refused = startRequest(one.port, 'POST /files/', large, SOURCE)
    assert.match(await refused.closed, /^HTTP\/1\.1 413 /)

    const location = await create(one.port, 1000)
    const slow = startRequest(one.port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': '1000' }, 'x'.repeat(400))
    await stored(dir, location, 400)
    const { status, headers } = await fetch(`http://127.0.0.1:${two.port}${location}`, { method: 'HEAD', headers: TUS })
    assert.deepEqual([status, headers.get('Upload-Offset')], [200, '400'])
    slow.socket.end()
    assert.match(await slow.closed, /^HTTP\/1\.1 409 /)
    assert.deepEqual([await one.stop(), await two.stop()], [{ code: 0, signal: null }, { code: 0, signal: null }])
    assert.deepEqual(readdirSync(join(dir, '.locks')), [])
  })

  test(`${name}: a download that is in progress when SIGTERM comes is delivered whole, and idle connections do not hold the end`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    writeFileSync(join(dir, 'large'), SOURCE)
    writeFileSync(join(dir, 'large.info'), JSON.stringify({ ID: 'large', Size: SOURCE.length }))
    const { port, stop } = await startBuilt(t, { dir, runtime, flags: ['--download'] })
    const kept = startRequest(port, 'OPTIONS /files/', { Connection: 'keep-alive' })
    await once(kept.socket, 'data')
    const silent = connect(port, '127.0.0.1').on('error', () => {}) // its end may be a reset
    t.after(() => silent.destroy())
    await once(silent, 'connect')

    const download = startRequest(port, 'GET /files/large', { Connection: 'keep-alive' })
    await once(download.socket, 'data')
    download.socket.pause()
    const exit = stop()
    await kept.closed // the shutdown has begun
    download.socket.resume()

    const body = Buffer.from((await download.closed).replace(/^[^]*?\r\n\r\n/, ''), 'latin1')
    assert.equal(sha256(body), sha256(SOURCE))
    assert.deepEqual(await exit, { code: 0, signal: null })
  })
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
