// SPDX-License-Identifier: MIT

/**
 * Problem details (RFC 9457), for the errors that the draft has types for (section "Problem
 * Types").
 *
 * @module
 */

import type { UploadError } from '../upload/errors.ts'

const REGISTRY = 'https://iana.org/assignments/http-problem-types#'

/** The media type of {@link problemOf}. */
export const PROBLEM_MEDIA_TYPE = 'application/problem+json'

/**
 * Describes an error as JSON; `undefined` if it is of none of the types. `providedOffset` is what
 * the request said.
 */
export function problemOf({ code, upload }: UploadError, providedOffset: number | undefined): string | undefined {
  switch (code) {
    case 'OFFSET_CONFLICT':
      return upload && problem('mismatching-upload-offset', 'The offset does not match the offset of the upload', {
        'expected-offset': upload.offset,
        'provided-offset': providedOffset,
      })
    case 'LENGTH_CONFLICT':
    case 'TOO_LARGE': // than what is left of its upload: no smaller request would mend that
      return problem('inconsistent-upload-length', 'The length does not match the length of the upload')
    case 'COMPLETED':
      return problem('completed-upload', 'The upload is already complete')
    default:
      return undefined
  }
}

function problem(type: string, title: string, members: Readonly<Record<string, number | undefined>> = {}): string {
  return JSON.stringify({ type: `${REGISTRY}${type}`, title, ...members })
}
