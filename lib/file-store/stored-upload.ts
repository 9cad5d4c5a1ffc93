// SPDX-License-Identifier: MIT

/**
 * An upload as the store knows it: the types that callers pass and get.
 *
 * @module
 */

/** How far an upload has come. The caller sets it, with `setState`. */
export type StoredUploadState = 'receiving' | 'finishing' | 'finished' | 'rejected' | 'deactivated'

/** What makes an upload complete: that it has all its bytes, or that its client says so. */
export type StoredCompletion = 'at-length' | 'explicit'

/**
 * The digest of all bytes of an upload. While the upload is `receiving`, its bytes must have this
 * digest; later, they do. Without `value`, the digest is wanted and not known yet.
 */
export interface StoredDigest {
  readonly algorithm: string
  /** In base64. */
  readonly value?: string | undefined
}

/** The answer that finishing an upload led to, kept so that it can be given again. */
export interface StoredOutcome {
  /** `undefined`: the usual one. */
  readonly status?: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Bytes of the file behind `offset` do not count, unless this is still the boot `boot` of the
 * machine. Without `boot` they never count.
 *
 * - Bytes that wait for a verdict, as a checksum gives, are behind a mark without a boot.
 * - Bytes that were not flushed yet are behind a mark with a boot: a crash of the process leaves
 *   them as they are, and a power failure begins another boot.
 */
export interface StoredMark {
  /** In bytes. */
  readonly offset: number
  readonly boot?: string | undefined
  /** Whether all bytes before `offset` were flushed. If any is missing, the disk lost it. */
  readonly flushed?: boolean | undefined
}

/** An upload as the store knows it. */
export interface StoredUpload {
  readonly id: string
  /** Bytes stored so far, without those that do not count. */
  readonly offset: number
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata: ReadonlyMap<string, string>
  /** The metadata as the client encoded them, if they came that way. */
  readonly encodedMetadata: string | undefined
  readonly state: StoredUploadState
  readonly outcome: StoredOutcome | undefined
  /** Whether it is a part of other uploads. */
  readonly partial: boolean
  /** The ids of the uploads that this one is made of. */
  readonly parts: readonly string[] | undefined
  /** The parts as the client named them. */
  readonly encodedParts: string | undefined
  /** The most that it may grow to, in bytes, if that was set when it was created. */
  readonly maxSize: number | undefined
  /** `undefined`: at its length. */
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
  readonly createdAt: Date
  /** When its bytes last changed. */
  readonly updatedAt: Date
  /** `undefined`: all bytes of the file count. */
  readonly mark?: StoredMark | undefined
  /** Whether another server wrote its sidecar, so that the state is what its size suggests. */
  readonly foreign?: boolean | undefined
  /** When its bytes were moved out of the store. The record stays: all bytes had been stored. */
  readonly movedAt?: Date | undefined
}

/** What `create` makes an upload of. */
export interface NewStoredUpload {
  /** Default: 128 random bits. Must match `^[A-Za-z0-9_-]{1,128}$`. */
  readonly id?: string | undefined
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata?: string | undefined
  readonly partial?: boolean | undefined
  readonly parts?: readonly string[] | undefined
  readonly encodedParts?: string | undefined
  readonly maxSize?: number | undefined
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
}
