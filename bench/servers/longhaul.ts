// SPDX-License-Identifier: MIT

/**
 * longhaul as the README has it.
 *
 * @module
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { FileStore } from '../../lib/file-store.ts'
import { LockFiles } from '../../lib/lock-files.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { serve } from './serve.ts'

const [, , directory = '', ...words] = process.argv
const sync = (['none', 'append'] as const).find((word) => words.includes(`sync-${word}`))
const shared = words.includes('lock-files')

const group = new ShutdownGroup()
const tus = tusHandler({
  store: new FileStore(directory, { sync, shared }),
  locker: shared ? await LockFiles.open(join(directory, '.locks')) : undefined,
  signal: group.signal,
})
const tracked = (listener: typeof tus.checkContinue) => (req: IncomingMessage, res: ServerResponse) => void group.run(listener(req, res))
const server = createServer({ headersTimeout: 60_000 }, tracked(tus))
server.on('checkContinue', tracked(tus.checkContinue))
group.add(server).listen()
group.signal.addEventListener('abort', () => process.disconnect?.())
serve(server)
