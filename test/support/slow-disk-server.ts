// SPDX-License-Identifier: MIT

/**
 * A server whose disk takes two seconds for a write; it tells its parent its port and, after some of them, its peak of memory in MiB.
 * @module
 */

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { OpenFile } from '../../lib/file-store/open-file.ts'
import { tusHandler } from '../../lib/tus/handler.ts'

/** The client may stop then, and fills all that it can fill long before. */
const WRITES = 2

const [, , directory = ''] = process.argv
const store = new FileStore(directory)
await store.create({ id: 'a', length: 2 ** 40 })
const { writev } = OpenFile.prototype
let writes = 0
async function writeSlowly(this: OpenFile, ...args: Parameters<OpenFile['writev']>): ReturnType<OpenFile['writev']> {
  await delay(2000)
  if (++writes === WRITES) process.send?.(peakMiB())
  return writev.apply(this, args)
}

/** Not `resourceUsage().maxRSS`: on Linux, that of a child begins with what its parent has. */
function peakMiB(): number {
  const [, peakKiB] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Math.round(Number(peakKiB) / 1024)
}
OpenFile.prototype.writev = writeSlowly as OpenFile['writev']
const server = createServer(tusHandler({ store, path: '/files/', maxSize: 2 ** 40 }))
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
