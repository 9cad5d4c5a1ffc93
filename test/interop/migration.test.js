// SPDX-License-Identifier: MIT

/** What lib/OPERATING.md says of moving over: @tus/server with @tus/file-store and the program, in turns on one directory. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { startBuilt } from './built-program.js'
import { fixedPort } from './operating.js'
import { create, TUS } from './raw-requests.js'
import { assertArrived, dataOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 60_000 }

test('An upload that was begun with @tus/server goes on here, and goes on there when the old server is back', LIMITS, async (t) => {
  const [dir, port] = [temporaryFolder(t), await fixedPort()]
  const cuts = [{ atBytes: 6 * MB, by: 'FIN' }, { atBytes: 12 * MB, by: 'FIN' }]
  const { proxy, endpoint } = await startProxy(t, { port }, { cuts })
  proxy.on('cut', () => (proxy.targetPort = undefined)) // the network is away while the servers change

  const theirs = await startTusServer(t, { dir, port })
  const running = startUpload(t, endpoint, SOURCE)
  await once(proxy, 'cut')
  await theirs.stop()
  const leftBytes = dataOf(dir, running.upload).length

  const ours = await startBuilt(t, { dir, port })
  const cutAgain = once(proxy, 'cut')
  proxy.targetPort = port
  await cutAgain
  assert.deepEqual(await ours.stop(), { code: 0, signal: null })
  const oursBytes = dataOf(dir, running.upload).length

  await startTusServer(t, { dir, port })
  proxy.targetPort = port
  const { upload, exchanges } = await finish(running)

  assertArrived(dir, upload, SOURCE)
  assert.deepEqual(offsetsOf(exchanges), [0, leftBytes, oursBytes])
  assert.ok(
    leftBytes > 0 && oursBytes > leftBytes + 6 * MB - HEADS_BYTES,
    `all that had arrived here must be stored: ${leftBytes}, then ${oursBytes} bytes`,
  )
  assert.equal(exchanges.filter(({ method }) => method === 'POST').length, 1)
})

test('An upload that was begun here is not found by @tus/server', LIMITS, async (t) => {
  const dir = temporaryFolder(t)
  const ours = await startBuilt(t, { dir })
  const location = await create(ours.port, 5)
  await ours.stop()

  const theirs = await startTusServer(t, { dir, port: 0 })
  const { status } = await fetch(`http://127.0.0.1:${theirs.port}${location}`, { method: 'HEAD', headers: TUS })
  assert.equal(status, 404)
})

async function startTusServer(t, { dir, port }) {
  const child = fork(new URL('tus-server.js', import.meta.url), [dir, String(port)])
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await once(child, 'exit')
  }
  t.after(stop)
  const [listening] = await once(child, 'message')
  return { port: listening, stop }
}
