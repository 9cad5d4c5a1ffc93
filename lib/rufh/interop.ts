// SPDX-License-Identifier: MIT

/**
 * The versions of the draft that clients speak (appendix "Draft Version Identification").
 *
 * While the protocol is a draft, a client names the version it speaks, and is sent nothing that it
 * could take for another one. What differs between them is in one table; whatever reads or writes a
 * field that differs asks it.
 *
 * @module
 */

/**
 * The number of a version of the draft: a whole number from 3 to 99. One that is newer than the
 * newest in the table is served as that one, under its own number.
 */
export type InteropVersion = number

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
  /** Whether HEAD and DELETE with a field for the offset or for completeness are refused. */
  readonly refusesState: boolean
  /**
   * Whether an append without content to a complete upload gets the final response again, even if
   * it says that more follows.
   */
  readonly replays: boolean
}

/** Draft -01. */
const VERSION_3: Dialect = {
  version: 3,
  completeness: { name: 'Upload-Incomplete', complete: false },
  completesByDefault: true,
  mediaType: false,
  appended: 201,
  progress: false,
  maxAge: undefined,
  refusesState: true,
  replays: false,
}

/** Drafts -02, -03, -04 and -05, -06 to -08, -09 to -11, -12: each with what it changed. */
const VERSION_4: Dialect = { ...VERSION_3, version: 4, completeness: { name: 'Upload-Complete', complete: true } }
const VERSION_5: Dialect = { ...VERSION_4, version: 5, progress: true }
const VERSION_6: Dialect = { ...VERSION_5, version: 6, mediaType: true, maxAge: 'expires' }
const VERSION_7: Dialect = {
  ...VERSION_6,
  version: 7,
  completesByDefault: false,
  appended: 204,
  maxAge: 'max-age',
  refusesState: false,
}
const VERSION_8: Dialect = { ...VERSION_7, version: 8 }
const VERSION_9: Dialect = { ...VERSION_8, version: 9, replays: true }

const DIALECTS: readonly Dialect[] = [VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9]
/** Two digits: a longer number is a mistake, and so is a year. */
const LAST = 99

/** The newest version in the table. It is served to clients that name no version, too. */
export const CURRENT: Dialect = VERSION_9

/** The versions that are served unless others are chosen. */
export const DEFAULT_VERSIONS: readonly InteropVersion[] = [8, 9]

/** The dialect of a version, known or newer; `undefined` if the number is no version. */
export function dialectOf(version: number | undefined): Dialect | undefined {
  const known = DIALECTS.find((dialect) => dialect.version === version)
  if (known || version === undefined) return known
  return Number.isInteger(version) && version > CURRENT.version && version <= LAST ? { ...CURRENT, version } : undefined
}

/**
 * Returns a choice of versions as it is. It may be empty, and may have a version twice.
 *
 * @throws {TypeError} if it is not an array of numbers, {@link RangeError} if a number is not a
 * version.
 */
export function checkVersions(versions: readonly InteropVersion[]): readonly InteropVersion[] {
  const what = 'Cannot accept draft versions as interopVersions must be'
  if (!Array.isArray(versions)) throw new TypeError(`${what} an array: received ${typeof versions}`)
  for (const version of versions as readonly unknown[]) {
    if (typeof version !== 'number') throw new TypeError(`${what} numbers: received ${typeof version}`)
    if (!dialectOf(version)) throw new RangeError(`${what} whole numbers from 3 to ${LAST}: received ${version}`)
  }
  return versions
}
