// SPDX-License-Identifier: MIT

/**
 * What a process remembers of uploads: a bounded map, and the offsets that were acknowledged.
 *
 * It lives in memory, for a bounded number of uploads, until the process ends. Whatever must
 * survive longer is the store's business.
 *
 * @module
 */

import type { Upload } from './types.ts'

/** What tells one upload from another: an id can be used again once its upload is gone. */
type Identity = Pick<Upload, 'id' | 'createdAt'>

/** For how many uploads the acknowledged offset is remembered. */
const REMEMBERED_OFFSETS = 10_000

/** Keeps a value for each of the `maxSize` uploads that were set last. */
export class RecentMap<Value> {
  readonly #values = new Map<string, Value>()
  readonly #maxSize: number

  constructor(maxSize: number) {
    this.#maxSize = maxSize
  }

  get(upload: Identity): Value | undefined {
    return this.#values.get(keyOf(upload))
  }

  set(upload: Identity, value: Value): void {
    const key = keyOf(upload)
    this.#values.delete(key) // so that it becomes the last one
    this.#values.set(key, value)
    const [oldest] = this.#values.keys()
    if (oldest !== undefined && this.#values.size > this.#maxSize) this.#values.delete(oldest)
  }

  delete(upload: Identity): void {
    this.#values.delete(keyOf(upload))
  }

  clear(): void {
    this.#values.clear()
  }
}

/**
 * Remembers the highest offset that was acknowledged for each upload, so that no client is ever
 * given a smaller one.
 *
 * A client may discard bytes once they are acknowledged. If they are lost all the same, because
 * somebody truncated the file or a disk failed, a smaller offset would ask for bytes that nobody
 * has.
 */
export class AcknowledgedOffsets {
  readonly #offsets = new RecentMap<number>(REMEMBERED_OFFSETS)

  /** Notes the offset that is about to be acknowledged. */
  note(upload: Identity & Pick<Upload, 'offset'>): void {
    const offset = Math.max(upload.offset, this.of(upload))
    if (offset > 0) this.#offsets.set(upload, offset)
  }

  /** The highest offset that was acknowledged, as far as it is remembered; else 0. */
  of(upload: Identity): number {
    return this.#offsets.get(upload) ?? 0
  }

  /** Whether fewer bytes are stored than were acknowledged. */
  exceed(upload: Identity & Pick<Upload, 'offset'>): boolean {
    return this.of(upload) > upload.offset
  }
}

function keyOf({ id, createdAt }: Identity): string {
  return `${id} ${createdAt.getTime()}`
}
