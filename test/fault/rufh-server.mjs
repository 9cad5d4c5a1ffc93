// SPDX-License-Identifier: MIT

/**
 * Serves a directory in both protocols with the compiled library, as an application would that tells of
 * progress as often as it can and answers each upload with a receipt of its own:
 * `node rufh-server.mjs DIST DIRECTORY PORT VERSION SYNC`, with `HTTP/1.1` or `HTTP/2` as the version.
 */

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { load, serve } from './serving.mjs'

const [dist, directory, port, version, sync] = process.argv.slice(2)
const { uploadHandler } = await load(dist, 'upload-handler')

/** It takes a while, so that faults strike in the middle, and would say something else each time. */
async function onFinish({ id, offset }) {
  await delay(Number.parseInt(id.slice(0, 2), 16) / 8)
  return { status: 202, headers: { 'X-Receipt': randomUUID() }, body: `${offset} bytes of ${id}` }
}

const { handler, group } = await serve({
  dist, directory, port, sync,
  makeHandler: (given) => uploadHandler({ ...given, progressIntervalMs: 1, onFinish }),
  createServer:
    version === 'HTTP/2' ? createHttp2Server : (onRequest) => createServer({ requestTimeout: 0, headersTimeout: 60_000 }, onRequest),
})
void group.run(handler.sweep)
