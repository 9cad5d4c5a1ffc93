// SPDX-License-Identifier: MIT

/**
 * Numbers of bytes in headers: `Upload-Offset`, `Upload-Length`, `Content-Length`.
 *
 * @module
 */

/** `byte-count = "0" / ( %x31-39 *DIGIT )`: not negative, and one spelling per number. */
const BYTE_COUNT = /^(?:0|[1-9][0-9]{0,15})$/

/**
 * Reads a number of bytes. `undefined` means malformed: signs, fractions, exponents, leading
 * zeros, lists, and numbers above `Number.MAX_SAFE_INTEGER`, which could not be counted exactly.
 */
export function parseByteCount(text: string): number | undefined {
  if (!BYTE_COUNT.test(text)) return undefined
  const count = Number(text)
  return Number.isSafeInteger(count) ? count : undefined
}
