// SPDX-License-Identifier: MIT

/**
 * A store that changes nothing once the lock is lost under which it is used.
 *
 * A call that the store has begun cannot be taken back. So the fence checks the lock right before
 * each change, and again before an append is acknowledged.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import { UploadError } from './errors.ts'
import type {
  AppendOptions, Lock, NewUpload, Outcome, Tenure, Upload, UploadDigest, UploadState, UploadStore,
  VerifiedAppendOptions,
} from './types.ts'

/**
 * Returns the store with all that it can do. Once the lock is lost, calls that change an upload
 * reject with `LOCK_LOST`. So does an append during which it was lost, even if its bytes are
 * stored.
 *
 * Returns the store itself if the lock has no `isHeld`.
 */
export function fence(store: UploadStore, lock: Lock): UploadStore {
  return lock.isHeld ? (new FencedStore(store, lock) as UploadStore) : store
}

/** What a store need not be able to do, and a store behind a fence cannot do either. */
const OPTIONAL = [
  'setLength', 'appendVerified', 'flush', 'read', 'setDigest', 'list', 'removeLeftovers', 'trust', 'createWhole',
] as const satisfies readonly (keyof UploadStore)[]

/** There is one for each request, so its methods are written down and not made for each. */
class FencedStore implements Required<UploadStore> {
  readonly #store: Required<UploadStore>
  readonly #lock: Lock

  constructor(store: UploadStore, lock: Lock) {
    this.#store = store as Required<UploadStore>
    this.#lock = lock
    for (const name of OPTIONAL) if (!store[name]) Object.defineProperty(this, name, { value: undefined })
  }

  get shared(): boolean {
    return this.#store.shared ?? false
  }

  async create(upload: NewUpload): Promise<Upload> {
    await this.#assertHeld()
    return this.#store.create(upload)
  }

  async createWhole(upload: NewUpload, body: Uint8Array, state: 'finishing' | 'finished'): Promise<Upload> {
    await this.#assertHeld()
    return this.#store.createWhole(upload, body, state)
  }

  async append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    await this.#assertHeld()
    const offset = await this.#store.append(upload, body, options)
    await this.#assertHeld()
    return offset
  }

  async appendVerified(upload: Upload, body: Readable, options: VerifiedAppendOptions): Promise<number> {
    await this.#assertHeld()
    const offset = await this.#store.appendVerified(upload, body, options)
    await this.#assertHeld()
    return offset
  }

  async truncate(upload: Upload, offset: number): Promise<void> {
    await this.#assertHeld()
    return this.#store.truncate(upload, offset)
  }

  async setState(upload: Upload, state: UploadState, outcome?: Outcome): Promise<void> {
    await this.#assertHeld()
    return this.#store.setState(upload, state, outcome)
  }

  async setLength(upload: Upload, length: number): Promise<void> {
    await this.#assertHeld()
    return this.#store.setLength(upload, length)
  }

  async setDigest(upload: Upload, digest: UploadDigest): Promise<void> {
    await this.#assertHeld()
    return this.#store.setDigest(upload, digest)
  }

  async flush(upload: Upload): Promise<void> {
    await this.#assertHeld()
    return this.#store.flush(upload)
  }

  async terminate(upload: Upload): Promise<void> {
    await this.#assertHeld()
    return this.#store.terminate(upload)
  }

  find(id: string): Promise<Upload | undefined> {
    return this.#store.find(id)
  }

  read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
    return this.#store.read(upload, range)
  }

  list(): AsyncIterable<string> {
    return this.#store.list()
  }

  removeLeftovers(): Promise<unknown> {
    return this.#store.removeLeftovers()
  }

  trust(id: string, tenure: Tenure): void {
    this.#store.trust(id, tenure)
  }

  async #assertHeld(): Promise<void> {
    if (!(await this.#lock.isHeld?.())) throw new UploadError('LOCK_LOST')
  }
}
