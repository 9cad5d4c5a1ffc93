// SPDX-License-Identifier: MIT

/** Uploads by tus-js-client in Node, and what tests ask about them. @module */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Upload } from 'tus-js-client'
import { CuttingProxy } from './cutting-proxy.js'

export const MB = 1_000_000
/** More than all the heads of a test's requests. */
export const HEADS_BYTES = 16 * 1024

/** Puts a proxy with these cuts in front of the server. */
export async function startProxy(t, server, { cuts = [], path = '/files/' } = {}) {
  const proxy = new CuttingProxy(server.port, cuts)
  t.after(() => proxy.close())
  return { proxy, endpoint: `http://127.0.0.1:${await proxy.listen()}${path}` }
}

/** Starts to upload a buffer or a stream, and writes down what goes over the wire. */
export function startUpload(t, endpoint, source, options = {}) {
  const exchanges = []
  const byRequest = new Map()
  let upload
  const done = new Promise((resolve, reject) => {
    upload = new Upload(source, {
      endpoint,
      retryDelays: Array(600).fill(100), // patience for a server that is being built and started
      ...options,
      onBeforeRequest: (request) => {
        const offset = request.getHeader('Upload-Offset')
        const exchange = { method: request.getMethod(), offset: offset === undefined ? undefined : Number(offset), status: undefined }
        byRequest.set(request, exchange)
        exchanges.push(exchange)
      },
      onAfterResponse: (request, response) => {
        byRequest.get(request).status = response.getStatus()
      },
      onSuccess: resolve,
      onError: reject,
    })
    upload.start()
  })
  t.after(() => upload.abort())
  return { upload, exchanges, done }
}

export async function finish(running) {
  await running.done
  return running
}

export function offsetsOf(exchanges) {
  return exchanges.filter(({ method }) => method === 'PATCH').map(({ offset }) => offset)
}

/** The source as bytes that come one piece after the other, with no length to ask for. */
export function streamOf(source) {
  let position = 0
  return new Readable({
    read(size) {
      const piece = source.subarray(position, position + size)
      position += piece.length
      this.push(piece.length > 0 ? piece : null)
    },
  })
}

/** The names of the files that uploads are kept in. */
export function filesOf(dir) {
  return readdirSync(dir).filter((name) => !name.startsWith('.'))
}

/** The stored bytes of the upload at `url`. */
export function dataOf(dir, { url }) {
  return readFileSync(join(dir, new URL(url).pathname.split('/').at(-1)))
}

export function assertArrived(dir, upload, source) {
  assert.equal(sha256(dataOf(dir, upload)), sha256(source))
}

/** Makes an empty folder and removes it after the test. */
export function temporaryFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-interop-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
