// SPDX-License-Identifier: MIT

/**
 * Receives a body: stores it behind the bytes that an upload has, whatever becomes of the client.
 *
 * The head of `http/incoming-body.ts` says who calls whom meanwhile.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { HappyReader, type HappyReaderError, type HappyReaderOptions } from '../happy-reader.ts'
import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publish, publishError, publishInterrupt, type InterruptReason } from './events.ts'
import { callHook } from './hooks.ts'
import { tooLargeCode } from './offset.ts'
import type { Upload, UploadStore } from './types.ts'
import { appendVerified, HashingReader } from './verify.ts'

/**
 * How a body ended. `upload` is as it is stored now.
 *
 * - `received`: all of it is stored.
 * - `gone`: the client left; there is nobody to answer.
 * - `answered`: the server shuts down, and the client was answered so.
 * - `interrupted`: answer with `error`. What came is stored, unless it had to match a checksum.
 * - `refused`: answer with `error`. Nothing of the body is kept.
 */
export type Received =
  | { readonly kind: 'received' | 'gone' | 'answered'; readonly upload: Upload }
  | { readonly kind: 'interrupted' | 'refused'; readonly upload: Upload; readonly error: UploadError }

/** A body, and what bounds it. */
export interface BoundedBody {
  readonly body: IncomingBody
  /** The most that it may bring, in bytes. */
  readonly maxBytes: number
  /** Ends the body; what came is stored. */
  readonly stop: AbortSignal
  /** Ends the storing. */
  readonly signal: AbortSignal
}

/** What a body is stored with. */
type BodyStore = Pick<UploadStore, 'append' | 'appendVerified' | 'truncate'>

/** For a body of which no byte may be kept: the upload may no longer have a file. */
const NO_STORE: BodyStore = {
  append: (upload, body) => discard(upload, body),
  appendVerified: async (upload, body, { verify }) => {
    await discard(upload, body)
    verify()
    return upload.offset
  },
  truncate: async () => {},
}

async function discard({ offset }: Upload, body: Readable): Promise<number> {
  await finished(body.resume())
  return offset
}

/**
 * Reads the body into the store; the caller holds the lock.
 *
 * 1. What arrives is appended until the body ends, fails, falls silent, exceeds `maxBytes`, or
 *    `stop` aborts. All of it is stored before this resolves.
 * 2. A body that is too large is removed as a whole, as a refused request changes nothing, or cut,
 *    as `body.excess` says. A body whose checksum does not match, or never came, is always removed.
 * 3. On shutdown the client is answered. What it sends until it has read the answer is stored too.
 *
 * @throws {UploadError} `BUSY` before anything is read; what `body.accept` or the store throws.
 */
export async function receive(context: UploadContext, upload: Upload, bounded: BoundedBody): Promise<Received> {
  const { body, maxBytes } = bounded
  const { slots, limits } = context
  // With nothing left to receive, the request asks what became of the bytes that are stored.
  slots.take(maxBytes > 0 ? limits.maxConcurrent : Infinity)
  try {
    body.accept()
    try {
      const received = await (body.checksum ? receiveVerified : receivePlain)(context, upload, bounded)
      if (received.upload.offset > upload.offset) publish('append', received.upload)
      if (received.kind !== 'received') publishInterrupt(received.upload, reasonOf(received))
      return received
    } finally {
      body.stored()
    }
  } finally {
    slots.giveBack()
  }
}

async function receivePlain(context: UploadContext, upload: Upload, bounded: BoundedBody): Promise<Received> {
  const { body, signal } = bounded
  const store = storeFor(context, bounded)
  const reader = new HappyReader(body.source, boundsOf(context, bounded))
  let stored = upload
  try {
    const onProgress = progressOf(context, upload, body)
    stored = moved(upload, await store.append(upload, reader, { signal, onProgress }))
  } finally {
    reader.destroy() // a store that failed has not read to the end, and others discard the rest of the source
  }
  const error = whyEnded(reader.error, context, upload)
  if (error === undefined) return { kind: wasCancelled(body) ? 'gone' : 'received', upload: stored }
  if (error === 'gone') return { kind: 'gone', upload: stored }
  if (error.status === 413 && body.excess !== 'cut') {
    await store.truncate(stored, upload.offset)
    return { kind: 'refused', upload, error }
  }
  if (error.code !== 'SHUTTING_DOWN') return { kind: 'interrupted', upload: stored, error }
  const maxBytes = bounded.maxBytes - reader.bytesRead
  return { kind: 'answered', upload: await answerShutdown(store, stored, { ...bounded, maxBytes }) }
}

