// SPDX-License-Identifier: MIT

/**
 * A server of both protocols over a temporary folder, and a client of Resumable Uploads for HTTP that speaks
 * HTTP/1.1 by hand or HTTP/2, and hides nothing: interim responses, half a request, a connection that is cut.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  type ClientHttp2Stream,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { FileStore, type FileStoreOptions } from '../../lib/file-store/file-store.ts'
import { uploadHandler, type UploadHandlerOptions } from '../../lib/upload-handler.ts'
import type { UploadHandler } from '../../lib/http/handler.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { InFlight } from '../support/in-flight.ts'
import { listen } from '../support/listen.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { WireClient } from '../support/wire.ts'

/** The version of HTTP that a test speaks. */
export type Version = 'HTTP/1.1' | 'HTTP/2'

/** What nearly every request of the draft says. */
export const I8 = { 'Upload-Draft-Interop-Version': '8' }
/** The media type of an append. */
export const PU = { 'Content-Type': 'application/partial-upload' }

/** A server that is under test. */
export interface Site<Store = UploadStore> {
  readonly version: Version
  readonly port: number
  readonly folder: string
  readonly uploads: UploadHandler
  readonly store: Store
  /** Resolves when every request that has begun is answered and all its storing is done. */
  settled(): Promise<void>
}

/** What a test may choose; the store is made over a temporary folder unless it is given. */
export interface SiteOptions<Store = UploadStore> extends Partial<Omit<UploadHandlerOptions, 'store'>> {
  readonly folder?: string
  readonly files?: FileStoreOptions
  readonly store?: (files: FileStore) => Store
  /** In place of a handler of both protocols. */
  readonly handler?: (options: UploadHandlerOptions) => UploadHandler
}

/** Starts a server at `/files/`, which is gone after the test. */
export async function serve<Store extends UploadStore = FileStore>(
  t: TestContext, version: Version, options: SiteOptions<Store> = {},
): Promise<Site<Store>> {
  const { folder = temporaryFolder(t), files: fileOptions, store: over, handler = uploadHandler, ...others } = options
  const files = new FileStore(folder, { sync: 'none', ...fileOptions })
  const store = over?.(files) ?? (files as UploadStore as Store)
  const uploads = handler({ progressIntervalMs: 1, ...others, store })
  const requests = new InFlight()
  const onRequest = (req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse): void =>
    requests.add(uploads(req, res))
  const onCheckContinue = (req: IncomingMessage | Http2ServerRequest, res: ServerResponse | Http2ServerResponse): void =>
    requests.add(uploads.checkContinue(req, res))
  const server = version === 'HTTP/2' ? createHttp2Server(onRequest) : createServer({ requestTimeout: 0 }, onRequest)
  server.on('checkContinue', onCheckContinue as () => void)
  const port = await listen(t, server)
  return { version, port, folder, uploads, store, settled: () => requests.settled() }
}

/** Registers one test for each version of HTTP; the name says which. */
export function overBoth(name: string, body: (t: TestContext, version: Version) => Promise<void>): void {
  for (const version of ['HTTP/1.1', 'HTTP/2'] as const) test(`${name} (${version})`, (t) => body(t, version))
}

/** An answer, or an interim one. */
export interface Head {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
}

/** A final answer. */
export interface Answer extends Head {
  readonly body: string
  /** What came before it. */
  readonly interim: readonly Head[]
}

/** A request; a value that is a list is sent as that many fields. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
}

/** A request under way, on a connection of its own. */
export interface Exchange {
  /** Sends some of the content; resolves when the system has taken it, or nobody takes it any more. */
  write(content: string | Uint8Array): Promise<void>
  /** Ends the content. */
  end(): void
  /** The next interim response that has not been taken; fails if there is none before the answer. */
  interim(): Promise<Head>
  /** The final answer; rejects if the connection ends without one. */
  readonly answer: Promise<Answer>
  /** Cuts the connection. */
  cut(how: 'fin' | 'rst'): void
  /** Resolves when the server has closed the connection (HTTP/1.1) or the stream (HTTP/2). */
  readonly closed: Promise<void>
}

/**
 * Begins a request: its head is sent. With a number as `length` the content is announced by that; with
 * `unknown` it is of unknown length; with `none` there is no content at all.
 */
export async function begin(
  site: { readonly port: number; readonly version: Version },
  call: Call,
  length: number | 'unknown' | 'none',
): Promise<Exchange> {
  const exchange = site.version === 'HTTP/2' ? await beginHttp2(site.port, call, length) : await beginHttp1(site.port, call, length)
  exchange.answer.catch(() => {}) // a test may be about the cut alone
  return exchange
}

/** Sends a whole request and returns its answer. Without content none is announced. */
export async function ask(
  site: Site,
  method: string,
  path: string,
  headers: Call['headers'] = {},
  content?: string | Uint8Array,
  length: 'known' | 'unknown' = 'known',
): Promise<Answer> {
  const size = content === undefined ? 'none' : length === 'unknown' ? 'unknown' : Buffer.byteLength(content)
  const exchange = await begin(site, { method, path, headers }, size)
  if (content !== undefined) {
    if (Buffer.byteLength(content) > 0) await exchange.write(content)
    exchange.end()
  }
  try {
    return await exchange.answer
  } finally {
    exchange.cut('fin')
  }
}

