// SPDX-License-Identifier: MIT

/**
 * The versions of the draft that clients speak (appendix "Draft Version Identification").
 *
 * While the protocol is a draft, a client says which version of it it means, and is told nothing that
 * it could take for another one. What differs between them is in one table; whatever reads or writes a
 * field that differs asks it.
 *
 * @module
 */

/** A version of the draft that can be spoken. */
export type InteropVersion = 3 | 4 | 5 | 6 | 7 | 8

/** What is particular to a version. */
export interface Dialect {
  readonly version: InteropVersion
  /** The field that tells whether the upload is complete, and the value by which it says so. */
  readonly completeness: { readonly name: string; readonly complete: boolean }
  /** Whether an append that says nothing of it completes the upload. */
  readonly completesByDefault: boolean
  /** Whether the content of an append must have the media type `application/partial-upload`. */
  readonly mediaType: boolean
  /** The status of an append that completes nothing. */
  readonly appended: 201 | 204
  /** Whether 104 may tell of progress. */
  readonly progress: boolean
  /** What the limit of an upload's age is called; `undefined`: there is no `Upload-Limit`. */
  readonly maxAge: 'max-age' | 'expires' | undefined
}

const INCOMPLETE = { name: 'Upload-Incomplete', complete: false }
const COMPLETE = { name: 'Upload-Complete', complete: true }

/** Draft -01, -02, -03, -04 and -05, -06 to -08, -09 and later. */
const DIALECTS: readonly Dialect[] = [
  { version: 3, completeness: INCOMPLETE, completesByDefault: true, mediaType: false, appended: 201, progress: false, maxAge: undefined },
  { version: 4, completeness: COMPLETE, completesByDefault: true, mediaType: false, appended: 201, progress: false, maxAge: undefined },
  { version: 5, completeness: COMPLETE, completesByDefault: true, mediaType: false, appended: 201, progress: true, maxAge: undefined },
  { version: 6, completeness: COMPLETE, completesByDefault: true, mediaType: true, appended: 201, progress: true, maxAge: 'expires' },
  { version: 7, completeness: COMPLETE, completesByDefault: false, mediaType: true, appended: 204, progress: true, maxAge: 'max-age' },
  { version: 8, completeness: COMPLETE, completesByDefault: false, mediaType: true, appended: 204, progress: true, maxAge: 'max-age' },
]

/** The version of the current draft, which is what the standard is going to say. */
export const CURRENT: Dialect = DIALECTS.at(-1) as Dialect

/** The dialect of a version; `undefined` if there is none. */
export function dialectOf(version: number | undefined): Dialect | undefined {
  return DIALECTS.find((dialect) => dialect.version === version)
}
