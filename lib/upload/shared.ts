// SPDX-License-Identifier: MIT

/**
 * What all handlers of one store share: the locker, the slots for work, and what is remembered.
 *
 * Two handlers with a locker each would overwrite each other's bytes, and neither would know what
 * the other has acknowledged. So all this belongs to the store, not to the handler.
 *
 * @module
 */

import { KeyedLock } from '../keyed-lock.ts'
import { UploadError } from './errors.ts'
import { AcknowledgedOffsets, RecentMap } from './memory.ts'
import type { Locker, UploadDigest, UploadStore } from './types.ts'

/**
 * How many concatenations are remembered with the part they wait for, and how many uploads with
 * their digests.
 */
const REMEMBERED = 1000

/** Counts bodies, downloads, copies and digests in progress. Each handler has its own limit. */
export class Slots {
  #taken = 0

  /**
   * Throws `BUSY` if `limit` slots or more are taken. For a caller that must know before it
   * prepares the work.
   */
  assertFree(limit: number): void {
    if (this.#taken >= limit) throw new UploadError('BUSY')
  }

  /** Takes a slot, which the caller gives back. Throws `BUSY` as `assertFree` does. */
  take(limit: number): void {
    this.assertFree(limit)
    this.#taken++
  }

  giveBack(): void {
    this.#taken--
  }

  /** Does `work` in a slot, which is free again however the work ends. Rejects with `BUSY`. */
  async use<T>(limit: number, work: () => Promise<T>): Promise<T> {
    this.take(limit)
    try {
      return await work()
    } finally {
      this.giveBack()
    }
  }
}

/** A digest that is known. */
export type KnownDigest = UploadDigest & { readonly value: string }

/** The digests that clients asked for. */
export interface Digests {
  /** By algorithm: computed, or being computed. */
  readonly results: RecentMap<Map<string, Promise<KnownDigest | undefined>>>
  /** How many are being computed. */
  computing: number
  /** Starts those that wait, in order. */
  readonly waiting: (() => void)[]
}

/**
 * The part that a concatenation waits for: for its length if `length` is not known, else for its
 * bytes.
 */
export interface PendingPart {
  readonly id: string
  /** Of the concatenation. */
  readonly length: number | undefined
}

/** The part of a context that is the same for all handlers of a store. */
export interface Shared {
  readonly locker: Locker
  readonly slots: Slots
  /** The offsets that clients rely on. */
  readonly acknowledged: AcknowledgedOffsets
  /** By the concatenation that waits. */
  readonly pendingParts: RecentMap<PendingPart>
  readonly digests: Digests
}

const sharedByStore = new WeakMap<UploadStore, Shared>()

/**
 * Returns what the handlers of `store` share. The first handler decides on the locker. Without one
 * it is a `KeyedLock`, which serves one process.
 *
 * @throws {TypeError} if another handler of the store has another locker, or if the store is shared
 * between processes and there is no locker.
 */
export function sharedOf(store: UploadStore, locker: Locker | undefined): Shared {
  const known = sharedByStore.get(store)
  const what = 'Cannot serialise requests as'
  if (known && locker && locker !== known.locker) {
    throw new TypeError(`${what} all handlers of a store must share one locker`)
  }
  if (known) return known
  if (store.shared && !locker) {
    throw new TypeError(`${what} a store shared between processes must have a locker that they share`)
  }
  const shared: Shared = {
    locker: locker ?? new KeyedLock(),
    slots: new Slots(),
    acknowledged: new AcknowledgedOffsets(),
    pendingParts: new RecentMap(REMEMBERED),
    digests: { results: new RecentMap(REMEMBERED), computing: 0, waiting: [] },
  }
  sharedByStore.set(store, shared)
  return shared
}
