// SPDX-License-Identifier: MIT

/**
 * What the use cases are given: where uploads are kept, what keeps requests apart, and the limits.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import type { AcknowledgedOffsets } from './acknowledged.ts'
import type { PendingPart } from './concatenate.ts'
import type { KnownDigest } from './digest.ts'
import type { ExpirationPolicy } from './expiration.ts'
import type { UploadHooks } from './hooks.ts'
import type { RecentMap } from './recent-map.ts'
import type { Locker, UploadStore } from './types.ts'

/** The surroundings of every use case. */
export interface UploadContext {
  readonly store: UploadStore
  readonly locker: Locker
  readonly hooks: UploadHooks
  /** When unfinished uploads are given up; `undefined`: never. */
  readonly expiration: ExpirationPolicy | undefined
  /** The most that an upload may grow to, in bytes. */
  readonly maxSize: number
  /** The most that one request may append, in bytes. */
  readonly maxAppendSize: number
  /** How many bodies, downloads, copies and digests may be in progress at once. */
  readonly maxConcurrent: number
  /** How many are, in all handlers of the store. */
  readonly inFlight: { count: number }
  /** How long a body may be silent, in milliseconds. */
  readonly idleTimeoutMs: number
  /** How long to wait for another request to let go of an upload, in milliseconds. */
  readonly lockTimeoutMs: number
  /** The least time between two calls of `onProgress` for one request, in milliseconds. */
  readonly progressIntervalMs: number
  /** What clients may rely on. */
  readonly acknowledged: AcknowledgedOffsets
  /** For concatenations that wait, what for. */
  readonly pendingParts: RecentMap<PendingPart>
  /** Digests that clients wanted, computed or being computed, and how many are. */
  readonly digests: Digests
  /** Aborts when the server shuts down: bodies end there, and what came is stored. */
  readonly shutdownSignal: AbortSignal | undefined
}

/** See `digest.ts`. */
export interface Digests {
  /** By algorithm. */
  readonly results: RecentMap<Map<string, Promise<KnownDigest | undefined>>>
  computing: number
  /** What begins those that wait, in order. */
  readonly waiting: (() => void)[]
}

/** Who asks. */
export interface Requester {
  /** Aborts some time after the client has gone. It need not be made before it is read. */
  readonly signal: AbortSignal
}

/** A request's body that is to be stored, and how to talk to its sender meanwhile. */
export interface IncomingBody {
  readonly source: Readable
  /** As announced; `undefined` if it was not. */
  readonly length: number | undefined
  /** What the body has to match to count. */
  readonly checksum: ExpectedChecksum | undefined
  /** Tells a client that waits for it that its body is wanted. */
  readonly accept: () => void
  /**
   * What becomes of a body that is larger than what it may bring. Default: `refused`.
   *
   * - `refused`: nothing of it is kept, and the upload is as it was.
   * - `cut`: what fitted is kept. If it is the upload that cannot be so long, it is deactivated.
   */
  readonly excess?: 'refused' | 'cut' | undefined
  /** Told now and then, while the body comes, up to which offset it is stored. */
  readonly progress?: ((offset: number) => void) | undefined
  /** Called when the body has ended and is stored: from here on the client waits for us. */
  readonly stored: () => void
  /**
   * The server shuts down and `upload` has stored what came so far: answers the client, and has
   * `drain` store what it sends until it has read that answer. The lock is still held.
   */
  readonly answerShutdown: (upload: { readonly id: string; readonly offset: number }, drain: (until: AbortSignal) => Promise<void>) => Promise<void>
}

/** A checksum that is known, or will be when the body has ended. */
export interface ExpectedChecksum {
  /** Those that it may be of, by the names of `node:crypto`. */
  readonly algorithms: readonly string[]
  /** Called when the body has ended. Throws an `UploadError` if there is none that can be read. */
  readonly read: () => { readonly algorithm: string; readonly digest: Uint8Array }
}
