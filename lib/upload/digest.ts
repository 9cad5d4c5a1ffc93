// SPDX-License-Identifier: MIT

/**
 * The digest of a whole upload.
 *
 * The bytes are read back for it. To hash them as they come, the state of the hash would have to
 * survive requests and crashes, which `node:crypto` cannot do. And what is read back is what the
 * disk has.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publishError } from './events.ts'
import type { KnownDigest } from './shared.ts'
import type { Upload } from './types.ts'
import { whileFree } from './with-lock.ts'

/** How many wanted digests may be computed at once (each takes most of a core), and may wait. */
const MAX_COMPUTING = 2
const MAX_WAITING = 100

/** A digest that a client would like to have. */
export interface WantedDigest {
  /** By its name in `node:crypto`. */
  readonly algorithm: string
  /** How long the client waits for it, in milliseconds. */
  readonly maxWaitMs: number
}

/**
 * Resolves with the digest of all bytes, in base64. For stores that can read.
 *
 * @throws {UploadError} `BUSY`, `SHUTTING_DOWN`; whatever the store throws.
 */
export async function digestOf(context: UploadContext, upload: Upload, algorithm: string): Promise<string> {
  const { store, slots, limits, shutdownSignal } = context
  return slots.use(limits.maxConcurrent, async () => {
    const hash = createHash(algorithm)
    for await (const chunk of store.read!(upload, { start: 0, end: upload.offset }) as AsyncIterable<Buffer>) {
      if (shutdownSignal?.aborted) throw new UploadError('SHUTTING_DOWN')
      hash.update(chunk)
    }
    return hash.digest('base64')
  })
}

/**
 * Resolves with a digest of a finished upload. `undefined` if it takes longer than `maxWaitMs`, if
 * the server is busy, or if the bytes are no longer here.
 *
 * However many clients ask, the bytes are read once. A computation continues when the clients are
 * gone, and the store keeps the result if it can.
 */
export async function wantedDigest(
  context: UploadContext,
  upload: Upload,
  { algorithm, maxWaitMs }: WantedDigest,
): Promise<KnownDigest | undefined> {
  const { digest } = upload
  if (digest?.value !== undefined && digest.algorithm === algorithm) return { algorithm, value: digest.value }
  if (upload.movedAt) return undefined
  const { digests } = context
  const results = digests.results.get(upload) ?? new Map<string, Promise<KnownDigest | undefined>>()
  let computing = results.get(algorithm)
  if (!computing) {
    if (digests.waiting.length >= MAX_WAITING) return undefined
    computing = compute(context, upload, algorithm)
    results.set(algorithm, computing)
    digests.results.set(upload, results)
  }
  let timer: ReturnType<typeof setTimeout> | undefined
  const tooLate = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), maxWaitMs)))
  const result = await Promise.race([computing, tooLate]).finally(() => clearTimeout(timer))
  if (result && digest?.value === undefined) await keep(context, upload, result)
  return result
}

async function compute(context: UploadContext, upload: Upload, algorithm: string): Promise<KnownDigest | undefined> {
  const { digests } = context
  if (digests.computing < MAX_COMPUTING) digests.computing++
  else await new Promise<void>((resolve) => digests.waiting.push(resolve))
  try {
    const digest = { algorithm, value: await digestOf(context, upload, algorithm) }
    await keep(context, upload, digest) // even if no client waits for it any more
    return digest
  } catch (error) {
    digests.results.get(upload)?.delete(algorithm) // the next client that asks tries again
    if (!(error instanceof UploadError)) publishError(error as Error)
    return undefined
  } finally {
    const next = digests.waiting.shift()
    if (next) next() // it takes over our place
    else digests.computing--
  }
}

/**
 * Has the store keep a digest, if the upload's lock is free: the upload may be about to be removed.
 * If it is not, the next client that asks tries again. An error is published.
 */
async function keep(context: UploadContext, upload: Upload, digest: KnownDigest): Promise<void> {
  if (!context.store.setDigest) return
  try {
    await whileFree(context, upload.id, async ({ store }) => {
      const found = await store.find(upload.id)
      if (found?.state !== 'finished' || found.createdAt.getTime() !== upload.createdAt.getTime()) return
      const { algorithm = digest.algorithm, value } = found.digest ?? {}
      if (value === undefined && algorithm === digest.algorithm) await store.setDigest?.(found, digest)
    })
  } catch (error) {
    publishError(error as Error)
  }
}
