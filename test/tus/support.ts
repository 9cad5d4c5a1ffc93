// SPDX-License-Identifier: MIT

/** A tus server over a temporary folder, and the requests that most of its tests begin with. @module */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync, watch } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store.ts'
import type { UploadHandler } from '../../lib/http/handler.ts'
import { tusHandler, type TusHandlerOptions } from '../../lib/tus/handler.ts'
import type { AppendOptions, NewUpload, Outcome, Upload, UploadDigest, UploadState, UploadStore } from '../../lib/upload/types.ts'
import { listen } from '../support/listen.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient, type WireResponse } from '../support/wire.ts'

/** The two headers that nearly every request has. */
export const V = 'Tus-Resumable: 1.0.0'
export const OCT = 'Content-Type: application/offset+octet-stream'

/** A tus server that is under test. */
export interface Site {
  readonly port: number
  readonly folder: string
  readonly server: Server
  readonly tus: UploadHandler
  /** Resolves when every request that has begun is answered and all its storing is done. */
  settled(): Promise<void>
}

/** What a test may choose; the store is made over a temporary folder unless it is given. */
export interface SiteOptions extends Partial<Omit<TusHandlerOptions, 'store'>> {
  readonly folder?: string
  readonly store?: (files: FileStore) => UploadStore
  readonly maxHeaderSize?: number
  /** Runs before the handler, as a middleware does. */
  readonly before?: (req: IncomingMessage, res: ServerResponse) => Promise<unknown> | undefined
}

/** Starts a tus server at `/files/`, which is gone after the test. */
export async function serve(t: TestContext, options: SiteOptions = {}): Promise<Site> {
  const { folder = temporaryFolder(t), store, maxHeaderSize = 16 * 1024, before, ...others } = options
  const files = new FileStore(folder, { sync: 'none' })
  const tus = tusHandler({ ...others, store: store?.(files) ?? files })
  const underWay = new Set<Promise<void>>()
  const track = (work: Promise<void>): void => {
    underWay.add(work)
    void work.finally(() => underWay.delete(work))
  }
  const server = createServer({ requestTimeout: 0, maxHeaderSize }, (req, res) => {
    const ready = before?.(req, res)
    track(ready ? ready.then(() => tus(req, res)) : tus(req, res))
  })
  server.on('checkContinue', (req, res) => track(tus.checkContinue(req, res)))
  const port = await listen(t, server)
  const settled = async (): Promise<void> => {
    while (underWay.size > 0) await Promise.all(underWay)
  }
  return { port, folder, server, tus, settled }
}

/**
 * Sends one request and returns its answer, after it made sure that the connection is in step: the next
 * request on it is answered, or it is closed.
 */
export async function ask(site: Site, text: string | Uint8Array, options: { readonly toHead?: boolean } = {}): Promise<WireResponse> {
  const client = await WireClient.connect(site.port)
  try {
    await client.send(text)
    const answer = await client.response(options)
    if (answer.headers.get('connection') === 'close') {
      client.socket.end()
      assert.equal(await client.closed(), '', 'nothing follows the answer on a connection that closes')
    } else {
      await client.send(request('OPTIONS /files/'))
      assert.equal((await client.response()).status, 204, 'the connection is in step')
    }
    return answer
  } finally {
    client.destroy()
  }
}

/** Makes an upload of `length` bytes, the first of them `content`; returns its path. */
export async function make(site: Site, length: number, content = ''): Promise<string> {
  const headers = [V, OCT, `Upload-Length: ${length}`, `Content-Length: ${content.length}`]
  const created = await exchange(site.port, request('POST /files/', headers, content))
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('upload-offset'), String(content.length))
  return created.headers.get('location') ?? assert.fail('no Location')
}

/** Asks where an upload stands. */
export function head(site: { readonly port: number }, upload: string): Promise<WireResponse> {
  return exchange(site.port, request(`HEAD ${upload}`, [V]), { toHead: true })
}

/** The offset that HEAD tells; the upload must be there. */
export async function offsetOf(site: { readonly port: number }, upload: string): Promise<number> {
  const answer = await head(site, upload)
  assert.equal(answer.status, 200)
  return Number(answer.headers.get('upload-offset'))
}

/** The bytes that are stored for an upload. */
export function contentOf(site: { readonly folder: string }, upload: string): Buffer {
  return readFileSync(join(site.folder, upload.slice('/files/'.length)))
}

