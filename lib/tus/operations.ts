// SPDX-License-Identifier: MIT

/**
 * The operations of tus 1.0.0: each reads its headers, calls a use case of `../upload`, and
 * answers.
 *
 * @module
 */

import { parseByteCount } from '../http/byte-count.ts'
import type { Answer, Exchange, Headers } from '../http/exchange.ts'
import { hasContent, incomingBody } from '../http/incoming-body.ts'
import { idAt, locationOf } from '../http/location.ts'
import { header, mediaTypeOf, refuseHeader } from '../http/request-headers.ts'
import { assertUnanswered, respond } from '../http/respond.ts'
import { appendToUpload } from '../upload/append.ts'
import type { UploadContext } from '../upload/context.ts'
import { createUpload } from '../upload/create.ts'
import { UploadError } from '../upload/errors.ts'
import { authorize, rejectionOf } from '../upload/find.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { inspectUpload } from '../upload/inspect.ts'
import { expiresAt } from '../upload/lifecycle.ts'
import type { Received } from '../upload/receive.ts'
import { terminateUpload } from '../upload/terminate.ts'
import type { Upload } from '../upload/types.ts'
import { concatenates, defersLength, verifiesChecksums } from './capabilities.ts'
import { announcesChecksum } from './checksum.ts'
import { parseConcatenation } from './concatenation.ts'
import { expectedChecksum } from './expected-checksum.ts'
import { formatMetadata, parseMetadata, trimMetadata } from './metadata.ts'

/** The media type of a body that is stored (tus sections "PATCH" and "Creation With Upload"). */
const OFFSET_MEDIA_TYPE = 'application/offset+octet-stream'

/** What came of a request that may have brought bytes, and its answer if all went well. */
interface Reply {
  readonly received: Received
  readonly status: 201 | 204
  readonly headers: Headers
}

/** tus sections "Creation", "Creation With Upload" and "Concatenation". */
export async function create(context: UploadContext, exchange: Exchange, maxMetadataSize: number): Promise<void> {
  const { req, addresses } = exchange
  refuseWhatIsNotOffered(context, req)
  const concatenation = readConcatenation(exchange)
  const { parts } = concatenation
  const description = {
    length: parts ? readNoLength(req) : readLength(req),
    ...readMetadata(req, maxMetadataSize),
    ...concatenation,
  }
  const withBody = mediaTypeOf(req) === OFFSET_MEDIA_TYPE && !parts
  if (!withBody && (await hasContent(exchange, context))) throw refusalOfBody(parts !== undefined)

  // "Creation": the answer has the address. "Creation With Upload": and the offset after its body.
  const created = (upload: Pick<Upload, 'id' | 'offset'>): Headers => ({
    Location: locationOf(addresses, req, upload.id),
    ...(withBody ? { 'Upload-Offset': String(upload.offset) } : {}),
  })
  const onShutdown = (upload: Pick<Upload, 'id' | 'offset'>): Answer => ({ status: 201, headers: created(upload) })
  const body = withBody ? incomingBody(exchange, { checksum: expectedChecksum(req), onShutdown }) : undefined
  const announce = (): boolean => {
    assertUnanswered(exchange)
    // A client that is answered 503 tries again, and all bytes of the parts would be copied twice.
    if (parts) exchange.watchdog.stop()
    return false
  }
  const received = await createUpload(context, {
    description, body, end: 'at-length', request: req, announce, requester: exchange,
  })
  // An interrupted body is no failure of the creation: its client can continue at the address.
  const kept: Received = received.kind === 'interrupted' ? { kind: 'received', upload: received.upload } : received
  await answer(context, exchange, { received: kept, status: 201, headers: created(received.upload) })
}

/** tus section "HEAD". That no cache keeps the answer is seen to by `respond`. */
export async function inspect(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  await authorize(context, { kind: 'inspect', id }, exchange.req)
  const upload = await inspectUpload(context, id, { end: 'at-length', requester: exchange })
  const headers = {
    ...progressHeaders(upload),
    ...descriptionHeaders(exchange, upload),
    ...expiryHeaders(context, upload),
  }
  await respond(exchange, { status: 200, headers })
}

