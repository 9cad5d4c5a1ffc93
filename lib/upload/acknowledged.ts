// SPDX-License-Identifier: MIT

/**
 * The offsets that were acknowledged, so that no client is ever given a smaller one.
 *
 * A client may forget the bytes that were acknowledged. If they are gone nevertheless, because somebody
 * cut the file or a disk lost them, to continue from a smaller offset would ask for what nobody has.
 *
 * They are kept in memory, for so many uploads and no longer than the process lives: what is to survive
 * more than that is up to the store.
 *
 * @module
 */

import { RecentMap } from './recent-map.ts'
import type { Upload } from './types.ts'

/** How many uploads are remembered. */
const REMEMBERED_UPLOADS = 10_000

/** Remembers the highest offset that was acknowledged of each upload. */
export class AcknowledgedOffsets {
  readonly #offsets = new RecentMap<number>(REMEMBERED_UPLOADS)

  /** Notes what is about to be acknowledged. */
  note(upload: Pick<Upload, 'id' | 'createdAt' | 'offset'>): void {
    const offset = Math.max(upload.offset, this.of(upload))
    if (offset > 0) this.#offsets.set(upload, offset)
  }

  /** The highest offset that was acknowledged, as far as is known. */
  of(upload: Pick<Upload, 'id' | 'createdAt'>): number {
    return this.#offsets.get(upload) ?? 0
  }

  /** Whether fewer bytes are there than were acknowledged. */
  exceed(upload: Pick<Upload, 'id' | 'createdAt' | 'offset'>): boolean {
    return this.of(upload) > upload.offset
  }
}
