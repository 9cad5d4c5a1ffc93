// SPDX-License-Identifier: MIT

/** Checklist T52: an upload goes on after the server was ended, or killed, in the middle of it. */

import assert from 'node:assert/strict'
import { appendFileSync, readFileSync, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { startProgram } from '../support/program.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient, withBody } from '../support/wire.ts'
import { make, OCT, offsetOf, serve, V } from './support.ts'

const SIZE = 1024 * 1024
const SENT = 300_000

/** Resolves when a file has so many bytes. */
async function grown(path: string, bytes: number): Promise<void> {
  const watcher = watch(path)
  try {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        stat(path).then(({ size }) => size >= bytes && resolve(), reject)
      }
      watcher.on('change', check).on('error', reject)
      check()
    })
  } finally {
    watcher.close()
  }
}

async function interruptedBy(t: TestContext, signal: 'SIGTERM' | 'SIGKILL'): Promise<number> {
  const folder = temporaryFolder(t)
  const source = pattern(SIZE)
  const first = await startProgram(t, ['--dir', folder])
  const created = await exchange(first.port, request('POST /files/', [V, `Upload-Length: ${SIZE}`, 'Content-Length: 0']))
  const upload = locationOf(created)
  const client = await WireClient.connect(first.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${SIZE}`]))
  await client.send(source.subarray(0, SENT))
  await grown(join(folder, upload.slice('/files/'.length)), 1)

  first.process.kill(signal)
  const exit = await first.exit
  assert.deepEqual(exit, signal === 'SIGTERM' ? { code: 0, signal: null } : { code: null, signal })
  if (signal === 'SIGTERM') assert.equal((await client.response()).status, 503)
  client.destroy()

  const second = await startProgram(t, ['--dir', folder])
  const offset = await offsetOf(second, upload)
  assert.ok(contentOf({ folder }, upload).equals(source.subarray(0, offset)))
  const rest = source.subarray(offset)
  const patch = request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${rest.length}`])
  assert.equal((await exchange(second.port, withBody(patch, rest))).status, 204)
  assert.ok(contentOf({ folder }, upload).equals(source))
  return offset
}

test('T52 · after SIGTERM in the middle of a PATCH every byte is there, and the upload is resumed', async (t) => {
  assert.equal(await interruptedBy(t, 'SIGTERM'), SENT)
})

test('T52 · after SIGKILL in the middle of a PATCH HEAD reports what is in the file, and the upload is resumed', async (t) => {
  const offset = await interruptedBy(t, 'SIGKILL')
  assert.ok(offset > 0 && offset <= SENT, String(offset))
})

test("with sync 'append', bytes that a killed process left are flushed before HEAD reports them", async (t) => {
  const folder = temporaryFolder(t)
  const site = await serve(t, { folder, store: () => new FileStore(folder, { sync: 'append' }) })
  const upload = await make(site, 10)
  const id = upload.slice('/files/'.length)
  appendFileSync(join(folder, id), 'left')
  const flushed = (): unknown => JSON.parse(readFileSync(join(folder, `${id}.info`), 'utf8')).Longhaul.mark.offset
  assert.equal(flushed(), 0)
  assert.equal(await offsetOf(site, upload), 4)
  assert.equal(flushed(), 4)
})
