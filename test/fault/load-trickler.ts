// SPDX-License-Identifier: MIT

/**
 * A client on a slow line, of which there are thousands at a time: one connection, one upload, and a
 * piece whenever somebody says so. It has no timer of its own, which would cost more than the rest.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { request, WireClient, type WireResponse } from '../support/wire.ts'
import { PATH, type Entry, type Ledger } from './ledger.ts'
import type { Random } from './random.ts'

const PIECE_BYTES = 1024
/** Half of the uploads come in requests of up to this size, so that answers come in between; the others in one. */
const MAX_REQUEST_BYTES = 8 * PIECE_BYTES

/** A connection that uploads, slowly. */
export class Trickler {
  readonly #client: WireClient
  readonly #random: Random
  readonly #patient: boolean
  readonly entry: Entry
  /** How many requests it has begun. */
  requests = 0
  /** Where the next piece begins, and where the request ends that is under way. */
  #at = 0
  #end = 0

  private constructor(client: WireClient, entry: Entry, random: Random) {
    this.#client = client
    this.entry = entry
    this.#random = random
    this.#patient = random.chance(0.5)
  }

  /** Connects, and makes an upload. */
  static async begin(port: number, ledger: Ledger, length: number, key: string, random: Random): Promise<Trickler> {
    const client = await WireClient.connect(port)
    await client.send(request(`POST ${PATH}`, ['Tus-Resumable: 1.0.0', `Upload-Length: ${length}`, 'Content-Length: 0']))
    const { status, headers } = await client.response()
    assert.equal(status, 201)
    return new Trickler(client, ledger.created(headers.get('location')!, length, key), random)
  }

  /** Sends one piece, if a request is under way. */
  tick(): void {
    if (this.#at >= this.#end || !this.#client.socket.writable) return
    const end = Math.min(this.#at + PIECE_BYTES, this.#end)
    this.#client.socket.write(this.entry.take(this.#at, end))
    this.#at = end
  }

  /** Uploads in one or more requests until the server has no more to answer; resolves with the last answer, if there was one. */
  async run(): Promise<WireResponse | undefined> {
    const { entry } = this
    for (;;) {
      this.#end = this.#patient ? entry.length : Math.min(entry.length, this.#at + this.#random.integer(1, MAX_REQUEST_BYTES))
      const headers = [
        'Tus-Resumable: 1.0.0',
        'Content-Type: application/offset+octet-stream',
        `Upload-Offset: ${this.#at}`,
        `Content-Length: ${this.#end - this.#at}`,
      ]
      this.requests++
      this.#client.socket.write(request(`PATCH ${entry.path}`, headers))
      let answer: WireResponse | undefined
      try {
        answer = await this.#client.response()
      } catch {} // the connection was closed
      this.#end = this.#at
      if (answer?.status === 204) entry.acknowledge(Number(answer.headers.get('upload-offset')))
      if (answer?.status === 204 && entry.acknowledged < entry.length && answer.headers.get('connection') !== 'close') continue
      this.#client.destroy()
      return answer
    }
  }

  destroy(): void {
    this.#client.destroy()
  }
}
