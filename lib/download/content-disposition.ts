// SPDX-License-Identifier: MIT

/**
 * The `Content-Disposition` header (RFC 6266) for a file name that a stranger chose.
 *
 * Two forms of the name go out: one in ASCII that every client reads, and, where that one is not
 * the name itself, one in UTF-8 (RFC 8187), which clients prefer.
 *
 * @module
 */

/** What most file systems take, in bytes of UTF-8. */
const MAX_NAME_BYTES = 255

/** With the `u` flag a pair is one character, so that this is a surrogate without the other one. */
const LONE_SURROGATE = /\p{Surrogate}/gu

/**
 * Controls, separators of lines, and what makes text run the other way: `gpj.exe` can look like
 * `exe.jpg`.
 */
const INVISIBLE = /[\p{Control}\u2028-\u202e\u2066-\u2069]/gu

/** Whatever hides a file, or names a folder: `.profile`, `..`. */
const LEADING_DOTS = /^[.\s]+/

/**
 * ```
 * filename  = DQUOTE *( SP / "!" / %x23-24 / %x26-5B / %x5D-7E ) DQUOTE
 * ```
 * A quoted-string without what RFC 6266 appendix D warns of: escapes, which some clients do not
 * undo, and `%`, which some do.
 */
const NOT_IN_FILENAME = /[^ !#$&-[\]-~]/gu

/**
 * ```
 * filename* = "UTF-8''" *( attr-char / "%" 2HEXDIG )             ; RFC 8187 section 3.2.1
 * attr-char = ALPHA / DIGIT / "!" / "#" / "$" / "&" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
 * ```
 * What `encodeURIComponent` leaves as it is and no attr-char.
 */
const NOT_ATTR_CHAR = /['()*]/g

/**
 * Writes the header. Without a name, or with one of which nothing is left, it is the type alone.
 *
 * Whatever the name holds, the result is visible ASCII and spaces: no header can be split by it,
 * and no parameter added. See {@link sanitizeFilename} for what becomes of the name.
 *
 * ```
 * formatContentDisposition('inline', 'a b') // inline; filename="a b"
 * formatContentDisposition('inline', 'ï')   // inline; filename="_"; filename*=UTF-8''%C3%AF
 * ```
 */
export function formatContentDisposition(type: 'attachment' | 'inline', filename: string | undefined): string {
  const name = sanitizeFilename(filename ?? '')
  if (name === undefined) return type
  const plain = name.replace(NOT_IN_FILENAME, '_')
  return `${type}; filename="${plain}"${plain === name ? '' : `; filename*=UTF-8''${encodeAttribute(name)}`}`
}

/**
 * A name to suggest for a file, out of any text; `undefined` if nothing is left of it.
 *
 * 1. Lone surrogates become U+FFFD: they have no UTF-8.
 * 2. Control characters, line separators and bidirectional overrides go.
 * 3. So do folders, whichever slash they end with, and then leading dots and outer white space.
 * 4. What exceeds 255 bytes of UTF-8 is cut off between two characters, extension and all.
 *
 * It is a suggestion that a browser treats with care of its own. To use it as a path is not safe:
 * systems have names with a meaning (`CON`, `a:b`), and uploads have the same name.
 */
export function sanitizeFilename(text: string): string | undefined {
  const visible = text.replace(LONE_SURROGATE, '\ufffd').replace(INVISIBLE, '')
  const afterSlash = Math.max(visible.lastIndexOf('/'), visible.lastIndexOf('\\')) + 1
  const name = visible.slice(afterSlash).replace(LEADING_DOTS, '')
  const { read } = new TextEncoder().encodeInto(name, new Uint8Array(MAX_NAME_BYTES))
  return name.slice(0, read).trimEnd() || undefined
}

function encodeAttribute(text: string): string {
  const escape = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  return encodeURIComponent(text).replace(NOT_ATTR_CHAR, escape)
}
