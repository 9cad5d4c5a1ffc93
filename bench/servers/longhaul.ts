// SPDX-License-Identifier: MIT

/**
 * longhaul as the README has it; `--sync` and `--lock` as on its own command line, with the defaults of the library.
 *
 * @module
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { FileStore, type FileStoreOptions } from '../../lib/file-store/file-store.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { serve } from './serve.ts'

const {
  values: { sync, lock },
  positionals: [directory = ''],
} = parseArgs({ allowPositionals: true, options: { sync: { type: 'string' }, lock: { type: 'string' } } })

const group = new ShutdownGroup()
const shared = lock === 'file'
const store = new FileStore(directory, { sync: sync as FileStoreOptions['sync'], shared })
const locker = shared ? await (await import('../../lib/lock-files/lock-files.ts')).LockFiles.open(join(directory, '.locks')) : undefined
const tus = tusHandler({ store, locker, signal: group.signal })
const tracked = (listener: typeof tus.checkContinue) => (req: IncomingMessage, res: ServerResponse) => void group.run(listener(req, res))
const server = createServer({ headersTimeout: 60_000 }, tracked(tus))
server.on('checkContinue', tracked(tus.checkContinue))
group.add(server).listen()
serve(server)
