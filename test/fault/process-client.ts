// SPDX-License-Identifier: MIT

/**
 * Clients that upload while the world ends around them, and one that behaves well, for afterwards.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { request, type IncomingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Entry, Ledger } from './ledger.ts'
import { PATH } from './ledger.ts'
import type { Random } from './random.ts'

const PIECE_BYTES = 64 * 1024
/** A body with a checksum counts as a whole, so a long one would never get through. */
const MAX_VERIFIED_BYTES = 256 * 1024

/** An answer, without its body. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** Bytes that are made when it is their turn. */
export interface Body {
  readonly length: number
  readonly take: (start: number, end: number) => Buffer
}

/** A request for an upload, or for one to be made. */
export interface Message {
  readonly method: 'POST' | 'HEAD' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly headers?: Readonly<Record<string, string | number>> | undefined
  readonly body?: Body | undefined
  /** Called after each piece that the system has taken; the next one waits for it. */
  readonly onSent?: ((bytes: number) => Promise<void> | void) | undefined
}

/** Sends a request on a connection of its own, its body in pieces, and stops sending at the answer. Rejects if the connection fails. */
export function send(port: number, message: Message): Promise<Answer> {
  const { method, path, headers = {}, body, onSent } = message
  const length = body?.length ?? 0
  return new Promise((resolve, reject) => {
    const req = request({
      port,
      host: '127.0.0.1',
      method,
      path,
      agent: false,
      headers: { 'Tus-Resumable': '1.0.0', 'Content-Length': length, ...headers },
    })
    let answered = false
    req.on('response', (res) => {
      answered = true
      res.resume().on('error', () => {})
      res.on('close', () => req.destroy())
      resolve({ status: res.statusCode!, headers: res.headers })
    })
    req.on('error', reject)
    const next = async (at: number): Promise<void> => {
      if (answered || req.destroyed) return
      if (!body || at >= length) return void req.end()
      const piece = body.take(at, Math.min(at + PIECE_BYTES, length))
      await new Promise<unknown>((taken) => req.write(piece, taken))
      await onSent?.(piece.length)
      setImmediate(() => void next(at + piece.length))
    }
    void next(0)
  })
}

/** A request that continues an upload. */
export function patch(entry: Entry, start: number, end: number): Message & { readonly body: Body } {
  const body: Body = { length: end - start, take: (from, to) => entry.take(start + from, start + to) }
  return {
    method: 'PATCH', path: entry.path, body,
    headers: { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': start },
  }
}

/**
 * Writes down the offset of an answer whose request was sent when `known` was acknowledged. Another
 * client of the same upload may have heard of more since: that this one did not is no loss.
 */
export function hear(entry: Entry, known: number, { headers }: Answer): number {
  const offset = Number(headers['upload-offset'])
  if (offset >= entry.acknowledged || !(offset >= known)) entry.acknowledge(offset)
  return offset
}

/** A client among others that are after the same upload, through programs that come and go. */
export class RestlessClient {
  readonly #ports: readonly number[]
  readonly #random: Random
  /** How often each answer came; 0 stands for a connection that failed. */
  readonly statuses: Map<number, number> = new Map()

  constructor(ports: readonly number[], random: Random) {
    this.#ports = ports
    this.#random = random
  }

  /** Makes an upload, trying until an answer says where it is. */
  async create(ledger: Ledger, length: number, key: string, ended: AbortSignal): Promise<Entry | undefined> {
    while (!ended.aborted) {
      const answer = await this.#try({ method: 'POST', path: PATH, headers: { 'Upload-Length': length } }, [201, 503])
      if (answer?.status === 201) return ledger.created(answer.headers.location!, length, key)
      await this.#pause()
    }
    return undefined
  }

  /** Pushes the upload on until it is complete or the time has ended. */
  async push(entry: Entry, ended: AbortSignal): Promise<void> {
    while (!ended.aborted && entry.acknowledged < entry.length) {
      await this.#pushOnce(entry)
      await this.#pause()
    }
  }

  async #pushOnce(entry: Entry): Promise<void> {
    const known = entry.acknowledged
    const found = await this.#try({ method: 'HEAD', path: entry.path }, [200, 423, 503])
    if (found?.status !== 200) return
    const offset = hear(entry, known, found)
    if (offset === entry.length) return
    const verified = this.#random.chance(0.2)
    const rest = entry.length - offset
    const most = verified ? Math.min(rest, MAX_VERIFIED_BYTES) : rest
    const { body, headers, ...message } = patch(entry, offset, offset + (this.#random.chance(0.5) ? most : this.#random.integer(1, most)))
    const checksum = (): Record<string, string> => ({
      'Upload-Checksum': `sha1 ${createHash('sha1').update(body.take(0, body.length)).digest('base64')}`,
    })
    const paceMs = this.#random.pick([0, 0, 1, 5, 20])
    const stored = await this.#try({
      ...message, body,
      headers: { ...headers, ...(verified ? checksum() : {}) },
      onSent: () => (paceMs > 0 ? delay(paceMs) : undefined),
    }, [204, 409, 423, 503])
    if (stored?.status === 204) hear(entry, offset, stored)
  }

  /** The answer, or `undefined` if the connection failed, as it may at any time. */
  async #try(message: Message, expected: readonly number[]): Promise<Answer | undefined> {
    let answer: Answer | undefined
    try {
      answer = await send(this.#random.pick(this.#ports), message)
    } catch {} // refused, reset, or ended before the answer
    const status = answer?.status ?? 0
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    assert.ok(!answer || expected.includes(status), `${message.method} ${message.path} was answered ${status}`)
    return answer
  }

  /** What a client waits before it tries again. */
  #pause(): Promise<void> {
    return delay(this.#random.integer(5, 60))
  }
}

/** Finishes an upload as a well-behaved client does when nothing is wrong any more: with one HEAD and one PATCH. */
export async function finish(port: number, entry: Entry): Promise<void> {
  const found = await send(port, { method: 'HEAD', path: entry.path })
  assert.equal(found.status, 200, `HEAD ${entry.path}`)
  const offset = hear(entry, entry.acknowledged, found)
  if (offset < entry.length) {
    const stored = await send(port, patch(entry, offset, entry.length))
    assert.equal(stored.status, 204, `PATCH ${entry.path}`)
    hear(entry, offset, stored)
  }
  assert.equal(entry.acknowledged, entry.length)
}

/** Does the work for each of the items, of which so many side by side. */
export async function forEachOf<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries()
  await Promise.all(Array.from({ length: concurrency }, async () => {
    for (const [index, item] of queue) await work(item, index)
  }))
}
