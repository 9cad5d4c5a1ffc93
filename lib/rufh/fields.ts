// SPDX-License-Identifier: MIT

/**
 * The fields of requests (draft section "State").
 *
 * Each is an Item of Structured Fields. A malformed one, or one of another type, counts as absent.
 * The draft says so, and it is why a client cannot be harmed by a field that meant something else
 * before.
 *
 * @module
 */

import type { Headers } from '../http/exchange.ts'
import { header } from '../http/request-headers.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { CURRENT, dialectOf, type Dialect, type InteropVersion } from './interop.ts'
import { parseBoolean, parseInteger } from './structured-fields.ts'

/** The field that names the version of the draft. */
export const VERSION_FIELD = 'Upload-Draft-Interop-Version'

/** What a request says of itself and of its upload. */
export interface RequestFields {
  /** What it is written in. */
  readonly dialect: Dialect
  /** Whether the client speaks a version that is served, so that it may be sent 104. */
  readonly interim: boolean
  /** Whether the end of the content is the end of the upload. */
  readonly complete: boolean | undefined
  /** In bytes. */
  readonly offset: number | undefined
  /** In bytes. */
  readonly length: number | undefined
}

/** Reads the fields. A version that is not served, or none, is read as the current one. */
export function readFields(req: UploadRequest, served: readonly InteropVersion[]): RequestFields {
  const version = parseInteger(header(req, VERSION_FIELD.toLowerCase()) ?? '')
  const spoken = dialectOf(served.find((each) => each === version))
  const dialect = spoken ?? CURRENT
  const { name, complete } = dialect.completeness
  const completeness = parseBoolean(header(req, name.toLowerCase()) ?? '')
  return {
    dialect,
    interim: spoken !== undefined,
    complete: completeness === undefined ? undefined : completeness === complete,
    offset: readByteCount(req, 'upload-offset'),
    length: readByteCount(req, 'upload-length'),
  }
}

/** The field that says in this dialect whether the upload is complete. */
export function completenessField({ completeness: { name, complete } }: Dialect, isComplete: boolean): Headers {
  return { [name]: isComplete === complete ? '?1' : '?0' }
}

function readByteCount(req: UploadRequest, name: string): number | undefined {
  const count = parseInteger(header(req, name) ?? '')
  return count === undefined || count < 0 ? undefined : count
}
