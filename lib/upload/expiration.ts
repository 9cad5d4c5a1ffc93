// SPDX-License-Identifier: MIT

/**
 * When an unfinished upload is given up.
 *
 * Nothing is stored for it: the moment follows from when the upload was created or last written to,
 * so a policy that changes holds for the uploads that are there already.
 *
 * @module
 */

import { isComplete } from './completion.ts'
import type { Upload } from './types.ts'

/** How long unfinished uploads are kept. */
export interface ExpirationPolicy {
  /** In milliseconds: 1 to 2^53-1, or Infinity for never. */
  readonly afterMs: number
  /** `creation`: the moment is fixed; `activity`: every byte that is stored moves it on. Default: `activity`. */
  readonly from?: 'creation' | 'activity' | undefined
}

/** Later moments have no date that a header can hold. */
const YEAR_10000_MS = Date.UTC(10_000, 0)

/**
 * Returns the moment at which the upload expires; `undefined` if it does not.
 *
 * An upload that has all its bytes does not, unless they were rejected, were moved away, or are no more
 * than a part of other uploads.
 */
export function expiresAt(upload: Upload, policy: ExpirationPolicy | undefined): Date | undefined {
  if (!policy) return undefined
  const { state, partial, createdAt, updatedAt, movedAt } = upload
  const isKept = state === 'finished' ? !movedAt : isComplete(upload) // also if a crash kept it from going on from there
  if (isKept && !partial) return undefined
  const since = movedAt ?? (policy.from === 'creation' ? createdAt : updatedAt)
  const momentMs = since.getTime() + policy.afterMs
  return momentMs < YEAR_10000_MS ? new Date(momentMs) : undefined
}

/** Whether that moment has passed. */
export function isExpired(upload: Upload, policy: ExpirationPolicy | undefined): boolean {
  const moment = expiresAt(upload, policy)
  return moment !== undefined && moment.getTime() <= Date.now()
}
