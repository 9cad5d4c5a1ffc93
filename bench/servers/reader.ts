// SPDX-License-Identifier: MIT

/**
 * Counts the bytes of bodies and forgets them: through a `HappyReader`, or as the request delivers them.
 *
 * @module
 */

import { createServer, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { HappyReader } from '../../lib/happy-reader.ts'
import { serve } from './serve.ts'

const ways: Record<string, (req: IncomingMessage, length: number) => Readable> = {
  directly: (req) => req,
  happily: (req, length) => new HappyReader(req, { maxBytes: length, idleTimeoutMs: 60_000 }),
}

const [, , , word = ''] = process.argv
const way = ways[word]
if (!way) throw new Error(`Cannot read as the way must be one of ${Object.keys(ways).join(', ')}: received ${word}`)
serve(createServer((req, res) => {
  const length = Number(req.headers['content-length'])
  let bytes = 0
  way(req, length)
    .on('data', (chunk: Buffer) => (bytes += chunk.length))
    .on('end', () => res.writeHead(bytes === length ? 204 : 500).end())
}))
