// SPDX-License-Identifier: MIT

/**
 * What a {@link FileStoreError} says, and how errors of the file system become one.
 *
 * A caller compares `code`, never the class: a copy of this folder has a class of its own.
 *
 * @module
 */

/**
 * - `UPLOAD_EXISTS`: the id is taken.
 * - `UPLOAD_CORRUPT`: the sidecar cannot be read, or does not fit the data.
 * - `UPLOAD_TOO_NEW`: a later version of this store wrote the sidecar. Nothing of the upload was
 *   changed: run that version.
 * - `UPLOAD_MOVED_ON`: the upload has another offset than the one that was to be continued.
 * - `STORE_FULL`: the disk or the quota is full; what fitted is kept.
 * - `STORE_IN_USE`: another process uses the directory, and not both have set `shared: true`.
 */
export type FileStoreErrorCode =
  | 'UPLOAD_EXISTS' | 'UPLOAD_CORRUPT' | 'UPLOAD_TOO_NEW' | 'UPLOAD_MOVED_ON' | 'STORE_FULL' | 'STORE_IN_USE'

/** What a `FileStore` throws for states it knows. Compare `code`, not the class. */
export class FileStoreError extends Error {
  override readonly name: string = 'FileStoreError'
  readonly code: FileStoreErrorCode

  constructor(code: FileStoreErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** The `code` of whatever was thrown, if it has one. */
export function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code
}

/** Disk, quota, or the file system's limit on one file: in each case the store takes no more. */
export function asStoreFull(error: unknown): unknown {
  const isFull = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(String(codeOf(error)))
  return isFull ? new FileStoreError('STORE_FULL', 'There is no space left to store uploads', { cause: error }) : error
}
