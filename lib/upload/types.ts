// SPDX-License-Identifier: MIT

/**
 * The terms that stores, locks and protocols share. Stores and lockers meet these interfaces by
 * their shape, and need not import them.
 *
 * @module
 */

import type { Readable } from 'node:stream'

/**
 * What an id may look like, whether it comes from an address or from a hook: nothing that has a
 * meaning in a path, a header or an address. Stores check it again for themselves.
 */
export const UPLOAD_ID: RegExp = /^[A-Za-z0-9_-]{1,128}$/

/**
 * How far an upload has come.
 *
 * - `receiving`: bytes may still be appended, even if it looks complete.
 * - `finishing`: all bytes are stored and `onFinish` has been started, perhaps more than once.
 * - `finished`: `onFinish` is done. The bytes never change again.
 * - `rejected`: its digest did not match, or `onFinish` refused it for good, or a concatenation
 *   cannot be made.
 * - `deactivated`: its client sent more bytes than it can hold, or acknowledged bytes were lost. It
 *   can only be removed.
 */
export type UploadState = 'receiving' | 'finishing' | 'finished' | 'rejected' | 'deactivated'

/**
 * What makes an upload complete.
 *
 * - `at-length`: having as many bytes as its length says.
 * - `explicit`: that the client says so, whatever the length.
 */
export type Completion = 'at-length' | 'explicit'

/** The digest of all bytes: one that they must have, or one that the client wants to know. */
export interface UploadDigest {
  /** By its name in `node:crypto`. */
  readonly algorithm: string
  /** In base64; `undefined` if the client wants to know it. */
  readonly value?: string | undefined
}

/** The answer that finishing led to. It is given again to every client that asks again. */
export interface Outcome {
  /** `undefined`: the one of the protocol. */
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
  /** The ids of the uploads that this one concatenates. */
  readonly parts: readonly string[] | undefined
  /** The parts as the client named them. */
  readonly encodedParts: string | undefined
  /** The most that it may grow to, in bytes, if that was decided when it was created. */
  readonly maxSize: number | undefined
  /** `undefined`: `at-length`. */
  readonly completion?: Completion | undefined
  readonly digest?: UploadDigest | undefined
  readonly createdAt: Date
  /** When its bytes last changed. */
  readonly updatedAt: Date
  /** When the application moved its bytes out of the store. It can no longer be read. */
  readonly movedAt?: Date | undefined
}

/** What a store makes an {@link Upload} of. The upload has to say the same again. */
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
  /** Called now and then with the offset that is stored. */
  readonly onProgress?: ((offset: number) => void) | undefined
}

/** Options of {@link UploadStore.appendVerified}. */
export interface VerifiedAppendOptions {
  /** Stops; nothing of the body counts. */
  readonly signal?: AbortSignal | undefined
  /** Called when all of the body is stored: whether it counts. */
  readonly verify: () => boolean
}

/**
 * Where uploads are kept. The caller holds the upload's lock around every call that changes it.
 *
 * What a store need not be able to do is optional, and a protocol offers no more than its store
 * can.
 *
 * Errors that the core knows have a `code`: `UPLOAD_EXISTS`, `UPLOAD_CORRUPT`, `UPLOAD_MOVED_ON`,
 * `STORE_FULL`. Anything else that is thrown is answered with 500 and no detail.
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
  /** Removes the bytes from `offset` on. */
  truncate(upload: Upload, offset: number): Promise<void>
  /** Changes the state, durably, and keeps the outcome with it. */
  setState(upload: Upload, state: UploadState, outcome?: Outcome): Promise<void>
  /** Removes the upload, whatever its state. */
  terminate(upload: Upload): Promise<void>

  /**
   * Makes an upload that has all its bytes, in place of `create`, `append` and `setState`. Until
   * this has resolved it may not exist, but it never exists with fewer bytes or in another state,
   * also after a crash. The length of `upload` is that of `body`. Without `onFinish` the caller
   * holds no lock, as nobody else knows the id. For small bodies.
   */
  createWhole?(upload: NewUpload, body: Uint8Array, state: 'finishing' | 'finished'): Promise<Upload>

  /**
   * Called by whoever takes the lock of an upload, before any other call under that lock: until the
   * tenure has ended, nobody but this process has changed the upload. So what the store knows of it
   * from calls since the tenure began is still true. For stores that other processes use too.
   */
  trust?(id: string, tenure: Tenure): void

  /** Sets how many bytes the upload has in all. For uploads whose length comes later. */
  setLength?(upload: Upload, length: number): Promise<void>
  /**
   * As `append`, for a body that counts as a whole or not at all: `verify` is called when all of it
   * is stored, and until it returns true no offset includes the body, also after a crash. Resolves
   * with the offset, old or new. For checksums.
   */
  appendVerified?(upload: Upload, body: Readable, options: VerifiedAppendOptions): Promise<number>
  /**
   * Makes bytes durable that a crash or an abort left behind an append that was never acknowledged,
   * before their offset is reported to anybody. For stores that flush before they acknowledge.
   */
  flush?(upload: Upload): Promise<void>
  /** The bytes from `start` up to but not including `end`. For downloads and concatenation. */
  read?(upload: Upload, range: { readonly start: number; readonly end: number }): Readable
  /**
   * Keeps a digest that was computed of all bytes with the upload, which is not `receiving` any
   * more; `find` then returns it as `digest`. For stores that keep more than the state.
   */
  setDigest?(upload: Upload, digest: UploadDigest): Promise<void>
  /** The ids of all uploads, one after the other. For sweeping. */
  list?(): AsyncIterable<string>
  /** Removes what crashes left behind and nobody can use. For sweeping. */
  removeLeftovers?(): Promise<unknown>
}

/**
 * The time for which one process has a lock, perhaps over several holds, without a break in which
 * another process could have had it.
 */
export interface Tenure {
  /** Whether it has ended. It is true before any other process can get the lock. */
  readonly ended: boolean
}

/** A lock that is held. */
export interface Lock {
  release(): void | Promise<void>
  /** For locks between processes that can tell. The same object as at the last hold: no break. */
  readonly tenure?: Tenure | undefined
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
   * Always a time that a timer can wait; `undefined` is no limit.
   */
  readonly timeoutMs?: number | undefined
  /** Called when another request wants the lock: save and release. */
  readonly onReleaseRequest?: (() => void) | undefined
  /** Called when the lock is lost, as another may have it: store nothing more, and release. */
  readonly onLost?: (() => void) | undefined
}

/** Keeps the requests for one upload apart: one holder per id, first come, first served. */
export interface Locker {
  acquire(id: string, options: LockOptions): Promise<Lock>
  /** The lock if it is free. If it is not, `undefined`, and its holder is not disturbed. */
  tryAcquire(id: string): Promise<Lock | undefined>
}
