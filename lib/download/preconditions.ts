// SPDX-License-Identifier: MIT

/**
 * Conditional requests for something that exists (RFC 9110 section 13), by GET or HEAD.
 *
 * @module
 */

import { parseHttpDate } from './http-date.ts'

/** What tells one content from another. */
export interface Validators {
  /** As the `ETag` header has it, in its quotes. */
  readonly etag: string
  /** `Last-Modified` in whole seconds since 1970. */
  readonly modifiedSeconds: number
}

/**
 * The headers that are conditions; `req.headers` of `node:http` and `node:http2` is one of these.
 */
export interface ConditionalHeaders {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
  readonly 'if-modified-since'?: string | undefined
  readonly 'if-unmodified-since'?: string | undefined
}

/** `failed` is answered with 412, `not-modified` with 304. */
export type Verdict = 'passed' | 'failed' | 'not-modified'

/**
 * ```
 * entity-tags = [ entity-tag ] *( OWS "," OWS [ entity-tag ] )   ; empty elements count for nothing
 * entity-tag  = [ %s"W/" ] DQUOTE *etagc DQUOTE
 * etagc       = %x21 / %x23-7E / %x80-FF                         ; a comma is one of these
 * OWS         = *( SP / HTAB )
 * ```
 */
const ENTITY_TAGS = /^(?:[ \t]*(?:(?:W\/)?"[!#-~\x80-\xff]*"[ \t]*)?(?:,|$))+$/

/** One tag of a list that is known to be one. */
const ENTITY_TAG = /(?:W\/)?"[^"]*"/g

/**
 * Tells whether a GET or HEAD is to be answered with the content, in the order of RFC 9110 section
 * 13.2.2:
 *
 * 1. `If-Match` without this tag: `failed`. Tags are compared strongly: a weak one never matches.
 * 2. Only where that is absent, `If-Unmodified-Since` with an earlier date: `failed`.
 * 3. `If-None-Match` with this tag: `not-modified`. Weak and strong are the same here.
 * 4. Only where that is absent, `If-Modified-Since` with this date or a later one: `not-modified`.
 *
 * A malformed list of tags holds no tag; a malformed date is passed over, as section 13.1 asks for.
 * Either way a header that is there, however malformed, is not an absent one.
 */
export function evaluatePreconditions(headers: ConditionalHeaders, current: Validators): Verdict {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  const { 'if-modified-since': ifModifiedSince, 'if-unmodified-since': ifUnmodifiedSince } = headers
  if (ifMatch !== undefined) {
    if (!hasTag(ifMatch, (tag) => isSameStrongTag(tag, current.etag))) return 'failed'
  } else if (ifUnmodifiedSince !== undefined) {
    if (current.modifiedSeconds > (parseHttpDate(ifUnmodifiedSince) ?? Infinity)) return 'failed'
  }
  if (ifNoneMatch !== undefined) {
    if (hasTag(ifNoneMatch, (tag) => opaque(tag) === opaque(current.etag))) return 'not-modified'
  } else if (ifModifiedSince !== undefined) {
    if (current.modifiedSeconds <= (parseHttpDate(ifModifiedSince) ?? -Infinity)) return 'not-modified'
  }
  return 'passed'
}

/**
 * Tells whether `If-Range` lets a `Range` be heard (RFC 9110 section 13.1.5): it is absent, it is
 * this strong tag, or exactly this date. Otherwise the client holds a part of something else, or of
 * who knows what, and must be sent the whole.
 *
 * A date may be trusted only where content does not change twice in a second. It is the caller who
 * knows; a finished upload never changes.
 */
export function rangeApplies(ifRange: string | undefined, current: Validators): boolean {
  if (ifRange === undefined) return true
  return isSameStrongTag(ifRange, current.etag) || parseHttpDate(ifRange) === current.modifiedSeconds
}

/** `"*"` matches anything that exists. */
function hasTag(header: string, matches: (tag: string) => boolean): boolean {
  return header === '*' || (ENTITY_TAGS.test(header) && (header.match(ENTITY_TAG) ?? []).some(matches))
}

/** RFC 9110 section 8.8.3.2. */
function isSameStrongTag(tag: string, etag: string): boolean {
  return tag === etag && !tag.startsWith('W/')
}

function opaque(tag: string): string {
  return tag.replace(/^W\//, '')
}
