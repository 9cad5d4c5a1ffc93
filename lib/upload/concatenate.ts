// SPDX-License-Identifier: MIT

/**
 * Uploads that are made of others.
 *
 * @module
 */

import { Readable } from 'node:stream'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publish } from './events.ts'
import { isExpired } from './expiration.ts'
import type { Upload, UploadStore } from './types.ts'

/** What the parts of a concatenation come to. */
export interface Parts {
  /** In order; one that comes twice is here twice. */
  readonly uploads: readonly Upload[]
  /** Bytes in all; `undefined` as long as the length of a part is not known. */
  readonly length: number | undefined
  readonly complete: boolean
}

/** More than any client makes, and a bound for what one request can set off. */
export const MAX_PARTS = 10_000

/**
 * Looks the parts up. Resolves with `undefined` if one of them cannot be used: it does not exist, is
 * no partial upload, or has expired. Why is not said, so that nobody learns what others have here.
 *
 * @throws {UploadError} `MAX_SIZE_EXCEEDED` if they are too large together.
 */
export async function findParts(context: UploadContext, ids: readonly string[], maxSize: number): Promise<Parts | undefined> {
  const { store, expiration } = context
  const found = new Map<string, Upload>()
  for (const id of ids) {
    const part = found.get(id) ?? (await store.find(id))
    if (!part?.partial || isExpired(part, expiration)) return undefined
    found.set(id, part)
  }
  const uploads = ids.map((id) => found.get(id) as Upload)
  let atLeast = 0
  for (const { length, offset } of uploads) {
    if ((length ?? offset) > maxSize - atLeast) throw new UploadError('MAX_SIZE_EXCEEDED')
    atLeast += length ?? offset
  }
  const length = uploads.every((part) => part.length !== undefined) ? atLeast : undefined
  return { uploads, length, complete: uploads.every((part) => part.state === 'finished') }
}

/**
 * Gives a concatenation its bytes, if its parts have all of theirs; the caller holds its lock. The
 * parts are not locked: they are finished, so they do not change. What a crash interrupted goes on
 * where it was.
 *
 * Resolves with the upload as it is then: complete, rejected as a part is gone or all are too large
 * together, or as it was, with its length if that is known by now.
 */
export async function assemble(context: UploadContext, upload: Upload): Promise<Upload> {
  const { store, shutdownSignal: signal } = context
  let parts: Parts | undefined
  try {
    parts = await findParts(context, upload.parts ?? [], upload.maxSize ?? context.maxSize)
    if (!parts) throw new UploadError('PART_GONE')
  } catch (error) {
    if (!(error instanceof UploadError)) throw error
    const outcome = { status: error.status, headers: {}, body: error.message }
    await store.setState(upload, 'rejected', outcome)
    const rejected: Upload = { ...upload, state: 'rejected', outcome }
    publish('reject', rejected)
    return rejected
  }
  const { length } = parts
  if (length === undefined || !parts.complete || !store.read || !store.setLength) return { ...upload, length }
  if (upload.length === undefined) await store.setLength(upload, length)
  const whole: Upload = { ...upload, length }
  try {
    const body = Readable.from(bytesOf(store, parts.uploads, upload.offset), { objectMode: false })
    return { ...whole, offset: await store.append(whole, body, { signal }) }
  } catch (error) {
    throw signal?.aborted ? new UploadError('SHUTTING_DOWN', undefined, error) : error
  }
}

async function* bytesOf(store: UploadStore, parts: readonly Upload[], offset: number): AsyncGenerator<Buffer> {
  let skip = offset
  for (const part of parts) {
    if (skip < part.offset) yield* store.read!(part, { start: skip, end: part.offset })
    skip = Math.max(0, skip - part.offset)
  }
}