/** Creates an upload that is to go on; returns its path. */
export async function make(site: Site, headers: Call['headers'] = {}, content = ''): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0', ...headers }, content))
}

/** Asks where an upload stands. */
export function head(site: Site, path: string): Promise<Answer> {
  return ask(site, 'HEAD', path, I8)
}

/** The offset that HEAD tells; the upload must be there. */
export async function offsetOf(site: Site, path: string): Promise<number> {
  const answer = await head(site, path)
  assert.equal(answer.status, 204)
  return Number(answer.headers.get('upload-offset'))
}

/** Appends to an upload. */
export function append(
  site: Site,
  path: string,
  offset: number,
  complete: boolean,
  content: string | Uint8Array = '',
  headers: Call['headers'] = {},
): Promise<Answer> {
  return ask(
    site,
    'PATCH',
    path,
    { ...I8, ...PU, 'Upload-Offset': String(offset), 'Upload-Complete': complete ? '?1' : '?0', ...headers },
    content,
  )
}

async function beginHttp1(port: number, { method, path, headers = {} }: Call, length: number | 'unknown' | 'none'): Promise<Exchange> {
  const client = await WireClient.connect(port)
  const fields = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((each) => `${name}: ${each}`))
  const framing = length === 'none' ? [] : length === 'unknown' ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${length}`]
  await client.send([`${method} ${path} HTTP/1.1`, 'Host: test', ...fields, ...framing, '', ''].join('\r\n'))
  const heads = new HeadQueue()
  const closed = new Promise<void>((resolve) => client.socket.once('close', () => resolve()))
  const read = async (): Promise<Answer> => {
    for (;;) {
      const head = await client.response({ toHead: method === 'HEAD' })
      if (head.status >= 200) return { ...head, interim: heads.all }
      heads.add(head)
    }
  }
  const answer = read().finally(() => heads.end())
  return {
    write: async (content) => {
      if (client.socket.destroyed) return
      const bytes = Buffer.from(content as string)
      const framed =
        length === 'unknown' ? Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]) : bytes
      await Promise.race([client.send(framed), closed])
    },
    end: () => {
      if (length === 'unknown') void client.send('0\r\n\r\n')
    },
    interim: () => heads.next(),
    answer,
    cut: (how) => void (how === 'rst' ? client.socket.resetAndDestroy() : client.socket.end()),
    closed,
  }
}

async function beginHttp2(port: number, { method, path, headers = {} }: Call, length: number | 'unknown' | 'none'): Promise<Exchange> {
  const socket: Socket = connectSocket(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => {}) // a reset shows as the end of the stream
  const session = connectHttp2(`http://127.0.0.1:${port}`, { createConnection: () => socket })
  session.on('error', () => {})
  const fields = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), typeof value === 'string' ? value : [...value]]),
  )
  const framing = typeof length === 'number' ? { 'content-length': String(length) } : {}
  const stream = session.request(
    { ':method': method, ':path': path, ...fields, ...framing },
    { endStream: length === 'none' || length === 0 },
  )
  stream.on('error', () => {})
  const heads = new HeadQueue()
  stream.on('headers', (fields: IncomingHttpHeaders) => heads.add(headOf(fields)))
  const closed = new Promise<void>((resolve) => {
    // of a stream whose content was not wanted, Node 20 to 24 emit no more than that
    stream.once('close', () => resolve()).once('aborted', () => resolve())
  })
  const answer = answerOf(stream, heads).finally(() => {
    heads.end()
    if (stream.writableEnded) session.close() // once there is nothing left to say
  })
  return {
    write: async (content) => {
      if (stream.destroyed || stream.writableEnded) return
      await Promise.race([new Promise<void>((resolve) => stream.write(content, () => resolve())), closed])
    },
    end: () => void stream.end(),
    interim: () => heads.next(),
    answer,
    cut: (how) => {
      if (how === 'rst') socket.resetAndDestroy()
      else socket.destroy()
      session.destroy()
    },
    closed,
  }
}

function answerOf(stream: ClientHttp2Stream, heads: HeadQueue): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let head: Head | undefined
    let body = ''
    stream.on('response', (fields) => (head = headOf(fields)))
    stream.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    const finish = (): void =>
      head ? resolve({ ...head, body, interim: heads.all }) : reject(new Error('The stream ended without an answer'))
    stream.once('end', finish)
    stream.once('close', finish)
  })
}

function headOf(fields: IncomingHttpHeaders & { ':status'?: number | undefined }): Head {
  const entries = Object.entries(fields).filter(([name]) => !name.startsWith(':'))
  return { status: Number(fields[':status']), headers: new Map(entries.map(([name, value]) => [name, String(value)])) }
}

/** Interim responses in the order in which they came. */
class HeadQueue {
  readonly all: Head[] = []
  #taken = 0
  #ended = false
  #wake: (() => void) | undefined

  add(head: Head): void {
    this.all.push(head)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async next(): Promise<Head> {
    while (this.#taken === this.all.length) {
      if (this.#ended) throw new Error('No interim response came before the answer')
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    return this.all[this.#taken++] as Head
  }
}
