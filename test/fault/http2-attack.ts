// SPDX-License-Identifier: MIT

/** What an attack over HTTP/2 is made of. @module */

import { once } from 'node:events'
import { constants, type OutgoingHttpHeaders, type SecureClientSessionOptions } from 'node:http2'
import { Attack, type Heard, type Scene } from './attack.ts'
import type { Target } from './connection-uploads.ts'
import { begin, openSession, write, type Exchange, type Session } from './http2-client.ts'
import type { Entry } from './ledger.ts'
import type { Random } from './random.ts'

const {
  NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_FLOW_CONTROL_ERROR, NGHTTP2_STREAM_CLOSED,
  NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM,
} = constants

/** Reasons to give a stream or a session up; the last one is nobody's. */
const CODES: readonly number[] = [
  NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_FLOW_CONTROL_ERROR, NGHTTP2_STREAM_CLOSED,
  NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, 0xbad,
]

/** An attack over HTTP/2. */
export class Http2Attack extends Attack {
  readonly #port: number
  readonly #sessions: Session[] = []

  constructor(port: number, scene: Scene, random: Random) {
    super(scene, random)
    this.#port = port
  }

  get port(): number {
    return this.#port
  }

  async open(settings?: SecureClientSessionOptions['settings']): Promise<Session> {
    const session = await openSession(this.#port, settings)
    this.#sessions.push(session)
    return session
  }

  override close(): void {
    for (const { session, socket } of this.#sessions) {
      session.destroy()
      socket.destroy()
    }
  }

  anyCode(): number {
    return this.random.pick(CODES)
  }

  /** Begins to append, with or without saying how much it is. */
  append(
    session: Session,
    entry: Entry,
    start: number,
    end: number,
    headers: OutgoingHttpHeaders = {},
    options: { readonly waitForTrailers?: boolean } = {},
  ): Exchange {
    const { deferred } = this.scene.uploads
    return begin(session, {
      ':method': 'PATCH', ':path': entry.path, 'content-type': 'application/offset+octet-stream', 'upload-offset': start,
      ...(deferred.has(entry) ? { 'upload-length': entry.length } : {}),
      ...(this.random.chance(0.7) ? { 'content-length': end - start } : {}),
      ...headers,
    }, options)
  }

  /** Sends bytes in one piece or a few. */
  async send(exchange: Exchange, bytes: Buffer): Promise<void> {
    const cut = this.random.integer(0, bytes.length)
    if (cut > 0) await write(exchange, bytes.subarray(0, cut))
    if (cut < bytes.length) await write(exchange, bytes.subarray(cut))
  }

  /** The answer, or `undefined` if the stream ended without. */
  async answer({ answer }: Exchange): Promise<Heard | undefined> {
    const heard = await answer
    this.count(heard?.status ?? 'cut')
    return heard
  }

  /** Pulls the connection away from below a session. */
  async cut({ session, socket }: Session): Promise<void> {
    if (socket.closed) return
    const closed = once(socket, 'close')
    const how = this.random.pick(['destroy', 'FIN', 'RST'] as const)
    if (how === 'destroy') session.destroy(undefined, this.anyCode())
    else if (how === 'FIN') socket.destroy()
    else socket.resetAndDestroy()
    await closed
  }

  override async inspect(target: Target, on?: Session): Promise<number | undefined> {
    const known = target.entry.acknowledged
    const session = on ?? (await this.open())
    const heard = await this.answer(begin(session, { ':method': 'HEAD', ':path': target.entry.path }, { endStream: true }))
    if (!on) session.session.destroy()
    if (!heard) throw new Error(`HEAD ${target.entry.path} was not answered`)
    return this.hearHead(target, known, heard)
  }
}
