// SPDX-License-Identifier: MIT

/**
 * The error of `LockFiles`.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

/**
 * What went wrong.
 *
 * - `LOCK_TIMEOUT`: the holder did not release the key within `timeoutMs`.
 * - `LOCK_CORRUPT`: the lock's file was not made by this library.
 * - `LOCKS_CLOSED`: `close()` was called.
 * - `LOCKS_UNSUPPORTED`: the directory does not allow Unix sockets or symbolic links.
 */
export type LockFilesErrorCode = 'LOCK_TIMEOUT' | 'LOCK_CORRUPT' | 'LOCKS_CLOSED' | 'LOCKS_UNSUPPORTED'

/** A lock cannot be acquired, or a directory cannot hold locks. Compare `code`, not the class. */
export class LockFilesError extends Error {
  override readonly name: string = 'LockFilesError'
  readonly code: LockFilesErrorCode

  constructor(code: LockFilesErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/**
 * Whether an error, of Node or of ours, has this code. It does not use `instanceof Error`: where
 * Jest runs this file, errors of Node are made by another `Error`.
 */
export function hasCode(error: unknown, code: string): boolean {
  return (error as { readonly code?: unknown } | null | undefined)?.code === code
}
