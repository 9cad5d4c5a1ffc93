// SPDX-License-Identifier: MIT

/**
 * longhaul as the README has it.
 *
 * @module
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { FileStore } from '../../lib/file-store.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import { serve } from './serve.ts'

const [, , directory = ''] = process.argv

const group = new ShutdownGroup()
const tus = tusHandler({ store: new FileStore(directory), signal: group.signal })
const tracked = (listener: typeof tus.checkContinue) => (req: IncomingMessage, res: ServerResponse) => void group.run(listener(req, res))
const server = createServer({ headersTimeout: 60_000 }, tracked(tus))
server.on('checkContinue', tracked(tus.checkContinue))
group.add(server).listen()
serve(server)
