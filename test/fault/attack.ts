// SPDX-License-Identifier: MIT

/**
 * What an attack is made of whatever it is carried by, and what must be true of the answers, whoever else
 * is at work on the same upload.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { metadataOf, type Target, type Uploads } from './connection-uploads.ts'
import type { Entry } from './ledger.ts'
import type { Random } from './random.ts'

/** What all attacks of a campaign have in common. */
export interface Scene {
  /** Where the server keeps its uploads. */
  readonly directory: string
  readonly uploads: Uploads
  /** How long the server lets a body be silent, in milliseconds. */
  readonly idleTimeoutMs: number
  /** An upload that is never continued nor removed: requests hidden in bodies are for its removal. */
  readonly bait: Entry
  /** The path of a finished upload that is larger than what the system holds between two sockets. */
  readonly large: string
  /** The path of a concatenation, which takes no bytes. */
  readonly concatenation: string
  /** The path of a concatenation of which a part is gone. */
  readonly broken: string
  /** How often each answer came; `cut` stands for none. */
  readonly statuses: Map<string, number>
}

/** An answer, whatever carried it. */
export interface Heard {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

const LARGE_BYTES = 24 * 1024 * 1024
const PARTIAL = { 'Upload-Concat': 'partial' }
/** How long to wait until what was sent is stored, in milliseconds. */
const STORING_MS = 20_000
const POLL_MS = 20
/** What may be said to one of many that append to the same upload: elsewhere, taken over, silent, too long in a queue. */
const CONTENDED: readonly number[] = [204, 409, 423]

/** Makes what the attacks are about. */
export async function setTheScene(directory: string, uploads: Uploads, idleTimeoutMs: number): Promise<Scene> {
  const bait = await uploads.make(1000)
  const large = await uploads.make(LARGE_BYTES)
  const part = await uploads.make(100, PARTIAL)
  const lostPart = await uploads.make(100, PARTIAL)
  await uploads.finish(large)
  await uploads.finish(part)
  const concatenation = await uploads.concatenate(part)
  const broken = await uploads.concatenate(lostPart)
  await uploads.remove(lostPart)
  await uploads.settleLost(broken)
  return { directory, uploads, idleTimeoutMs, bait, large: large.path, concatenation, broken, statuses: new Map() }
}

/** One attack. */
export abstract class Attack {
  readonly scene: Scene
  readonly random: Random

  constructor(scene: Scene, random: Random) {
    this.scene = scene
    this.random = random
  }

  /** Closes what it has opened. */
  abstract close(): void

  /** Asks for the offset. `undefined` if another has the upload, or removed it. */
  abstract inspect(target: Target): Promise<number | undefined>

  target(): Promise<Target> {
    return this.scene.uploads.target(this.random)
  }

  /**
   * Part of what is left of an upload: where it begins, where it ends, and a point between, with or without bytes before it, not all of
   * them.
   */
  stretch(entry: Entry): { readonly start: number; readonly end: number; readonly cut: number } {
    const start = entry.acknowledged
    const end = this.random.chance(0.5) ? entry.length : this.random.integer(Math.min(start + 1, entry.length), entry.length)
    const cut = this.random.chance(0.1) ? start : this.random.integer(start, Math.max(start, end - 1))
    return { start, end, cut }
  }

  /**
   * Judges the answer to an append of `start` to `end`: on an upload of one's own it must be `expected`, on a shared one others may have
   * been faster.
   */
  judge({ entry, alone }: Target, answer: Heard, start: number, end: number, expected: number): void {
    const { status } = answer
    if (status === 204) {
      const offset = Number(answer.headers.get('upload-offset'))
      assert.equal(offset, end, `PATCH ${entry.path} of ${start} to ${end}`)
      if (offset > entry.acknowledged) entry.acknowledge(offset)
    }
    if (alone) assert.equal(status, expected, `PATCH ${entry.path} of ${start} to ${end}: ${answer.body}`)
    else
      assert.ok(
        status === expected || CONTENDED.includes(status) || (status === 404 && entry.terminated),
        `PATCH ${entry.path}: ${status} ${answer.body}`,
      )
  }

  /** Writes down what a HEAD that was sent when `known` was acknowledged has told. */
  hearHead({ entry, alone }: Target, known: number, { status, headers }: Heard): number | undefined {
    if (!alone && (status === 423 || (status === 404 && entry.terminated))) return undefined
    assert.equal(status, 200, `HEAD ${entry.path}`)
    assert.equal(headers.get('upload-metadata'), metadataOf(entry.key), `HEAD ${entry.path} got the answer to another request`)
    const offset = Number(headers.get('upload-offset'))
    if (offset >= entry.acknowledged || !(offset >= known)) entry.acknowledge(offset)
    return offset
  }

  /**
   * Waits until the server has stored an upload of one's own up to `offset`, and no further. The file is
   * looked at first, because a HEAD would end a body of which the rest is on its way.
   */
  async holds(entry: Entry, offset: number): Promise<void> {
    const deadlineMs = performance.now() + STORING_MS
    for (;;) {
      const { size } = statSync(join(this.scene.directory, entry.id))
      if (size >= offset) break
      assert.ok(performance.now() < deadlineMs, `${entry.path} is at ${size}: what the client sent up to ${offset} was lost`)
      await delay(POLL_MS)
    }
    assert.equal(await this.inspect({ entry, alone: true }), offset)
  }

  /** Counts an answer, or that there was none. */
  count(status: number | 'cut'): void {
    const { statuses } = this.scene
    statuses.set(String(status), (statuses.get(String(status)) ?? 0) + 1)
  }
}

/** Bytes that are those of no upload. */
export function spoil(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0x55))
}
