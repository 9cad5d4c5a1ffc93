// SPDX-License-Identifier: MIT

/** What lib/OPERATING.md says of nginx: its block in a real one, and what happens with a line less. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { after, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { startNginx } from './nginx.js'
import { startBuilt } from './built-program.js'
import { fixedPort, without } from './operating.js'
import { create, OFFSET_STREAM, sendSlowly, startRequest, stored, TUS } from './raw-requests.js'
import { assertArrived, dataOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 60_000 }
/** What nginx reads at once, and loses if the client goes away in that moment: client_body_buffer_size. */
const BUFFER_BYTES = 16 * 1024
/** One server for the tests that do not stop it. */
const dir = temporaryFolder({ after })
const server = await startBuilt({ after }, { dir, port: await fixedPort(), flags: ['--max-size', '1GB', '--idle-timeout', '2s'] })

test('An upload through nginx, cut by FIN, by RST and by a restart of the server, resumes each time and arrives whole', LIMITS, async (t) => {
  const cuts = [{ atBytes: 5 * MB, by: 'FIN' }, { atBytes: 10 * MB, by: 'RST' }, { atBytes: 15 * MB, by: 'silence' }]
  const { dir, exchanges, running, storedBytes } = await uploadThroughRestart(t, { cuts })

  const { upload } = await finish(running)

  assertArrived(dir, upload, SOURCE)
  const [first, afterFin, afterRst, afterRestart, ...further] = offsetsOf(exchanges)
  assert.deepEqual([first, further], [0, []])
  assert.ok(
    afterFin > 5 * MB - HEADS_BYTES - BUFFER_BYTES,
    `but for a buffer all that came before the FIN must be stored: resumed at ${afterFin}`,
  )
  assert.ok(
    afterRst >= afterFin && afterRestart >= afterRst,
    `nothing that was stored may be lost again: ${[afterFin, afterRst, afterRestart]}`,
  )
  assert.equal(afterRestart, storedBytes)
  const statuses = exchanges.map(({ status }) => status).filter((status) => status !== undefined)
  assert.deepEqual(statuses, [201, 200, 200, 503, 200, 204]) // cuts have no status, nor has a server that is not there
})

test('With the 502 that nginx has for a server that is not there, tus-js-client 4 begins anew', LIMITS, async (t) => {
  const { exchanges, running } = await uploadThroughRestart(t, {
    cuts: [{ atBytes: 5 * MB, by: 'silence' }],
    change: (block) => without(block, 'error_page'),
  })

  await finish(running)

  assert.equal(exchanges.find(({ method }) => method === 'HEAD').status, 502)
  assert.deepEqual(offsetsOf(exchanges), [0, 0])
})

test('Two servers that are restarted one after the other leave no gap', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const ports = [await fixedPort(), await fixedPort()]
  const servers = await Promise.all(ports.map((port) => startBuilt(t, { dir, port })))
  const upstream = `upstream longhaul { ${ports.map((port) => `server 127.0.0.1:${port} max_fails=0;`).join(' ')} }\n`
  const { proxy, endpoint } = await startProxied(t, {
    cuts: [{ atBytes: 8 * MB, by: 'silence' }],
    change: (block) => upstream + block.replace(/proxy_pass [^;]+/, 'proxy_pass http://longhaul'),
  })

  const { exchanges, done, upload } = startUpload(t, endpoint, SOURCE)
  await once(proxy, 'cut')
  for (const [index, server] of servers.entries()) {
    assert.deepEqual(await server.stop(), { code: 0, signal: null })
    for (let time = 0; time < 10; time++) await create(new URL(endpoint).port, 1)
    await startBuilt(t, { dir, port: ports[index] })
  }
  await done

  assertArrived(dir, upload, SOURCE)
  const [first, resumed] = offsetsOf(exchanges)
  assert.equal(first, 0)
  assert.ok(resumed > 8 * MB - HEADS_BYTES - BUFFER_BYTES, `but for a buffer all that had come must be stored: resumed at ${resumed}`)
  const statuses = exchanges.map(({ status }) => status).filter((status) => status >= 400)
  assert.deepEqual([...new Set(statuses)], [503], `whoever is stopped says so, and nobody else fails: ${statuses}`)
})

