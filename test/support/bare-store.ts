// SPDX-License-Identifier: MIT

/** A server without HTTP that stores what each connection sends, and tells its parent how much that was. @module */

import { createWriteStream } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'

const [, , path = ''] = process.argv

const server = createServer((socket) => {
  let bytes = 0
  const file = createWriteStream(path, { highWaterMark: 1024 * 1024 })
  socket.on('data', (chunk) => {
    bytes += chunk.length
    if (file.write(chunk)) return
    socket.pause()
    file.once('drain', () => socket.resume())
  })
  socket.on('error', () => {})
  socket.on('close', () => file.end(() => process.send?.(bytes)))
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
