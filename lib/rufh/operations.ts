// SPDX-License-Identifier: MIT

/**
 * The operations on uploads of the draft: each reads its fields, calls a use case of `../upload`,
 * and answers.
 *
 * @module
 */

import type { Exchange, Headers } from '../http/exchange.ts'
import { incomingBody } from '../http/incoming-body.ts'
import { locationOf } from '../http/location.ts'
import { header, mediaTypeOf } from '../http/request-headers.ts'
import { respond } from '../http/respond.ts'
import { sendInterim } from '../interim-response.ts'
import { appendToUpload } from '../upload/append.ts'
import type { ExpectedChecksum, IncomingBody, UploadContext } from '../upload/context.ts'
import { createUpload } from '../upload/create.ts'
import { wantedDigest } from '../upload/digest.ts'
import { UploadError } from '../upload/errors.ts'
import { authorize, rejectionOf } from '../upload/find.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { inspectUpload, peekUpload } from '../upload/inspect.ts'
import type { End } from '../upload/lifecycle.ts'
import type { Received } from '../upload/receive.ts'
import { terminateUpload } from '../upload/terminate.ts'
import type { Upload, UploadDigest } from '../upload/types.ts'
import { metadataOf, PARTIAL_MEDIA_TYPE } from './description.ts'
import { formatDigest, parseDigest, parseWantedDigest } from './digests.ts'
import { completenessField, readFields, VERSION_FIELD, type RequestFields } from './fields.ts'
import type { InteropVersion } from './interop.ts'
import { limitField, type Limits } from './limits.ts'

/** How long an answer waits for a digest that the client would like to have, in milliseconds. */
const DIGEST_MS = 10_000

/** The surroundings of every operation. */
export interface RufhContext extends UploadContext {
  readonly limits: Limits
  readonly versions: readonly InteropVersion[]
}

/** Makes `Location`. */
type Locate = (upload: Pick<Upload, 'id'>) => Headers

/** What came of a request that brought content, and its answer if more is to follow. */
interface Reply {
  readonly fields: RequestFields
  readonly received: Received
  readonly status: 201 | 204
  readonly headers: Headers
}

/** Draft section "Upload Creation". */
export async function create(context: RufhContext, exchange: Exchange): Promise<void> {
  const { req, addresses } = exchange
  const fields = readFields(req, context.versions)
  const { complete, interim, dialect } = fields
  if (complete === undefined) throw new UploadError('BAD_REQUEST', { message: 'Upload-Complete must be ?0 or ?1' })
  const location: Locate = (upload) => ({ Location: locationOf(addresses, req, upload.id) })
  const body = receivable(context, exchange, { fields, location })
  const length = totalLength(fields, { offset: 0, body, maxSize: context.limits.maxSize })
  assertLargeEnough(context, { length, body, complete })

  const digest = expectedDigest(context, exchange)
  const description = { length, metadata: metadataOf(req), completion: 'explicit', digest } as const
  // The first 104 has the address, and the limits if there are any.
  const announce = (upload: Upload): boolean =>
    interim && inform(exchange, fields, { ...location(upload), ...limitField(context.limits, { dialect, upload }) })
  const isEmpty = !complete && body.length === 0
  const received = await createUpload(context, {
    description, body: isEmpty ? undefined : body, end: endOf(complete), request: req, announce, requester: exchange,
  })
  await answer(context, exchange, { fields, received, status: 201, headers: location(received.upload) })
}

/** Draft section "Offset Retrieval". */
export async function inspect(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  const { req } = exchange
  const fields = readFields(req, context.versions)
  assertNoState(fields, req)
  await authorize(context, { kind: 'inspect', id }, req)
  const isMarked = header(req, VERSION_FIELD.toLowerCase()) !== undefined
  // A plain GET or HEAD is safe (RFC 9110 section 9.2.1), so it must not end an append.
  const asked = { end: 'later', requester: exchange } as const
  const upload = isMarked ? await inspectUpload(context, id, asked) : await peekUpload(context, id, asked)
  await respond(exchange, { status: 204, headers: stateFields(context, fields, upload) })
}

/** Draft section "Upload Append". */
export async function append(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  const { req } = exchange
  const fields = readAppendFields(context, req)
  const { offset, complete, dialect } = fields
  const body = receivable(context, exchange, { fields })
  const length = totalLength(fields, { offset, body })
  await authorize(context, { kind: 'append', id }, req)
  const { minAppendSize: minBytes } = context.limits
  const asked = { body, offset, length, minBytes, end: endOf(complete), requester: exchange }
  const received = await appendToUpload(context, id, asked).catch((error: UploadError) => {
    if (error.code !== 'COMPLETED' || !dialect.replays) throw error
    // Its client may have lost the final response. Nothing can be added to what is complete.
    return appendToUpload(context, id, { ...asked, end: 'here' })
  })
  await answer(context, exchange, { fields, received, status: dialect.appended, headers: {} })
}

