// SPDX-License-Identifier: MIT

/**
 * The options that all handlers have, checked and completed.
 *
 * @module
 */

import { setMaxListeners } from 'node:events'
import { INLINE_MEDIA_TYPES } from '../download/media-type.ts'
import type { UploadContext } from '../upload/context.ts'
import { hooksOf, type UploadHooks } from '../upload/hooks.ts'
import type { ExpirationPolicy } from '../upload/lifecycle.ts'
import { sharedOf } from '../upload/shared.ts'
import type { Locker, UploadStore } from '../upload/types.ts'
import { checkCors, type CorsOptions } from './cors.ts'
import { toAddresses, type Addresses } from './location.ts'
import { duration, wholeNumber } from './option-checks.ts'

/**
 * What all handlers have in common: the hooks, and these. A duration is in milliseconds, 1 to
 * 2^31-1, or Infinity for never; `graceMs` and `progressIntervalMs` may be 0.
 */
export interface HandlerOptions extends UploadHooks {
  /** Where the uploads are kept. */
  readonly store: UploadStore
  /** The path of the creation URL as it arrives, with a slash at both ends. Default: `/files/`. */
  readonly path?: string | undefined
  /**
   * The creation URL as clients see it, where a proxy changes it: a path or an http URL, with a
   * slash at the end. Default: `path`.
   */
  readonly publicUrl?: string | undefined
  /**
   * Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed.
   * Default: none.
   */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * Keeps requests for one upload apart, in all handlers of the store. Default: a `KeyedLock`,
   * which serves one process. If several processes use the store there is no default: pass a locker
   * that reaches them, as `LockFiles` does.
   */
  readonly locker?: Locker | undefined
  /** The most that one upload may hold, in bytes. Default: 100 GiB. */
  readonly maxSize?: number | undefined
  /** The most that one request may append, in bytes. Default: as much as the upload takes. */
  readonly maxAppendSize?: number | undefined
  /**
   * How many bodies may be received, downloads sent, copies and digests made at once, in all
   * handlers of the store together; one more is answered 503. Default: 10000.
   */
  readonly maxConcurrent?: number | undefined
  /**
   * When unfinished uploads are given up. Nothing is removed before `sweep` runs. Default: never.
   */
  readonly expiration?: ExpirationPolicy | undefined
  /**
   * Offers finished uploads for download; `inline` lists the media types that browsers may show, by
   * default `INLINE_MEDIA_TYPES`. Default: off.
   */
  readonly download?: { readonly inline?: readonly string[] | undefined } | undefined
  /** Allows pages of other origins. Default: off. */
  readonly cors?: CorsOptions | undefined
  /**
   * How long a body may be silent, or the client of a download read nothing, in milliseconds.
   * Default: 60000.
   */
  readonly idleTimeoutMs?: number | undefined
  /** How long saving may go on once the client is gone, in milliseconds. Default: 10000. */
  readonly graceMs?: number | undefined
  /**
   * How long to wait until another request lets go of an upload, in milliseconds. Default: 5000.
   */
  readonly lockTimeoutMs?: number | undefined
  /**
   * How long a client may wait for the server, hooks included, before it is answered 503. The work
   * continues, and HEAD says when it is done. A creation that is answered so has an address that
   * nobody knows, so `onFinish` should not take as long. In milliseconds; a concatenation may take
   * longer. Default: 30000.
   */
  readonly answerTimeoutMs?: number | undefined
  /**
   * The least time between two calls of `onProgress`, or two messages about it, for one request, in
   * milliseconds. Default: 1000.
   */
  readonly progressIntervalMs?: number | undefined
  /** Aborts when the server shuts down, as `ShutdownGroup.signal` does. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/** The options as a handler uses them. */
export interface Settings {
  readonly context: UploadContext
  readonly addresses: Addresses
  /** `undefined`: pages of other origins are not allowed. */
  readonly cors: CorsOptions | undefined
  /** The media types of downloads that browsers may show; `undefined`: there are no downloads. */
  readonly inline: readonly string[] | undefined
  readonly graceMs: number
  readonly answerTimeoutMs: number
}

/**
 * Checks the options and adds the defaults.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds.
 */
export function toSettings(options: HandlerOptions): Settings {
  const { store, download, cors, path = '/files/', publicUrl, trustedProxies = [] } = options
  if (download && !store.read) throw new TypeError('Cannot offer downloads as the store must have a read method')
  return {
    addresses: toAddresses(path, publicUrl, trustedProxies),
    cors: cors && checkCors(cors),
    inline: download && (download.inline ?? INLINE_MEDIA_TYPES),
    graceMs: duration('graceMs', options.graceMs ?? 10_000, { leastMs: 0 }),
    answerTimeoutMs: duration('answerTimeoutMs', options.answerTimeoutMs ?? 30_000, { leastMs: 1 }),
    context: toContext(options),
  }
}

/** The part of the options that the core needs. */
function toContext(options: HandlerOptions): UploadContext {
  const { store, locker, expiration } = options
  checkExpiration(expiration)
  return {
    store,
    hooks: hooksOf(options),
    limits: {
      expiration,
      maxSize: wholeNumber('maxSize', options.maxSize ?? 100 * 1024 ** 3),
      maxAppendSize: wholeNumber('maxAppendSize', options.maxAppendSize ?? Number.MAX_SAFE_INTEGER),
      maxConcurrent: wholeNumber('maxConcurrent', options.maxConcurrent ?? 10_000),
      idleTimeoutMs: duration('idleTimeoutMs', options.idleTimeoutMs ?? 60_000, { leastMs: 1 }),
      lockTimeoutMs: duration('lockTimeoutMs', options.lockTimeoutMs ?? 5000, { leastMs: 1 }),
      progressIntervalMs: duration('progressIntervalMs', options.progressIntervalMs ?? 1000, { leastMs: 0 }),
    },
    shutdownSignal: followOnce(options.signal),
    // Last: options that are refused must not decide on the locker of the store.
    ...sharedOf(store, locker),
  }
}

function checkExpiration(expiration: ExpirationPolicy | undefined): void {
  if (!expiration) return
  const { afterMs, from } = expiration
  duration('expiration.afterMs', afterMs, { leastMs: 1, mostMs: Number.MAX_SAFE_INTEGER })
  if (['creation', 'activity', undefined].includes(from)) return
  throw new TypeError(`Cannot expire uploads as expiration.from must be creation or activity: received ${from}`)
}

/**
 * A signal of our own that follows another one. It takes a listener for each request, and puts one
 * listener only on the signal that the application gave.
 */
function followOnce(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (!signal || signal.aborted) return signal
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  return controller.signal
}
