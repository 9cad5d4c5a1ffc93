// SPDX-License-Identifier: MIT

/**
 * What the use cases are given: their surroundings, their limits, who asks, and a body.
 *
 * A use case is a function `(context, id, asked)`, and `asked.requester` is the one who asks.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import type { UploadHooks } from './hooks.ts'
import type { ExpirationPolicy } from './lifecycle.ts'
import type { Shared } from './shared.ts'
import type { UploadStore } from './types.ts'

/** The surroundings of every use case. */
export interface UploadContext extends Shared {
  readonly store: UploadStore
  readonly hooks: UploadHooks
  readonly limits: UploadLimits
  /** Aborts when the server shuts down: bodies end there, and what came is stored. */
  readonly shutdownSignal: AbortSignal | undefined
}

/** How much, and how long. */
export interface UploadLimits {
  /** When unfinished uploads expire; `undefined`: never. */
  readonly expiration: ExpirationPolicy | undefined
  /** The most that an upload may grow to, in bytes. */
  readonly maxSize: number
  /** The most that one request may append, in bytes. */
  readonly maxAppendSize: number
  /** How many bodies, downloads, copies and digests may be in progress at once. */
  readonly maxConcurrent: number
  /** How long a body may be silent, in milliseconds. */
  readonly idleTimeoutMs: number
  /** How long to wait for another request to release the upload, in milliseconds. */
  readonly lockTimeoutMs: number
  /** The least time between two calls of `onProgress` for one request, in milliseconds. */
  readonly progressIntervalMs: number
}

/** Who asks. */
export interface Requester {
  /** Aborts some time after the client has gone. May be a getter: few requests need it. */
  readonly signal: AbortSignal
  /** Whether the client was answered in the meantime, as the server took too long. */
  readonly answered?: boolean
}

/** What every use case is asked with. */
export interface Asked {
  readonly requester: Requester
}

/** A request's body that is to be stored, and how to talk to its sender meanwhile. */
export interface IncomingBody {
  readonly source: Readable
  /** As announced, in bytes; `undefined` if it was not. */
  readonly length: number | undefined
  /**
   * Takes all of the body if it is small and has arrived; the source has nothing left then.
   * Otherwise resolves with `undefined`, and the source is as it was. Default: it has not arrived.
   */
  readonly whole?: (() => Promise<Uint8Array | undefined>) | undefined
  /** What the body has to match to count. */
  readonly checksum: ExpectedChecksum | undefined
  /** Tells a client that waits for it that its body is wanted. May throw to refuse it. */
  readonly accept: () => void
  /**
   * What becomes of a body that is larger than what it may bring. Default: `refused`.
   *
   * - `refused`: nothing of it is kept, and the upload is as it was.
   * - `cut`: what fitted is kept. If the upload cannot be that long, it is deactivated.
   */
  readonly excess?: 'refused' | 'cut' | undefined
  /** Called now and then while the body comes, with the offset up to which it is stored. */
  readonly progress?: ((offset: number) => void) | undefined
  /** Called when the body has ended and is stored: from here on the client waits for the server. */
  readonly stored: () => void
  /**
   * The server shuts down, and `upload` has stored what came so far. Answers the client, and calls
   * `drain` to store what still comes until the client has read that answer. The lock is still
   * held.
   */
  readonly answerShutdown: (
    upload: { readonly id: string; readonly offset: number },
    drain: (until: AbortSignal) => Promise<void>,
  ) => Promise<void>
}

/** A checksum that is known, or will be when the body has ended. */
export interface ExpectedChecksum {
  /** The algorithms that it may be of, by the names of `node:crypto`. */
  readonly algorithms: readonly string[]
  /** Called when the body has ended. Throws an `UploadError` if there is none that can be read. */
  readonly read: () => { readonly algorithm: string; readonly digest: Uint8Array }
}
