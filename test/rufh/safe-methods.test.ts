// SPDX-License-Identifier: MIT

/** Requests that anybody may send, and that change nothing (RFC 9110 section 9.2.1). */

import assert from 'node:assert/strict'
import { contentOf, stored } from '../support/stored-content.ts'
import { append, ask, begin, head, I8, make, overBoth, PU, serve } from './support.ts'

for (const method of ['GET', 'HEAD']) {
  for (const download of [undefined, {}]) {
    const where = download ? 'with downloads' : 'without downloads'
    overBoth(`a plain ${method} of an upload does not end the append that is in progress (${where})`, async (t, version) => {
      const site = await serve(t, version, { download })
      const path = await make(site, {}, 'hello')
      const appending = await begin(
        site,
        { method: 'PATCH', path, headers: { ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' } },
        'unknown',
      )
      await appending.write(Buffer.from(' wor'))
      await stored(site, path, 9)
      for (let n = 0; n < 3; n++) {
        const { status, headers } = await ask(site, method, path)
        if (download && method === 'GET')
          assert.equal(status, 404) // there is nothing to download yet
        else
          assert.deepEqual(
            [status, headers.get('upload-offset'), headers.get('upload-complete')],
            [204, '5', '?0'],
            'no other offset is a promise',
          )
      }
      await appending.write(Buffer.from('ld'))
      appending.end()
      assert.equal((await appending.answer).status, 200)
      assert.equal(contentOf(site, path).toString(), 'hello world')
    })
  }
}

overBoth('a plain HEAD gives the offset of everything that is stored where no append is in progress', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const later = await serve(t, version, { folder: site.folder })
  for (const each of [site, later]) assert.equal((await ask(each, 'HEAD', path)).headers.get('upload-offset'), '5')
  assert.equal((await append(later, path, 5, true)).status, 200)
  assert.equal((await ask(later, 'HEAD', path)).headers.get('upload-complete'), '?1')
})

overBoth('a HEAD that names the version of the draft asks the append to let go, and gives the offset of all its bytes', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'hello')
  const appending = await begin(
    site,
    { method: 'PATCH', path, headers: { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': '?1' } },
    'unknown',
  )
  await appending.write(Buffer.from(' wor'))
  await stored(site, path, 9)
  assert.equal((await head(site, path)).headers.get('upload-offset'), '9')
  assert.equal((await appending.answer).status, 409)
})
