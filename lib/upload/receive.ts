// SPDX-License-Identifier: MIT

/**
 * Stores a body behind what an upload has, whatever becomes of the client.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { HappyReader, type HappyReaderError } from '../happy-reader.ts'
import { assertNotBusy, counted } from './busy.ts'
import type { ExpectedChecksum, IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publish, publishError, publishInterrupt, type InterruptReason } from './events.ts'
import { callHook } from './hooks.ts'
import { tooLargeCode } from './offset.ts'
import type { AppendOptions, Upload, UploadStore } from './types.ts'
import { appendVerified, HashingReader } from './verify.ts'

/**
 * How a body ended. `upload` is as it is stored now.
 *
 * - `received`: all of it is stored.
 * - `gone`: the client left; there is nobody to answer.
 * - `answered`: the server shuts down and the client has been told so.
 * - `interrupted`: `error` is to be answered. What came is stored, unless it had to match a checksum.
 * - `refused`: `error` is to be answered, and nothing of the body is kept.
 */
export type Received =
  | { readonly kind: 'received' | 'gone' | 'answered'; readonly upload: Upload }
  | { readonly kind: 'interrupted' | 'refused'; readonly upload: Upload; readonly error: UploadError }

/** What bounds {@link receive}. */
export interface ReceiveLimits {
  readonly maxBytes: number
  /** Ends the body; what came is stored. */
  readonly stop: AbortSignal
  /** Ends the storing. */
  readonly signal: AbortSignal
}

/** What a body is stored with. */
type BodyStore = Pick<UploadStore, 'append' | 'appendVerified' | 'truncate'>

