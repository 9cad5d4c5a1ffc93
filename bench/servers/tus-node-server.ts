// SPDX-License-Identifier: MIT

/**
 * @tus/server with @tus/file-store, with their defaults.
 *
 * @module
 */

import { createServer } from 'node:http'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'
import { serve } from './serve.ts'

const [, , directory = ''] = process.argv
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })
serve(createServer((req, res) => void tus.handle(req, res)))
