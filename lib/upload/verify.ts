// SPDX-License-Identifier: MIT

/**
 * Appends a body that has to match a checksum.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { HappyReader } from '../happy-reader.ts'
import type { ExpectedChecksum, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Upload } from './types.ts'

/**
 * Hashes the body on its way into the store, which keeps it only if it is whole and matches.
 *
 * A checksum that follows the body is of an algorithm that is not known before, so all that are
 * allowed are computed. The alternative, to read the body back, needs a store that can, and has
 * bytes travel twice for every client; this costs CPU for those who chose it.
 *
 * Resolves with the offset, old or new, and with what was wrong with the checksum, if the body was whole.
 */
export async function appendVerified(
  context: UploadContext,
  upload: Upload,
  body: HappyReader,
  checksum: ExpectedChecksum,
  signal: AbortSignal,
): Promise<{ readonly offset: number; readonly mismatch: UploadError | undefined }> {
  const hashes = new Map(checksum.algorithms.map((algorithm) => [algorithm, createHash(algorithm)]))
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      for (const hash of hashes.values()) hash.update(chunk)
      done(null, chunk)
    },
  })
  let mismatch: UploadError | undefined
  const verify = (): boolean => {
    if (body.error) return false
    try {
      const { algorithm, digest } = checksum.read()
      if (!hashes.get(algorithm)?.digest().equals(digest)) throw new UploadError('CHECKSUM_MISMATCH')
      return true
    } catch (error) {
      if (!(error instanceof UploadError)) throw error
      mismatch = error
      return false
    }
  }
  const hashed = pipeline(body, hashing).catch(() => {}) // what fails it is the store, which says so itself
  try {
    return { offset: await context.store.appendVerified!(upload, hashing, verify, { signal }), mismatch }
  } finally {
    hashing.destroy()
    await hashed
    body.destroy()
  }
}
