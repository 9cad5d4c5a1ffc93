// SPDX-License-Identifier: MIT

/**
 * The digest of a whole upload.
 *
 * The bytes are read back for it. To hash them as they come would need the state of the hash to survive
 * requests and crashes, which `node:crypto` cannot do; and what is read back is what the disk has.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { assertNotBusy, counted } from './busy.ts'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publishError } from './events.ts'
import { fence } from './fence.ts'
import type { Upload, UploadDigest } from './types.ts'

/** A digest that is known. */
export type KnownDigest = UploadDigest & { readonly value: string }

/** How many digests that are only wanted may be computed at once, as each takes most of a core, and wait for that. */
const MAX_COMPUTING = 2
const MAX_WAITING = 100

/**
 * Resolves with the digest of all bytes, in base64. For stores that can read.
 *
 * @throws {UploadError} `BUSY`, `SHUTTING_DOWN`; whatever the store throws.
 */
export async function digestOf(context: UploadContext, upload: Upload, algorithm: string): Promise<string> {
  const { store, shutdownSignal } = context
  assertNotBusy(context)
  return counted(context, async () => {
    const hash = createHash(algorithm)
    for await (const chunk of store.read!(upload, { start: 0, end: upload.offset }) as AsyncIterable<Buffer>) {
      if (shutdownSignal?.aborted) throw new UploadError('SHUTTING_DOWN')
      hash.update(chunk)
    }
    return hash.digest('base64')
  })
}

/**
 * Resolves with a digest of a finished upload that a client would like to have. `undefined` if it takes longer
 * than `maxWaitMs`, if the server is busy, or if the bytes are no longer here.
 *
 * However many ask, the bytes are read once: what was begun goes on when those who asked are gone, and the
 * store keeps the result if it can.
 */
export async function wantedDigest(context: UploadContext, upload: Upload, algorithm: string, maxWaitMs: number): Promise<KnownDigest | undefined> {
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
    await keep(context, upload, digest) // even if nobody waits for it any more
    return digest
  } catch (error) {
    digests.results.get(upload)?.delete(algorithm) // the next one to ask tries again
    if (!(error instanceof UploadError)) publishError(error as Error)
    return undefined
  } finally {
    const next = digests.waiting.shift()
    if (next) next() // has our place
    else digests.computing--
  }
}

/** Has the store keep a digest, if the upload's lock is free: it may be about to be removed. What fails is published. */
async function keep({ store, locker }: UploadContext, upload: Upload, digest: KnownDigest): Promise<void> {
  if (!store.setDigest) return
  try {
    const lock = await locker.tryAcquire(upload.id)
    if (!lock) return // whoever asks next tries again
    try {
      const found = await store.find(upload.id)
      const isSame = found?.state === 'finished' && found.createdAt.getTime() === upload.createdAt.getTime()
      const isWanted = found?.digest === undefined || (found.digest.value === undefined && found.digest.algorithm === digest.algorithm)
      if (isSame && isWanted) await fence(store, lock).setDigest?.(found, digest)
    } finally {
      await lock.release()
    }
  } catch (error) {
    publishError(error as Error)
  }
}
