#!/usr/bin/env node
// SPDX-License-Identifier: MIT

/**
 * `longhaul`: serves resumable uploads from a directory. The only part that writes to the console,
 * reads the command line and listens for signals.
 *
 * @module
 */

import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { FileStore } from '../file-store.ts'
import { ShutdownGroup } from '../shutdown-group.ts'
import { tusHandler } from '../tus/handler.ts'
import { HELP, parseCommand, type ServeOptions } from './options.ts'

const command = parseCommand(process.argv.slice(2))
if (command.kind === 'serve') serve(command.options)
else if (command.kind === 'invalid') fail(2, `${command.message}; see --help`)
else if (command.kind === 'help') process.stdout.write(HELP)
else console.log(readVersion())

function serve(options: ServeOptions): void {
  const { host, port, path, sync, ...limits } = options
  const group = new ShutdownGroup()
  const tus = tusHandler({ ...limits, path, store: openStore(options), signal: group.signal })

  type Listener = (req: IncomingMessage, res: ServerResponse) => Promise<void>
  // Storing outlives the answer of a client that has gone, so each exchange is work of its own.
  const tracked = (listener: Listener) => (req: IncomingMessage, res: ServerResponse) => void group.run(() => listener(req, res))

  // requestTimeout would cut uploads that are progressing; the idle timeout ends those that are not.
  const server = createServer({ requestTimeout: 0 }, tracked(tus))
  server.on('checkContinue', tracked(tus.checkContinue))
  server.on('error', (error) => fail(1, error.message))
  group.add(server).listen()
  group.signal.addEventListener('abort', () => void group.shutdown().then(({ forced }) => forced && process.exit(1)))
  subscribe('longhaul:error', (message) => console.error((message as { error: Error }).error))

  server.listen(port, host, () => {
    const { address, family, port } = server.address() as AddressInfo
    console.log(`longhaul listening on http://${family === 'IPv6' ? `[${address}]` : address}:${port}${path}`)
  })
}

function openStore({ dir, sync }: ServeOptions): FileStore {
  try {
    return new FileStore(dir, { sync })
  } catch (error) {
    return fail(2, `--dir cannot be used: ${(error as Error).message}`)
  }
}

function fail(exitCode: number, message: string): never {
  console.error(`longhaul: ${message}`)
  process.exit(exitCode)
}

function readVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
