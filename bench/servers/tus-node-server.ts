// SPDX-License-Identifier: MIT

/**
 * @tus/server with @tus/file-store, with their defaults; `--stop` says what SIGTERM does, instead of ending the process.
 *
 * @module
 */

import { createServer, type Server as HttpServer } from 'node:http'
import { parseArgs } from 'node:util'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'
import { serve } from './serve.ts'

/**
 * How long stoppable waits for requests that are under way, in milliseconds: as long as http-terminator does by default. Its own default is
 * for ever.
 */
const STOPPABLE_GRACE_MS = 1000

const { values: { stop }, positionals: [directory = ''] } = parseArgs({ allowPositionals: true, options: { stop: { type: 'string' } } })
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })
const server = createServer((req, res) => void tus.handle(req, res))
if (stop !== undefined) process.on('SIGTERM', await stopperOf(stop, server))
serve(server)

/** Loads a tool and gives it the server. */
async function stopperOf(tool: string, server: HttpServer): Promise<() => void> {
  if (tool === 'close') return () => server.close()
  if (tool === 'stoppable') {
    const { default: stoppable } = await import('stoppable')
    const { stop } = stoppable(server, STOPPABLE_GRACE_MS)
    return () => stop()
  }
  const { createHttpTerminator } = await import('http-terminator')
  const { terminate } = createHttpTerminator({ server })
  return () => void terminate()
}
