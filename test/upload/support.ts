// SPDX-License-Identifier: MIT

/**
 * The core without HTTP: surroundings for its use cases, and bodies.
 *
 * @module
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { IncomingBody, Requester, UploadContext, UploadLimits } from '../../lib/upload/context.ts'
import type { UploadHooks } from '../../lib/upload/hooks.ts'
import { sharedOf } from '../../lib/upload/shared.ts'
import type { UploadStore } from '../../lib/upload/types.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** A client that stays. */
export const requester: Requester = { signal: new AbortController().signal }

/** Surroundings over files in a folder of their own; `overrides` replace methods of the store. */
export function surroundings(
  t: TestContext,
  details: {
    readonly overrides?: (files: UploadStore) => Partial<UploadStore>
    readonly limits?: Partial<UploadLimits>
    readonly hooks?: UploadHooks
    readonly shutdownSignal?: AbortSignal
  } = {},
): UploadContext {
  const files: UploadStore = new FileStore(temporaryFolder(t))
  const overrides: Partial<UploadStore> = details.overrides?.(files) ?? {}
  const store = new Proxy(files, {
    get(target, name) {
      const member: unknown = Reflect.get(name in overrides ? overrides : target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  return {
    ...sharedOf(store, new KeyedLock()),
    store,
    hooks: details.hooks ?? {},
    limits: {
      expiration: undefined, maxSize: 1000, maxAppendSize: Infinity, maxConcurrent: 10, idleTimeoutMs: Infinity, lockTimeoutMs: Infinity,
      progressIntervalMs: 0, ...details.limits,
    },
    shutdownSignal: details.shutdownSignal,
  }
}

/** A body that brings `chunks` and ends. */
export function bodyOf(chunks: readonly string[], details: Partial<IncomingBody> = {}): IncomingBody {
  return {
    source: Readable.from(chunks.map((chunk) => Buffer.from(chunk)), { objectMode: false }),
    length: undefined,
    checksum: undefined,
    accept: () => {},
    stored: () => {},
    answerShutdown: async () => {},
    ...details,
  }
}

/** A source that brings `text`, and neither ends nor fails. */
export function endless(text: string): Readable {
  const source = new Readable({ read() {} })
  source.push(text)
  return source
}

/** What is published from now on, by the last word of its channel: `create`, `append`, `error` … */
export function published(t: TestContext): readonly string[] {
  const seen: string[] = []
  for (const name of ['create', 'append', 'interrupt', 'finish', 'reject', 'terminate', 'expire', 'error']) {
    const listener = (message: unknown): void => {
      const { code, error } = message as { readonly code?: string; readonly error?: Error }
      seen.push([name, code ?? error?.message].filter(Boolean).join(' '))
    }
    subscribe(`longhaul:${name}`, listener)
    t.after(() => unsubscribe(`longhaul:${name}`, listener))
  }
  return seen
}
