// SPDX-License-Identifier: MIT

/**
 * Serves a directory in both protocols with the compiled library, as an application would that tells of
 * progress as often as it can and answers each upload with a receipt of its own:
 * `node rufh-server.mjs DIST DIRECTORY PORT VERSION SYNC`, with `HTTP/1.1` or `HTTP/2` as the version.
 */

import { randomUUID } from 'node:crypto'
import { subscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const [dist, directory, port, version, sync] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(join(dist, name)).href)
const { FileStore } = await load('file-store.js')
const { uploadHandler } = await load('handler/upload-handler.js')
const { LockFiles } = await load('lock-files.js')
const { ShutdownGroup } = await load('shutdown-group.js')

const group = new ShutdownGroup()
const confined = process.permission !== undefined // then Node lets it make no symbolic links, and from 26 on flush nothing
const locker = confined ? undefined : await LockFiles.open(join(directory, '.locks'))
const uploads = uploadHandler({
  store: new FileStore(directory, { shared: !confined, sync: confined ? 'none' : sync }),
  locker,
  progressIntervalMs: 1,
  // It takes a while, so that faults strike in the middle, and would say something else each time.
  onFinish: async ({ id, offset }) => {
    await delay(Number.parseInt(id.slice(0, 2), 16) / 8)
    return { status: 202, headers: { 'X-Receipt': randomUUID() }, body: `${offset} bytes of ${id}` }
  },
  signal: group.signal,
})
subscribe('longhaul:error', ({ error }) => console.error(error))

const onRequest = (req, res) => void group.run(uploads(req, res))
const server = version === 'HTTP/2' ? createHttp2Server(onRequest) : createServer({ requestTimeout: 0, headersTimeout: 60_000 }, onRequest)
server.on('checkContinue', (req, res) => void group.run(uploads.checkContinue(req, res)))
group.add(server).listen()
group.signal.addEventListener('abort', async () => {
  const { forced } = await group.shutdown()
  await locker?.close()
  if (forced) process.exit(1)
})
server.listen(Number(port), '127.0.0.1', () => {
  void group.run(uploads.sweep)
  console.log('listening')
})
