// SPDX-License-Identifier: MIT

/**
 * The offsets that clients were told, or were to be told, so that none is ever told a smaller one.
 *
 * A client may forget the bytes that were acknowledged. If they are gone nevertheless, because somebody
 * cut the file or a disk lost them, to go on from a smaller offset would ask for what nobody has.
 *
 * They are kept in memory, for so many uploads and no longer than the process lives: what is to survive
 * more than that is up to the store.
 *
 * @module
 */

import type { Upload } from './types.ts'

/** How many uploads are remembered; those that were not told of for the longest time are forgotten first. */
const REMEMBERED_UPLOADS = 10_000

/** Remembers the highest offset that was told of each upload. */
export class AcknowledgedOffsets {
  readonly #offsets = new Map<string, number>()

  /** Notes what is about to be told. */
  note(upload: Pick<Upload, 'id' | 'createdAt' | 'offset'>): void {
    const key = keyOf(upload)
    const offset = Math.max(upload.offset, this.#offsets.get(key) ?? 0)
    this.#offsets.delete(key) // so that it is the last again
    if (offset > 0) this.#offsets.set(key, offset)
    const [oldest] = this.#offsets.keys()
    if (oldest !== undefined && this.#offsets.size > REMEMBERED_UPLOADS) this.#offsets.delete(oldest)
  }

  /** Whether fewer bytes are there than were acknowledged. */
  exceed(upload: Pick<Upload, 'id' | 'createdAt' | 'offset'>): boolean {
    return (this.#offsets.get(keyOf(upload)) ?? 0) > upload.offset
  }
}

/** An id can be given again once its upload is gone. */
function keyOf({ id, createdAt }: Pick<Upload, 'id' | 'createdAt'>): string {
  return `${id} ${createdAt.getTime()}`
}
