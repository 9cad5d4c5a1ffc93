// SPDX-License-Identifier: MIT

/** What the servers of this folder have in common: the compiled library, a store with its locker, and a graceful end. */

import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** With Node's permission model, which allows no symbolic links, and from 26 on no flushing. */
const confined = process.permission !== undefined

/** Imports what the package exports as `longhaul/<subpath>`, from the compiled library. */
export function load(dist, subpath) {
  const root = join(dist, '..')
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return import(pathToFileURL(join(root, exports[`./${subpath}`].default)).href)
}

/** A store over a directory that servers share. Without symbolic links they cannot: then there is no locker. */
export async function openStorage(dist, directory, sync) {
  const { FileStore } = await load(dist, 'file-store')
  const { LockFiles } = await load(dist, 'lock-files')
  const locker = confined ? undefined : await LockFiles.open(join(directory, '.locks'))
  return { locker, store: new FileStore(directory, { shared: !confined, sync: confined ? 'none' : sync }) }
}

/**
 * Serves a directory as an application would, up to a signal. `makeHandler` is given the store, its locker and the signal
 * of the shutdown; `createServer` is given the listener of requests. Resolves with the handler and the group.
 */
export async function serve({ dist, directory, sync, port, makeHandler, createServer }) {
  const { ShutdownGroup } = await load(dist, 'shutdown-group')
  const group = new ShutdownGroup()
  const storage = await openStorage(dist, directory, sync)
  const handler = await makeHandler({ ...storage, signal: group.signal })
  subscribe('longhaul:error', ({ error }) => console.error(error))

  const server = createServer((req, res) => void group.run(handler(req, res)))
  server.on('checkContinue', (req, res) => void group.run(handler.checkContinue(req, res)))
  group.add(server).listen()
  group.signal.addEventListener('abort', async () => {
    const { forced } = await group.shutdown()
    await storage.locker?.close()
    if (forced) process.exit(1)
  })
  server.listen(Number(port), '127.0.0.1', () => console.log('listening'))
  return { handler, group }
}
