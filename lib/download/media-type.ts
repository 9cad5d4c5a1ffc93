// SPDX-License-Identifier: MIT

/**
 * Media types that someone else declared (RFC 9110 section 8.3.1), and those that may be shown.
 *
 * @module
 */

/**
 * ```
 * media-type = token "/" token [ OWS ";" … ]      ; what follows the semicolon is not read
 * token      = 1*tchar
 * tchar      = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^"
 *            / "_" / "`" / "|" / "~"
 * ```
 */
const MEDIA_TYPE = /^([!#$%&'*+\-.^_`|~0-9a-z]+\/[!#$%&'*+\-.^_`|~0-9a-z]+)[ \t]*(?:;|$)/i

/**
 * Types that a browser shows and does not run.
 *
 * Keep HTML, SVG, XML and PDF out of lists like this one: they hold scripts, and a script that a
 * stranger uploaded would run with the origin of the download.
 */
export const INLINE_MEDIA_TYPES: readonly string[] = [
  'image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif',
  'audio/mpeg', 'audio/mp4', 'audio/aac', 'audio/ogg', 'audio/wav', 'audio/webm', 'audio/flac',
  'video/mp4', 'video/webm', 'video/ogg',
  'text/plain',
]

/** Reads `type/subtype` in lower case, without its parameters. `undefined` means malformed. */
export function parseMediaType(text: string): string | undefined {
  return MEDIA_TYPE.exec(text)?.[1]?.toLowerCase()
}
