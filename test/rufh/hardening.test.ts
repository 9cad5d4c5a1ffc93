// SPDX-License-Identifier: MIT

/** What audits of the code found, and must not come back. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { truncateSync } from 'node:fs'
import { connect } from 'node:http2'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type { AppendOptions, NewUpload, Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { stored } from '../support/stored-content.ts'
import { append, ask, begin, head, I8, make, overBoth, PU, serve, type Answer, type Site } from './support.ts'

const TUS = { 'Tus-Resumable': '1.0.0' }
const OCT = { 'Content-Type': 'application/offset+octet-stream' }

/** Creates an upload in tus; returns its path. */
async function makeInTus(site: Site, headers: Record<string, string>): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...TUS, ...headers }, ''))
}

const idOf = (path: string): string => path.slice('/files/'.length)
const refusal = (status: number): Error => Object.assign(new Error('refused'), { status })

for (const length of ['known', 'unknown'] as const) {
  overBoth(`content beyond the length of an upload that tus began, of ${length} length, does not complete it with what fitted`, async (t, version) => {
    const finished: string[] = []
    const site = await serve(t, version, { onFinish: ({ id }) => void finished.push(id) })
    const path = await makeInTus(site, { 'Upload-Length': '5' })
    const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?0' }, '1234567', length)
    assert.equal(answer.status, 400)
    for (const asked of [await head(site, path), await ask(site, 'HEAD', path, TUS)]) assert.equal(asked.status, 410)
    assert.deepEqual(finished, [])
  })
}

test('content of unknown length that a client of HTTP/2 ends and cancels in one go is not taken for the whole', async (t) => {
  const finished: string[] = []
  const site = await serve(t, 'HTTP/2', { onFinish: ({ id }) => void finished.push(id) })
  const session = connect(`http://127.0.0.1:${site.port}`)
  t.after(() => session.destroy())
  const stream = session.request(
    { ':method': 'POST', ':path': '/files/', 'upload-draft-interop-version': '8', 'upload-complete': '?1' },
    { endStream: false },
  )
  stream.on('error', () => {})
  const announced = new Promise<string>((resolve) => stream.once('headers', (fields) => resolve(String(fields['location']))))
  const path = await announced
  stream.write('hello')
  await stored(site, path, 5)
  stream.close(8)
  await site.settled()
  assert.deepEqual(finished, [])
  const { headers } = await head(site, path)
  assert.deepEqual([headers.get('upload-offset'), headers.get('upload-complete')], ['5', '?0'])
})

overBoth('a digest that clients wish for is computed once, however many ask for it at once and whoever leaves', async (t, version) => {
  let reads = 0
  let begun = (): void => {}
  let proceed = (): void => {}
  class SlowReads extends StoreBehind {
    override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
      const read = super.read.bind(this)
      async function* wait(): AsyncGenerator<Buffer> {
        reads++
        await new Promise<void>((resolve) => {
          proceed = resolve
          begun()
        })
        yield* read(upload, range)
      }
      return Readable.from(wait(), { objectMode: false })
    }
  }
  const site = await serve(t, version, { store: (files: FileStore) => new SlowReads(files) })
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 200)
  const reading = new Promise<void>((resolve) => (begun = resolve))
  const wish = { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=1' }
  const first = await begin(site, { method: 'PATCH', path, headers: wish }, 0)
  await reading
  first.cut('rst')
  const others = Array.from({ length: 8 }, () => ask(site, 'PATCH', path, wish, ''))
  await new Promise(setImmediate)
  proceed()
  const digest = createHash('sha256').update('hello').digest('base64')
  for (const answer of await Promise.all(others)) {
    assert.deepEqual([answer.status, answer.headers.get('repr-digest')], [200, `sha-256=:${digest}:`])
  }
  await site.settled()
  assert.equal(reads, 1)

  const later = await serve(t, version, { folder: site.folder, store: (files: FileStore) => new SlowReads(files) })
  const again = await ask(later, 'PATCH', path, wish, '')
  assert.equal(again.headers.get('repr-digest'), `sha-256=:${digest}:`)
  assert.equal(reads, 1, 'the sidecar has it')
})

overBoth('digests that are wanted of more uploads than are computed at once wait for their turn, and all are given', async (t, version) => {
  const site = await serve(t, version)
  const contents = Array.from({ length: 8 }, (_, index) => `content ${index}`)
  const wish = { ...I8, 'Upload-Complete': '?1', 'Want-Repr-Digest': 'sha-256=1' }
  const answers = await Promise.all(contents.map((content) => ask(site, 'POST', '/files/', wish, content)))
  const digests = contents.map((content) => `sha-256=:${createHash('sha256').update(content).digest('base64')}:`)
  assert.deepEqual(answers.map(({ headers }) => headers.get('repr-digest')), digests)
})

