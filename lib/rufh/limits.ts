// SPDX-License-Identifier: MIT

/**
 * The `Upload-Limit` field (draft section "Limits").
 *
 * @module
 */

import type { UploadContext } from '../upload/context.ts'
import { expiresAt } from '../upload/expiration.ts'
import type { Upload } from '../upload/types.ts'
import type { Dialect } from './interop.ts'
import { formatDictionary } from './structured-fields.ts'

/** The limits that only this protocol has. */
export interface Limits {
  /** The least that an upload may be, in bytes. */
  readonly minSize: number
  /** The least that a request may append that does not complete its upload, in bytes. */
  readonly minAppendSize: number
}

/** The largest Integer (RFC 9651 section 3.3.1). What a client may do beyond it cannot be said. */
const MAX_INTEGER = 999_999_999_999_999

/**
 * The field with the limits of an upload, or of those that are still to be made. A dialect that has no
 * such field has none. Without any limit it says `min-size=0`, which tells at least that limits are told.
 */
export function limitField(
  context: UploadContext,
  limits: Limits,
  dialect: Dialect,
  upload?: Upload,
  maxSize: number = upload?.maxSize ?? context.maxSize,
): Readonly<Record<string, string>> {
  if (dialect.maxAge === undefined) return {}
  const members: (readonly [key: string, value: number])[] = [
    ['max-size', maxSize],
    ['min-size', Math.min(limits.minSize, maxSize)],
    ['max-append-size', context.maxAppendSize < maxSize ? context.maxAppendSize : Infinity],
    ['min-append-size', limits.minAppendSize],
    [dialect.maxAge, Math.floor(lifetimeMs(context, upload) / 1000)],
  ]
  const told = members.filter(([key, value]) => value <= MAX_INTEGER && (value > 0 || !key.startsWith('min-')))
  return { 'Upload-Limit': formatDictionary(told.length > 0 ? told : [['min-size', 0]]) }
}

/** How long an upload can still be used; `Infinity` if nothing ends that. */
function lifetimeMs({ expiration }: UploadContext, upload: Upload | undefined): number {
  if (!upload) return expiration?.afterMs ?? Infinity
  const moment = expiresAt(upload, expiration)
  return moment ? Math.max(0, moment.getTime() - Date.now()) : Infinity
}
