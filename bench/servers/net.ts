// SPDX-License-Identifier: MIT

/**
 * A server of `node:net` that does nothing but read, at once, and store what it read: the limit of what can be
 * saved of a connection that breaks off. It knows as much of HTTP as its clients need, which send one request each.
 *
 * @module
 */

import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import { serve } from './serve.ts'

const [, , directory = ''] = process.argv
let uploads = 0

serve(createServer({ allowHalfOpen: true }, (socket) => {
  let head = ''
  let file: number | undefined
  socket.on('data', (chunk: Buffer) => {
    if (file !== undefined) return void writeSync(file, chunk)
    head += chunk.toString('latin1')
    const end = head.indexOf('\r\n\r\n') + 4
    if (end < 4) return
    const [method, path = ''] = head.split(' ')
    if (method === 'POST') return void socket.end(`HTTP/1.1 201 Created\r\nLocation: /files/${uploads++}\r\n\r\n`)
    const data = join(directory, basename(path))
    if (method === 'HEAD') return void socket.end(`HTTP/1.1 200 OK\r\nUpload-Offset: ${statSync(data).size}\r\n\r\n`)
    file = openSync(data, 'w')
    writeSync(file, head.slice(end), null, 'latin1')
  })
  socket.on('error', () => {}) // it was reset
  socket.on('end', () => socket.end())
  socket.on('close', () => file !== undefined && closeSync(file))
}))
