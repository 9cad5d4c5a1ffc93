// SPDX-License-Identifier: MIT

/**
 * Serves a directory with the compiled library, and goes through all of its uploads when it is told to,
 * not by itself: `node --expose-gc stored-server.mjs DIST DIRECTORY PORT EXPIRES_MS`. Says afterwards
 * what the sweep did, and how much of the heap was in use at most.
 */

import { createServer } from 'node:http'
import { load, openStorage } from './serving.mjs'

const [dist, directory, port, expiresMs] = process.argv.slice(2)
const { tusHandler } = await load(dist, 'tus')

/** How often the heap is looked at. What is garbage does not count, as it says more of the collector than of the sweep. */
const LOOK_MS = 50

const tus = tusHandler({ ...(await openStorage(dist, directory, 'finish')), expiration: { afterMs: Number(expiresMs) } })
createServer(tus).listen(Number(port), '127.0.0.1', () => console.log('listening'))
process.on('message', async (question) => {
  if (question === 'sweep') process.send({ sweep: await sweep() })
})

async function sweep() {
  const beganMs = performance.now()
  const before = heapBytes()
  let peak = before
  const timer = setInterval(() => (peak = Math.max(peak, heapBytes())), LOOK_MS)
  const report = await tus.sweep()
  clearInterval(timer)
  return { ...report, heapGrowthBytes: peak - before, durationMs: performance.now() - beganMs }
}

function heapBytes() {
  globalThis.gc()
  return process.memoryUsage().heapUsed
}
