// SPDX-License-Identifier: MIT

/**
 * What every server that is measured has in common: it listens at a free port, and tells the benchmark,
 * through the channel that it was forked with, how much CPU it used.
 *
 * @module
 */

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A server of `node:http` in its parent's hands. */
export function serve(server: Server): void {
  server.requestTimeout = 0 // in all of them, or Node would look through their connections at other times
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => process.send?.({ port: (server.address() as AddressInfo).port }))
  process.on('message', () => process.send?.(process.cpuUsage())) // it is asked for nothing else
}
