// SPDX-License-Identifier: MIT

/**
 * The words that stores, locks and protocols have in common. Stores and lockers meet these
 * interfaces by their shape; they need not import them.
 *
 * @module
 */

import type { Readable } from 'node:stream'

/**
 * How far an upload has come.
 *
 * - `receiving`: bytes may still be appended, even if it looks complete.
 * - `finishing`: it is complete, and what is to be done with it has begun, perhaps more than once.
 * - `finished`: that has been done. The bytes never change again.
 * - `rejected`: that was refused for good.
 * - `deactivated`: what came does not make sense: more bytes than it was to have, or fewer than were
 *   acknowledged. It can be removed, and nothing else.
 */
export type UploadState = 'receiving' | 'finishing' | 'finished' | 'rejected' | 'deactivated'

/**
 * What makes an upload complete.
 *
 * - `at-length`: that it has as many bytes as it was to have.
 * - `explicit`: that the client says so, whatever its length.
 */
export type Completion = 'at-length' | 'explicit'

/** The digest of all bytes of an upload: one that they must have, or one that the client wants to know. */
export interface UploadDigest {
  /** By its name in `node:crypto`. */
  readonly algorithm: string
  /** In base64; `undefined` if it is wanted. */
  readonly value?: string | undefined
}

/** The answer that finishing led to; it is given again to whoever asks again. */
export interface Outcome {
  /** `undefined`: as the protocol has it. */
  readonly status?: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

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
  readonly state: UploadState
  readonly outcome: Outcome | undefined
  /** Whether it is a part of other uploads, and of no use by itself. */
  readonly partial: boolean
  /** The ids of the uploads that this one is the concatenation of. */
  readonly parts: readonly string[] | undefined
  /** The parts as the client named them. */
  readonly encodedParts: string | undefined
  /** The most that it may grow to, if that was said when it was created. */
  readonly maxSize: number | undefined
  /** `undefined`: at its length. */
  readonly completion?: Completion | undefined
  readonly digest?: UploadDigest | undefined
  readonly createdAt: Date
  /** When its bytes last changed. */
  readonly updatedAt: Date
  /** When the application moved its bytes out of the store: it is complete, and can no longer be read. */
  readonly movedAt?: Date | undefined
}

/** What a store is given to make an {@link Upload}, which has to say the same again. */
export interface NewUpload {
  readonly id: string
  readonly length: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata?: string | undefined
  readonly partial?: boolean | undefined
  readonly parts?: readonly string[] | undefined
  readonly encodedParts?: string | undefined
  readonly maxSize?: number | undefined
  readonly completion?: Completion | undefined
  readonly digest?: UploadDigest | undefined
}

/** Options of {@link UploadStore.append}. */
export interface AppendOptions {
  /** Stops; what was stored stays. */
  readonly signal?: AbortSignal | undefined
  /** To be told now and then which offset is stored. */
  readonly onProgress?: ((offset: number) => void) | undefined
}

/**
 * Where uploads are kept. The caller holds the upload's lock around every call that changes it.
 *
 * What a store need not be able to do is optional, and a protocol offers no more than its store can.
 *
 * Errors that the core knows have a `code`: `UPLOAD_EXISTS`, `UPLOAD_CORRUPT`, `UPLOAD_MOVED_ON`,
 * `STORE_FULL`. Whatever else is thrown is answered with 500 and no detail.
 */
export interface UploadStore {
  /** Whether other processes use it too, so that locks have to reach them. */
  readonly shared?: boolean | undefined
  /** Makes an upload without bytes. It exists when this has resolved, also after a crash. */
  create(upload: NewUpload): Promise<Upload>
  /** The upload as it is now; `undefined` if there is none. */
  find(id: string): Promise<Upload | undefined>
  /**
   * Stores the body behind the bytes that are there and resolves with the new offset. Bytes that
   * were stored stay, however it ends. When it settles, nothing is written any more.
   */
  append(upload: Upload, body: Readable, options: AppendOptions): Promise<number>
  /** Takes back what was appended behind `offset`. */
  truncate(upload: Upload, offset: number): Promise<void>
  /** Moves the upload on, durably, and keeps the outcome with it. */
  setState(upload: Upload, state: UploadState, outcome?: Outcome): Promise<void>
  /** Removes the upload, whatever its state. */
  terminate(upload: Upload): Promise<void>

  /** Says how many bytes the upload has in all. For uploads whose length comes later. */
  setLength?(upload: Upload, length: number): Promise<void>
  /**
   * As `append`, for a body that counts as a whole or not at all: `verify` is called when all of it
   * is stored, and until it has said yes no offset includes it, also after a crash. Resolves with
   * the offset, old or new. For checksums.
   */
  appendVerified?(upload: Upload, body: Readable, verify: () => boolean, options: AppendOptions): Promise<number>
  /**
   * Makes sure of bytes that a crash or an abort left behind an append that was never acknowledged,
   * before somebody is told of them. For stores that flush before they acknowledge.
   */
  flush?(upload: Upload): Promise<void>
  /** The bytes from `start` up to and without `end`. For downloads and concatenation. */
  read?(upload: Upload, range: { readonly start: number; readonly end: number }): Readable
  /**
   * Keeps a digest that was computed of all bytes with the upload, which is not `receiving` any more;
   * `find` then returns it as `digest`. For stores that keep more than the state.
   */
  setDigest?(upload: Upload, digest: UploadDigest): Promise<void>
  /** The ids of all uploads, one after the other. For sweeping. */
  list?(): AsyncIterable<string>
  /** Removes what crashes left behind and nobody can use. For sweeping. */
  removeLeftovers?(): Promise<unknown>
}

/** A lock that is held. */
export interface Lock {
  release(): void | Promise<void>
  /**
   * Whether it is still held, for locks that can be lost. It is called before each change of the
   * upload, so it should cost little. Must not reject.
   */
  isHeld?(): Promise<boolean>
}

/** Options of {@link Locker.acquire}. */
export interface LockOptions {
  /** Gives up waiting when it aborts. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long to wait, in milliseconds; then rejects with an error of the `code` `LOCK_TIMEOUT`.
   * Always what a timer can take; `undefined` is no limit.
   */
  readonly timeoutMs?: number | undefined
  /** Called when another request wants the lock: save and release. */
  readonly onReleaseRequest?: (() => void) | undefined
  /** Called when the lock is lost, as another may have it: store nothing more, and release. */
  readonly onLost?: (() => void) | undefined
}

/** Keeps the requests for one upload apart: one holder an id, first come first served. */
export interface Locker {
  acquire(id: string, options: LockOptions): Promise<Lock>
  /** The lock if it is free. If it is not, `undefined`, and its holder is not disturbed. */
  tryAcquire(id: string): Promise<Lock | undefined>
}