/** For a body of which no byte may be kept. The bytes of the upload may have been moved away by then. */
const NO_STORE: BodyStore = {
  append: (upload, body) => discard(upload, body),
  appendVerified: async (upload, body, verify) => {
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
 * 2. A body that is too large is taken back as a whole, as a refused request changes nothing, or cut,
 *    as `body.excess` says. One whose checksum does not match, or never came, is taken back always.
 * 3. On shutdown the client is answered, and what it sends until it has read that is stored too.
 *
 * @throws {UploadError} `BUSY` before anything is read; whatever the store throws.
 */
export async function receive(context: UploadContext, upload: Upload, body: IncomingBody, limits: ReceiveLimits): Promise<Received> {
  const { idleTimeoutMs } = context
  const { maxBytes, stop, signal } = limits
  if (maxBytes > 0) assertNotBusy(context) // others may have begun since the caller looked
  body.accept()
  const store: BodyStore = maxBytes > 0 ? context.store : NO_STORE
  return counted(context, async () => {
    const bounds = { maxBytes, expectedBytes: body.length, idleTimeoutMs, signal: stop }
    const received = body.checksum
      ? await receiveVerified(context, store, upload, new HashingReader(body.source, body.checksum, bounds), body.checksum, signal)
      : await receivePlain(context, store, upload, new HappyReader(body.source, bounds), body, limits)
    if (received.upload.offset > upload.offset) publish('append', received.upload)
    if (received.kind !== 'received') publishInterrupt(received.upload, reasonOf(received))
    return received
  }).finally(body.stored)
}

async function receivePlain(
  context: UploadContext,
  store: BodyStore,
  upload: Upload,
  reader: HappyReader,
  body: IncomingBody,
  limits: ReceiveLimits,
): Promise<Received> {
  const { maxBytes, signal } = limits
  const stored = await append(store, upload, reader, { signal, onProgress: progressOf(context, upload, body) })

  const error = whyEnded(reader.error, context, upload)
  if (error === undefined) return { kind: wasCancelled(body) ? 'gone' : 'received', upload: stored }
  if (error === 'gone') return { kind: 'gone', upload: stored }
  if (error.status === 413 && body.excess !== 'cut') {
    await store.truncate(stored, upload.offset)
    return { kind: 'refused', upload, error }
  }
  if (error.code !== 'SHUTTING_DOWN') return { kind: 'interrupted', upload: stored, error }

  let last: Upload = stored
  await body.answerShutdown(stored, async (until) => {
    const rest = new HappyReader(body.source, { maxBytes: maxBytes - reader.bytesRead, signal: until })
    try {
      last = await append(store, stored, rest, { signal })
      if (rest.error?.code !== 'TOO_LARGE') return
      await store.truncate(last, stored.offset) // no further, as the client may have been told of it
      last = stored
    } catch (error) {
      publishError(error as Error) // the answer is out, and says nothing of these bytes
    }
  })
  return { kind: 'answered', upload: last }
}

/** A body that counts as a whole or not at all, so that of one that was cut off nothing is kept. */
async function receiveVerified(
  context: UploadContext,
  store: BodyStore,
  upload: Upload,
  reader: HashingReader,
  checksum: ExpectedChecksum,
  signal: AbortSignal,
): Promise<Received> {
  const { offset, mismatch } = await appendVerified(store, upload, reader, checksum, signal)

  const stored = moved(upload, offset)
  const error = whyEnded(reader.error, context, upload)
  if (error === 'gone') return { kind: 'gone', upload: stored }
  if (error && error.status !== 413) return { kind: 'interrupted', upload: stored, error }
  const refusal = error ?? mismatch
  return refusal ? { kind: 'refused', upload: stored, error: refusal } : { kind: 'received', upload: stored }
}

async function append(store: BodyStore, upload: Upload, reader: HappyReader, options: AppendOptions): Promise<Upload> {
  try {
    return moved(upload, await store.append(upload, reader, options))
  } finally {
    reader.destroy() // a store that failed has not read to the end, and the source is to be discarded by others
  }
}

/** Over HTTP/2 some clients end a body of no announced length before they say that they have cancelled it. */
function wasCancelled({ source, length }: IncomingBody): boolean {
  return length === undefined && (source as { aborted?: boolean }).aborted === true
}

/** What brought nothing is no activity: the store does not count it as such either. */
function moved(upload: Upload, offset: number): Upload {
  return offset === upload.offset ? upload : { ...upload, offset, updatedAt: new Date() }
}

/** Tells of progress no more often than every `progressIntervalMs`; what `onProgress` throws harms no upload. */
function progressOf(context: UploadContext, upload: Upload, body: IncomingBody): ((offset: number) => void) | undefined {
  const { hooks: { onProgress }, progressIntervalMs, acknowledged } = context
  if (!onProgress && !body.progress) return undefined
  let told = { atMs: performance.now(), offset: upload.offset }
  return (offset) => {
    const atMs = performance.now()
    if (atMs - told.atMs < progressIntervalMs || offset === told.offset) return
    told = { atMs, offset }
    if (onProgress) callHook(() => onProgress({ ...upload, offset })).catch(publishError)
    if (!body.progress) return
    acknowledged.note({ ...upload, offset })
    body.progress(offset)
  }
}

/** Why a body that was not received as a whole was not. */
function reasonOf(received: Received): InterruptReason {
  if ('error' in received) return received.error.code
  return received.kind === 'gone' ? 'ABORTED' : 'SHUTTING_DOWN'
}

function whyEnded(error: HappyReaderError | undefined, context: UploadContext, upload: Upload): UploadError | 'gone' | undefined {
  switch (error?.code) {
    case undefined:
      return undefined
    case 'ABORTED':
      return 'gone'
    case 'SHORT':
      return new UploadError('SHORT')
    case 'TOO_LARGE':
      return new UploadError(tooLargeCode({ ...context, ...upload, maxSize: upload.maxSize ?? context.maxSize }))
    case 'IDLE':
      return new UploadError('IDLE')
    case 'INTERRUPTED':
      return new UploadError(context.shutdownSignal?.aborted ? 'SHUTTING_DOWN' : 'TAKEN_OVER')
  }
}