/** Resolves with the upload as it is when the client has read its answer. */
async function answerShutdown(store: BodyStore, stored: Upload, bounded: BoundedBody): Promise<Upload> {
  const { body, maxBytes, signal } = bounded
  let last = stored
  await body.answerShutdown(stored, async (until) => {
    const rest = new HappyReader(body.source, { maxBytes, signal: until })
    try {
      last = moved(stored, await store.append(stored, rest, { signal }))
      if (rest.error?.code !== 'TOO_LARGE') return
      await store.truncate(last, stored.offset) // no further, as the answer may have given that offset
      last = stored
    } catch (error) {
      publishError(error as Error) // the client is answered already, and does not count on these bytes
    } finally {
      rest.destroy()
    }
  })
  return last
}

/** For a body that counts as a whole or not at all: if it was cut off, nothing is kept. */
async function receiveVerified(context: UploadContext, upload: Upload, bounded: BoundedBody): Promise<Received> {
  const { body, signal } = bounded
  const checksum = body.checksum!
  const reader = new HashingReader(body.source, checksum, boundsOf(context, bounded))
  const { offset, mismatch } = await appendVerified(storeFor(context, bounded), upload, { reader, checksum, signal })

  const stored = moved(upload, offset)
  const error = whyEnded(reader.error, context, upload)
  if (error === 'gone') return { kind: 'gone', upload: stored }
  if (error && error.status !== 413) return { kind: 'interrupted', upload: stored, error }
  const refusal = error ?? mismatch
  return refusal ? { kind: 'refused', upload: stored, error: refusal } : { kind: 'received', upload: stored }
}

function storeFor({ store }: UploadContext, { maxBytes }: BoundedBody): BodyStore {
  return maxBytes > 0 ? store : NO_STORE
}

function boundsOf({ limits }: UploadContext, { body, maxBytes, stop }: BoundedBody): HappyReaderOptions {
  return { maxBytes, expectedBytes: body.length, idleTimeoutMs: limits.idleTimeoutMs, signal: stop }
}

/**
 * Over HTTP/2 some clients end a body of no announced length before they report that they cancelled
 * it.
 */
function wasCancelled({ source, length }: IncomingBody): boolean {
  return length === undefined && (source as { aborted?: boolean }).aborted === true
}

/** A body without bytes is no activity: the store does not count it as such either. */
function moved(upload: Upload, offset: number): Upload {
  return offset === upload.offset ? upload : { ...upload, offset, updatedAt: new Date() }
}

/**
 * Reports progress at most once per `progressIntervalMs`. An error of `onProgress` harms no upload.
 */
function progressOf(
  context: UploadContext,
  upload: Upload,
  body: IncomingBody,
): ((offset: number) => void) | undefined {
  const { hooks: { onProgress }, limits: { progressIntervalMs }, acknowledged } = context
  if (!onProgress && !body.progress) return undefined
  let last = { atMs: performance.now(), offset: upload.offset }
  return (offset) => {
    const atMs = performance.now()
    if (atMs - last.atMs < progressIntervalMs || offset === last.offset) return
    last = { atMs, offset }
    if (onProgress) callHook(() => onProgress({ ...upload, offset })).catch(publishError)
    if (!body.progress) return
    acknowledged.note({ ...upload, offset })
    body.progress(offset)
  }
}

/** Why a body was not received as a whole. */
function reasonOf(received: Received): InterruptReason {
  if ('error' in received) return received.error.code
  return received.kind === 'gone' ? 'ABORTED' : 'SHUTTING_DOWN'
}

function whyEnded(
  error: HappyReaderError | undefined,
  { limits, shutdownSignal }: UploadContext,
  upload: Upload,
): UploadError | 'gone' | undefined {
  switch (error?.code) {
    case undefined:
      return undefined
    case 'ABORTED':
      return 'gone'
    case 'SHORT':
    case 'IDLE':
      return new UploadError(error.code)
    case 'TOO_LARGE':
      return new UploadError(tooLargeCode({ ...limits, ...upload, maxSize: upload.maxSize ?? limits.maxSize }))
    case 'INTERRUPTED':
      return new UploadError(shutdownSignal?.aborted ? 'SHUTTING_DOWN' : 'TAKEN_OVER')
  }
}
