// SPDX-License-Identifier: MIT

/**
 * Why there is no handler for `Request` and `Response`, as `lib/FRAMEWORKS.md` says.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { toNodeHandler } from 'h3/node'
import { HappyReader } from '../../dist/happy-reader.js'

const SENT = Buffer.alloc(12_000) // fewer than Node buffers before it stops to read
const LIMITS = { timeout: 10_000 }

/** By name, what makes a listener of a function that gets the body and the request of Node. */
const bodies = {
  HappyReader: (use) => (req) => use(new HappyReader(req), req),
  'Readable.toWeb': (use) => (req) => use(Readable.toWeb(req), req),
  h3: (use) => toNodeHandler({ fetch: (request) => use(request.body, request.runtime.node.req) }),
}

for (const [name, listenerOf] of Object.entries(bodies)) {
  const keeps = name === 'HappyReader'
  test(`${name} ${keeps ? 'returns' : 'discards'} the bytes that were buffered when the client disconnected`, LIMITS, async (t) => {
    let client
    const received = new Promise((resolve) => {
      const server = createServer(listenerOf(async (body, req) => {
        const chunks = body[Symbol.asyncIterator]()
        await chunks.next()
        client.end(SENT)
        await new Promise((closed) => req.once('close', closed)) // `once` of node:events would reject
        resolve(await countRest(chunks))
        return new Response()
      }))
      t.after(() => server.close())
      server.listen(0, '127.0.0.1', () => (client = startRequest(server.address().port)))
    })
    assert.equal(await received, keeps ? SENT.length : 0)
  })
}

test('a Response cannot be a 104', () => {
  assert.throws(() => new Response(null, { status: 104 }), RangeError)
})

function startRequest(port) {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}) // the server may reset it
  socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nfirst')
  return socket
}

/** How many bytes come before the end, or before an error. */
async function countRest(chunks) {
  let bytes = 0
  try {
    for (let part = await chunks.next(); !part.done; part = await chunks.next()) bytes += part.value.length
  } catch (error) {
    assert.equal(error.code, 'ECONNRESET')
  }
  return bytes
}