test('Without proxy_request_buffering off, all that came before a cut is lost', LIMITS, async (t) => {
  const { proxy, endpoint } = await startProxied(t, {
    cuts: [{ atBytes: 5 * MB, by: 'FIN' }],
    change: (block) => without(block, 'proxy_request_buffering'),
  })

  const { exchanges } = await finish(startUpload(t, endpoint, SOURCE))

  assert.equal(proxy.made.length, 1)
  assert.deepEqual(offsetsOf(exchanges), [0, 0])
})

test('An upload in parallel parts, which are named by full addresses, needs the Host that the client sent', LIMITS, async (t) => {
  const { endpoint } = await startProxied(t)
  const { upload } = await finish(startUpload(t, endpoint, SOURCE, { parallelUploads: 4 }))
  assertArrived(dir, upload, SOURCE)

  const nginx = await startNginx(t, { upstreamPort: server.port, change: (block) => without(block, 'Host') })
  const { done, exchanges } = startUpload(t, `http://127.0.0.1:${nginx.port}/files/`, SOURCE, { parallelUploads: 4, retryDelays: null })
  await assert.rejects(done)
  assert.deepEqual(exchanges.at(-1), { method: 'POST', offset: undefined, status: 400 })
})

test('Over HTTP/2, too, what has come is stored while the rest is still to come', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port, change: (block) => block.replace(/(listen [^;]+);/, '$1 http2;') })
  const session = connectHttp2(`http://127.0.0.1:${nginx.port}`)
  t.after(() => session.destroy())

  const creation = session.request({ ':method': 'POST', ':path': '/files/', ...TUS, 'Upload-Length': SOURCE.length }, { endStream: true })
  const { ':status': created, location } = (await once(creation, 'response'))[0]
  assert.equal(created, 201)
  const append = session.request({ ':method': 'PATCH', ':path': location, ...OFFSET_STREAM })
  append.write(SOURCE.subarray(0, 3 * MB))
  await stored(dir, location, 3 * MB)
  append.end(SOURCE.subarray(3 * MB))

  assert.equal((await once(append, 'response'))[0][':status'], 204)
  assertArrived(dir, { url: `http://a${location}` }, SOURCE)
})

test('An upload that is refused while its client is sending is answered with the whole refusal', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port })
  const about = { ...OFFSET_STREAM, 'Upload-Length': 2_000 * MB, 'Content-Length': 2_000 * MB }

  const tooLarge = startRequest(nginx.port, 'POST /files/', about, SOURCE)
  assert.match(await tooLarge.closed, /^HTTP\/1.1 413 [^]*\r\n\r\nThe upload is larger than this server allows\n$/)

  const location = await create(nginx.port, 100 * MB)
  const first = startRequest(nginx.port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': 100 * MB }, SOURCE)
  const state = await fetch(`http://127.0.0.1:${nginx.port}${location}`, { method: 'HEAD', headers: TUS })
  assert.equal(state.status, 200)
  assert.match(await first.closed, /^HTTP\/1.1 409 [^]*\r\n\r\n\S[^]*\n$/)
})

test('The page comes through nginx as well', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port })
  assert.equal((await fetch(`http://127.0.0.1:${nginx.port}/`)).status, 200)
})

test('nginx asks for the body before the server has seen the head: a refusal follows a 100', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port })
  const about = { ...OFFSET_STREAM, 'Upload-Length': 2_000 * MB, 'Content-Length': 2_000 * MB, Expect: '100-continue' }
  const tooLarge = startRequest(nginx.port, 'POST /files/', about)
  assert.match(await tooLarge.closed, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 413 /)
})

test('Without client_max_body_size 0, nginx refuses by itself what is larger than 1 MiB', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port, change: (block) => without(block, 'client_max_body_size') })
  const location = await create(nginx.port, 2 * MB)
  const refused = startRequest(nginx.port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': 2 * MB }, SOURCE.subarray(0, 2 * MB))
  assert.match(await refused.closed, /^HTTP\/1.1 413 [^]*<html>/)
})

