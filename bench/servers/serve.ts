// SPDX-License-Identifier: MIT

/**
 * What every server that is measured has in common: it listens at a free port, and tells the benchmark,
 * through the channel that it was forked with, what it used.
 *
 * @module
 */

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a process used since its start, or uses now. */
export interface Usage {
  /** Of all its threads, in user and kernel mode. */
  readonly cpuMs: number
  readonly rssBytes: number
  readonly heapBytes: number
}

/** A server of `node:http` in its parent's hands. */
export function serve(server: Server): void {
  server.requestTimeout = 0 // in all of them, or Node would look through their connections at other times
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => process.send?.({ port: (server.address() as AddressInfo).port }))
  process.on('message', (message) => {
    if (message === 'usage') process.send?.(usage())
  })
}

function usage(): Usage {
  globalThis.gc?.()
  const { user, system } = process.cpuUsage()
  const { rss: rssBytes, heapUsed: heapBytes } = process.memoryUsage()
  return { cpuMs: (user + system) / 1000, rssBytes, heapBytes }
}
