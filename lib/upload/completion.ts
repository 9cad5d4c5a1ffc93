// SPDX-License-Identifier: MIT

/**
 * When an upload is complete.
 *
 * @module
 */

import type { Upload } from './types.ts'

/**
 * What a request says about the end of its upload.
 *
 * - `at-length`: it is complete once it has all its bytes. The only way of a client that knows no other.
 * - `here`: the end of this request is the end of the upload.
 * - `later`: another request will say so, even if this one brings the last byte.
 */
export type End = 'at-length' | 'here' | 'later'

/**
 * Whether an upload that is not settled yet has all that it needs to be finished. One whose client says
 * the end itself needs that as well as its bytes; once it is being finished, it had been said.
 */
export function isComplete(upload: Upload, end: End = 'later'): boolean {
  const { offset, length, state, completion } = upload
  if (state === 'finishing') return true
  return state === 'receiving' && offset === length && (completion !== 'explicit' || end !== 'later')
}
