// SPDX-License-Identifier: MIT

/**
 * Serves a directory over HTTP/2 with the compiled library, as an application would:
 * `node http2-server.mjs DIST DIRECTORY PORT IDLE_TIMEOUT_MS`.
 */

import { subscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http2'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [dist, directory, port, idleTimeoutMs] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(join(dist, name)).href)
const { FileStore } = await load('file-store.js')
const { LockFiles } = await load('lock-files.js')
const { ShutdownGroup } = await load('shutdown-group.js')
const { tusHandler } = await load('tus/handler.js')

const group = new ShutdownGroup()
const confined = process.permission !== undefined // then Node lets it make no symbolic links, and from 26 on flush nothing
const locker = confined ? undefined : await LockFiles.open(join(directory, '.locks'))
const tus = tusHandler({
  store: new FileStore(directory, { shared: !confined, sync: confined ? 'none' : 'finish' }),
  locker,
  download: {},
  idleTimeoutMs: Number(idleTimeoutMs),
  signal: group.signal,
})
subscribe('longhaul:error', ({ error }) => console.error(error))

const server = createServer((req, res) => void group.run(tus(req, res)))
server.on('checkContinue', (req, res) => void group.run(tus.checkContinue(req, res)))
group.add(server).listen()
group.signal.addEventListener('abort', async () => {
  const { forced } = await group.shutdown()
  await locker?.close()
  if (forced) process.exit(1)
})
server.listen(Number(port), '127.0.0.1', () => console.log('listening'))
