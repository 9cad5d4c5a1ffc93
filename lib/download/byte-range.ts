// SPDX-License-Identifier: MIT

/**
 * The `Range` header (RFC 9110 section 14), for one range of bytes.
 *
 * @module
 */

/**
 * ```
 * Range        = "bytes=" ( int-range / suffix-range )
 * int-range    = 1*DIGIT "-" *DIGIT      ; first and last position; the last is included
 * suffix-range = "-" 1*DIGIT             ; so many bytes at the end
 * ```
 * Names of range units are compared without regard to case.
 */
const RANGE = /^bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))$/i

/** What a request asks for. Its `start` is included, its `end` is not. */
export type ByteRange =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: ByteRange = { kind: 'whole' }
const UNSATISFIABLE: ByteRange = { kind: 'unsatisfiable' }

/**
 * Reads a `Range` header against content of `length` bytes.
 *
 * 1. No header, a malformed one, another unit, or a last position before the first: `whole`.
 * 2. Several ranges: `whole` too. Ranges that overlap would multiply the work of one short request
 *    (RFC 9110 section 17.15); to leave the header unheard is always allowed (section 14.2).
 * 3. A range that begins behind the content, or asks for its last 0 bytes: `unsatisfiable`.
 * 4. Any other is a `part`, cut at the end of the content.
 *
 * Empty content has no part: its first byte is `unsatisfiable`, and its last bytes are the `whole`.
 * Positions may be as long as the header is. Rounding does them no harm: it begins at 2^53, and no
 * `length` is above that.
 *
 * ```
 * parseByteRange('bytes=0-4', 11)    // { kind: 'part', start: 0, end: 5 }
 * parseByteRange('bytes=6-', 11)     // { kind: 'part', start: 6, end: 11 }
 * parseByteRange('bytes=-5', 11)     // { kind: 'part', start: 6, end: 11 }
 * parseByteRange('bytes=11-', 11)    // { kind: 'unsatisfiable' }
 * parseByteRange('bytes=0-0,5-', 11) // { kind: 'whole' }
 * ```
 *
 * @throws {RangeError} if `length` is not a whole number of bytes.
 */
export function parseByteRange(header: string | undefined, length: number): ByteRange {
  if (!(Number.isSafeInteger(length) && length >= 0)) {
    throw new RangeError(`Cannot read a range as length must be a whole number of bytes: received ${length}`)
  }
  const [matched, first, last, suffix] = RANGE.exec(header ?? '') ?? []
  if (matched === undefined) return WHOLE
  if (first === undefined) return suffixRange(Number(suffix), length)
  return intRange(Number(first), last ? Number(last) : Infinity, length)
}

function intRange(first: number, last: number, length: number): ByteRange {
  if (last < first) return WHOLE
  if (first >= length) return UNSATISFIABLE
  return { kind: 'part', start: first, end: Math.min(last + 1, length) }
}

function suffixRange(bytes: number, length: number): ByteRange {
  if (bytes === 0) return UNSATISFIABLE
  if (length === 0) return WHOLE
  return { kind: 'part', start: Math.max(length - bytes, 0), end: length }
}
