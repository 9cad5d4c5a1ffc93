// SPDX-License-Identifier: MIT

/**
 * Appends a body that has to match a checksum.
 *
 * @module
 */

import { createHash, type Hash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { HappyReader, type HappyReaderOptions } from '../happy-reader.ts'
import type { ExpectedChecksum } from './context.ts'
import { UploadError } from './errors.ts'
import type { Upload, UploadStore } from './types.ts'

/**
 * A reader that hashes what it hands on. There is no further stream behind it, which would buffer
 * bytes of its own.
 *
 * The algorithm of a checksum that follows the body is not known in advance, so all allowed ones
 * are computed. The alternative, to read the body back, needs a store that can read, and moves each
 * byte twice for every client. This costs CPU time only for clients that chose it.
 */
export class HashingReader extends HappyReader {
  readonly hashes: ReadonlyMap<string, Hash>

  constructor(source: Readable, { algorithms }: Pick<ExpectedChecksum, 'algorithms'>, options: HappyReaderOptions) {
    super(source, options)
    this.hashes = new Map(algorithms.map((algorithm) => [algorithm, createHash(algorithm)]))
  }

  override push(chunk: Buffer | null): boolean {
    if (chunk) for (const hash of this.hashes.values()) hash.update(chunk)
    return super.push(chunk)
  }
}

/** A body with the checksum that it has to match. */
export interface VerifiedBody {
  readonly reader: HashingReader
  readonly checksum: ExpectedChecksum
  /** Ends the storing. */
  readonly signal: AbortSignal
}

/**
 * Stores a body, and keeps it only if it is whole and matches its checksum.
 *
 * Resolves with the offset, old or new, and with what was wrong with the checksum, if the body was
 * whole.
 */
export async function appendVerified(
  store: Pick<UploadStore, 'appendVerified'>,
  upload: Upload,
  { reader, checksum, signal }: VerifiedBody,
): Promise<{ readonly offset: number; readonly mismatch: UploadError | undefined }> {
  let mismatch: UploadError | undefined
  const verify = (): boolean => {
    if (reader.error) return false
    try {
      const { algorithm, digest } = checksum.read()
      if (!reader.hashes.get(algorithm)?.digest().equals(digest)) throw new UploadError('CHECKSUM_MISMATCH')
      return true
    } catch (error) {
      if (!(error instanceof UploadError)) throw error
      mismatch = error
      return false
    }
  }
  try {
    return { offset: await store.appendVerified!(upload, reader, { verify, signal }), mismatch }
  } finally {
    reader.destroy() // a store that failed has not read to the end
  }
}
