// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
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
    `PATCH ${url.pathname} HTTP/1.1`, 'Host: localhost', 'Tus-Resumable: 1.0.0', 'Upload-Offset: 0', 'Expect: 100-continue',
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

test('A program whose terminal was stopped with Ctrl-S goes on, and ends with 0 on SIGTERM', { timeout: 60_000 }, async (t) => {
  const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  const command = `echo process $$; exec node ${main} --port 0 --lock memory --sync none --dir ${temporaryFolder(t)}`
  const terminal = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => terminal.kill('SIGKILL'))
  const exit = once(terminal, 'exit')
  const lines = createInterface({ input: terminal.stdout })
  let [pid, port] = []
  for await (const line of lines) {
    pid ??= /^process (\d+)/.exec(line)?.[1]
    port = /^longhaul listening on http:\/\/127\.0\.0\.1:(\d+)\//.exec(line)?.[1]
    if (port !== undefined) break
  }
  terminal.stdout.pause() // nobody reads any more

  const root = `http://127.0.0.1:${port}/files/`
  for (let count = 0; count < 4000; count++) { // more lines than the terminal and the pipe behind it hold
    const { status } = await fetch(root, { method: 'POST', headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1' } })
    assert.equal(status, 201)
  }
  process.kill(Number(pid), 'SIGTERM')
  while (isAlive(Number(pid))) await new Promise(setImmediate)
  terminal.stdout.resume()
  assert.deepEqual(await exit, [0, null])
})

/** Whether it has not ended yet; what has may still wait for its parent to ask, which waits for us to read. */
function isAlive(pid) {
  try {
    return !/^\d+ \(.*\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