overBoth('with sync append, an upload that has lost flushed bytes is deactivated, and can be removed', async (t, version) => {
  const options = { files: { sync: 'append' } } as const
  const site = await serve(t, version, options)
  const path = await make(site, { 'Upload-Length': '5' }, '123')
  truncateSync(join(site.folder, idOf(path)), 1)
  const later = await serve(t, version, { ...options, folder: site.folder })
  for (const each of [site, later]) {
    assert.equal((await head(each, path)).status, 410)
    assert.equal((await append(each, path, 1, false, 'x')).status, 410)
  }
  assert.equal((await ask(later, 'DELETE', path, I8)).status, 204)
  assert.equal((await head(later, path)).status, 404)
})

overBoth('where downloads are on, a client that may not read may still ask how far an unfinished upload has come', async (t, version) => {
  const site = await serve(t, version, {
    download: {},
    authorize: ({ kind }) => (kind === 'read' ? Promise.reject(refusal(403)) : undefined),
  })
  const path = await make(site, {}, '123')
  const asked = await ask(site, 'HEAD', path)
  assert.deepEqual([asked.status, asked.headers.get('upload-offset')], [204, '3'])
  assert.equal((await ask(site, 'GET', path)).status, 403)
})

overBoth('a concatenation of a part that was deactivated does not wait for it', async (t, version) => {
  const site = await serve(t, version)
  const part = await makeInTus(site, { 'Upload-Length': '5', 'Upload-Concat': 'partial' })
  const begun = await makeInTus(site, { 'Upload-Concat': `final;${part}` })
  assert.equal((await append(site, part, 0, false, '1234567')).status, 400)
  assert.equal((await ask(site, 'HEAD', begun, TUS)).status, 410)
  assert.equal((await ask(site, 'POST', '/files/', { ...TUS, 'Upload-Concat': `final;${part}` }, '')).status, 400)
})

overBoth('a concatenation whose copy is taken back by the store is copied again, as its bytes are those of its parts', async (t, version) => {
  let copies = 0
  class Hesitant extends StoreBehind {
    override async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
      if (!upload.parts || ++copies > 2) return super.append(upload, body, options)
      if (copies === 1) await super.append(upload, Readable.from([Buffer.from('12')], { objectMode: false }), {})
      else await this.truncate(upload, 0)
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    }
  }
  const site = await serve(t, version, { store: (files: FileStore) => new Hesitant(files) })
  const part = await makeInTus(site, { 'Upload-Length': '5', 'Upload-Concat': 'partial' })
  const whole = await makeInTus(site, { 'Upload-Concat': `final;${part}` })
  assert.equal((await ask(site, 'PATCH', part, { ...TUS, ...OCT, 'Upload-Offset': '0' }, '12345')).status, 204)
  const statuses: number[] = []
  let last: Answer | undefined
  for (let i = 0; i < 3; i++) statuses.push((last = await ask(site, 'HEAD', whole, TUS)).status)
  assert.deepEqual(statuses, [423, 423, 200])
  assert.equal(last?.headers.get('upload-offset'), '5')
})

overBoth('a refusal is remembered although the application has removed the bytes that it refused', async (t, version) => {
  const site: Site = await serve(t, version, {
    onFinish: ({ id }) => {
      truncateSync(join(site.folder, id), 0)
      throw refusal(422)
    },
  })
  const path = await make(site, { 'Upload-Length': '5' })
  assert.equal((await append(site, path, 0, true, '12345')).status, 422)
  for (let i = 0; i < 2; i++) assert.equal((await head(site, path)).status, 422)
})

overBoth('a digest is verified once, however often onFinish has to be tried', async (t, version) => {
  let reads = 0
  class Counted extends StoreBehind {
    override read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
      reads++
      return super.read(upload, range)
    }
  }
  const site = await serve(t, version, {
    store: (files: FileStore) => new Counted(files),
    onFinish: () => Promise.reject(new Error('not now')),
  })
  const path = await make(site, { 'Repr-Digest': 'sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:' }, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 500)
  for (let i = 0; i < 3; i++) assert.equal((await head(site, path)).status, 500)
  assert.equal(reads, 1)
})

overBoth('a store that forgets what an upload has to match is found out before bytes come', async (t, version) => {
  class Forgetful extends StoreBehind {
    override create({ completion: _completion, digest: _digest, ...upload }: NewUpload): Promise<Upload> {
      return super.create(upload)
    }
  }
  const site = await serve(t, version, { store: (files: FileStore) => new Forgetful(files) })
  const created = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1' }, 'hello')
  assert.equal(created.status, 500)
  assert.deepEqual(created.interim, [])
  assert.deepEqual(filesIn(site.folder), [])
})

overBoth('a malformed Upload-Complete completes nothing, in the old versions either', async (t, version) => {
  const site = await serve(t, version, { interopVersions: [6] })
  const path = await make(site, {}, 'hello')
  const answer = await ask(
    site,
    'PATCH',
    path,
    { ...PU, 'Upload-Draft-Interop-Version': '6', 'Upload-Offset': '5', 'Upload-Complete': 'yes' },
    '',
  )
  assert.equal(answer.status, 400)
  assert.equal((await head(site, path)).headers.get('upload-complete'), '?0')
})
