// SPDX-License-Identifier: MIT

/**
 * Serves a finished upload over `node:http` and `node:http2`: whole, in part, or not at all because
 * the client has it.
 *
 * Content that strangers uploaded is served from an origin that others trust.
 * Three walls keep it from acting there: only the media types of a list are shown
 * and every other one is saved as a file of no type; browsers may not guess a
 * type (`nosniff`); and whatever is shown all the same runs in a sandbox without
 * scripts (`Content-Security-Policy`). An origin of its own is a better wall yet.
 *
 * @module
 */

import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { parseByteRange } from './byte-range.ts'
import { formatContentDisposition } from './content-disposition.ts'
import { formatHttpDate } from './http-date.ts'
import { parseMediaType } from './media-type.ts'
import { evaluatePreconditions, rangeApplies, type Validators } from './preconditions.ts'
import { isGone, sendBody, type DownloadExchange, type DownloadRequest } from './send-body.ts'

/** An upload that is complete; its content never changes. */
export interface FinishedUpload {
  /** Visible ASCII without a double quote. */
  readonly id: string
  /** Bytes. */
  readonly length: number
  readonly metadata: ReadonlyMap<string, string>
  readonly createdAt: Date
  /** When the last byte was stored. */
  readonly updatedAt: Date
}

/** Options of {@link serveUpload}. */
export interface ServeUploadOptions {
  /**
   * Opens the content from `start` up to, but not including, `end`. It is called for one byte at
   * least.
   */
  readonly read: (range: { readonly start: number; readonly end: number }) => Readable
  /**
   * Media types that a browser may show, in lower case, without parameters; see
   * `INLINE_MEDIA_TYPES`. Active content does not belong here: HTML, SVG, XML, PDF. The sandbox is
   * the second wall, not the first.
   */
  readonly inline: readonly string[]
  /** Sent with every answer, for CORS perhaps. Replaces the policy headers of the same name. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Stops sending. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/** What the answer will be. Without `content` it has no body. */
interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly content?: { readonly start: number; readonly end: number }
}

/**
 * The fields of a download that pages of other origins may send and read. Those that browsers allow
 * anyway are not listed (Fetch standard, "CORS-safelisted").
 */
export const DOWNLOAD_FIELDS = {
  requestFields: ['If-Match', 'If-Modified-Since', 'If-None-Match', 'If-Range', 'If-Unmodified-Since', 'Range'],
  responseFields: ['Accept-Ranges', 'Content-Disposition', 'Content-Range', 'ETag'],
} as const

/** `no-transform`: a proxy that compressed a download would send other bytes under the same tag. */
const POLICY = {
  'Cache-Control': 'private, no-cache, no-transform',
  'Content-Security-Policy': "default-src 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
}

/**
 * Answers a GET or HEAD with a finished upload.
 *
 * 1. Conditions come first: 412 or 304 (RFC 9110 section 13.2.2).
 * 2. Then `Range`, for GET only: 206, or 416 where it lies behind the end. `If-Range` may say that
 *    it is not to be heard, and several ranges never are.
 * 3. Otherwise 200. HEAD gets the same headers and no body.
 *
 * The type is what the metadata declare (`filetype`, `type` or `contentType`) if `inline` has it,
 * and `application/octet-stream`, to be saved as a file, if not. The name is `filename` or `name`.
 *
 * It resolves when the answer is finished, or the client has left, or had left before. `read` is
 * called only if there is something to send. It does not ask who may see the upload, and leaves
 * other methods to the caller.
 *
 * @throws the error of `read` or of its stream; `signal.reason`; {@link RangeError} for a stream of
 * another length. If `res.headersSent` is false then, nothing was set, and the answer is yours:
 * 500 say. If it is true, the response was destroyed, which is how a client learns of it.
 */
export async function serveUpload(
  exchange: DownloadExchange,
  upload: FinishedUpload,
  options: ServeUploadOptions,
): Promise<void> {
  const { req, res } = exchange
  const { read, inline, headers = {}, signal } = options
  if (isGone(exchange)) return
  signal?.throwIfAborted()

  const { status, headers: own, content } = answerTo(req, upload, inline)
  const out = res as ServerResponse // the HTTP/2 compatibility API has the same methods
  const writeHead = (): void => {
    for (const some of [POLICY, headers, own]) {
      for (const [name, value] of Object.entries(some)) out.setHeader(name, value)
    }
    out.writeHead(status)
  }
  if (content) {
    await sendBody(exchange, read(content), { length: content.end - content.start, writeHead, signal })
  } else {
    writeHead()
    out.end()
  }
}

function answerTo(req: DownloadRequest, upload: FinishedUpload, inline: readonly string[]): Answer {
  const { length } = upload
  const validators = validatorsOf(upload)
  const always = {
    'Accept-Ranges': 'bytes',
    'ETag': validators.etag,
    'Last-Modified': formatHttpDate(validators.modifiedSeconds),
  }
  const verdict = evaluatePreconditions(req.headers, validators)
  if (verdict === 'failed') return { status: 412, headers: { ...always, 'Content-Length': '0' } }
  if (verdict === 'not-modified') return { status: 304, headers: always }

  const isHead = req.method === 'HEAD'
  const ifRange = req.headers['if-range'] as string | undefined // Node joins repeated ones
  const mayRange = !isHead && rangeApplies(ifRange, validators)
  const range = parseByteRange(mayRange ? req.headers.range : undefined, length)
  if (range.kind === 'unsatisfiable') {
    return { status: 416, headers: { ...always, 'Content-Range': `bytes */${length}`, 'Content-Length': '0' } }
  }
  const isPart = range.kind === 'part'
  const { start, end } = isPart ? range : { start: 0, end: length }
  const headers = {
    ...always,
    ...contentHeaders(upload.metadata, inline),
    'Content-Length': String(end - start),
    ...(isPart ? { 'Content-Range': `bytes ${start}-${end - 1}/${length}` } : {}),
  }
  const hasBody = !isHead && start < end
  return { status: isPart ? 206 : 200, headers, ...(hasBody ? { content: { start, end } } : {}) }
}

/** An id that is used again has another time of creation: a strong tag (RFC 9110 section 8.8.1). */
function validatorsOf({ id, createdAt, updatedAt }: FinishedUpload): Validators {
  return {
    etag: `"${id}-${createdAt.getTime().toString(36)}"`,
    modifiedSeconds: Math.floor(updatedAt.getTime() / 1000),
  }
}

/** What the content is called and taken for. */
function contentHeaders(metadata: ReadonlyMap<string, string>, inline: readonly string[]): Record<string, string> {
  const declared = parseMediaType(metadata.get('filetype') ?? metadata.get('type') ?? metadata.get('contentType') ?? '')
  const filename = metadata.get('filename') ?? metadata.get('name')
  const shown = declared !== undefined && inline.includes(declared)
  return {
    'Content-Type': shown ? declared : 'application/octet-stream',
    'Content-Disposition': formatContentDisposition(shown ? 'inline' : 'attachment', filename),
  }
}
