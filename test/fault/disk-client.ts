// SPDX-License-Identifier: MIT

/**
 * A client of a server whose disk fails: it does all that a client can do, one thing after the other, and
 * accepts nothing but what was promised.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { request, type IncomingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { contentOf } from './content.ts'
import { PATH, type Entry, type Ledger } from './ledger.ts'
import type { Random } from './random.ts'

const MAX_BYTES = 400_000
const PIECE_BYTES = 48 * 1024
/** How many uploads a client goes back to; the others it leaves as they are. */
const MAX_OPEN = 4

/** What may be said of a failure: not one word about the inside of the server. */
const FAILURES: ReadonlyMap<number, readonly string[]> = new Map([
  [400, ['The parts of a concatenation must be partial uploads on this server\n']], // they are not there
  [404, ['There is no upload at this address\n', '']],
  [500, ['The server failed\n', 'The stored upload is damaged\n', '']],
  [503, ['The server lost the lock on this upload\n', 'Too many requests are in progress\n', '']], // its file cannot be read; no descriptor
  [507, ['The server has no space left\n', '']],
])

/** An answer. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A request. */
export interface Message {
  readonly method: 'POST' | 'HEAD' | 'PATCH' | 'DELETE' | 'GET'
  readonly path: string
  readonly headers?: Readonly<Record<string, string | number>> | undefined
  readonly body?: Buffer | undefined
  /** Leaves when so many bytes of the body are on their way. */
  readonly cutAt?: number | undefined
}

/** Sends a request on a connection of its own; `undefined` if it was cut off. Rejects if the server does not answer. */
export function send(port: number, message: Message): Promise<Answer | undefined> {
  const { method, path, headers = {}, body = Buffer.alloc(0), cutAt } = message
  return new Promise((resolve, reject) => {
    const req = request({
      port, host: '127.0.0.1', method, path, agent: false,
      headers: { ...(method === 'GET' ? {} : { 'Tus-Resumable': '1.0.0' }), 'Content-Length': body.length, ...headers },
    })
    let answered = false
    req.on('response', (res) => {
      answered = true
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('error', () => {})
      res.on('close', () => {
        req.destroy()
        resolve(res.complete ? { status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) } : undefined)
      })
    })
    req.on('error', (error) => {
      if (!answered && cutAt === undefined) reject(error)
    })
    req.on('close', () => {
      if (!answered) resolve(undefined)
    })
    const push = (at: number): void => {
      if (answered || req.destroyed) return
      if (at >= Math.min(cutAt ?? Infinity, body.length)) return void (cutAt === undefined ? req.end() : req.destroy())
      const piece = body.subarray(at, Math.min(at + PIECE_BYTES, cutAt ?? Infinity))
      req.write(piece, () => setImmediate(push, at + piece.length))
    }
    if (cutAt === 0) req.flushHeaders()
    push(0)
  })
}