test('nginx 1.22 would take a 104 for the answer, and the answer for its body; so the block has none sent', LIMITS, async (t) => {
  const block = await startNginx(t, { upstreamPort: server.port })
  const passing = await startNginx(t, { upstreamPort: server.port, change: (block) => without(block, 'Upload-Draft-Interop-Version') })
  const about = { 'Upload-Complete': '?1', 'Upload-Draft-Interop-Version': '8', 'Content-Length': SOURCE.length }

  const finished = startRequest(block.port, 'PUT /files', about, SOURCE)
  const answer = await finished.closed
  assert.match(answer, /^HTTP\/1.1 200 [^]*\r\nUpload-Complete: \?1\r\n/)
  assertArrived(dir, { url: new URL(/^Location: (.*)\r$/m.exec(answer)[1], 'http://a') }, SOURCE)

  const mistaken = startRequest(passing.port, 'PUT /files', { ...about, 'Content-Length': MB }, SOURCE.subarray(0, MB))
  const [interim, body] = (await mistaken.closed).split('\r\n\r\n')
  assert.match(interim, /^HTTP\/1.1 104 unknown\r\nServer: nginx/)
  assert.match(body, /^HTTP\/1.1 200 OK\r\n(?![^]*^Server:)/m)
})

test('Without that 104, an upload by tus-js-client in the mode of the draft, which creates it first, resumes', LIMITS, async (t) => {
  const { proxy, endpoint } = await startProxied(t, { cuts: [{ atBytes: 8 * MB, by: 'FIN' }] })

  const { upload, exchanges } = await finish(startUpload(t, endpoint, SOURCE, { protocol: 'ietf-draft-05' }))

  assert.equal(proxy.made.length, 1)
  assertArrived(dir, upload, SOURCE)
  const [, resumed] = offsetsOf(exchanges)
  assert.ok(resumed > 8 * MB - HEADS_BYTES - BUFFER_BYTES, `but for a buffer all that came before the FIN must be stored: resumed at ${resumed}`)
})

test('The timeouts of nginx measure silence, not the length of an upload', LIMITS, async (t) => {
  const nginx = await startNginx(t, {
    upstreamPort: server.port,
    change: (block) =>
      block.replace(
        'client_body_timeout 75s',
        ['client_body', 'send', 'proxy_send', 'proxy_read'].map((name) => `${name}_timeout 1s`).join(';'),
      ),
  })
  const location = await create(nginx.port, 40)
  const slow = startRequest(nginx.port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': 40 })
  sendSlowly(slow, Array(10).fill('four'), 300)
  assert.match(await slow.closed, /^HTTP\/1.1 204 /)
})

test('A client that falls silent is told so by the server; by nginx, if that is the quicker one, it is told nothing', LIMITS, async (t) => {
  const nginx = await startNginx(t, { upstreamPort: server.port })
  const impatient = await startNginx(t, {
    upstreamPort: server.port,
    change: (block) => block.replace('client_body_timeout 75s', 'client_body_timeout 1s'),
  })
  for (const [port, expected] of [[nginx.port, /^HTTP\/1.1 423 [^]*\r\n\r\nTimed out waiting for data\n$/], [impatient.port, /^$/]]) {
    const location = await create(port, SOURCE.length)
    const silent = startRequest(port, `PATCH ${location}`, { ...OFFSET_STREAM, 'Content-Length': SOURCE.length }, SOURCE.subarray(0, MB))
    assert.match(await silent.closed, expected)
    await stored(dir, location, MB)
  }
})

/** nginx in front of the server, and a network that breaks in front of both. */
async function startProxied(t, { upstreamPort = server.port, cuts, change } = {}) {
  return startProxy(t, await startNginx(t, { upstreamPort, change }), { cuts })
}

/**
 * Begins an upload to a server of its own, stops that at the last cut, which is silence, and starts it again when
 * the client has found it gone.
 */
async function uploadThroughRestart(t, { cuts, change }) {
  const dir = temporaryFolder(t)
  const server = await startBuilt(t, { dir, port: await fixedPort() })
  const { proxy, endpoint } = await startProxied(t, { upstreamPort: server.port, cuts, change })
  const running = startUpload(t, endpoint, SOURCE)
  const { exchanges } = running
  while ((await once(proxy, 'cut'))[0].by !== 'silence');
  const { url } = running.upload
  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  const storedBytes = dataOf(dir, { url }).length
  const begun = exchanges.length
  while (exchanges.length < begun + 2) await turn() // the first of them has met nobody
  await startBuilt(t, { dir, port: server.port })
  return { dir, running, exchanges, storedBytes }
}
