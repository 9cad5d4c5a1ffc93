// SPDX-License-Identifier: MIT

/**
 * Serves a directory over HTTP/2 with the compiled library, as an application would:
 * `node http2-server.mjs DIST DIRECTORY PORT IDLE_TIMEOUT_MS`.
 */

import { createServer } from 'node:http2'
import { load, serve } from './serving.mjs'

const [dist, directory, port, idleTimeoutMs] = process.argv.slice(2)
const { tusHandler } = await load(dist, 'tus')

await serve({
  dist, directory, port, createServer,
  sync: 'finish',
  makeHandler: (given) => tusHandler({ ...given, download: {}, idleTimeoutMs: Number(idleTimeoutMs) }),
})
