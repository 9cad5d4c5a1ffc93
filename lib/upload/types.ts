// SPDX-License-Identifier: MIT

/**
 * The words that stores, locks and protocols have in common. Stores and lockers meet these
 * interfaces by their shape; they need not import them.
 *
 * @module
 */

import type { Readable } from 'node:stream'

/** An upload as a store knows it. */
export interface Upload {
  readonly id: string
  /** Bytes stored so far. */
  readonly offset: number
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata: ReadonlyMap<string, string>
  /** The metadata as the client encoded them, if they came that way. */
  readonly encodedMetadata: string | undefined
}

/** What a store is given to make an {@link Upload}. */
export interface NewUpload {
  readonly id: string
  readonly length: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata?: string | undefined
}

/**
 * Where uploads are kept. The caller holds the upload's lock around every call but `find`.
 *
 * Errors that the core knows have a `code`: `UPLOAD_EXISTS`, `UPLOAD_CORRUPT`, `UPLOAD_MOVED_ON`,
 * `STORE_FULL`. Whatever else is thrown is answered with 500 and no detail.
 */
export interface UploadStore {
  /** Makes an upload without bytes. It exists when this has resolved, also after a crash. */
  create(upload: NewUpload): Promise<Upload>
  /** The upload as it is now; `undefined` if there is none. */
  find(id: string): Promise<Upload | undefined>
  /**
   * Stores the body behind the bytes that are there and resolves with the new offset. Bytes that
   * were stored stay, however it ends. When it settles, nothing is written any more.
   */
  append(upload: Upload, body: Readable, options: { readonly signal?: AbortSignal | undefined }): Promise<number>
  /** Takes back what was appended behind `offset`. */
  truncate(upload: Upload, offset: number): Promise<void>
  /** Removes the upload, whatever its state. */
  terminate(upload: Upload): Promise<void>
}

/** A lock that is held. */
export interface Lock {
  release(): void | Promise<void>
}

/** Options of {@link Locker.acquire}. */
export interface LockOptions {
  /** Gives up waiting when it aborts. */
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in milliseconds; then rejects with an error of the `code` `LOCK_TIMEOUT`. */
  readonly timeoutMs?: number | undefined
  /** Called when another request wants the lock: save and release. */
  readonly onReleaseRequest?: (() => void) | undefined
}

/** Keeps the requests for one upload apart: one holder an id, first come first served. */
export interface Locker {
  acquire(id: string, options: LockOptions): Promise<Lock>
}
