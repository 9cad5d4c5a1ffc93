// SPDX-License-Identifier: MIT

/** How a handler finds out what a request is about, in whatever it is mounted, and watches that it is answered. */

import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'
import { ask, head, make, OCT, serve, V } from '../tus/support.ts'

/** How long a client waits for an answer, in milliseconds. These tests make the time pass themselves. */
const ANSWER_MS = 500

test('below a framework that cuts the path off and keeps the whole in originalUrl, addresses are the same', async (t) => {
  const site = await serve(t, {
    before: (req) => {
      Object.assign(req, { originalUrl: req.url, url: req.url!.slice('/files'.length) })
      return undefined
    },
  })
  const created = await ask(site, request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0']))
  assert.equal(created.status, 201)
  const upload = addressOf(created)
  const appended = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello'))
  assert.equal(appended.status, 204)
  assert.equal(contentOf(site, upload).toString(), 'hello')
})

test('an originalUrl that is no text is not looked at', async (t) => {
  const site = await serve(t, { before: (req) => void Object.assign(req, { originalUrl: { path: '/' } }) as undefined })
  const upload = await make(site, 5)
  assert.equal((await head(site, upload)).status, 200)
})

test('a handler that is made after the shutdown has begun ends every body: a PATCH is 503', async (t) => {
  const site = await serve(t, { signal: AbortSignal.abort() })
  const created = await ask(site, request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0']))
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${addressOf(created)}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'he'))
  assert.equal((await client.response()).status, 503)
  client.destroy()
  await site.settled()
})

test('a client that keeps its connection after its answer is not taken for one that waits: nothing is published', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const errors = published(t, 'longhaul:error')
  const site = await serve(t, { answerTimeoutMs: ANSWER_MS })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, 'Content-Type: text/plain', 'Upload-Length: 5', 'Content-Length: 5']))
  assert.equal((await client.response()).status, 415)
  t.mock.timers.tick(ANSWER_MS) // the server still waits for the body
  client.destroy()
  await site.settled()
  assert.deepEqual(errors, [])
})

/** A store whose bytes come when its gate is open. */
class LateStore extends StoreBehind {
  readonly gate = new Gate()

  override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
    const [bytes, gate] = [super.read(upload, range), this.gate]
    return Readable.from((async function* () {
      await gate.pass()
      yield* bytes
    })(), { objectMode: false })
  }
}

test('a download may take longer than an answer: 200, and nothing is published', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const errors = published(t, 'longhaul:error')
  let late: LateStore | undefined
  const site = await serve(t, { answerTimeoutMs: ANSWER_MS, download: {}, store: (files) => (late = new LateStore(files)) })
  const upload = await make(site, 5, 'hello')
  const answer = ask(site, request(`GET ${upload}`))
  await late!.gate.arrived
  t.mock.timers.tick(ANSWER_MS)
  late!.gate.open()
  const { status, body } = await answer
  assert.deepEqual([status, body], [200, 'hello'])
  await site.settled()
  assert.deepEqual(errors, [])
})

test('a download whose client was answered 503 before it began does not begin', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const errors = published(t, 'longhaul:error')
  const gate = new Gate()
  const authorize = ({ kind }: { readonly kind: string }): Promise<void> | undefined => (kind === 'read' ? gate.pass() : undefined)
  const site = await serve(t, { answerTimeoutMs: ANSWER_MS, download: {}, authorize })
  const upload = await make(site, 5, 'hello')
  const answer = ask(site, request(`GET ${upload}`))
  await gate.arrived
  t.mock.timers.tick(ANSWER_MS)
  assert.equal((await answer).status, 503)
  gate.open()
  await site.settled()
  assert.deepEqual(errors.map(({ error }) => error.code), ['OVERDUE'])
})

test('an upload that is removed before its bytes are opened is 404, and no failure of the server', async (t) => {
  const errors = published(t, 'longhaul:error')
  const folder = temporaryFolder(t)
  class FleetingStore extends StoreBehind {
    override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
      for (const name of readdirSync(folder)) if (name.startsWith(upload.id)) rmSync(join(folder, name))
      return super.read(upload, range)
    }
  }
  const site = await serve(t, { folder, download: {}, store: (files) => new FleetingStore(files) })
  const upload = await make(site, 5, 'hello')
  assert.equal((await ask(site, request(`GET ${upload}`))).status, 404)
  await site.settled()
  assert.deepEqual(errors, [])
})
