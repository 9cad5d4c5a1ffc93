// SPDX-License-Identifier: MIT

/**
 * A server whose `onFinish` disposes of the file, one way or another: `finished-files-server.js DIR TAKEN PORT WAY`.
 * It sends its parent the port, then the method of each request and the key of each run of the hook.
 *
 * @module
 */

import { rename } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { FileStore, uploadHandler } from '../../dist/index.js'

const [, , directory, taken, port, way] = process.argv
const store = new FileStore(directory)
const moveAway = (upload) => store.moveTo(upload, join(taken, upload.id))
let runs = 0

const WAYS = {
  'move': moveAway,
  'remove': (upload) => store.terminate(upload),
  'move, then fail three times': async (upload) => {
    await moveAway(upload)
    if (++runs <= 3) throw new Error('The hook failed after it had moved the file')
  },
  'move, then die': async (upload) => {
    await moveAway(upload)
    process.kill(process.pid, 'SIGKILL')
    await new Promise(() => {})
  },
  'rename both files': async ({ id }) => {
    for (const name of [id, `${id}.info`]) await rename(join(directory, name), join(taken, name))
  },
}

const uploads = uploadHandler({
  store,
  cors: { origins: '*' },
  download: true,
  async onFinish(upload, { idempotencyKey }) {
    await tell({ run: idempotencyKey })
    await WAYS[way](upload)
  },
})
const server = createServer({ requestTimeout: 0 }, (req, res) => {
  void tell({ request: req.method })
  return uploads(req, res)
})
server.listen(Number(port), '127.0.0.1', () => tell({ port: server.address().port }))

/** Resolves when the message is on its way: it arrives even if this process is killed then. */
function tell(message) {
  return new Promise((resolve, reject) => process.send(message, (error) => (error ? reject(error) : resolve())))
}
