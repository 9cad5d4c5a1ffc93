// SPDX-License-Identifier: MIT

/** A tus server over a temporary folder, and the requests that most of its tests begin with. @module */

import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import type { UploadHandler } from '../../lib/http/handler.ts'
import { tusHandler, type TusHandlerOptions } from '../../lib/tus/handler.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { InFlight } from '../support/in-flight.ts'
import { listen } from '../support/listen.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient, type WireResponse } from '../support/wire.ts'

/** The two headers that nearly every request has. */
export const V = 'Tus-Resumable: 1.0.0'
export const OCT = 'Content-Type: application/offset+octet-stream'

/** A tus server that is under test. */
export interface Site<Store = UploadStore> {
  readonly port: number
  readonly folder: string
  readonly server: Server
  readonly tus: UploadHandler
  readonly store: Store
  /** Resolves when every request that has begun is answered and all its storing is done. */
  settled(): Promise<void>
}

/** What a test may choose; the store is made over a temporary folder unless it is given. */
export interface SiteOptions<Store = UploadStore> extends Partial<Omit<TusHandlerOptions, 'store'>> {
  readonly folder?: string
  readonly store?: (files: FileStore) => Store
  readonly maxHeaderSize?: number
  /** Runs before the handler, as a middleware does. */
  readonly before?: (req: IncomingMessage, res: ServerResponse) => Promise<unknown> | undefined
}

/** Starts a tus server at `/files/`, which is gone after the test. */
export async function serve<Store extends UploadStore = FileStore>(t: TestContext, options: SiteOptions<Store> = {}): Promise<Site<Store>> {
  const { folder = temporaryFolder(t), store: over, maxHeaderSize = 16 * 1024, before, ...others } = options
  const files = new FileStore(folder, { sync: 'none' })
  const store = over?.(files) ?? (files as UploadStore as Store)
  const tus = tusHandler({ ...others, store })
  const requests = new InFlight()
  const server = createServer({ requestTimeout: 0, maxHeaderSize }, (req, res) => {
    const ready = before?.(req, res)
    requests.add(ready ? ready.then(() => tus(req, res)) : tus(req, res))
  })
  server.on('checkContinue', (req, res) => requests.add(tus.checkContinue(req, res)))
  const port = await listen(t, server)
  return { port, folder, server, tus, store, settled: () => requests.settled() }
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
  const address = addressOf(created)
  assert.equal(created.headers.get('upload-offset'), String(content.length))
  return address
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
