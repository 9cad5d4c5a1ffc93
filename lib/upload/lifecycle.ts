// SPDX-License-Identifier: MIT

/**
 * The life of an upload: when it is complete, when it is settled, and when it expires.
 *
 * All but `settle` is pure. Nothing is stored for expiration: the moment follows from when the
 * upload was created or last written to, so a new policy also applies to the uploads that exist
 * already.
 *
 * @module
 */

import { publish } from './events.ts'
import type { Outcome, Upload, UploadStore } from './types.ts'

/**
 * What a request says about the end of its upload.
 *
 * - `at-length`: the upload is complete once it has all its bytes. For clients that know no other
 *   end.
 * - `here`: the end of this request is the end of the upload.
 * - `later`: another request will say so, even if this one brings the last byte.
 */
export type End = 'at-length' | 'here' | 'later'

/** How long unfinished uploads are kept. */
export interface ExpirationPolicy {
  /** In milliseconds: 1 to 2^53-1, or Infinity for never. */
  readonly afterMs: number
  /**
   * `creation`: the moment is fixed; `activity`: every byte that is stored postpones it. Default:
   * `activity`.
   */
  readonly from?: 'creation' | 'activity' | undefined
}

/** The end of a life, with the answer that is given from then on. */
export interface Settlement {
  readonly state: 'finished' | 'rejected' | 'deactivated'
  readonly outcome?: Outcome | undefined
}

/** Later moments have no date that a header can hold. */
const YEAR_10000_MS = Date.UTC(10_000, 0)

/**
 * Whether an upload that is not settled has all that it needs to be finished. An upload whose
 * client says the end itself needs that as well as its bytes. Once it is being finished, the end
 * was said.
 */
export function isComplete(upload: Upload, end: End): boolean {
  const { offset, length, state, completion } = upload
  if (state === 'finishing') return true
  return state === 'receiving' && offset === length && (completion !== 'explicit' || end !== 'later')
}

/** Whether nothing is left to do: the bytes are final, and so is the answer if there is one. */
export function isSettled(upload: Upload): boolean {
  return upload.state !== 'receiving' && upload.state !== 'finishing'
}

/** Settles an upload durably, and publishes that. The caller holds the lock. */
export async function settle(
  { store }: { readonly store: UploadStore },
  upload: Upload,
  { state, outcome }: Settlement,
): Promise<Upload> {
  await store.setState(upload, state, outcome)
  const settled: Upload = { ...upload, state, outcome }
  publish(state === 'finished' ? 'finish' : 'reject', settled)
  return settled
}

/**
 * Returns the moment at which the upload expires; `undefined` if it does not.
 *
 * An upload that has all its bytes does not expire, even if a crash kept it from being finished.
 * Those whose bytes were rejected or moved away do, and so do the parts of other uploads.
 */
export function expiresAt(upload: Upload, policy: ExpirationPolicy | undefined): Date | undefined {
  if (!policy) return undefined
  const { state, partial, createdAt, updatedAt, movedAt } = upload
  const isKept = state === 'finished' ? !movedAt : isComplete(upload, 'later')
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