/** Everything in a folder but the marks of processes, to be compared: names with sizes and contents. */
export function snapshot(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => !name.startsWith('.in-use')).sort()
  return new Map(names.map((name) => {
    const path = join(folder, name)
    const entry = statSync(path)
    return [name, entry.isDirectory() ? 'a folder' : `${entry.size} bytes: ${readFileSync(path, 'latin1')}`]
  }))
}

/** A refusal is one line of text that tells nothing about the inside of the server. */
export function assertPlainRefusal(answer: WireResponse, site: { readonly folder: string }): void {
  assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8')
  assert.equal(answer.headers.get('tus-resumable'), '1.0.0')
  assert.match(answer.body, /^[A-Z][^\r\n]*\n$/)
  assertNoSecrets(answer, site)
}

/** No header and no body tells a path, or shows a stack. */
export function assertNoSecrets(answer: WireResponse, site: { readonly folder: string }): void {
  const text = [...answer.headers.values(), answer.body].join('\n')
  for (const secret of [site.folder, process.cwd(), 'longhaul-', 'node:', '.ts:', '.info', 'ENOENT', 'secret']) {
    assert.ok(!text.includes(secret), `${JSON.stringify(text)} tells ${secret}`)
  }
}

/** A store that passes everything on to another one. Override what a test is about. */
export class StoreBehind implements UploadStore {
  protected readonly files: FileStore

  constructor(files: FileStore) {
    this.files = files
  }

  create(upload: NewUpload): Promise<Upload> {
    return this.files.create(upload)
  }

  find(id: string): Promise<Upload | undefined> {
    return this.files.find(id)
  }

  append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    return this.files.append(upload, body, options)
  }

  appendVerified(upload: Upload, body: Readable, verify: () => boolean, options: AppendOptions): Promise<number> {
    return this.files.appendVerified(upload, body, verify, options)
  }

  setState(upload: Upload, state: UploadState, outcome?: Outcome): Promise<void> {
    return this.files.setState(upload, state, outcome)
  }

  setLength(upload: Upload, length: number): Promise<void> {
    return this.files.setLength(upload, length)
  }

  setDigest(upload: Upload, digest: UploadDigest): Promise<void> {
    return this.files.setDigest(upload, digest)
  }

  read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
    return this.files.read(upload, range)
  }

  list(): AsyncIterable<string> {
    return this.files.list()
  }

  truncate(upload: Upload, offset: number): Promise<void> {
    return this.files.truncate(upload, offset)
  }

  terminate(upload: Upload): Promise<void> {
    return this.files.terminate(upload)
  }
}

/** A store that tells when bytes have come into its hands. */
export class WatchedStore extends StoreBehind {
  #bytes = 0
  #waiting: { readonly bytes: number; readonly resolve: () => void }[] = []

  /** Resolves when so many bytes were handed to `append`, in all its calls. */
  arrived(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, resolve })
      this.#wake()
    })
  }

  override append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    return super.append(upload, Readable.from(this.#count(body), { objectMode: false }), options)
  }

  async *#count(body: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      yield chunk
      this.#bytes += chunk.length
      this.#wake()
    }
  }

  #wake(): void {
    for (const { bytes, resolve } of this.#waiting) if (this.#bytes >= bytes) resolve()
    this.#waiting = this.#waiting.filter(({ bytes }) => this.#bytes < bytes)
  }
}

/** Starts a server whose store is watched. */
export async function serveWatched(
  t: TestContext,
  options: Omit<SiteOptions, 'store'> = {},
): Promise<Site & { readonly store: WatchedStore }> {
  let store: WatchedStore | undefined
  const site = await serve(t, { ...options, store: (files) => (store = new WatchedStore(files)) })
  return { ...site, store: store ?? assert.fail('no store') }
}

/** Resolves when the stored bytes of an upload are at least so many. */
export async function stored(site: { readonly folder: string }, upload: string, bytes: number): Promise<void> {
  const path = join(site.folder, upload.slice('/files/'.length))
  const watcher = watch(path)
  try {
    while (statSync(path).size < bytes) await once(watcher, 'change')
  } finally {
    watcher.close()
  }
}

/** Bytes that are easy to compare and differ at every place that a mix-up could lead to. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    bytes[i] = state >>> 16
  }
  return bytes
}

/** A request with a body of bytes. */
export function withBody(head: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(head, 'latin1'), body])
}

/** A body in chunked coding, in chunks of at most `size` bytes. */
export function chunked(body: string | Uint8Array, size = Infinity): Buffer {
  const bytes = Buffer.from(body as Uint8Array)
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, Math.min(at + size, bytes.length))
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}
