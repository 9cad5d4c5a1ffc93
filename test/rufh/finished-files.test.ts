// SPDX-License-Identifier: MIT

/** A file that the application moves away or removes in `onFinish`, as clients of Resumable Uploads for HTTP see it. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import { filesIn } from '../support/files.ts'
import { published } from '../support/published.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { append, ask, head, I8, make, overBoth, serve, type Site } from './support.ts'

const WANTED = { 'Want-Repr-Digest': 'sha-256=10' }
const DIGEST = `sha-256=:${createHash('sha256').update('helloworld').digest('base64')}:`

for (const [what, headers, digest] of [
  ['that its client sent', { 'Repr-Digest': DIGEST }, DIGEST],
  ['that its client wants to know', WANTED, undefined],
] as const) {
  overBoth(`a file that onFinish moves away is complete for its client, whatever it asks afterwards, with a digest ${what}`, async (t, version) => {
    const target = join(temporaryFolder(t), 'moved')
    const errors = published(t, 'longhaul:error')
    const site: Site<FileStore> = await serve(t, version, { download: {}, onFinish: (upload) => site.store.moveTo(upload, target) })
    const path = await make(site, headers, 'hello')
    for (const [offset, content] of [[5, 'world'], [10, '']] as const) {
      const answer = await append(site, path, offset, true, content, digest === undefined ? WANTED : {})
      assert.deepEqual([answer.status, answer.headers.get('upload-complete'), answer.headers.get('repr-digest')], [200, '?1', digest])
    }
    assert.equal(readFileSync(target, 'utf8'), 'helloworld')
    for (const fields of [I8, {}]) {
      const told = await ask(site, 'HEAD', path, fields)
      assert.deepEqual(
        [told.status, told.headers.get('upload-complete'), told.headers.get('upload-offset'), told.headers.get('upload-length')],
        [204, '?1', '10', '10'],
      )
    }
    assert.equal((await ask(site, 'GET', path)).status, 410)
    assert.equal((await append(site, path, 10, true, 'x')).status, 400)
    assert.equal((await ask(site, 'DELETE', path)).status, 204)
    assert.equal((await head(site, path)).status, 404)
    assert.deepEqual(filesIn(site.folder), [])
    assert.deepEqual(errors, [])
  })
}

overBoth('a file that onFinish removes has its answer, and is unknown from then on', async (t, version) => {
  const errors = published(t, 'longhaul:error')
  const site: Site<FileStore> = await serve(t, version, {
    onFinish: async (upload) => {
      await site.store.terminate(upload)
      return { status: 201, body: 'thank you' }
    },
  })
  for (const headers of [{}, WANTED]) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', ...headers }, 'helloworld')
    assert.deepEqual([answer.status, answer.body, answer.headers.get('upload-complete')], [201, 'thank you\n', '?1'])
    assert.equal((await head(site, answer.headers.get('location') ?? '')).status, 404)
  }
  assert.deepEqual([filesIn(site.folder), errors], [[], []])
})
