// SPDX-License-Identifier: MIT

/** Serves tus over a folder; says its port, then `finishing <id> <key>` whenever `onFinish` runs. That hangs, or ends at once. @module */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { tusHandler } from '../../lib/tus/handler.ts'

const [, , folder = '', mode = 'hang'] = process.argv

const tus = tusHandler({
  store: new FileStore(folder),
  onFinish: ({ id }, { idempotencyKey }) => {
    process.send!(`finishing ${id} ${idempotencyKey}`)
    return mode === 'hang' ? new Promise(() => {}) : undefined
  },
})
const server = createServer({ requestTimeout: 0 }, tus)
server.listen(0, '127.0.0.1', () => process.send!(String((server.address() as AddressInfo).port)))
process.on('message', async () => process.send!(JSON.stringify(await tus.sweep())))
