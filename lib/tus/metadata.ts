// SPDX-License-Identifier: MIT

/**
 * The `Upload-Metadata` header (tus section "Upload-Metadata").
 *
 * @module
 */

/**
 * ```
 * metadata = entry *( OWS "," OWS entry ) ; as in every list (RFC 9110 section 5.6.1)
 * entry    = key [ SP [ base64 ] ]
 * key      = 1*( %x21-2B / %x2D-7E )      ; visible ASCII without the comma
 * ```
 */
const ENTRY = /^[ \t]*([!-+\--~]+)(?: ([A-Za-z0-9+/]*={0,2}))?[ \t]*$/

/** A key alone: a store may hold keys that did not come in a header, and do not fit into one. */
const KEY = /^[!-+\--~]+$/

/** Base64 with its padding: whole groups of four (RFC 4648 section 4). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * Reads the header into a map, whose keys may be anything a client thought of. `undefined` means
 * malformed: an empty or repeated key, a value that is not base64, spaces elsewhere.
 *
 * Values are read as UTF-8. One that is not text is kept in the header's own encoding only.
 */
export function parseMetadata(header: string): Map<string, string> | undefined {
  const metadata = new Map<string, string>()
  for (const entry of header.split(',')) {
    const [, key, value = ''] = ENTRY.exec(entry) ?? []
    if (key === undefined || metadata.has(key) || !BASE64.test(value)) return undefined
    metadata.set(key, Buffer.from(value, 'base64').toString('utf8'))
  }
  return metadata
}

/**
 * Takes the white space around the commas out of a header that {@link parseMetadata} can read. It
 * means nothing, and clients that get the header back may not expect it. All else stays as it was
 * sent.
 */
export function trimMetadata(header: string): string {
  const entries = header.split(',').map((entry) => ENTRY.exec(entry) ?? [])
  return entries.map(([, key, value]) => (value === undefined ? key : `${key} ${value}`)).join(',')
}

/** Writes metadata as a header; `undefined` where none of them fits into one. */
export function formatMetadata(metadata: ReadonlyMap<string, string>): string | undefined {
  const entries = Array.from(metadata).filter(([key]) => KEY.test(key))
  if (entries.length === 0) return undefined
  return entries.map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`.trimEnd()).join(',')
}
