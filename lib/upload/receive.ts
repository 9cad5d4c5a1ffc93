// SPDX-License-Identifier: MIT

/**
 * Stores a body behind what an upload has, whatever becomes of the client.
 *
 * @module
 */

import { HappyReader, type HappyReaderError } from '../happy-reader.ts'
import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Upload, UploadStore } from './types.ts'

/**
 * How a body ended. `upload` is as it is stored now.
 *
 * - `received`: all of it is stored.
 * - `gone`: the client left; there is nobody to answer.
 * - `answered`: the server shuts down and the client has been told so.
 * - `refused`: `error` is to be answered.
 */
export type Received =
  | { readonly kind: 'received' | 'gone' | 'answered'; readonly upload: Upload }
  | { readonly kind: 'refused'; readonly upload: Upload; readonly error: UploadError }

/**
 * Reads the body into the store; the caller holds the lock.
 *
 * 1. What arrives is appended until the body ends, fails, falls silent, exceeds `maxBytes`, or
 *    `stop` aborts. All of it is stored before this resolves.
 * 2. A body that is too large is taken back as a whole: a refused request changes nothing.
 * 3. On shutdown the client is answered, and what it sends until it has read that is stored too.
 */
export async function receive(
  context: UploadContext,
  upload: Upload,
  body: IncomingBody,
  limits: { readonly maxBytes: number; readonly stop: AbortSignal; readonly signal: AbortSignal },
): Promise<Received> {
  const { store, idleTimeoutMs } = context
  const { maxBytes, stop, signal } = limits
  const reader = new HappyReader(body.source, { maxBytes, expectedBytes: body.length, idleTimeoutMs, signal: stop })
  const stored = await append(store, upload, reader, signal)

  const error = whyEnded(reader.error, context, upload)
  if (error === undefined) return { kind: 'received', upload: stored }
  if (error === 'gone') return { kind: 'gone', upload: stored }
  if (error.status === 413) {
    await store.truncate(stored, upload.offset)
    return { kind: 'refused', upload, error }
  }
  if (error.code !== 'SHUTTING_DOWN') return { kind: 'refused', upload: stored, error }

  let last: Upload = stored
  await body.answerShutdown(stored, async (until) => {
    const rest = new HappyReader(body.source, { maxBytes: maxBytes - reader.bytesRead, signal: until })
    last = await append(store, stored, rest, signal)
    if (rest.error?.code !== 'TOO_LARGE') return
    await store.truncate(last, upload.offset)
    last = upload
  })
  return { kind: 'answered', upload: last }
}

async function append(store: UploadStore, upload: Upload, reader: HappyReader, signal: AbortSignal): Promise<Upload> {
  try {
    return { ...upload, offset: await store.append(upload, reader, { signal }) }
  } finally {
    reader.destroy() // a store that failed has not read to the end, and the source is to be discarded by others
  }
}

function whyEnded(error: HappyReaderError | undefined, context: UploadContext, upload: Upload): UploadError | 'gone' | undefined {
  switch (error?.code) {
    case undefined:
      return undefined
    case 'ABORTED':
      return 'gone'
    case 'SHORT':
      return new UploadError('BAD_REQUEST', 'The body ended before its announced length')
    case 'TOO_LARGE':
      return new UploadError(upload.length === undefined ? 'MAX_SIZE_EXCEEDED' : 'TOO_LARGE')
    case 'IDLE':
      return new UploadError('IDLE')
    case 'INTERRUPTED':
      return new UploadError(context.shutdownSignal?.aborted ? 'SHUTTING_DOWN' : 'TAKEN_OVER')
  }
}
