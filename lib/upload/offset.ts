// SPDX-License-Identifier: MIT

/**
 * The arithmetic of offsets: pure, total, and exact up to `Number.MAX_SAFE_INTEGER`.
 *
 * @module
 */

/** What an append asks for, and where the upload stands. All in bytes. */
export interface AppendPlanInput {
  /** Bytes stored so far. */
  readonly offset: number
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  /** The most that an upload may grow to. */
  readonly maxSize: number
  /** The offset at which the client wants to append. */
  readonly claimedOffset: number
  /** The length of the request's body; `undefined` if it was not announced. */
  readonly bodyLength: number | undefined
  /** The most that one request may append. Default: as much as the upload takes. */
  readonly maxAppendSize?: number | undefined
}

/** `accepted`: read at most `maxBytes`. `refused`: for this reason, before anything is read. */
export type AppendPlan =
  | { readonly kind: 'accepted'; readonly maxBytes: number }
  | { readonly kind: 'refused'; readonly code: 'OFFSET_CONFLICT' | TooLargeCode }

/** Which limit a body does not fit into. */
export type TooLargeCode = 'TOO_LARGE' | 'MAX_SIZE_EXCEEDED' | 'APPEND_TOO_LARGE'

/**
 * Decides about an append: the claimed offset must be the stored one, and the body must fit into
 * what is left. Nothing is added, and no difference is negative, so no result leaves the range in
 * which numbers are exact.
 */
export function planAppend(input: AppendPlanInput): AppendPlan {
  const { offset, length, maxSize, claimedOffset, bodyLength, maxAppendSize = Infinity } = input
  if (claimedOffset !== offset) return { kind: 'refused', code: 'OFFSET_CONFLICT' }
  const maxBytes = Math.min(remainingBytes(offset, length, maxSize), maxAppendSize)
  if (bodyLength !== undefined && bodyLength > maxBytes) return { kind: 'refused', code: tooLargeCode(input) }
  return { kind: 'accepted', maxBytes }
}

/** Returns which limit a body of too many bytes exceeds first. */
export function tooLargeCode(
  input: Pick<AppendPlanInput, 'offset' | 'length' | 'maxSize' | 'maxAppendSize'>,
): TooLargeCode {
  const { offset, length, maxSize, maxAppendSize = Infinity } = input
  if (maxAppendSize < remainingBytes(offset, length, maxSize)) return 'APPEND_TOO_LARGE'
  return length === undefined ? 'MAX_SIZE_EXCEEDED' : 'TOO_LARGE'
}

/** How many bytes an upload still takes; never negative. */
export function remainingBytes(offset: number, length: number | undefined, maxSize: number): number {
  return Math.max(0, (length ?? maxSize) - offset)
}
