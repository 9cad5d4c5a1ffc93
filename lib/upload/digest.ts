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
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { Upload } from './types.ts'

/**
 * Resolves with the digest of all bytes, in base64; `undefined` if it was not `wanted` any more before it was
 * known. For stores that can read.
 *
 * @throws {UploadError} `SHUTTING_DOWN`; whatever the store throws.
 */
export async function digestOf(
  { store, shutdownSignal }: UploadContext,
  upload: Upload,
  algorithm: string,
  wanted: () => boolean = () => true,
): Promise<string | undefined> {
  const hash = createHash(algorithm)
  for await (const chunk of store.read!(upload, { start: 0, end: upload.offset }) as AsyncIterable<Buffer>) {
    if (shutdownSignal?.aborted) throw new UploadError('SHUTTING_DOWN')
    if (!wanted()) return undefined
    hash.update(chunk)
  }
  return hash.digest('base64')
}
