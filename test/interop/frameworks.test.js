// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { FileStore, tusHandler } from '../../dist/index.js'
import * as express from './frameworks/express.js'
import * as fastify from './frameworks/fastify.js'
import * as hono from './frameworks/hono.js'
import * as koa from './frameworks/koa.js'
import * as nest from './frameworks/nest.js'
import { assertArrived, dataOf, filesOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(5 * MB)
const PATH = '/api/files/'
const LIMITS = { timeout: 30_000 }
const BODY_CONSUMED = 'The request body was read before it reached the upload handler\n'
const APPEND = { 'Tus-Resumable': '1.0.0', 'Content-Type': 'application/offset+octet-stream' }

for (const [name, { recipe, mistake }] of Object.entries({ Express: express, Fastify: fastify, Hono: hono, Koa: koa, NestJS: nest })) {
  test(`${name}: an upload that is cut, and later hangs and is aborted, arrives whole, and other routes read their bodies`, LIMITS, async (t) => {
    const { dir, port } = await listen(t, recipe)
    const cuts = [{ atBytes: MB, by: 'FIN' }, { atBytes: 3 * MB, by: 'silence' }]
    const { proxy, endpoint } = await startProxy(t, { port }, { cuts, path: PATH })
    const hangs = new Promise((resolve) => proxy.on('cut', ({ by }) => by === 'silence' && resolve()))

    const running = startUpload(t, endpoint, SOURCE)
    await Promise.race([hangs, running.done])
    await running.upload.abort()
    const storedBytes = await offsetAt(running.upload.url) // a start in the same tick as abort() would run two uploads at once
    running.upload.start()
    const { upload, exchanges } = await finish(running)

    assertArrived(dir, upload, SOURCE)
    const [first, afterCut, ...afterAbort] = offsetsOf(exchanges)
    assert.deepEqual([first, afterAbort], [0, [storedBytes]])
    assert.ok(afterCut > MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${afterCut}`)
    assert.ok(storedBytes > 3 * MB - HEADS_BYTES, `all that came before the silence must be stored: ${storedBytes} bytes were`)

    const note = { text: 'remember' }
    const answer = await fetch(`http://127.0.0.1:${port}/api/notes`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(note),
    })
    assert.deepEqual([answer.ok, await answer.json()], [true, note])
  })

  test(`${name}: creating, asking, appending and removing are answered, and so is what the handler refuses`, LIMITS, async (t) => {
    const { dir, port } = await listen(t, recipe)
    const root = `http://127.0.0.1:${port}${PATH}`

    assert.equal((await fetch(root, { method: 'OPTIONS' })).headers.get('Tus-Version'), '1.0.0')
    const created = await fetch(root, { method: 'POST', headers: { ...APPEND, 'Upload-Length': '11' }, body: 'hello ' })
    assert.deepEqual([created.status, created.headers.get('Upload-Offset')], [201, '6'])
    const url = new URL(created.headers.get('Location'), root)
    assert.equal(url.pathname.slice(0, PATH.length), PATH)
    const wrongType = { ...APPEND, 'Upload-Offset': '6', 'Content-Type': 'application/json' }
    assert.equal((await fetch(url, { method: 'PATCH', headers: wrongType, body: '"world"' })).status, 415)
    const appended = await fetch(url, { method: 'PATCH', headers: { ...APPEND, 'Upload-Offset': '6' }, body: 'world' })
    assert.deepEqual([appended.status, appended.headers.get('Upload-Offset')], [204, '11'])
    assert.equal(dataOf(dir, { url }).toString(), 'hello world')
    assert.equal((await fetch(url, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })).status, 204)
    assert.equal((await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })).status, 404)
    assert.deepEqual(filesOf(dir), [])
  })

  test(`${name}: behind a parser that takes every body, uploads are refused with 500 and the reason, and nothing is stored`, LIMITS, async (t) => {
    const { dir, port } = await listen(t, mistake)
    const root = `http://127.0.0.1:${port}${PATH}`

    const refused = await fetch(root, { method: 'POST', headers: { ...APPEND, 'Upload-Length': '11' }, body: 'hello world' })
    assert.deepEqual([refused.status, await refused.text()], [500, BODY_CONSUMED])
    assert.deepEqual(filesOf(dir), [])

    const created = await fetch(root, { method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '11' } })
    assert.equal(created.status, 201)
    const url = new URL(created.headers.get('Location'), root)
    const appended = await fetch(url, { method: 'PATCH', headers: { ...APPEND, 'Upload-Offset': '0' }, body: 'hello world' })
    assert.deepEqual([appended.status, await appended.text()], [500, BODY_CONSUMED])
    assert.equal(dataOf(dir, { url }).length, 0)
  })
}

/** Starts an application that has the handler below `/api/files/`. */
async function listen(t, application) {
  const dir = temporaryFolder(t)
  const server = await application(tusHandler({ store: new FileStore(dir), path: PATH }))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  if (!server.listening) await once(server, 'listening')
  return { dir, port: server.address().port }
}

async function offsetAt(url) {
  const answer = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
  return Number(answer.headers.get('Upload-Offset'))
}
