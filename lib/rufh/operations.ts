// SPDX-License-Identifier: MIT

/**
 * The operations on uploads of the draft: each reads its fields, calls a use case of `../upload`, and answers.
 *
 * @module
 */

import { header, mediaTypeOf, respond, type Exchange } from '../http/exchange.ts'
import { incomingBody } from '../http/incoming-body.ts'
import { locationOf } from '../http/location.ts'
import type { Headers } from '../http/protocol.ts'
import { sendInterim } from '../interim-response.ts'
import { appendToUpload } from '../upload/append.ts'
import type { End } from '../upload/completion.ts'
import type { ExpectedChecksum, IncomingBody, UploadContext } from '../upload/context.ts'
import { createUpload } from '../upload/create.ts'
import { wantedDigest } from '../upload/digest.ts'
import { UploadError } from '../upload/errors.ts'
import { rejectionOf } from '../upload/find.ts'
import { authorize, type UploadRequest } from '../upload/hooks.ts'
import { inspectUpload, peekUpload } from '../upload/inspect.ts'
import type { Received } from '../upload/receive.ts'
import { terminateUpload } from '../upload/terminate.ts'
import type { Upload, UploadDigest } from '../upload/types.ts'
import { APPEND_MEDIA_TYPE, describe } from './description.ts'
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

