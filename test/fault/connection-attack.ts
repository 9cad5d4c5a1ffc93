// SPDX-License-Identifier: MIT

/**
 * What an attack over HTTP/1.1 is made of: connections that are written to by hand, and read one answer
 * after the other.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request, WireClient, type WireResponse } from '../support/wire.ts'
import { Attack, type Scene } from './attack.ts'
import type { Target } from './connection-uploads.ts'
import type { Entry } from './ledger.ts'
import type { Random } from './random.ts'

/** How a client leaves. */
export type Leave = 'FIN' | 'RST'

const MAX_CHUNKS = 300

/** An attack over HTTP/1.1. */
export class ConnectionAttack extends Attack {
  readonly #port: number
  readonly #clients: WireClient[] = []

  constructor(port: number, scene: Scene, random: Random) {
    super(scene, random)
    this.#port = port
  }

  async open(): Promise<WireClient> {
    const client = await WireClient.connect(this.#port)
    client.socket.setNoDelay(true)
    this.#clients.push(client)
    return client
  }

  override close(): void {
    for (const client of this.#clients) client.destroy()
  }

  /** The head of a request that appends. `framing` says how long its body is. */
  patchHead(entry: Entry, start: number, framing: string, headers: readonly string[] = []): string {
    const length = this.scene.uploads.deferred.has(entry) ? [`Upload-Length: ${entry.length}`] : []
    return tus(`PATCH ${entry.path}`, [
      'Content-Type: application/offset+octet-stream',
      `Upload-Offset: ${start}`,
      framing,
      ...length,
      ...headers,
    ])
  }

  /** Sends in one packet or a few. */
  async send(client: WireClient, ...parts: readonly (string | Uint8Array)[]): Promise<void> {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array)))
    const cuts = Array.from({ length: this.random.integer(0, 3) }, () => this.random.integer(0, bytes.length)).sort(
      (one, other) => one - other,
    )
    for (const [index, cut] of [...cuts, bytes.length].entries()) {
      await client.send(bytes.subarray(cuts[index - 1] ?? 0, cut))
      if (this.random.chance(0.3)) await new Promise(setImmediate)
    }
  }

  async leave(client: WireClient, how: Leave): Promise<void> {
    const closed = once(client.socket, 'close')
    if (client.socket.closed) return
    if (how === 'FIN') client.destroy()
    else client.socket.resetAndDestroy()
    await closed
  }

  /** The next answer. */
  async answer(client: WireClient, options?: { readonly toHead?: boolean }): Promise<WireResponse> {
    const answer = await client.response(options)
    this.count(answer.status)
    return answer
  }

  /** The next answer, or `undefined` if the connection ends first, as it may where client and server both give up. */
  async answerOrCut(client: WireClient, options?: { readonly toHead?: boolean }): Promise<WireResponse | undefined> {
    try {
      return await this.answer(client, options)
    } catch (error) {
      if (!(error as Error).message.startsWith('The connection ended inside an answer')) throw error
      this.count('cut')
      return undefined
    }
  }

  /**
   * Asks for the offset on a connection, and sees that the answer is to this request. `undefined` if another has the upload, or removed it.
   */
  override async inspect({ entry, alone }: Target, client?: WireClient): Promise<number | undefined> {
    const known = entry.acknowledged
    const connection = client ?? (await this.open())
    await this.send(connection, tus(`HEAD ${entry.path}`))
    const offset = this.hearHead({ entry, alone }, known, await this.answer(connection, { toHead: true }))
    if (!client) connection.destroy()
    return offset
  }

  /**
   * Goes on with a connection after an answer: the server either closes it and says nothing more, or
   * answers the next request, and with what is right for that one.
   */
  async goOn(client: WireClient, answer: WireResponse): Promise<void> {
    if (answer.headers.get('connection') === 'close') {
      if (this.random.chance(0.5)) await client.send(tus(`HEAD ${this.scene.bait.path}`))
      assert.equal(await client.closed(), '', 'something came behind the last answer')
    } else {
      await this.inspect({ entry: this.scene.bait, alone: true }, client)
    }
  }

  /** Text that is a request for itself if a server takes it for one. */
  get hiddenRequest(): string {
    return tus(`DELETE ${this.scene.bait.path}`)
  }
}

/** A request of the protocol, without a body. */
export function tus(startLine: string, headers: readonly string[] = []): string {
  return request(startLine, ['Tus-Resumable: 1.0.0', ...headers])
}

/** A body in chunks, without the last one, which is of size 0. */
export function chunked(bytes: Buffer, random: Random): Buffer {
  const parts: Uint8Array[] = []
  const least = Math.ceil(bytes.length / MAX_CHUNKS)
  for (let at = 0; at < bytes.length; ) {
    const chunk = bytes.subarray(at, at + least + random.integer(0, random.pick([0, 100, 100_000])))
    const size = chunk.length.toString(16)
    const spelled = random.pick([size, size.toUpperCase(), `00${size}`])
    parts.push(Buffer.from(`${spelled}${random.chance(0.1) ? ';name=value' : ''}\r\n`), chunk, Buffer.from('\r\n'))
    at += chunk.length
  }
  return Buffer.concat(parts)
}