/** Draft section "Upload Cancellation". */
export async function cancel(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  assertNoState(readFields(exchange.req, context.versions), exchange.req)
  await authorize(context, { kind: 'terminate', id }, exchange.req)
  await terminateUpload(context, id, { requester: exchange })
  await respond(exchange, { status: 204 })
}

/** Draft section "Offset Retrieval": offset, completeness, limits, and the length if known. */
export function stateFields(context: RufhContext, { dialect }: RequestFields, upload: Upload): Headers {
  const { offset, length, state } = upload
  return {
    'Upload-Offset': String(offset),
    ...completenessField(dialect, state === 'finished'),
    ...(length === undefined ? {} : { 'Upload-Length': String(length) }),
    ...limitField(context.limits, { dialect, upload }),
  }
}

/**
 * The fields of an append. Draft section "Upload Append": it has the media type of a piece, or is
 * 415; it gives the offset, and says whether the upload is complete with it.
 */
function readAppendFields(
  { versions }: RufhContext,
  req: UploadRequest,
): RequestFields & { readonly offset: number; readonly complete: boolean } {
  const fields = readFields(req, versions)
  const { dialect, offset } = fields
  // A malformed field must not complete anything, so only an absent one stands for its default.
  const isSilent = header(req, dialect.completeness.name.toLowerCase()) === undefined
  const complete = fields.complete ?? (dialect.completesByDefault && isSilent ? true : undefined)
  if (dialect.mediaType && mediaTypeOf(req) !== PARTIAL_MEDIA_TYPE) {
    throw new UploadError('UNSUPPORTED_MEDIA_TYPE', { message: `The content type must be ${PARTIAL_MEDIA_TYPE}` })
  }
  if (offset === undefined) {
    throw new UploadError('BAD_REQUEST', { message: 'Upload-Offset must be a whole number of bytes' })
  }
  if (complete === undefined) throw new UploadError('BAD_REQUEST', { message: 'Upload-Complete must be ?0 or ?1' })
  return { ...fields, offset, complete }
}

/** Up to version 6, HEAD and DELETE must not give a state (draft -05 sections 5 and 7). */
function assertNoState({ dialect }: RequestFields, req: UploadRequest): void {
  if (!dialect.refusesState) return
  for (const name of ['Upload-Offset', dialect.completeness.name]) {
    if (header(req, name.toLowerCase()) === undefined) continue
    throw new UploadError('BAD_REQUEST', { message: `${name} is not allowed with this method` })
  }
}

/** What a request brings to an upload that is still to be made. */
interface Beginning {
  readonly length: number | undefined
  readonly body: IncomingBody
  readonly complete: boolean
}

/**
 * Draft section "Limits": an upload below `min-size` is refused, and so is one of unknown length
 * where there is such a limit. Content below `min-append-size` is refused, unless it is empty or
 * the rest.
 */
function assertLargeEnough({ limits, store }: RufhContext, { length, body, complete }: Beginning): void {
  const { minSize, minAppendSize } = limits
  if (length === undefined && (minSize > 0 || !store.setLength)) {
    throw new UploadError('TOO_SMALL', { message: 'Upload-Length is required' })
  }
  if (length !== undefined && length < minSize) throw new UploadError('TOO_SMALL')
  const { length: bytes = 0 } = body
  if (!complete && bytes > 0 && bytes < minAppendSize) throw new UploadError('TOO_SMALL')
}

/** Draft section "Completeness": an upload ends where its client says so, whatever its length. */
function endOf(complete: boolean): End {
  return complete ? 'here' : 'later'
}

/** The content of a request, and where it belongs. */
interface Piece {
  readonly offset: number
  readonly body: IncomingBody
  /** For a refusal, if there is no upload yet. */
  readonly maxSize?: number
}

/**
 * The length that a request gives: its own, and, if its content is the rest, the sum of the offset
 * and the content. Draft section "Length": the two must agree.
 */
function totalLength({ complete, length }: RequestFields, { offset, body, maxSize }: Piece): number | undefined {
  const sum = complete && body.length !== undefined ? offset + body.length : undefined
  if (sum !== undefined && length !== undefined && sum !== length) {
    throw new UploadError('LENGTH_CONFLICT', maxSize === undefined ? {} : { maxSize })
  }
  return length ?? sum
}

