// SPDX-License-Identifier: MIT

/**
 * A server that speaks as much tus as uploads need, and fails the requests that a test lists. It is not the
 * library: what a client does with a status must not depend on which server sends it.
 *
 * @module
 */

import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'

const CORS = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Methods': 'POST, HEAD, PATCH, DELETE',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Expose-Headers': 'Location, Upload-Offset, Upload-Length, Retry-After',
}
/** The statuses that come with `Retry-After`. The test would not end in time if a client waited for it. */
const WITH_RETRY_AFTER = [423, 429, 503]

/**
 * How to fail one request: the first with this method after the fault before it was served. `reset` cuts the
 * connection, `silence` does not answer.
 *
 * @typedef {{ method: string, status: number | 'reset' | 'silence' }} Fault
 */

/**
 * Listens on a port of its own until the end of the test.
 *
 * @param {Pick<import('node:test').TestContext, 'after'>} t
 * @param {readonly Fault[]} faults in the order in which they are served
 */
export async function startScriptedServer(t, faults) {
  /** @type {string[]} the methods of all requests, in order; a fault is followed by its status */
  const log = []
  const pending = [...faults]
  const offsets = new Map([['stored', 5]]) // an upload from an earlier run of the client
  const length = 10
  const events = new EventEmitter()
  const silent = once(events, 'silent')
  const deleted = once(events, 'deleted').then(() => 'success')

  const server = createServer(async (req, res) => {
    if (req.method === 'OPTIONS') return void res.writeHead(204, { ...CORS, 'Connection': 'close' }).end()
    let bytes = 0
    for await (const chunk of req) bytes += chunk.length
    log.push(req.method)
    // Each request has a connection of its own: browsers send again by themselves what fails on an old one.
    const headers = { ...CORS, 'Tus-Resumable': '1.0.0', 'Connection': 'close' }

    if (pending[0]?.method === req.method) {
      const { status } = pending.shift()
      log.push(String(status))
      if (status === 'silence') return void events.emit('silent')
      if (status === 'reset') return void req.socket.resetAndDestroy()
      return void res.writeHead(status, { ...headers, ...(WITH_RETRY_AFTER.includes(status) ? { 'Retry-After': '600' } : {}) }).end()
    }

    const id = req.url.split('/').at(-1)
    if (req.method === 'POST') {
      const created = `upload-${offsets.size}`
      offsets.set(created, 0)
      res.writeHead(201, { ...headers, 'Location': `/files/${created}` }).end()
    } else if (!offsets.has(id)) {
      res.writeHead(404, headers).end()
    } else if (req.method === 'DELETE') {
      offsets.delete(id)
      res.writeHead(204, headers).end()
      events.emit('deleted')
    } else {
      if (req.method === 'PATCH') offsets.set(id, offsets.get(id) + bytes)
      res.writeHead(req.method === 'PATCH' ? 204 : 200, { ...headers, 'Upload-Offset': offsets.get(id), 'Upload-Length': length }).end()
    }
  })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint = `http://127.0.0.1:${server.address().port}/files/`
  return { endpoint, stored: `${endpoint}stored`, log, pending, silent, deleted }
}
