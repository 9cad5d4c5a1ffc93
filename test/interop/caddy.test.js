// SPDX-License-Identifier: MIT

/** What lib/OPERATING.md says of Caddy: its block in a real one, as Debian packages it. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startBuilt } from './built-program.js'
import { adapt, documented, fixedPort, without } from './operating.js'
import { create, OFFSET_STREAM, startRequest, stored, TUS } from './raw-requests.js'
import { assertArrived, dataOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const PROGRAM = '/usr/bin/caddy'
const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 60_000 }
/** One server for the tests that do not stop it. */
const dir = temporaryFolder({ after })
const server = await startBuilt({ after }, { dir, flags: ['--max-size', '1GB'] })

test('An upload through Caddy, cut by FIN and by RST, resumes each time and arrives whole', LIMITS, async (t) => {
  const cuts = [{ atBytes: 5 * MB, by: 'FIN' }, { atBytes: 10 * MB, by: 'RST' }]
  const { proxy, endpoint } = await startProxy(t, await startCaddy(t, { upstreamPort: server.port }), { cuts })

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE))

  assert.deepEqual(proxy.made, cuts)
  assertArrived(dir, upload, SOURCE)
  const [, afterFin, afterRst] = offsetsOf(exchanges)
  assert.ok(afterFin > 5 * MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${afterFin}`)
  assert.ok(afterRst >= afterFin, `nothing that was stored may be lost again: ${[afterFin, afterRst]}`)
})

test('While the server is started again, Caddy gives its last answers to those who go on sending, and keeps others waiting', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const server = await startBuilt(t, { dir, port: await fixedPort() })
  const { port } = await startCaddy(t, { upstreamPort: server.port })
  const location = await create(port, SOURCE.length)
  const append = startRequest(port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': SOURCE.length }, SOURCE.subarray(0, MB))
  await stored(dir, location, MB)

  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  append.socket.write('the next byte')
  assert.match(await append.closed, /^HTTP\/1.1 503 [^]*^Retry-After: 1\r$/m)
  const state = fetch(`http://127.0.0.1:${port}${location}`, { method: 'HEAD', headers: TUS })
  await startBuilt(t, { dir, port: server.port })
  const { status, headers } = await state
  assert.deepEqual([status, headers.get('upload-offset')], [200, String(dataOf(dir, { url: `http://a${location}` }).length)])
})

test('Where the server stays away, Caddy hangs up; left alone, it answers 502', LIMITS, async (t) => {
  const soon = (block) => block.replace('lb_try_duration 10s', 'lb_try_duration 100ms')
  const [block, alone] = [
    await startCaddy(t, { upstreamPort: await fixedPort(), change: soon }),
    await startCaddy(t, { upstreamPort: await fixedPort(), change: (block) => soon(without(block, 'abort')) }),
  ]
  assert.equal(await startRequest(block.port, 'HEAD /files/x', TUS).closed, '')
  assert.match(await startRequest(alone.port, 'HEAD /files/x', TUS).closed, /^HTTP\/1.1 502 /)
})

test('The page comes through Caddy as well', LIMITS, async (t) => {
  const { port } = await startCaddy(t, { upstreamPort: server.port })
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
})

test('A 104 comes through Caddy before the rest of the upload is sent', LIMITS, async (t) => {
  const { port } = await startCaddy(t, { upstreamPort: server.port })
  const about = { 'Upload-Complete': '?1', 'Upload-Draft-Interop-Version': '8', 'Content-Length': SOURCE.length }

  const upload = startRequest(port, 'PUT /files', about, SOURCE.subarray(0, MB))
  const [interim] = await once(upload.socket, 'data')
  upload.socket.write(SOURCE.subarray(MB))

  assert.match(interim, /^HTTP\/1.1 104 [^]*^Location: /m)
  assert.match(await upload.closed, /^HTTP\/1.1 200 OK\r$/m)
  assertArrived(dir, { url: new URL(/^Location: (.*)\r$/m.exec(interim)[1], 'http://a') }, SOURCE)
})

test('An upload that is refused while its client is sending is answered with the whole refusal, also after a 100', LIMITS, async (t) => {
  const { port } = await startCaddy(t, { upstreamPort: server.port })
  const about = { ...OFFSET_STREAM, 'Upload-Length': 2_000 * MB, 'Content-Length': 2_000 * MB }
  for (const expectation of [{}, { Expect: '100-continue' }]) {
    const tooLarge = startRequest(port, 'POST /files/', { ...about, ...expectation }, SOURCE.subarray(0, 2 * MB))
    assert.match(await tooLarge.closed, /HTTP\/1.1 413 [^]*\r\n\r\nThe upload is larger than this server allows\n$/)
  }
})

test('An upload in parallel parts, which are named by full addresses, arrives as one', LIMITS, async (t) => {
  const { endpoint } = await startProxy(t, await startCaddy(t, { upstreamPort: server.port }))
  const { upload } = await finish(startUpload(t, endpoint, SOURCE, { parallelUploads: 4 }))
  assertArrived(dir, upload, SOURCE)
})

/**
 * Starts Caddy with the documented block in front of a port on which nobody has to listen yet; stopped after the
 * test. `change` may change the block, to show what happens then.
 */
async function startCaddy(t, { upstreamPort, change = (block) => block }) {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run test/interop/install-nginx.sh`)
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-caddy-'))
  const port = await fixedPort()
  const block = adapt(documented('caddyfile'), [
    ['uploads.example.com', `http://127.0.0.1:${port}`],
    ['127.0.0.1:1080', `127.0.0.1:${upstreamPort}`],
  ])
  writeFileSync(join(folder, 'Caddyfile'), `{\n  admin off\n}\n${change(block)}`)

  const env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder }
  const caddy = spawn(PROGRAM, ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const closed = once(caddy, 'close')
  t.after(async () => {
    caddy.kill('SIGKILL')
    await closed
    rmSync(folder, { recursive: true, force: true })
  })
  let said = ''
  const ready = new Promise((resolve) => {
    caddy.stderr.setEncoding('utf8').on('data', (text) => {
      said += text
      if (said.includes('serving initial configuration')) resolve()
    })
  })
  await Promise.race([ready, closed.then(() => Promise.reject(new Error(`Caddy did not start:\n${said}`)))])
  return { port }
}
