// SPDX-License-Identifier: MIT

/** Serves the page on an origin of its own. @module */

import { build } from 'esbuild'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const PAGE = '<!doctype html><title>Upload</title><link rel="icon" href="data:,"><input type="file"><script type="module" src="/page.js"></script>'

/** @returns {Promise<number>} the port on 127.0.0.1 */
export async function servePage(t) {
  const { outputFiles: [script] } = await build({
    entryPoints: [fileURLToPath(new URL('page.js', import.meta.url))], bundle: true, format: 'esm', write: false,
  })
  const server = createServer((req, res) => {
    if (req.url === '/') res.setHeader('Content-Type', 'text/html').end(PAGE)
    else if (req.url === '/page.js') res.setHeader('Content-Type', 'text/javascript').end(script.contents)
    else res.writeHead(404).end()
  })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}
