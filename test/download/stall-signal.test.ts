// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { test } from 'node:test'
import { stallSignal } from '../../lib/download/stall-signal.ts'
import { listen } from '../support/listen.ts'
import { request, WireClient } from '../support/wire.ts'

test('after a download its connection has the timeout of the server again', async (t) => {
  const server = createServer()
  server.timeout = 70_000
  const client = await WireClient.connect(await listen(t, server))
  t.after(() => client.destroy())
  void client.send(request('GET /'))
  const [req, res] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  const { socket } = req
  const timeouts: (number | undefined)[] = []
  res.prependOnceListener('finish', () => timeouts.push(socket.timeout)) // before Node sets the one of an idle connection
  stallSignal({ req, res }, 30_000)
  assert.equal(socket.timeout, 30_000)
  res.end()
  await client.response()
  assert.deepEqual(timeouts, [70_000])
})
