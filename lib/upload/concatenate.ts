// SPDX-License-Identifier: MIT

/**
 * Uploads that are made of others.
 *
 * @module
 */

import { Readable } from 'node:stream'
import { assertNotBusy, counted } from './busy.ts'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isExpired } from './expiration.ts'
import { settle } from './settle.ts'
import type { Upload, UploadStore } from './types.ts'

/** What the parts of a concatenation come to. */
export interface Parts {
  /** In order. */
  readonly uploads: readonly Upload[]
  /** Bytes at the least: those of parts whose length is not known are counted as far as they came. */
  readonly size: number
  /** Bytes in all; `undefined` as long as the length of a part is not known. */
  readonly length: number | undefined
  readonly complete: boolean
}

/** A part for which a concatenation waits: for its length if `length` is not known, else for its bytes. */
export interface PendingPart {
  readonly id: string
  /** Of the concatenation. */
  readonly length: number | undefined
}

/** More than any client makes, and a bound for what one request can set off. */
export const MAX_PARTS = 10_000

/**
 * Looks the parts up. Resolves with `undefined` if one of them cannot be used: it does not exist, is
 * no partial upload, has expired or was deactivated. Why is not said, so that nobody learns what others have here.
 */
export async function findParts(context: UploadContext, ids: readonly string[]): Promise<Parts | undefined> {
  const { store, expiration } = context
  const uploads: Upload[] = []
  for (const id of ids) {
    const part = await store.find(id)
    if (!part?.partial || part.state === 'deactivated' || isExpired(part, expiration)) return undefined
    uploads.push(part)
  }
  const size = uploads.reduce((sum, part) => sum + (part.length ?? part.offset), 0) // beyond 2^53 it is inexact, and too large anyway
  const length = uploads.every((part) => part.length !== undefined) ? size : undefined
  return { uploads, size, length, complete: uploads.every((part) => part.state === 'finished') }
}

/**
 * Gives a concatenation its bytes, if its parts have all of theirs; the caller holds its lock. The
 * parts are not locked: they are finished, so they do not change. What a crash, a shutdown or
 * `signal` interrupted goes on where it was when it is tried again.
 *
 * Resolves with the upload as it is then: complete, rejected as a part is gone or all are too large
 * together, or as it was, with its length if that is known by now.
 *
 * @throws {UploadError} `BUSY`, `SHUTTING_DOWN`; the reason of `signal`; whatever the store throws.
 */
export async function assemble(context: UploadContext, upload: Upload, signal?: AbortSignal): Promise<Upload> {
  const { store, pendingParts } = context
  const pending = await stillPending(context, upload)
  if (pending) return { ...upload, length: pending.length }
  const parts = await findParts(context, upload.parts ?? [])
  if (!parts) return reject(context, upload, new UploadError('PART_GONE'))
  const { size, length, complete, uploads } = parts
  if (size > (upload.maxSize ?? context.maxSize)) return reject(context, upload, new UploadError('MAX_SIZE_EXCEEDED'))
  if (length === undefined || !complete) {
    const part = uploads.find((each) => (length === undefined ? each.length === undefined : each.state !== 'finished'))
    if (part) pendingParts.set(upload, { id: part.id, length })
    return { ...upload, length }
  }
  pendingParts.delete(upload)
  const setLength = store.setLength?.bind(store)
  if (!store.read || !setLength) return { ...upload, length }

  assertNotBusy(context)
  return counted(context, async () => {
    if (upload.length === undefined) await setLength(upload, length)
    return copy(context, { ...upload, length }, uploads, signal)
  })
}

/**
 * Resolves with the part that a concatenation waited for when it was last looked at, if it still waits for that: then
 * there is no need to look at the others.
 */
async function stillPending({ store, pendingParts, expiration }: UploadContext, upload: Upload): Promise<PendingPart | undefined> {
  const pending = pendingParts.get(upload)
  if (!pending) return undefined
  const part = await store.find(pending.id)
  if (!part?.partial || part.state !== 'receiving' || isExpired(part, expiration)) return undefined
  return pending.length === undefined && part.length !== undefined ? undefined : pending
}

async function copy(context: UploadContext, upload: Upload, parts: readonly Upload[], signal: AbortSignal | undefined): Promise<Upload> {
  const { store, shutdownSignal } = context
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
  return settle(context, upload, 'rejected', { status, headers, body: message })
}

async function* bytesOf(store: UploadStore, parts: readonly Upload[], offset: number): AsyncGenerator<Buffer> {
  let skip = offset
  for (const part of parts) {
    if (skip < part.offset) yield* store.read!(part, { start: skip, end: part.offset })
    skip = Math.max(0, skip - part.offset)
  }
}
