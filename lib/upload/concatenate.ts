// SPDX-License-Identifier: MIT

/**
 * Concatenations: uploads that are made of others.
 *
 * @module
 */

import { Readable } from 'node:stream'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isExpired, settle } from './lifecycle.ts'
import type { PendingPart } from './shared.ts'
import type { Upload, UploadStore } from './types.ts'

/** The parts of a concatenation, added up. */
export interface Parts {
  /** In order. */
  readonly uploads: readonly Upload[]
  /** The least that they come to, in bytes: a part of unknown length counts as far as it came. */
  readonly size: number
  /** Bytes in all; `undefined` as long as the length of a part is not known. */
  readonly length: number | undefined
  readonly complete: boolean
}

/** The most parts of one concatenation: a bound for the work of one request. */
export const MAX_PARTS = 10_000

/**
 * Looks the parts up. Resolves with `undefined` if one of them cannot be used: it does not exist,
 * is not a partial upload, has expired or was deactivated. The reason is not given, so that nobody
 * learns which uploads of others exist.
 */
export async function findParts(context: UploadContext, ids: readonly string[]): Promise<Parts | undefined> {
  const { store, limits } = context
  const uploads: Upload[] = []
  for (const id of ids) {
    const part = await store.find(id)
    if (!part?.partial || part.state === 'deactivated' || isExpired(part, limits.expiration)) return undefined
    uploads.push(part)
  }
  // Beyond 2^53 the sum is inexact, and too large anyway.
  const size = uploads.reduce((sum, part) => sum + (part.length ?? part.offset), 0)
  const length = uploads.every((part) => part.length !== undefined) ? size : undefined
  return { uploads, size, length, complete: uploads.every((part) => part.state === 'finished') }
}

/**
 * Copies the parts into a concatenation, if all of them are complete; the caller holds its lock.
 * The parts are not locked: they are finished, so they do not change. A copy that a crash, a
 * shutdown or `signal` interrupted continues where it was when it is tried again.
 *
 * Resolves with the upload as it is then: complete; rejected, as a part is gone or all are too
 * large together; or as it was, with its length if that is known by now.
 *
 * @throws {UploadError} `BUSY`, `SHUTTING_DOWN`; the reason of `signal`; whatever the store throws.
 */
export async function assemble(context: UploadContext, upload: Upload, signal?: AbortSignal): Promise<Upload> {
  const { store, slots, limits, pendingParts } = context
  const pending = await stillPending(context, upload)
  if (pending) return { ...upload, length: pending.length }
  const parts = await findParts(context, upload.parts ?? [])
  if (!parts) return reject(context, upload, new UploadError('PART_GONE'))
  const { size, length, complete, uploads } = parts
  if (size > (upload.maxSize ?? limits.maxSize)) return reject(context, upload, new UploadError('MAX_SIZE_EXCEEDED'))
  if (length === undefined || !complete) {
    const part = uploads.find((each) => (length === undefined ? each.length === undefined : each.state !== 'finished'))
    if (part) pendingParts.set(upload, { id: part.id, length })
    return { ...upload, length }
  }
  pendingParts.delete(upload)
  const setLength = store.setLength?.bind(store)
  if (!store.read || !setLength) return { ...upload, length }

  return slots.use(limits.maxConcurrent, async () => {
    if (upload.length === undefined) await setLength(upload, length)
    return copy(context, { ...upload, length }, { parts: uploads, signal })
  })
}

/**
 * Resolves with the part that a concatenation waited for when it was last looked at, if it still
 * waits for that one: then there is no need to look at the others.
 */
async function stillPending(context: UploadContext, upload: Upload): Promise<PendingPart | undefined> {
  const pending = context.pendingParts.get(upload)
  if (!pending) return undefined
  const part = await context.store.find(pending.id)
  if (!part?.partial || part.state !== 'receiving' || isExpired(part, context.limits.expiration)) return undefined
  return pending.length === undefined && part.length !== undefined ? undefined : pending
}

async function copy(
  { store, shutdownSignal }: UploadContext,
  upload: Upload,
  { parts, signal }: { readonly parts: readonly Upload[]; readonly signal: AbortSignal | undefined },
): Promise<Upload> {
  const stop = new AbortController() // `AbortSignal.any` would leave something at the shutdown signal for every copy
  const onAbort = (): void => stop.abort(shutdownSignal?.aborted ? new UploadError('SHUTTING_DOWN') : signal?.reason)
  for (const each of [shutdownSignal, signal]) {
    if (each?.aborted) onAbort()
    else each?.addEventListener('abort', onAbort)
  }
  try {
    const body = Readable.from(bytesOf(store, parts, upload.offset), { objectMode: false })
    return { ...upload, offset: await store.append(upload, body, { signal: stop.signal }) }
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error
  } finally {
    for (const each of [shutdownSignal, signal]) each?.removeEventListener('abort', onAbort)
  }
}

function reject(context: UploadContext, upload: Upload, { status, headers, message }: UploadError): Promise<Upload> {
  return settle(context, upload, { state: 'rejected', outcome: { status, headers, body: message } })
}

/** The bytes of the parts, from `offset` of the whole on. */
async function* bytesOf(store: UploadStore, parts: readonly Upload[], offset: number): AsyncGenerator<Buffer> {
  let skip = offset
  for (const part of parts) {
    if (skip < part.offset) yield* store.read!(part, { start: skip, end: part.offset })
    skip = Math.max(0, skip - part.offset)
  }
}
