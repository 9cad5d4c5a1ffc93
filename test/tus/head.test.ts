// SPDX-License-Identifier: MIT

/** Checklist T.2: HEAD. */

import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { snapshot } from '../support/snapshot.ts'
import { request, WireClient } from '../support/wire.ts'
import { ask, head, make, OCT, serve, V } from './support.ts'

test('T22, T24, T26 · HEAD of a fresh upload tells offset 0 and the length', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request(`HEAD ${await make(site, 10)}`, [V]), { toHead: true })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('upload-offset'), '0')
  assert.equal(answer.headers.get('upload-length'), '10')
})

test('T23, T24 · HEAD reports how much is stored, and the length, of a partial and of a complete upload', async (t) => {
  const site = await serve(t)
  for (const content of ['h', 'hello', 'hello worl']) {
    const answer = await ask(site, request(`HEAD ${await make(site, 10, content)}`, [V]), { toHead: true })
    assert.equal(answer.headers.get('upload-offset'), String(content.length))
    assert.equal(answer.headers.get('upload-length'), '10')
  }
})

test('T25 · HEAD of what is no upload tells no offset and touches nothing, inside the store or outside', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const before = snapshot(site.folder)
  const id = upload.slice('/files/'.length)
  const unknown = [
    '/files/unknown', '/files/../files/x', '/files/%2e%2e%2f', `/files/%2e%2e%2f${id}`, `/files/./${id}`, `${upload}%00`, `${upload}.info`,
    `${upload}/`, `/files//${id}`, `/files/${'a'.repeat(5000)}`, `/files/${'%2e%2e%2f'.repeat(10)}etc%2fpasswd`, `/${id}`, '/', '/files/.',
  ]
  for (const target of unknown) {
    const answer = await ask(site, request(`HEAD ${target}`, [V]), { toHead: true })
    assert.equal(answer.status, 404, target)
    assert.equal(answer.headers.has('upload-offset'), false)
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T25 · HEAD of the creation URL is 405: it is there, and is no upload', async (t) => {
  const site = await serve(t)
  const answer = await ask(site, request('HEAD /files/', [V]), { toHead: true })
  assert.equal(answer.status, 405)
  assert.equal(answer.headers.get('allow'), 'OPTIONS, POST')
  assert.equal(answer.headers.has('upload-offset'), false)
})

test('T25 · a file in the store that is no upload cannot be reached', async (t) => {
  const site = await serve(t)
  writeFileSync(join(site.folder, 'stray'), 'secret')
  assert.equal((await head(site, '/files/stray')).status, 404)
})

test('T27, T28 · HEAD is never cached, whatever it tells', async (t) => {
  const site = await serve(t)
  const targets = [await make(site, 10), await make(site, 10, 'hello'), await make(site, 5, 'hello'), '/files/unknown', '/elsewhere']
  for (const target of targets) {
    assert.match((await head(site, target)).headers.get('cache-control') ?? '', /\bno-store\b/, target)
  }
})

test('T29 · twenty HEADs at once answer the same, without a body, and change nothing', async (t) => {
  const site = await serve(t)
  for (const upload of [await make(site, 10), await make(site, 10, 'hello'), await make(site, 5, 'hello')]) {
    const before = snapshot(site.folder)
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(site, request(`HEAD ${upload}`, [V]), { toHead: true })))
    for (const { status, headers } of answers) {
      assert.equal(status, 200)
      assert.equal(headers.get('upload-offset'), answers[0]?.headers.get('upload-offset'))
      assert.equal(headers.get('upload-length'), answers[0]?.headers.get('upload-length'))
    }
    assert.deepEqual(snapshot(site.folder), before)
  }
})

test('T29 · a HEAD that is pipelined behind a PATCH on one connection counts all of its bytes', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 300_000)
  const client = await WireClient.connect(site.port)
  for (const offset of [0, 100_000]) {
    const patch = request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, 'Content-Length: 100000'], 'x'.repeat(100_000))
    await client.send(patch + request(`HEAD ${upload}`, [V]))
    const answers = [await client.response(), await client.response({ toHead: true })]
    assert.deepEqual(answers.map(({ status }) => status), [204, 200])
    for (const { headers } of answers) assert.equal(headers.get('upload-offset'), String(offset + 100_000))
  }
  client.destroy()
})

test('a sidecar that is damaged is 500 without detail; the upload stays for repair', async (t) => {
  const first = await serve(t)
  const upload = await make(first, 10, 'hello')
  const site = await serve(t, { folder: first.folder }) // one that did not write it itself
  const sidecar = readdirSync(site.folder).find((name) => name.endsWith('.info')) ?? assert.fail('no sidecar')
  writeFileSync(join(site.folder, sidecar), '{"ID":')
  const before = snapshot(site.folder)
  assert.equal((await head(site, upload)).status, 500)
  const answer = await ask(site, request(`DELETE ${upload}`, [V]))
  assert.equal(answer.status, 500)
  assert.equal(answer.body, 'The stored upload is damaged\n')
  assert.deepEqual(snapshot(site.folder), before)
})
