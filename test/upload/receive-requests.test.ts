// SPDX-License-Identifier: MIT

/** What becomes of a body when the store fails. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import type { AppendOptions, Upload } from '../../lib/upload/types.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { stored } from '../support/stored-content.ts'
import { request, WireClient } from '../support/wire.ts'
import { ask, make, OCT, offsetOf, serve, V } from '../tus/support.ts'

test('a store that fails after the 503 of a shutdown is published, and what the 503 reported stays', async (t) => {
  const failure = new Error('The disk is on fire')
  const shutdown = new AbortController()
  const errors = published(t, 'longhaul:error')
  class FailsAtShutdown extends StoreBehind {
    override append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
      return shutdown.signal.aborted ? Promise.reject(failure) : super.append(upload, body, options)
    }
  }
  const site = await serve(t, { signal: shutdown.signal, store: (files) => new FailsAtShutdown(files) })
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 10'], 'hello'))
  await stored(site, upload, 5)
  shutdown.abort()
  assert.equal((await client.response()).status, 503)
  client.destroy()
  await site.settled()
  assert.deepEqual(errors.map(({ error }) => error), [failure])
  assert.equal(await offsetOf(await serve(t, { folder: site.folder }), upload), 5)
})

test('the reader of a body is destroyed when the store fails, so that nothing listens to the request any more', async (t) => {
  class Fails extends StoreBehind {
    reader: Readable | undefined

    override append(_upload: Upload, body: Readable): Promise<number> {
      this.reader = body
      return Promise.reject(new Error('The disk is on fire'))
    }

    override appendVerified(upload: Upload, body: Readable): Promise<number> {
      return this.append(upload, body)
    }
  }
  const site = await serve(t, { store: (files) => new Fails(files) })
  const upload = await make(await serve(t, { folder: site.folder }), 10)
  for (const checksum of [[], [`Upload-Checksum: sha1 ${createHash('sha1').update('hello').digest('base64')}`]]) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5', ...checksum], 'hello'))
    assert.equal(answer.status, 500)
    await site.settled()
    assert.equal(site.store.reader?.destroyed, true)
    site.store.reader = undefined
  }
})

test('a body of which no byte may be kept is read to its end, and the upload stays as it is', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 5, 'hello')
  const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  assert.equal(answer.status, 413)
  assert.equal(await offsetOf(site, upload), 5)
})

test('a slot of maxConcurrent is free again after a store has failed', async (t) => {
  const gate = new Gate()
  let fails: string | undefined
  class FailsWhenTold extends StoreBehind {
    override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
      if (upload.id !== fails?.slice('/files/'.length)) return super.append(upload, body, options)
      await gate.pass()
      throw new Error('The disk is on fire')
    }
  }
  const site = await serve(t, { maxConcurrent: 1, store: (files) => new FailsWhenTold(files) })
  const works = await make(site, 5)
  fails = await make(site, 5)
  const patch = (upload: string): string => request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello')
  const failing = ask(site, patch(fails))
  await gate.arrived
  assert.equal((await ask(site, patch(works))).status, 503)
  gate.open()
  assert.equal((await failing).status, 500)
  assert.equal((await ask(site, patch(works))).status, 204)
})
