// SPDX-License-Identifier: MIT

/** Digests that take long. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Upload } from '../../lib/upload/types.ts'
import { Gate } from '../support/gate.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { append, make, overBoth, serve } from '../rufh/support.ts'

const DIGEST = `sha-256=:${createHash('sha256').update('helloworld').digest('base64')}:`

overBoth('a shutdown ends the digest of an upload: 503, no more is read, and the next server finishes it', async (t, version) => {
  const shutdown = new AbortController()
  const gate = new Gate()
  const chunks: string[] = []
  class SlowReads extends StoreBehind {
    override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
      const content = super.read(upload, range)
      return Readable.from((async function* () {
        for await (const byte of content.flatMap((chunk: Buffer) => [...chunk])) {
          chunks.push(String(byte))
          yield Buffer.of(byte)
          await gate.pass()
        }
      })(), { highWaterMark: 1 })
    }
  }
  const site = await serve(t, version, { signal: shutdown.signal, store: (files) => new SlowReads(files) })
  const upload = await make(site, { 'Repr-Digest': DIGEST }, 'hello')
  const answering = append(site, upload, 5, true, 'world')
  await gate.arrived
  shutdown.abort()
  gate.open()
  assert.equal((await answering).status, 503)
  await site.settled()
  assert.ok(chunks.length < 10, `${chunks.length} bytes were read`)

  const next = await serve(t, version, { folder: site.folder })
  const repeated = await append(next, upload, 10, true)
  assert.deepEqual([repeated.status, repeated.headers.get('repr-digest')], [200, DIGEST])
})
