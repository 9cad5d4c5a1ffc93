// SPDX-License-Identifier: MIT

/**
 * What every server that is measured has in common: it listens at a free port, and tells the benchmark,
 * through the channel that it was forked with, how much CPU it used.
 *
 * @module
 */

import { Server as HttpServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'

/** A server in its parent's hands. */
export function serve(server: Server): void {
  if (server instanceof HttpServer) server.requestTimeout = 0 // in all of them, or Node would look through their connections at other times
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => process.send?.({ port: (server.address() as AddressInfo).port }))
  process.on('message', () => process.send?.(process.cpuUsage())) // it is asked for nothing else
  process.on('disconnect', () => process.exit()) // the benchmark is gone
  process.channel?.unref() // a server that has closed may end
}
