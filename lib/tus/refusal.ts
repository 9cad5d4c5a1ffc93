// SPDX-License-Identifier: MIT

/**
 * Refusals that tus clients try again.
 *
 * tus does not say which answers a client should try again, so its clients have settled it.
 * tus-js-client and Uppy give up on every 4xx but 409 and 423 (Uppy also retries 429). When they
 * resume, any answer to HEAD that is neither 2xx nor 423 makes them send the whole file to a new
 * upload. tuspy forgets the address after such a 4xx. So what passes by itself is 423 wherever
 * another status would end an upload that could go on.
 *
 * @module
 */

import type { Exchange, Refusal } from '../http/exchange.ts'
import { header } from '../http/request-headers.ts'
import type { UploadError, UploadErrorCode } from '../upload/errors.ts'
import { TUS_VERSION } from './capabilities.ts'

const RETRY = { status: 423, headers: { 'Retry-After': '1' } }

/** What may pass by itself; not `UPLOAD_CORRUPT`, whose client has to start over. */
const PASSING: readonly UploadErrorCode[] = [
  'OFFSET_CONFLICT', 'TAKEN_OVER', 'LOCKED', 'INTERNAL', 'BUSY', 'LOCK_LOST', 'OVERDUE', 'SHUTTING_DOWN', 'STORE_FULL',
]

/** Ways in which a body ends early. What came of it is stored. */
const INTERRUPTIONS: readonly UploadErrorCode[] = ['IDLE', 'SHORT']

/**
 * How tus answers an error. A HEAD of a download keeps its status: any client of HTTP may send one.
 */
export function refuse({ req, method }: Pick<Exchange, 'req' | 'method'>, error: UploadError): Refusal {
  if (error.code === 'UNSUPPORTED_VERSION') return { headers: { 'Tus-Version': TUS_VERSION } }
  const isHead = method === 'HEAD' && header(req, 'tus-resumable') !== undefined
  if (error.code === 'OFFSET_CONFLICT' && error.upload && method === 'PATCH') {
    return { headers: { 'Upload-Offset': String(error.upload.offset) } } // TUSKit repeats its request without a HEAD
  }
  return INTERRUPTIONS.includes(error.code) || (isHead && passes(error)) ? RETRY : {}
}

function passes({ code, status, upload }: UploadError): boolean {
  if (code !== 'REFUSED') return PASSING.includes(code)
  const isFinal = upload?.state === 'rejected'
  return !isFinal && (status === 429 || status >= 500) // a hook that may decide otherwise later
}
