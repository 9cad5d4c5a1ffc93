// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { npmStart } from './npm-start.js'
import { dataOf, temporaryFolder } from './uploading.js'

test('Ctrl-C in the terminal of npm start saves what is under way, answers its client, and exits with 0', { timeout: 60_000 }, async (t) => {
  const dir = temporaryFolder(t)
  const server = await npmStart(t, { dir })
  const root = `http://127.0.0.1:${server.port}/files/`
  const created = await fetch(root, { method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' } })
  const url = new URL(created.headers.get('Location'), root)
  const client = connect(server.port, '127.0.0.1')
  client.write([
    `PATCH ${url.pathname} HTTP/1.1`, 'Host: test', 'Tus-Resumable: 1.0.0', 'Upload-Offset: 0', 'Expect: 100-continue',
    'Content-Type: application/offset+octet-stream', 'Content-Length: 1000', '', '',
  ].join('\r\n'))
  await once(client, 'data') // 100: the server waits for the body
  client.write('x'.repeat(400))

  const answered = once(client, 'data')
  const { code } = await server.pressCtrlC()

  assert.match(String((await answered)[0]), /^HTTP\/1\.1 503 /)
  assert.equal(dataOf(dir, { url }).length, 400)
  assert.equal(code, 0)
})
