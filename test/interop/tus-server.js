// SPDX-License-Identifier: MIT

/** @tus/server with @tus/file-store, in a process that its parent ends: `tus-server.js DIR PORT`. @module */

import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'
import { createServer } from 'node:http'

const [, , directory, port] = process.argv
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })
const server = createServer((req, res) => void tus.handle(req, res))
server.listen(Number(port), '127.0.0.1', () => process.send(server.address().port))
