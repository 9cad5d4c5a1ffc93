// SPDX-License-Identifier: MIT

/**
 * Uploads that are made of others.
 *
 * @module
 */

import { Readable } from 'node:stream'
import { assertNotBusy } from './busy.ts'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isExpired } from './expiration.ts'
import { settle } from './settle.ts'
import type { Upload, UploadStore } from './types.ts'

/** What the parts of a concatenation come to. */
export interface Parts {
  /** In order; one that comes twice is here twice. */
  readonly uploads: readonly Upload[]
  /** Bytes at the least: those of parts whose length is not known are counted as far as they came. */
  readonly size: number
  /** Bytes in all; `undefined` as long as the length of a part is not known. */
  readonly length: number | undefined
  readonly complete: boolean
}

/** More than any client makes, and a bound for what one request can set off. */
export const MAX_PARTS = 10_000

/**
 * Looks the parts up. Resolves with `undefined` if one of them cannot be used: it does not exist, is
 * no partial upload, has expired or was deactivated. Why is not said, so that nobody learns what others have here.
 */
export async function findParts(context: UploadContext, ids: readonly string[]): Promise<Parts | undefined> {
  const { store, expiration } = context
  const found = new Map<string, Upload>()
  for (const id of ids) {
    const part = found.get(id) ?? (await store.find(id))
    if (!part?.partial || part.state === 'deactivated' || isExpired(part, expiration)) return undefined
    found.set(id, part)
  }
  const uploads = ids.map((id) => found.get(id) as Upload)
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
  const { store, underWay } = context
  const parts = await findParts(context, upload.parts ?? [])
  if (!parts) return reject(context, upload, new UploadError('PART_GONE'))
  const { size, length, complete, uploads } = parts
  if (size > (upload.maxSize ?? context.maxSize)) return reject(context, upload, new UploadError('MAX_SIZE_EXCEEDED'))
  if (length === undefined || !complete || !store.read || !store.setLength) return { ...upload, length }

  assertNotBusy(context)
  underWay.bodies++ // it costs as much as a body that is received
  try {
    if (upload.length === undefined) await store.setLength(upload, length)
    return await copy(context, { ...upload, length }, uploads, signal)
  } finally {
    underWay.bodies--
  }
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
