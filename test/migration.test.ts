// SPDX-License-Identifier: MIT

/**
 * Directories that other servers wrote. `tus-file-store` was written by @tus/server 2 with
 * @tus/file-store 2.1.1; `tusd` after what the filestore of tusd 2 writes.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { TusHandlerOptions } from '../lib/tus/handler.ts'
import { contentOf } from './support/stored-content.ts'
import { temporaryFolder } from './support/temporary.ts'
import { exchange, request } from './support/wire.ts'
import { head, OCT, serve, V, type Site } from './tus/support.ts'

/** A server over a copy of a directory; `finished` lists the uploads for which `onFinish` ran. */
async function migrate(
  t: TestContext,
  from: 'tusd' | 'tus-file-store',
  options: Pick<TusHandlerOptions, 'expiration'> = {},
): Promise<Site & { readonly finished: string[] }> {
  const folder = temporaryFolder(t)
  cpSync(fileURLToPath(new URL(`fixtures/${from}`, import.meta.url)), folder, { recursive: true })
  const finished: string[] = []
  const site = await serve(t, { folder, onFinish: ({ id }) => void finished.push(id), ...options })
  return { ...site, finished }
}

const patch = (site: Site, id: string, offset: number, body: string, more: string[] = []) =>
  exchange(site.port, request(`PATCH /files/${id}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${body.length}`, ...more], body))

const UNFINISHED = { tusd: '24e533e02ec3bc40c387f1a0e460e216', 'tus-file-store': '9f093de6de4fb45e44f54c77cb40d5c4' }
const DEFERRED = { tusd: '5b1f7a3c0d2e4f6081a2b3c4d5e6f708', 'tus-file-store': 'fdef7872dd7c24ad4f14f6e5da519fb5' }

for (const from of ['tusd', 'tus-file-store'] as const) {
  test(`an unfinished upload of ${from} resumes, and finishes once`, async (t) => {
    const site = await migrate(t, from)
    const id = UNFINISHED[from]
    const { status, headers } = await head(site, `/files/${id}`)
    assert.deepEqual([status, headers.get('upload-offset'), headers.get('upload-length')], [200, '5', '11'])
    assert.equal(headers.get('upload-metadata'), 'filename aGVsbG8udHh0,is_confidential')
    assert.equal((await patch(site, id, 5, ' wo')).status, 204)
    assert.equal((await patch(site, id, 8, 'rld')).headers.get('upload-offset'), '11')
    assert.equal(contentOf(site, `/files/${id}`).toString(), 'hello world')
    assert.equal((await patch(site, id, 11, '')).status, 204)
    assert.deepEqual(site.finished, [id])
  })

  test(`an upload of ${from} whose length came later gets it`, async (t) => {
    const site = await migrate(t, from)
    const id = DEFERRED[from]
    const before = await head(site, `/files/${id}`)
    assert.deepEqual([before.headers.get('upload-offset'), before.headers.get('upload-defer-length')], ['3', '1'])
    assert.equal((await patch(site, id, 3, 'de', ['Upload-Length: 5'])).status, 204)
    assert.equal((await head(site, `/files/${id}`)).headers.get('upload-length'), '5')
    assert.deepEqual(site.finished, [id])
  })

  test(`what ${from} had finished is complete, is not finished again, and is never swept`, async (t) => {
    const site = await migrate(t, from, { expiration: { afterMs: 1 } })
    const id = from === 'tusd' ? '7d3b9c5e2f4a6b81a3c4d5e6f708192a' : '5abbc00bd0f636cc46c8870eca9a779d'
    const { headers } = await head(site, `/files/${id}`)
    assert.equal(headers.get('upload-offset'), headers.get('upload-length'))
    while ((await head(site, `/files/${UNFINISHED[from]}`)).status !== 410); // a millisecond has passed
    await site.tus.sweep()
    assert.deepEqual([(await head(site, `/files/${id}`)).status, site.finished], [200, []])
    assert.equal((await head(site, `/files/${UNFINISHED[from]}`)).status, 404)
  })

  test(`an upload of ${from} is terminated with all of its files`, async (t) => {
    const site = await migrate(t, from)
    for (const id of [UNFINISHED[from], DEFERRED[from]]) {
      assert.equal((await exchange(site.port, request(`DELETE /files/${id}`, [V]))).status, 204)
      assert.deepEqual(readdirSync(site.folder).filter((name) => name.startsWith(id)), [])
    }
  })
}

test('a partial upload of tusd goes into a new concatenation, and an old one says what it is made of', async (t) => {
  const site = await migrate(t, 'tusd')
  const part = '/files/6c2a8b4d1e3f5a7092b3c4d5e6f70819'
  assert.equal((await head(site, part)).headers.get('upload-concat'), 'partial')
  assert.equal((await head(site, '/files/7d3b9c5e2f4a6b81a3c4d5e6f708192a')).headers.get('upload-concat'), `final;${part} ${part}`)
  const { status, headers } = await exchange(site.port, request('POST /files/', [V, `Upload-Concat: final;${part}`]))
  assert.equal(status, 201)
  assert.equal(contentOf(site, headers.get('location')!).toString(), ' world')
})

test('a sidecar of @tus/file-store that is torn or hostile is an error of its own', async (t) => {
  const site = await migrate(t, 'tus-file-store')
  for (const text of [
    '', '{', '[]', '{"id":"other","size":5}', '{"id":7}',
    `{"id":"${UNFINISHED['tus-file-store']}","size":-1}`,
    `{"id":"${UNFINISHED['tus-file-store']}","metadata":[]}`,
  ]) {
    writeFileSync(join(site.folder, `${UNFINISHED['tus-file-store']}.json`), text)
    assert.equal((await head(site, `/files/${UNFINISHED['tus-file-store']}`)).status, 500, text)
  }
})
