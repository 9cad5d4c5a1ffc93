// SPDX-License-Identifier: MIT

/**
 * What the fields of a representation say of an upload, as metadata of the kind that tus clients
 * send, so that an application finds them in one place.
 *
 * @module
 */

import { header, mediaTypeOf } from '../http/request-headers.ts'
import type { UploadRequest } from '../upload/hooks.ts'

/** The media type of a piece (draft section "Media Type"), which says nothing of the whole. */
export const PARTIAL_MEDIA_TYPE = 'application/partial-upload'

/**
 * `filetype` from `Content-Type`, `filename` from `Content-Disposition` (RFC 6266),
 * `contentEncoding` from `Content-Encoding`: as the client wrote them, without a claim that they
 * are true or harmless.
 */
export function metadataOf(req: UploadRequest): ReadonlyMap<string, string> {
  const entries: readonly (readonly [key: string, value: string | undefined])[] = [
    ['filename', parseFilename(header(req, 'content-disposition') ?? '')],
    // Some clients give the media type of a piece for the first one, too.
    ['filetype', mediaTypeOf(req) === PARTIAL_MEDIA_TYPE ? undefined : header(req, 'content-type')],
    ['contentEncoding', header(req, 'content-encoding')],
  ]
  return new Map(entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined))
}

/**
 * ```
 * disposition-parm = token OWS "=" OWS ( token / quoted-string )     ; RFC 6266 section 4.1
 * quoted-string    = DQUOTE *( qdtext / quoted-pair ) DQUOTE         ; RFC 9110 section 5.6.4
 * ```
 * Sticky, so that a parameter begins where the one before it ended. A quoted-string is read part by
 * part: a pattern that repeats a choice takes the stack for it, which a long text exhausts.
 */
const PARAMETER = /\s*;\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*(?:"|([!#$%&'*+\-.^_`|~0-9A-Za-z]+))/y
const QUOTED_PART = /([^"\\]*)(?:"|\\(.))/y

/** `ext-value = "UTF-8" "'" [ language ] "'" value-chars` (RFC 8187 section 3.2.1). */
const EXTENDED = /^utf-8'[A-Za-z0-9-]*'(.*)$/i

/**
 * The file name; of two the one that need not be ASCII. `undefined` if it has no name, or something
 * before it is malformed.
 */
export function parseFilename(disposition: string): string | undefined {
  const names = new Map<string, string>()
  PARAMETER.lastIndex = /^\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+/.exec(disposition)?.[0].length ?? disposition.length
  for (let match = PARAMETER.exec(disposition); match; match = PARAMETER.exec(disposition)) {
    const [, key = '', token] = match
    const value = token ?? readQuoted(disposition)
    if (value === undefined) break
    names.set(key.toLowerCase(), value)
  }
  return decodeExtended(names.get('filename*')) ?? names.get('filename')
}

/** Reads on behind an opening quote, up to behind the closing one; `undefined` if there is none. */
function readQuoted(text: string): string | undefined {
  const parts: string[] = []
  QUOTED_PART.lastIndex = PARAMETER.lastIndex
  for (let match = QUOTED_PART.exec(text); match; match = QUOTED_PART.exec(text)) {
    const [, plain = '', escaped] = match
    parts.push(plain, escaped ?? '')
    PARAMETER.lastIndex = QUOTED_PART.lastIndex
    if (escaped === undefined) return parts.join('')
  }
  return undefined
}

function decodeExtended(value: string | undefined): string | undefined {
  const [, encoded] = EXTENDED.exec(value ?? '') ?? []
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}
