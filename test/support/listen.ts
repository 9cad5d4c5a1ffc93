// SPDX-License-Identifier: MIT

/** Servers that are gone when their test is. @module */

import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import type { Http2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/*
 * A process of Node 20 whose tests had connections of HTTP/2 spins for ever at its very end, once in a hundred times, in
 * `Environment::CleanupHandles`, which `process.exit` does without. It is called when everything has ended by itself, so a
 * handle that a test leaves open keeps the process as ever.
 */
process.once('beforeExit', () => process.on('exit', (code) => process.exit(code)))

/** Listens on a free port of the loopback interface; closes after the test. */
export async function listen(t: TestContext, server: HttpServer | Http2Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  t.after(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