/** A request that continues an upload. */
export function patch(entry: Entry, start: number, end: number): Message & { readonly body: Buffer } {
  return {
    method: 'PATCH', path: entry.path, body: entry.take(start, end),
    headers: { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': start },
  }
}

/** An upload that was put together from others. */
export interface Final {
  readonly path: string
  readonly parts: readonly Entry[]
}

/** What a {@link DiskClient} works on. */
export interface DiskClientOptions {
  readonly port: number
  readonly ledger: Ledger
  readonly random: Random
  /** Makes its uploads different from those of others. */
  readonly name: string
  /** Which failures may be answered. */
  readonly failures: readonly number[]
}

/** One that does as chance says. */
export class DiskClient {
  readonly #options: DiskClientOptions
  readonly #open: Entry[] = []
  readonly finals: Final[] = []
  readonly statuses: Map<number, number> = new Map()
  #made = 0

  constructor(options: DiskClientOptions) {
    this.#options = options
  }

  /** Does one thing. */
  async step(): Promise<void> {
    const { random } = this.#options
    const entry = this.#open.length > 0 ? random.pick(this.#open) : undefined
    if (!entry || (this.#open.length < MAX_OPEN && random.chance(0.15))) return this.#create()
    const action = random.integer(1, 100)
    if (action <= 55) return this.#append(entry)
    if (action <= 70) return void (await this.#inspect(entry))
    if (action <= 80) return this.#terminate(entry)
    if (action <= 92) return this.#concatenate()
    return this.#download(entry)
  }

  async #create(headers: Record<string, string> = {}): Promise<void> {
    const { ledger, random, name } = this.#options
    const length = random.integer(1, MAX_BYTES)
    const key = `${name} ${this.#made++}`
    const first = random.chance(0.4) ? contentOf(key, 0, random.integer(1, length)) : undefined
    const answer = await this.#send({
      method: 'POST', path: PATH, body: first,
      headers: {
        'Upload-Length': length,
        ...(random.chance(0.3) ? { 'Upload-Concat': 'partial' } : {}),
        ...(first && { 'Content-Type': 'application/offset+octet-stream' }),
        ...headers,
      },
    }, [201])
    if (answer?.status !== 201) return
    const entry = ledger.created(answer.headers.location!, length, key)
    this.#open.push(entry)
    if (!first) return
    entry.take(0, first.length)
    entry.acknowledge(Number(answer.headers['upload-offset']))
  }

  /** Asks for the offset; `undefined` if that was not told. */
  async #inspect(entry: Entry): Promise<number | undefined> {
    const answer = await this.#send({ method: 'HEAD', path: entry.path }, [200, 423]) // 423: it failed, and may not the next time
    if (answer?.status !== 200) return undefined
    const offset = Number(answer.headers['upload-offset'])
    entry.acknowledge(offset)
    return offset
  }

  async #append(entry: Entry): Promise<void> {
    const { random } = this.#options
    const offset = await this.#inspect(entry)
    if (offset === undefined || offset === entry.length) return
    const message = patch(entry, offset, random.chance(0.5) ? entry.length : random.integer(offset + 1, entry.length))
    const verified = random.chance(0.3)
    const cutAt = random.chance(0.2) ? random.integer(0, message.body.length) : undefined
    const checksum = { 'Upload-Checksum': `sha1 ${createHash('sha1').update(message.body).digest('base64')}` }
    const answer = await this.#send({ ...message, cutAt, headers: { ...message.headers, ...(verified ? checksum : {}) } }, [204])
    if (answer?.status === 204) entry.acknowledge(Number(answer.headers['upload-offset']))
  }

  async #terminate(entry: Entry): Promise<void> {
    entry.terminated = true
    this.#open.splice(this.#open.indexOf(entry), 1)
    const answer = await this.#send({ method: 'DELETE', path: entry.path }, [204])
    // Where the directory may be away, it may have been when the upload was removed, and have come back with it.
    const mayBeBack = this.#options.failures.includes(404)
    // 423: this HEAD failed itself.
    if (answer?.status === 204) await this.#send({ method: 'HEAD', path: entry.path }, mayBeBack ? [404, 423, 200] : [404, 423])
  }

  async #concatenate(): Promise<void> {
    const { random } = this.#options
    const parts: Entry[] = []
    for (let wanted = random.integer(1, 2); wanted > 0; wanted--) {
      const before = this.#open.length
      await this.#create({ 'Upload-Concat': 'partial' })
      const part = this.#open.length > before ? this.#open.pop()! : undefined
      if (!part) return
      parts.push(part)
      const offset = await this.#inspect(part)
      if (offset === undefined) return
      if (offset < part.length) {
        const answer = await this.#send(patch(part, offset, part.length), [204])
        if (answer?.status !== 204) return
        part.acknowledge(Number(answer.headers['upload-offset']))
      }
    }
    const answer = await this.#send(
      { method: 'POST', path: PATH, headers: { 'Upload-Concat': `final;${parts.map(({ path }) => path).join(' ')}` } },
      [201],
    )
    if (answer?.status === 201) this.finals.push({ path: answer.headers.location!, parts })
  }

  async #download(entry: Entry): Promise<void> {
    const answer = await this.#send({ method: 'GET', path: entry.path }, [200, 404])
    if (answer?.status === 200) {
      assert.ok(answer.body.equals(contentOf(entry.key, 0, entry.length)), `GET ${entry.path} was not what had been sent`)
    }
  }

  async #send(message: Message, expected: readonly number[]): Promise<Answer | undefined> {
    const { port, failures, random } = this.#options
    const answer = await send(port, message)
    const status = answer?.status ?? 0
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    if (answer && !expected.includes(status)) {
      const what = `${message.method} ${message.path}`
      assert.ok(failures.includes(status), `${what} was answered ${status}: ${answer.body.toString()}`)
      assert.ok(FAILURES.get(status)?.includes(answer.body.toString()), `${what} was answered ${status} with ${answer.body.toString()}`)
    }
    if (!answer && message.cutAt === undefined) assert.equal(message.method, 'GET', `${message.method} ${message.path} was not answered`)
    if (!answer) await delay(random.integer(0, 10)) // what was cut off comes to its end in its own time
    return answer
  }
}
