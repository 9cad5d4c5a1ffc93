// SPDX-License-Identifier: MIT

/**
 * An upload whose client is slow, falls silent, leaves, or never ends.
 *
 * @module
 */

import { once } from 'node:events'
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CHUNK, createUpload, patchHead, readAnswer } from './client.ts'
import type { Contender } from './contender.ts'
import type { Answer } from './kept-connection.ts'

/** `CHUNK` repeats so many bytes. */
const PERIOD = 8
const PIECE_BYTES = 64 * 1024
/** Longer than any server that is measured takes. */
const DEADLINE_MS = 10_000

/** A PATCH that announces more than its client may ever send. */
export class OpenPatch {
  readonly path: string
  /** What the system has taken of the body so far. */
  sentBytes = 0
  /** What the server answers; `undefined` if the connection ends without an answer. */
  readonly answered: Promise<Answer | undefined>
  readonly #socket: Socket

  private constructor(path: string, socket: Socket) {
    this.path = path
    this.#socket = socket
    this.answered = readAnswer(socket).catch(() => undefined)
  }

  /** Creates an upload, and begins to append that much. */
  static async begin(contender: Contender, length: number): Promise<OpenPatch> {
    const path = await createUpload(contender, length)
    const socket = connect({ port: contender.port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    socket.write(patchHead(path, length), 'latin1')
    return new OpenPatch(path, socket)
  }

  /** Sends so many bytes; resolves once the system has taken them, and rejects if the connection was cut. */
  async send(length: number): Promise<void> {
    for (let left = length; left > 0; left -= PIECE_BYTES) {
      const phase = this.sentBytes % PERIOD
      const piece = CHUNK.subarray(phase, phase + Math.min(left, PIECE_BYTES))
      await new Promise<void>((resolve, reject) => this.#socket.write(piece, (error) => (error ? reject(error) : resolve())))
      this.sentBytes += piece.length
    }
  }

  /** Sends a piece every `pauseMs`, or more slowly if the server does not keep up, until it is cut or was answered and hangs up. */
  async sendOn(pauseMs: number): Promise<void> {
    let over = false
    void this.answered.then(() => (over = true))
    try {
      while (!over) {
        await this.send(PIECE_BYTES)
        await delay(pauseMs)
      }
    } catch {} // it was cut
    this.#socket.end()
  }

  /** Leaves with a FIN, as the end of a process does; resolves when the server has closed its side too. */
  async leave(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.end()
    await closed
  }

  /** Leaves with a RST, as a host does that has forgotten the connection. */
  reset(): void {
    this.#socket.resetAndDestroy()
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** How much of an upload is in its file; throws if any of it is not what was sent. */
export function storedBytes({ directory, name }: Contender, path: string): number {
  const file = openSync(join(directory, basename(path)), 'r')
  try {
    const piece = Buffer.allocUnsafe(CHUNK.length)
    let stored = 0
    for (;;) {
      const phase = stored % PERIOD
      const read = readSync(file, piece, 0, CHUNK.length - phase, stored)
      if (read === 0) return stored
      if (!piece.subarray(0, read).equals(CHUNK.subarray(phase, phase + read))) {
        throw new Error(`${name} stored what was not sent, behind ${stored} bytes of ${path}`)
      }
      stored += read
    }
  } finally {
    closeSync(file)
  }
}

/** Resolves when so many bytes are in the file. */
export async function untilStored({ directory, name }: Contender, path: string, bytes: number): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS
  while (statSync(join(directory, basename(path))).size < bytes) {
    if (performance.now() > deadlineMs) throw new Error(`${name} does not store ${bytes} bytes that it was sent`)
    await delay(1)
  }
}
