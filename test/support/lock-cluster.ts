// SPDX-License-Identifier: MIT

/** A cluster whose second worker takes a key over from the first. Sends what happens, and ends by itself. @module */

import cluster from 'node:cluster'
import { once } from 'node:events'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'

const [, , directory = ''] = process.argv

if (cluster.isPrimary) {
  const first = cluster.fork()
  first.on('message', (line) => process.send?.(`first ${line}`))
  await once(first, 'message')
  const second = cluster.fork()
  second.on('message', (line) => process.send?.(`second ${line}`))
  await Promise.all([once(first, 'exit'), once(second, 'exit')])
  process.disconnect?.()
} else {
  const locks = await LockFiles.open(directory)
  const isFirst = cluster.worker?.id === 1
  let asked = (): void => {}
  const request = new Promise<void>((resolve) => (asked = resolve))
  const hold = await locks.acquire('key', { onReleaseRequest: asked })
  process.send?.('held')
  if (isFirst) {
    await request
    await new Promise((resolve) => process.send?.('released', undefined, undefined, resolve))
  }
  await hold.release()
  await locks.close()
  cluster.worker?.disconnect()
}
