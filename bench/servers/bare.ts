// SPDX-License-Identifier: MIT

/**
 * Handlers of `node:http` that do one thing, and none of what makes it safe: the limits.
 *
 * @module
 */

import { randomUUID } from 'node:crypto'
import { close, createWriteStream, open, stat, writev } from 'node:fs'
import { open as openHandle, rename } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream'
import { serve } from './serve.ts'

/** What the writing loop holds at most, as the buffer of a `FileStore` does. */
const WRITE_BUFFER_BYTES = 1024 * 1024

/** As long as most. */
const SIDECAR = 'x'.repeat(400)

const [, , directory = '', way = ''] = process.argv
const pathOf = (req: IncomingMessage): string => join(directory, basename(req.url ?? ''))
const done = (res: ServerResponse, error: Error | null): void => void res.writeHead(error ? 500 : 204).end()

const ways: Record<string, RequestListener> = {
  /** Reads the body and forgets it. */
  discard: (req, res) => void req.resume().on('end', () => done(res, null)),

  /** What most people write. */
  pipeline: (req, res) => void pipeline(req, createWriteStream(pathOf(req)), (error) => done(res, error ?? null)),

  /** Hands to the disk, in one call, whatever came while the call before was under way. */
  writev: (req, res) => {
    req.pause()
    open(pathOf(req), 'w', (error, fd) => {
      if (error) return done(res, error)
      let queue: Buffer[] = []
      let queuedBytes = 0
      let writing = false
      let ended = false
      const write = (): void => {
        if (queue.length === 0) {
          if (ended) close(fd, (error) => done(res, error))
          return
        }
        const buffers = queue
        queue = []
        queuedBytes = 0
        writing = true
        req.resume()
        writev(fd, buffers, (error) => {
          writing = false
          if (error) return done(res, error)
          write()
        })
      }
      req.on('data', (chunk: Buffer) => {
        queue.push(chunk)
        queuedBytes += chunk.length
        if (!writing) write()
        else if (queuedBytes >= WRITE_BUFFER_BYTES) req.pause()
      })
      req.on('end', () => {
        ended = true
        if (!writing) write()
      })
      req.resume()
    })
  },

  /** What a `FileStore` asks of the disk for a new upload, and nothing else. */
  create: async (_req, res) => {
    const path = join(directory, randomUUID())
    await (await openHandle(path, 'wx', 0o600)).close()
    const file = await openHandle(`${path}.tmp`, 'wx', 0o600)
    await file.writeFile(SIDECAR)
    await file.close()
    await rename(`${path}.tmp`, `${path}.info`)
    res.writeHead(201, { 'Content-Length': 0 }).end()
  },

  /** Answers with the size of a file. */
  stat: (req, res) => stat(pathOf(req), (error, stats) => {
    if (error) return done(res, error)
    res.writeHead(200, { 'Upload-Offset': stats.size, 'Content-Length': 0 }).end()
  }),
}

const listener = ways[way]
if (!listener) throw new Error(`Cannot serve as the way must be one of ${Object.keys(ways).join(', ')}: received ${way}`)
serve(createServer(listener))
