// SPDX-License-Identifier: MIT

/**
 * Handlers of `node:http` that do one thing, and none of what makes it safe: the limits.
 *
 * @module
 */

import { randomUUID } from 'node:crypto'
import { close, createWriteStream, fdatasync, fstat, fsync, open, openSync, rename, stat, write, writev } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream'
import { promisify } from 'node:util'
import { serve } from './serve.ts'

/** What the writing loop holds at most, as the buffer of a `FileStore` does. */
const WRITE_BUFFER_BYTES = 1024 * 1024

/** As long as most. */
const SIDECAR = Buffer.alloc(400, 'x')

type Sync = 'none' | 'flush'

const [, , directory = '', way = ''] = process.argv
const directoryFile = openSync(directory, 'r')
let directoryFlush: Promise<void> | undefined
const pathOf = (req: IncomingMessage): string => join(directory, basename(req.url ?? ''))
/** One call each; a `FileHandle` would cost more. */
const calls = {
  open: promisify(open), write: promisify(write), fstat: promisify(fstat), fdatasync: promisify(fdatasync), fsync: promisify(fsync),
  close: promisify(close), rename: promisify(rename),
}
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
    await writeNew(path, undefined, 'none')
    await writeNew(`${path}.tmp`, SIDECAR, 'none')
    await calls.rename(`${path}.tmp`, `${path}.info`)
    res.writeHead(201, { 'Content-Length': 0 }).end()
  },

  /** The least that a new upload with its whole body takes, without a flush. */
  small: (req, res) => storeSmall(req, res, 'none'),

  /** The same, and no power failure takes it away again. */
  'small-flushed': (req, res) => storeSmall(req, res, 'flush'),

  /** Looks where a file ends, and writes the body there. */
  append: async (req, res) => {
    const body = await bodyOf(req)
    const file = await calls.open(pathOf(req), 'r+')
    const { size } = await calls.fstat(file)
    await calls.write(file, body, 0, body.length, size)
    await calls.close(file)
    done(res, null)
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

/** Stores a body and its sidecar, each written once. */
async function storeSmall(req: IncomingMessage, res: ServerResponse, sync: Sync): Promise<void> {
  const path = join(directory, randomUUID())
  await writeNew(path, await bodyOf(req), sync)
  await writeNew(`${path}.tmp`, SIDECAR, sync)
  await calls.rename(`${path}.tmp`, `${path}.info`)
  if (sync === 'flush') await flushDirectory()
  res.writeHead(201, { 'Content-Length': 0 }).end()
}

async function writeNew(path: string, content: Buffer | undefined, sync: Sync): Promise<void> {
  const file = await calls.open(path, 'wx', 0o600)
  if (content) await calls.write(file, content)
  if (sync === 'flush') await calls.fdatasync(file)
  await calls.close(file)
}

/** One flush for all that ask in the same turn of the event loop. */
function flushDirectory(): Promise<void> {
  directoryFlush ??= new Promise(setImmediate).then(() => {
    directoryFlush = undefined
    return calls.fsync(directoryFile)
  })
  return directoryFlush
}

function bodyOf(req: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks)))
  })
}