/** What a request says, and the address of its upload if the client does not know it yet. */
interface Asked {
  readonly fields: RequestFields
  readonly location?: Locate
}

/** The content of a request. Its sender gets 104 for progress, if its dialect has that. */
function receivable(context: RufhContext, exchange: Exchange, { fields, location }: Asked): IncomingBody {
  const { interim, dialect } = fields
  const onProgress = (offset: number): void => void inform(exchange, fields, { 'Upload-Offset': String(offset) })
  return incomingBody(exchange, {
    checksum: contentDigest(context, exchange),
    excess: 'cut',
    progress: interim && dialect.progress ? onProgress : undefined,
    onShutdown: (upload) => {
      const state = { 'Upload-Offset': String(upload.offset), ...completenessField(dialect, false) }
      return { status: 503, headers: { 'Retry-After': '1', ...location?.(upload), ...state } }
    },
  })
}

/** Sends 104, which names its version. Returns whether it was sent. */
function inform({ req, res, answered }: Exchange, { dialect }: RequestFields, headers: Headers): boolean {
  const version = { [VERSION_FIELD]: String(dialect.version) }
  return !answered && sendInterim(req, res, { status: 104, headers: { ...version, ...headers } })
}

/** Draft section "Content Digests": content that does not match is not appended. */
function contentDigest({ store }: RufhContext, { req }: Exchange): ExpectedChecksum | undefined {
  const read = parseDigest(header(req, 'content-digest'))
  if (read.kind === 'malformed') {
    const message = 'Content-Digest must be a dictionary of algorithms and their digests'
    throw new UploadError('BAD_REQUEST', { message })
  }
  if (read.kind === 'none' || !store.appendVerified) return undefined
  return { algorithms: [read.algorithm], read: () => read }
}

/** Draft section "Representation Digests": what the whole must have, or is to be told. */
function expectedDigest({ store }: RufhContext, { req }: Exchange): UploadDigest | undefined {
  const read = parseDigest(header(req, 'repr-digest'))
  if (read.kind === 'malformed') {
    const message = 'Repr-Digest must be a dictionary of algorithms and their digests'
    throw new UploadError('BAD_REQUEST', { message })
  }
  if (!store.read) return undefined
  if (read.kind === 'digest') return { algorithm: read.algorithm, value: Buffer.from(read.digest).toString('base64') }
  const algorithm = parseWantedDigest(header(req, 'want-repr-digest'))
  return algorithm === undefined ? undefined : { algorithm }
}

/**
 * Answers a request that brought content. A finished upload may have an answer of its own, and
 * gives it each time. Draft sections "Upload Creation" and "Upload Append": every answer says
 * whether the upload is complete.
 */
async function answer(context: RufhContext, exchange: Exchange, reply: Reply): Promise<void> {
  const { fields, received, status, headers } = reply
  const { upload } = received
  if (received.kind === 'refused' || received.kind === 'interrupted') {
    const { code, message, cause } = received.error
    // An upload that was refused may be gone, and has no address then.
    throw new UploadError(code, { message, cause, upload, headers: received.kind === 'interrupted' ? headers : {} })
  }
  if (received.kind !== 'received') return
  if (upload.state === 'rejected') throw rejectionOf(upload)
  const state = stateFields(context, fields, upload)
  if (upload.state !== 'finished') return respond(exchange, { status, headers: { ...headers, ...state } })
  const { status: ownStatus = 200, headers: ownHeaders = {}, body: text = '' } = upload.outcome ?? {}
  const location = { Location: locationOf(exchange.addresses, exchange.req, upload.id) }
  const digest = await digestField(context, exchange, upload)
  await respond(exchange, { status: ownStatus, headers: { ...location, ...digest, ...ownHeaders, ...state }, text })
}

/** The digest of a complete upload, if the client wants one and it is there soon. */
async function digestField(context: RufhContext, exchange: Exchange, upload: Upload): Promise<Headers> {
  const wanted = parseWantedDigest(header(exchange.req, 'want-repr-digest')) ?? upload.digest?.algorithm
  if (wanted === undefined || !context.store.read) return {}
  const digest = await wantedDigest(context, upload, { algorithm: wanted, maxWaitMs: DIGEST_MS })
  return digest === undefined ? {} : { 'Repr-Digest': formatDigest(digest.algorithm, digest.value) }
}
