// SPDX-License-Identifier: MIT

/**
 * What the use cases are given: where uploads are kept, what keeps requests apart, and the limits.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import type { Locker, UploadStore } from './types.ts'

/** The surroundings of every use case. */
export interface UploadContext {
  readonly store: UploadStore
  readonly locker: Locker
  /** The most that an upload may grow to, in bytes. */
  readonly maxSize: number
  /** How long a body may be silent, in milliseconds. */
  readonly idleTimeoutMs: number
  /** How long to wait for another request to let go of an upload, in milliseconds. */
  readonly lockTimeoutMs: number
  /** Aborts when the server shuts down: bodies end there, and what came is stored. */
  readonly shutdownSignal: AbortSignal | undefined
}

/** A request's body that is to be stored, and how to talk to its sender meanwhile. */
export interface IncomingBody {
  readonly source: Readable
  /** As announced; `undefined` if it was not. */
  readonly length: number | undefined
  /** Tells a client that waits for it that its body is wanted. */
  readonly accept: () => void
  /**
   * The server shuts down and `upload` has stored what came so far: answers the client, and has
   * `drain` store what it sends until it has read that answer. The lock is still held.
   */
  readonly answerShutdown: (upload: { readonly id: string; readonly offset: number }, drain: (until: AbortSignal) => Promise<void>) => Promise<void>
}
