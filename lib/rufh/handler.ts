// SPDX-License-Identifier: MIT

/**
 * Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, interop version 9) over
 * `node:http`.
 *
 * This file finds out which operation a request asks for, and answers errors as the draft wants it.
 * The operations are in `operations.ts`. What the fields mean is in small modules beside it.
 *
 * @module
 */

import type { Exchange, Protocol, ProtocolFactory, Refusal } from '../http/exchange.ts'
import { createHandler, type UploadHandler } from '../http/handler.ts'
import { wholeNumber } from '../http/option-checks.ts'
import type { HandlerOptions } from '../http/options.ts'
import { header, mediaTypeOf } from '../http/request-headers.ts'
import type { UploadError, UploadErrorCode } from '../upload/errors.ts'
import { PARTIAL_MEDIA_TYPE } from './description.ts'
import { completenessField, readFields, VERSION_FIELD } from './fields.ts'
import { checkVersions, CURRENT, DEFAULT_VERSIONS, dialectOf, type InteropVersion } from './interop.ts'
import { limitField, type Limits } from './limits.ts'
import { append, cancel, create, inspect, stateFields, type RufhContext } from './operations.ts'
import { PROBLEM_MEDIA_TYPE, problemOf } from './problem.ts'

/** What only this protocol has options for. */
export interface RufhOptions {
  /**
   * The least that an upload may be, in bytes. If it is set, lengths must be known from the start.
   * Default: 0.
   */
  readonly minSize?: number | undefined
  /** The least that a request which completes nothing may append, in bytes. Default: 0. */
  readonly minAppendSize?: number | undefined
  /**
   * The versions of the draft whose clients are sent interim responses (104): whole numbers from 3
   * to 99. iOS 17 speaks 3, iOS 18 and 26 speak 6. One above 9 is served as 9, and its clients are
   * sent the number they named. Requests without a version, or in one that is not listed, are
   * served as 9 and get no 104. With an empty list nobody gets 104. A number that is listed twice
   * counts once. Default: 8 and 9.
   */
  readonly interopVersions?: readonly InteropVersion[] | undefined
}

/** Options of {@link rufhHandler}. */
export interface RufhHandlerOptions extends HandlerOptions, RufhOptions {}

/** Any method that carries content can begin an upload (draft section "Upload Creation"). */
const CREATION_METHODS = ['OPTIONS', 'POST', 'PUT', 'PATCH']
const UPLOAD_METHODS = ['OPTIONS', 'HEAD', 'GET', 'PATCH', 'DELETE']

/** The fields of requests that pages of other origins may send, besides that for completeness. */
const REQUEST_FIELDS: readonly string[] = [
  'Content-Digest', 'Content-Disposition', 'Content-Encoding', 'Repr-Digest', VERSION_FIELD, 'Upload-Length',
  'Upload-Offset', 'Want-Repr-Digest',
]
/** The fields of responses that they may read, besides that for completeness. */
const RESPONSE_FIELDS: readonly string[] = [
  'Accept-Patch', 'Repr-Digest', VERSION_FIELD, 'Upload-Length', 'Upload-Limit', 'Upload-Offset',
]

/**
 * Returns a request listener that speaks Resumable Uploads for HTTP below `path`.
 *
 * 1. A request with `Upload-Complete` to the creation URL begins an upload. Its client learns the
 *    address at once, from an interim response 104, if it speaks a version of the draft that is
 *    served; and from the final response, if the request did not bring all.
 * 2. Bytes are stored as they arrive, and 104 tells now and then how far. Whatever cuts a request
 *    off, everything that Node received of it is stored. Content with a `Content-Digest` counts as
 *    a whole or not at all.
 * 3. A new request for an upload ends the one before it, whose bytes are stored.
 * 4. When the client says that all is there, `onFinish` runs, at least once. What it answers is the
 *    final response, and is given again to a client that lost it and repeats its last request.
 * 5. An upload that was sent more than its length, or has
 *    lost bytes that were acknowledged, is deactivated.
 *
 * All else is as with `tusHandler`: hooks, limits, shutdown, and which settings the server needs.
 * The two share their uploads; `uploadHandler` speaks both. It does not decode content, answer
 * `OPTIONS *`, or take a request without `Upload-Complete` for an upload.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { FileStore } from 'longhaul/file-store'
 * import { rufhHandler } from 'longhaul/rufh'
 *
 * const rufh = rufhHandler({ store: new FileStore('./uploads') })
 * const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, rufh)
 * server.on('checkContinue', rufh.checkContinue).listen(1080)
 * ```
 */
export function rufhHandler(options: RufhHandlerOptions): UploadHandler {
  return createHandler(options, [rufh(options)])
}

/**
 * Resumable Uploads for HTTP as one of the protocols of a handler. A request is in it if it has a
 * valid `Upload-Complete`, or is for an upload. A PATCH of an upload needs more than that:
 * `Upload-Complete`, the media type or a version of the draft.
 *
 * @throws {TypeError} if `interopVersions` is not an array of numbers, {@link RangeError} if an
 * option is out of bounds.
 */
