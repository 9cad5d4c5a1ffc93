// SPDX-License-Identifier: MIT

/**
 * The `Upload-Limit` field (draft section "Limits").
 *
 * @module
 */

import type { Headers } from '../http/exchange.ts'
import type { UploadLimits } from '../upload/context.ts'
import { expiresAt } from '../upload/lifecycle.ts'
import type { Upload } from '../upload/types.ts'
import type { Dialect } from './interop.ts'
import { formatDictionary } from './structured-fields.ts'

/** The limits of the core, and those that only this protocol has. */
export interface Limits extends UploadLimits {
  /** The least that an upload may be, in bytes. */
  readonly minSize: number
  /** The least that a request may append that does not complete its upload, in bytes. */
  readonly minAppendSize: number
}

/** Whose limits the field gives, and to whom. */
export interface LimitRecipient {
  /** What the client speaks. */
  readonly dialect: Dialect
  /** `undefined`: the uploads that are still to be made. */
  readonly upload?: Upload | undefined
  /** The most that the upload may hold, in bytes. Default: its own, or that of the handler. */
  readonly maxSize?: number | undefined
}

/** The largest Integer (RFC 9651 section 3.3.1). A limit above it cannot be written. */
const MAX_INTEGER = 999_999_999_999_999

/**
 * Makes the field. A dialect without such a field gets none. Where there is no limit the field is
 * `min-size=0`: draft section "Limits" wants a server without limits to say so.
 */
export function limitField(limits: Limits, { dialect, upload, maxSize }: LimitRecipient): Headers {
  if (dialect.maxAge === undefined) return {}
  const { maxAppendSize, minSize, minAppendSize } = limits
  const most = maxSize ?? upload?.maxSize ?? limits.maxSize
  const members: (readonly [key: string, value: number])[] = [
    ['max-size', most],
    ['min-size', Math.min(minSize, most)],
    ['max-append-size', maxAppendSize < most ? maxAppendSize : Infinity],
    ['min-append-size', minAppendSize],
    [dialect.maxAge, Math.floor(lifetimeMs(limits, upload) / 1000)],
  ]
  const given = members.filter(([key, value]) => value <= MAX_INTEGER && (value > 0 || !key.startsWith('min-')))
  return { 'Upload-Limit': formatDictionary(given.length > 0 ? given : [['min-size', 0]]) }
}

/** How long an upload can still be used, in milliseconds; `Infinity` if it does not expire. */
function lifetimeMs({ expiration }: UploadLimits, upload: Upload | undefined): number {
  if (!upload) return expiration?.afterMs ?? Infinity
  const moment = expiresAt(upload, expiration)
  return moment ? Math.max(0, moment.getTime() - Date.now()) : Infinity
}
