// SPDX-License-Identifier: MIT

/** Requests that stop where a test wants them to, and whose answers are seen as they came. @module */

import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'

export const TUS = { 'Tus-Resumable': '1.0.0' }
export const OFFSET_STREAM = { ...TUS, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' }

/** Makes an upload of this length. @returns {Promise<string>} its path */
export async function create(port, length) {
  const { status, headers } = await fetch(`http://127.0.0.1:${port}/files/`, {
    method: 'POST',
    headers: { ...TUS, 'Upload-Length': String(length) },
  })
  if (status !== 201) throw new Error(`The upload was not created: ${status}`)
  return headers.get('location')
}

/** Sends the head of a request, and a body as far as it goes. `closed` resolves with all that came back. */
export function startRequest(port, startLine, headers, body = '') {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.setEncoding('latin1').on('data', (text) => (received += text)).on('error', () => {}) // it may be closed while this sends
  const closed = new Promise((resolve) => socket.on('close', () => resolve(received)))
  const fields = { Host: '127.0.0.1', Connection: 'close', ...headers }
  socket.write(`${startLine} HTTP/1.1\r\n${Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
  socket.write(body)
  return { socket, closed }
}

/** Sends these pieces, one after the other, until the connection closes. */
export function sendSlowly({ socket }, pieces, intervalMs) {
  const left = [...pieces]
  const timer = setInterval(() => (left.length > 0 ? socket.write(left.shift()) : clearInterval(timer)), intervalMs)
  socket.once('close', () => clearInterval(timer))
}

/** Resolves when this many bytes of the upload are in its file. */
export async function stored(dir, location, bytes) {
  while (statSync(join(dir, location.split('/').at(-1))).size < bytes) await turn()
}