/** Draft section "Upload Creation". */
export async function create(context: RufhContext, exchange: Exchange): Promise<void> {
  const { req } = exchange
  const fields = readFields(req, context.versions)
  const { complete, interim } = fields
  if (complete === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Complete must be ?0 or ?1')
  const location = (upload: Pick<Upload, 'id'>): Headers => ({ Location: locationOf(exchange.addresses, req, upload.id) })
  const body = receivable(context, exchange, fields, location)
  const length = totalLength(fields, 0, body, context.maxSize)
  if (length === undefined ? context.limits.minSize > 0 || !context.store.setLength : length < context.limits.minSize) {
    throw new UploadError('TOO_SMALL', length === undefined ? 'Upload-Length is needed here' : undefined)
  }
  if (!complete && body.length !== undefined && body.length > 0 && body.length < context.limits.minAppendSize) throw new UploadError('TOO_SMALL')
  const description = { length, metadata: describe(req), completion: 'explicit', digest: expectedDigest(context, exchange) } as const
  const beforeCreate = (): void => {
    if (exchange.answered) throw new UploadError('OVERDUE') // what was said cannot be taken back
  }
  const announce = (upload: Upload): boolean => interim && inform(exchange, fields, { ...location(upload), ...limitField(context, context.limits, fields.dialect, upload) })
  const empty = !complete && body.length === 0
  const received = await createUpload(context, { description, body: empty ? undefined : body, end: endOf(complete), request: req, beforeCreate, announce }, exchange)
  await answer(context, exchange, fields, received, 201, location(received.upload))
}

/** Draft section "Offset Retrieval". */
export async function inspect(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  const { req } = exchange
  const fields = readFields(req, context.versions)
  assertNoState(fields, req)
  await authorize(context, 'inspect', id, req)
  const isMarked = header(req, VERSION_FIELD.toLowerCase()) !== undefined
  // Anybody may ask with a plain GET or HEAD, which is safe (RFC 9110 section 9.2.1): it must not end an append.
  const upload = isMarked ? await inspectUpload(context, id, exchange, 'later') : await peekUpload(context, id, exchange)
  await respond(exchange, 204, stateFields(context, fields, upload))
}

/** Draft section "Upload Append". */
export async function append(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  const { req, signal } = exchange
  const fields = readFields(req, context.versions)
  const { dialect, offset } = fields
  const silent = header(req, dialect.completeness.name.toLowerCase()) === undefined // what is malformed should not complete anything
  const complete = fields.complete ?? (dialect.completesByDefault && silent ? true : undefined)
  if (dialect.mediaType && mediaTypeOf(req) !== APPEND_MEDIA_TYPE) throw new UploadError('UNSUPPORTED_MEDIA_TYPE', `The content type must be ${APPEND_MEDIA_TYPE}`)
  if (offset === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Offset must be a whole number of bytes')
  if (complete === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Complete must be ?0 or ?1')
  const asked = { ...fields, complete }
  const body = receivable(context, exchange, asked)
  const length = totalLength(asked, offset, body)
  await authorize(context, 'append', id, req)
  const claims = { offset, length, minBytes: context.limits.minAppendSize, end: endOf(complete) }
  const received = await appendToUpload(context, id, claims, body, signal).catch((error: UploadError) => {
    if (error.code !== 'COMPLETED' || !dialect.replays) throw error
    // Its client may have lost the final response. Nothing can be added to what is complete.
    return appendToUpload(context, id, { ...claims, end: 'here' }, body, signal)
  })
  await answer(context, exchange, asked, received, dialect.appended, {})
}

/** Draft section "Upload Cancellation". */
export async function cancel(context: RufhContext, exchange: Exchange, id: string): Promise<void> {
  assertNoState(readFields(exchange.req, context.versions), exchange.req)
  await authorize(context, 'terminate', id, exchange.req)
  await terminateUpload(context, id, exchange.signal)
  await respond(exchange, 204, {})
}

/** Offset, completeness, length and limits, as far as they are known. */
export function stateFields(context: RufhContext, { dialect }: Pick<RequestFields, 'dialect'>, upload: Upload): Headers {
  const { offset, length, state } = upload
  return {
    'Upload-Offset': String(offset),
    ...completenessField(dialect, state === 'finished'),
    ...(length === undefined ? {} : { 'Upload-Length': String(length) }),
    ...limitField(context, context.limits, dialect, upload),
  }
}

/** Up to version 6, a request for the state or to cancel must not give a state (draft -05 sections 5 and 7). */
function assertNoState({ dialect }: RequestFields, req: UploadRequest): void {
  if (!dialect.refusesState) return
  for (const name of ['Upload-Offset', dialect.completeness.name]) {
    if (header(req, name.toLowerCase()) === undefined) continue
    throw new UploadError('BAD_REQUEST', `${name} must not be in a request of this method`)
  }
}

function endOf(complete: boolean): End {
  return complete ? 'here' : 'later'
}

/**
 * The length that a request tells: its own, and, if its content is the rest, the sum of what was there
 * and that. `maxSize` is for its refusal, if there is no upload yet.
 */
function totalLength(fields: RequestFields, offset: number, body: IncomingBody, maxSize?: number): number | undefined {
  const { complete, length } = fields
  const sum = complete && body.length !== undefined ? offset + body.length : undefined
  if (sum !== undefined && length !== undefined && sum !== length) {
    throw new UploadError('LENGTH_CONFLICT', undefined, undefined, maxSize === undefined ? {} : { maxSize })
  }
  return length ?? sum
}

/** The content of a request, whose sender is told of its progress if it can hear that. */
function receivable(context: RufhContext, exchange: Exchange, fields: RequestFields, location?: (upload: Pick<Upload, 'id'>) => Headers): IncomingBody {
  const { interim, dialect } = fields
  return incomingBody(exchange, {
    checksum: contentDigest(context, exchange),
    excess: 'cut',
    progress: interim && dialect.progress ? (offset) => void inform(exchange, fields, { 'Upload-Offset': String(offset) }) : undefined,
    onShutdown: (upload) => [503, { 'Retry-After': '1', ...location?.(upload), 'Upload-Offset': String(upload.offset), ...completenessField(dialect, false) }],
  })
}

/** Sends 104, which names its version. Returns whether it was sent. */
function inform({ req, res, answered }: Exchange, { dialect }: RequestFields, headers: Headers): boolean {
  return !answered && sendInterim(req, res, { status: 104, headers: { [VERSION_FIELD]: String(dialect.version), ...headers } })
}

/** Draft section "Content Digests": content that does not match is not appended. */
function contentDigest({ store }: RufhContext, { req }: Exchange): ExpectedChecksum | undefined {
  const read = parseDigest(header(req, 'content-digest'))
  if (read.kind === 'malformed') throw new UploadError('BAD_REQUEST', 'Content-Digest must hold digests of the algorithms it names')
  if (read.kind === 'none' || !store.appendVerified) return undefined
  return { algorithms: [read.algorithm], read: () => read }
}

/** Draft section "Representation Digests": what the whole upload must have, or its client wants to know. */
function expectedDigest({ store }: RufhContext, { req }: Exchange): UploadDigest | undefined {
  const read = parseDigest(header(req, 'repr-digest'))
  if (read.kind === 'malformed') throw new UploadError('BAD_REQUEST', 'Repr-Digest must hold digests of the algorithms it names')
  if (!store.read) return undefined
  if (read.kind === 'digest') return { algorithm: read.algorithm, value: Buffer.from(read.digest).toString('base64') }
  const algorithm = parseWantedDigest(header(req, 'want-repr-digest'))
  return algorithm === undefined ? undefined : { algorithm }
}

/** Answers a request that brought content. The end of an upload may have an answer of its own, and has it each time. */
async function answer(context: RufhContext, exchange: Exchange, fields: RequestFields, received: Received, status: number, headers: Headers): Promise<void> {
  const { upload } = received
  if (received.kind === 'refused' || received.kind === 'interrupted') {
    const { code, message, cause } = received.error
    throw new UploadError(code, message, cause, { upload, headers: received.kind === 'interrupted' ? headers : {} }) // what is refused may be gone
  }
  if (received.kind !== 'received') return
  if (upload.state === 'rejected') throw rejectionOf(upload)
  const state = stateFields(context, fields, upload)
  if (upload.state !== 'finished') return respond(exchange, status, { ...headers, ...state })
  const { status: ownStatus = 200, headers: ownHeaders = {}, body = '' } = upload.outcome ?? {}
  const location = locationOf(exchange.addresses, exchange.req, upload.id)
  await respond(exchange, ownStatus, { Location: location, ...(await digestField(context, exchange, upload)), ...ownHeaders, ...state }, body)
}

/** The digest of what is complete. It is no more than a wish, so the answer does not wait for long. */
async function digestField(context: RufhContext, exchange: Exchange, upload: Upload): Promise<Headers> {
  const wanted = parseWantedDigest(header(exchange.req, 'want-repr-digest')) ?? upload.digest?.algorithm
  if (wanted === undefined || !context.store.read) return {}
  const digest = await wantedDigest(context, upload, wanted, DIGEST_MS)
  return digest === undefined ? {} : { 'Repr-Digest': formatDigest(digest.algorithm, digest.value) }
}