export function rufh(options: RufhOptions): ProtocolFactory {
  const { minSize = 0, minAppendSize = 0, interopVersions = DEFAULT_VERSIONS } = options
  wholeNumber('minSize', minSize)
  wholeNumber('minAppendSize', minAppendSize)
  const versions = checkVersions(interopVersions)
  return (context) => {
    const limits: Limits = { ...context.limits, minSize, minAppendSize }
    assertMinimaFit(limits)
    return protocolIn({ ...context, limits, versions })
  }
}

function assertMinimaFit({ minSize, maxSize, minAppendSize, maxAppendSize }: Limits): void {
  const what = 'Cannot limit uploads as'
  if (minSize > maxSize) {
    throw new RangeError(`${what} minSize must be at most maxSize: received ${minSize} and ${maxSize}`)
  }
  if (minAppendSize > maxAppendSize) {
    const received = `received ${minAppendSize} and ${maxAppendSize}`
    throw new RangeError(`${what} minAppendSize must be at most maxAppendSize: ${received}`)
  }
}

function protocolIn(context: RufhContext): Protocol {
  const { versions } = context
  const dialects = [CURRENT, ...versions.map((version) => dialectOf(version)!)]
  const completeness = [...new Set(dialects.map((dialect) => dialect.completeness.name))]
  return {
    marks: VERSION_FIELD.toLowerCase(),
    headers: {},
    requestFields: [...REQUEST_FIELDS, ...completeness],
    responseFields: [...RESPONSE_FIELDS, ...completeness],
    claims: (req, { kind }) => {
      if (kind === 'upload' && req.method !== 'PATCH') return req.method !== 'OPTIONS'
      if (readFields(req, versions).complete !== undefined) return true
      return kind === 'upload' && (isMarked(req) || mediaTypeOf(req) === PARTIAL_MEDIA_TYPE)
    },
    methodOf: (req) => req.method,
    methodsOf: (kind) => (kind === 'creation' ? CREATION_METHODS : UPLOAD_METHODS),
    // Draft section "Limits": an answer to OPTIONS has them, so that clients know them before.
    discovery: { 'Accept-Patch': PARTIAL_MEDIA_TYPE, ...limitField(context.limits, { dialect: CURRENT }) },
    downloadFields: ({ req }, upload) => stateFields(context, readFields(req, versions), upload),
    refuse: (exchange, error) => refuse(context, exchange, error),
    serve: (exchange, target) => {
      if (target.kind === 'creation') return create(context, exchange)
      if (exchange.method === 'PATCH') return append(context, exchange, target.id)
      if (exchange.method === 'DELETE') return cancel(context, exchange, target.id)
      return inspect(context, exchange, target.id)
    },
  }
}

function isMarked(req: Exchange['req']): boolean {
  return header(req, VERSION_FIELD.toLowerCase()) !== undefined
}

/**
 * Statuses that differ from the table of errors. 460 is of tus, and 413 would ask for smaller
 * requests. Clients retry 409, 413, 429 and those from 500 (draft -12 section "Retry"), so an error
 * that passes by itself has one of these.
 */
const STATUSES: ReadonlyMap<UploadErrorCode, number> = new Map([
  ['CHECKSUM_MISMATCH', 400], ['TOO_LARGE', 400], ['IDLE', 503], ['SHORT', 503], ['LOCKED', 503],
])

/** Whether a request may have violated a limit, and it is known which limits hold for it. */
function violatesLimits({ code, upload, maxSize }: UploadError, status: number): boolean {
  if (code === 'LENGTH_CONFLICT' || code === 'TOO_LARGE') return upload !== undefined || maxSize !== undefined
  return code === 'TOO_SMALL' || status === 413
}

/**
 * Answers an error as the draft wants it: what is wrong with an offset or a length in JSON, and
 * where the upload stands.
 */
function refuse({ limits, versions }: RufhContext, { req, method }: Exchange, error: UploadError): Refusal {
  const { dialect, offset } = readFields(req, versions)
  const { code, upload } = error
  const status = STATUSES.get(code) ?? error.status
  const problem = problemOf(error, offset)
  // A rejected upload is complete, and the refusal is its final response.
  const processed = code === 'REFUSED' && upload?.state === 'rejected'
  const headers = {
    ...(problem === undefined ? {} : { 'Content-Type': PROBLEM_MEDIA_TYPE }),
    ...(upload && !processed ? { 'Upload-Offset': String(upload.offset) } : {}),
    ...(violatesLimits(error, status) ? limitField(limits, { dialect, upload, maxSize: error.maxSize }) : {}),
    ...(processed || !['HEAD', 'GET', 'DELETE'].includes(method ?? '') ? completenessField(dialect, processed) : {}),
  }
  return { status, headers, ...(problem === undefined ? {} : { text: problem }) }
}