/** tus section "PATCH". */
export async function append(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  const { req } = exchange
  // "PATCH": the content type is this one, or the answer is 415.
  if (mediaTypeOf(req) !== OFFSET_MEDIA_TYPE) {
    throw new UploadError('UNSUPPORTED_MEDIA_TYPE', { message: `The content type must be ${OFFSET_MEDIA_TYPE}` })
  }
  refuseWhatIsNotOffered(context, req)
  // "Upload-Offset": a number of bytes, not negative. One that is not that of the upload is 409.
  const offset = parseByteCount(header(req, 'upload-offset') ?? '')
  if (offset === undefined) {
    throw new UploadError('BAD_REQUEST', { message: 'Upload-Offset must be a whole number of bytes' })
  }
  // "Creation": a length that was put off comes with a PATCH, and never changes after that.
  const length = saysLength(req) ? (readLength(req) ?? 'later') : undefined
  const body = incomingBody(exchange, { checksum: expectedChecksum(req) })
  await authorize(context, { kind: 'append', id }, req)
  const asked = { body, offset, length, end: 'at-length', requester: exchange } as const
  const received = await appendToUpload(context, id, asked)
  // "PATCH": the answer is 204, with the new offset.
  const headers = { 'Upload-Offset': String(received.upload.offset) }
  await answer(context, exchange, { received, status: 204, headers })
}

/** tus section "Termination": 204, and from then on the upload is not found. */
export async function terminate(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  await authorize(context, { kind: 'terminate', id }, exchange.req)
  await terminateUpload(context, id, { requester: exchange })
  await respond(exchange, { status: 204 })
}

/** Answers a request that may have brought bytes. A finished upload may have its own answer. */
async function answer(context: UploadContext, exchange: Exchange, reply: Reply): Promise<void> {
  const { received, status, headers } = reply
  const { upload } = received
  if (received.kind === 'refused' || received.kind === 'interrupted') throw received.error
  if (received.kind !== 'received') return
  if (upload.state === 'rejected') throw rejectionOf(upload)
  const { status: ownStatus, headers: ownHeaders, body: text = '' } = upload.outcome ?? {}
  const withText = status === 204 && text !== '' ? 200 : status
  await respond(exchange, {
    status: ownStatus ?? withText,
    headers: { ...headers, ...expiryHeaders(context, upload), ...ownHeaders },
    text,
  })
}

/**
 * Bytes stored and bytes in all, as far as they are known (tus section "HEAD"). A concatenation has
 * no offset before it has its bytes, and its length only if those of all parts are known (tus
 * section "Concatenation").
 */
function progressHeaders({ offset, length, parts, state }: Upload): Headers {
  if (parts && state !== 'finished') return length === undefined ? {} : { 'Upload-Length': String(length) }
  return {
    'Upload-Offset': String(offset),
    ...(length === undefined ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }),
  }
}

/** `Upload-Metadata` and `Upload-Concat` as they were sent (tus section "HEAD"). */
function descriptionHeaders({ addresses, req }: Exchange, upload: Upload): Headers {
  const { encodedMetadata, metadata, partial, parts, encodedParts } = upload
  const metadataHeader = encodedMetadata ?? formatMetadata(metadata)
  const final = encodedParts ?? (parts && `final;${parts.map((id) => locationOf(addresses, req, id)).join(' ')}`)
  const concatHeader = partial ? 'partial' : final
  return {
    ...(metadataHeader === undefined ? {} : { 'Upload-Metadata': metadataHeader }),
    ...(concatHeader === undefined ? {} : { 'Upload-Concat': concatHeader }),
  }
}

/** tus section "Expiration": an `IMF-fixdate` (RFC 9110 section 5.6.7), if the upload expires. */
function expiryHeaders(context: UploadContext, upload: Upload): Headers {
  const moment = expiresAt(upload, context.limits.expiration)
  return moment ? { 'Upload-Expires': moment.toUTCString() } : {}
}

/**
 * A body that is not stored: that of a concatenation, or one of another type than "Creation With
 * Upload" asks for.
 */
function refusalOfBody(concatenates: boolean): UploadError {
  if (concatenates) return new UploadError('BAD_REQUEST', { message: 'A concatenation must not have a body' })
  return new UploadError('UNSUPPORTED_MEDIA_TYPE', { message: `The content type must be ${OFFSET_MEDIA_TYPE}` })
}

/** tus section "Tus-Extension": a client must not use what is not listed there. */
function refuseWhatIsNotOffered({ store }: UploadContext, req: UploadRequest): void {
  if (!verifiesChecksums(store)) {
    refuseHeader(req, 'Upload-Checksum')
    if (announcesChecksum(header(req, 'trailer'))) {
      throw new UploadError('BAD_REQUEST', { message: 'Upload-Checksum is not supported' })
    }
  }
  if (!concatenates(store)) refuseHeader(req, 'Upload-Concat')
  if (!defersLength(store)) refuseHeader(req, 'Upload-Defer-Length')
}

function saysLength(req: UploadRequest): boolean {
  return header(req, 'upload-length') !== undefined || header(req, 'upload-defer-length') !== undefined
}

/**
 * `Upload-Length`, or `undefined` if `Upload-Defer-Length` puts it off. tus section "Creation": one
 * of the two; the second is 1, all else is 400.
 */
function readLength(req: UploadRequest): number | undefined {
  const text = header(req, 'upload-length')
  const deferred = header(req, 'upload-defer-length')
  if (deferred !== undefined) {
    if (deferred === '1' && text === undefined) return undefined
    throw new UploadError('BAD_REQUEST', {
      message: 'Upload-Defer-Length must be 1, and sent without Upload-Length',
    })
  }
  const length = parseByteCount(text ?? '')
  if (length === undefined) {
    throw new UploadError('BAD_REQUEST', { message: 'Upload-Length must be a whole number of bytes' })
  }
  return length
}

/**
 * tus section "Concatenation": a concatenation is as long as its parts, and its client must not
 * give a length.
 */
function readNoLength(req: UploadRequest): undefined {
  if (!saysLength(req)) return
  const message = 'A concatenation must not have Upload-Length or Upload-Defer-Length'
  throw new UploadError('BAD_REQUEST', { message })
}

/** `Upload-Metadata`, decoded and as it was sent; both are `undefined` without the header. */
interface ReadMetadata {
  readonly metadata: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata: string | undefined
}

/**
 * tus section "Creation": pairs whose keys are not empty and unique; a value is base64, or missing.
 */
function readMetadata(req: UploadRequest, maxSize: number): ReadMetadata {
  const encodedMetadata = header(req, 'upload-metadata') || undefined
  if (encodedMetadata === undefined) return { encodedMetadata, metadata: undefined }
  if (encodedMetadata.length > maxSize) throw new UploadError('METADATA_TOO_LARGE')
  const metadata = parseMetadata(encodedMetadata)
  if (!metadata) {
    throw new UploadError('BAD_REQUEST', {
      message: 'Upload-Metadata must be comma-separated pairs of a unique key and a base64 value',
    })
  }
  return { encodedMetadata: trimMetadata(encodedMetadata), metadata }
}

/** tus section "Concatenation": `partial`, or the addresses of uploads of this server. */
function readConcatenation({ req, addresses }: Exchange): Pick<Upload, 'partial' | 'parts' | 'encodedParts'> {
  const encoded = header(req, 'upload-concat')
  if (encoded === undefined) return { partial: false, parts: undefined, encodedParts: undefined }
  const concatenation = parseConcatenation(encoded)
  if (!concatenation) {
    throw new UploadError('BAD_REQUEST', {
      message: 'Upload-Concat must be "partial", or "final;" followed by URLs separated by spaces',
    })
  }
  if (concatenation.kind === 'partial') return { partial: true, parts: undefined, encodedParts: undefined }
  const parts = concatenation.addresses.map((address) => {
    const id = idAt(addresses, req, address)
    if (id !== undefined) return id
    throw new UploadError('BAD_REQUEST', { message: 'Upload-Concat must name uploads on this host and path' })
  })
  return { partial: false, parts, encodedParts: encoded }
}
