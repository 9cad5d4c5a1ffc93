// SPDX-License-Identifier: MIT

/**
 * The operations of tus 1.0.0: each reads its headers, calls a use case of `../upload`, and answers.
 *
 * @module
 */

import { parseByteCount } from '../http/byte-count.ts'
import { header, mediaTypeOf, refuseHeader, respond, type Exchange } from '../http/exchange.ts'
import { hasContent, incomingBody } from '../http/incoming-body.ts'
import { idAt, locationOf } from '../http/location.ts'
import type { Headers } from '../http/protocol.ts'
import { appendToUpload } from '../upload/append.ts'
import type { UploadContext } from '../upload/context.ts'
import { createUpload } from '../upload/create.ts'
import { UploadError } from '../upload/errors.ts'
import { expiresAt } from '../upload/expiration.ts'
import { rejectionOf } from '../upload/find.ts'
import { authorize, type UploadRequest } from '../upload/hooks.ts'
import { inspectUpload } from '../upload/inspect.ts'
import type { Received } from '../upload/receive.ts'
import { terminateUpload } from '../upload/terminate.ts'
import type { Upload } from '../upload/types.ts'
import { announcesChecksum } from './checksum.ts'
import { parseConcatenation } from './concatenation.ts'
import { expectedChecksum } from './expected-checksum.ts'
import { formatMetadata, parseMetadata, trimMetadata } from './metadata.ts'
import { APPEND_MEDIA_TYPE, concatenates, defersLength, verifiesChecksums } from './protocol.ts'

/** tus section "Creation", with "Creation With Upload", "Concatenation" and a length that comes later. */
export async function create(context: UploadContext, exchange: Exchange, maxMetadataSize: number): Promise<void> {
  const { req } = exchange
  refuseWhatIsNotOffered(context, req)
  const concatenation = readConcatenation(exchange)
  const description = {
    length: concatenation.parts ? readNoLength(req) : readLength(req),
    ...readMetadata(req, maxMetadataSize),
    ...concatenation,
  }
  const mediaTypeFits = mediaTypeOf(req) === APPEND_MEDIA_TYPE
  const withBody = mediaTypeFits && !concatenation.parts
  if (!withBody && (await hasContent(exchange, context))) {
    if (concatenation.parts) throw new UploadError('BAD_REQUEST', 'A concatenation must not have a body')
    throw new UploadError('UNSUPPORTED_MEDIA_TYPE', `The content type of a body must be ${APPEND_MEDIA_TYPE}`)
  }
  const created = (upload: Pick<Upload, 'id' | 'offset'>): Headers => ({
    Location: locationOf(exchange.addresses, req, upload.id),
    ...(withBody ? { 'Upload-Offset': String(upload.offset) } : {}),
  })
  const body = withBody ? incomingBody(exchange, { checksum: expectedChecksum(req), onShutdown: (upload) => [201, created(upload)] }) : undefined
  const beforeCreate = (): void => {
    if (exchange.answered) throw new UploadError('OVERDUE') // what was said cannot be taken back
    if (concatenation.parts) exchange.watchdog.stop() // who is told to try again would have all bytes copied twice
  }
  const received = await createUpload(context, { description, body, end: 'at-length', request: req, beforeCreate }, exchange)
  // A body that was interrupted is no failure of the creation: with its address, the client can go on.
  const outcome: Received = received.kind === 'interrupted' ? { kind: 'received', upload: received.upload } : received
  await answer(context, exchange, outcome, 201, created(received.upload))
}

/** tus section "HEAD". */
export async function inspect(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  await authorize(context, 'inspect', id, exchange.req)
  const upload = await inspectUpload(context, id, exchange, 'at-length')
  await respond(exchange, 200, { ...progressHeaders(upload), ...descriptionHeaders(exchange, upload), ...expiryHeaders(context, upload) })
}

/** tus section "PATCH". */
export async function append(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  const { req, signal } = exchange
  if (mediaTypeOf(req) !== APPEND_MEDIA_TYPE) throw new UploadError('UNSUPPORTED_MEDIA_TYPE', `The content type must be ${APPEND_MEDIA_TYPE}`)
  refuseWhatIsNotOffered(context, req)
  const offset = parseByteCount(header(req, 'upload-offset') ?? '')
  if (offset === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Offset must be a whole number of bytes')
  const saysLength = header(req, 'upload-length') !== undefined || header(req, 'upload-defer-length') !== undefined
  const length = saysLength ? (readLength(req) ?? 'later') : undefined
  const body = incomingBody(exchange, { checksum: expectedChecksum(req) })
  await authorize(context, 'append', id, req)
  const received = await appendToUpload(context, id, { offset, length, end: 'at-length' }, body, signal)
  await answer(context, exchange, received, 204, { 'Upload-Offset': String(received.upload.offset) })
}

/** tus section "Termination". */
export async function terminate(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  await authorize(context, 'terminate', id, exchange.req)
  await terminateUpload(context, id, exchange.signal)
  await respond(exchange, 204, {})
}

/** Answers a request that brought bytes, or might have; a finished upload may have an answer of its own. */
async function answer(context: UploadContext, exchange: Exchange, received: Received, status: number, headers: Headers): Promise<void> {
  const { upload } = received
  if (received.kind === 'refused' || received.kind === 'interrupted') throw received.error
  if (received.kind !== 'received') return
  if (upload.state === 'rejected') throw rejectionOf(upload)
  const { status: ownStatus, headers: ownHeaders = {}, body = '' } = upload.outcome ?? {}
  const withText = status === 204 && body !== '' ? 200 : status
  await respond(exchange, ownStatus ?? withText, { ...headers, ...expiryHeaders(context, upload), ...ownHeaders }, body)
}

/** Bytes stored and bytes in all, as far as they are known. A concatenation has no offset before it has its bytes. */
function progressHeaders({ offset, length, parts, state }: Upload): Headers {
  if (parts && state !== 'finished') return length === undefined ? {} : { 'Upload-Length': String(length) }
  return { 'Upload-Offset': String(offset), ...(length === undefined ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }) }
}

/** What the client said of the upload, as it said it. */
function descriptionHeaders({ addresses, req }: Exchange, upload: Upload): Headers {
  const { encodedMetadata, metadata, partial, parts, encodedParts } = upload
  const metadataHeader = encodedMetadata ?? formatMetadata(metadata)
  const concatHeader = partial ? 'partial' : (encodedParts ?? (parts && `final;${parts.map((id) => locationOf(addresses, req, id)).join(' ')}`))
  return {
    ...(metadataHeader === undefined ? {} : { 'Upload-Metadata': metadataHeader }),
    ...(concatHeader === undefined ? {} : { 'Upload-Concat': concatHeader }),
  }
}

/** tus section "Expiration": an `IMF-fixdate` (RFC 9110 section 5.6.7). */
function expiryHeaders(context: UploadContext, upload: Upload): Headers {
  const moment = expiresAt(upload, context.expiration)
  return moment ? { 'Upload-Expires': moment.toUTCString() } : {}
}

function refuseWhatIsNotOffered(context: UploadContext, req: UploadRequest): void {
  if (!verifiesChecksums(context)) {
    refuseHeader(req, 'Upload-Checksum')
    if (announcesChecksum(header(req, 'trailer'))) throw new UploadError('BAD_REQUEST', 'Upload-Checksum is not supported here')
  }
  if (!concatenates(context)) refuseHeader(req, 'Upload-Concat')
  if (!defersLength(context)) refuseHeader(req, 'Upload-Defer-Length')
}

/** `Upload-Length`, or `undefined` if `Upload-Defer-Length` puts it off. */
function readLength(req: UploadRequest): number | undefined {
  const text = header(req, 'upload-length')
  const deferred = header(req, 'upload-defer-length')
  if (deferred !== undefined) {
    if (deferred !== '1' || text !== undefined) throw new UploadError('BAD_REQUEST', 'Upload-Defer-Length must be 1, and take the place of Upload-Length')
    return undefined
  }
  const length = parseByteCount(text ?? '')
  if (length === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Length must be a whole number of bytes')
  return length
}

/** A concatenation is as long as its parts. */
function readNoLength(req: UploadRequest): undefined {
  if (header(req, 'upload-length') !== undefined || header(req, 'upload-defer-length') !== undefined) {
    throw new UploadError('BAD_REQUEST', 'A concatenation must not say its length')
  }
}

function readMetadata(req: UploadRequest, maxSize: number): Pick<Upload, 'encodedMetadata'> & { readonly metadata: Map<string, string> | undefined } {
  const encodedMetadata = header(req, 'upload-metadata') || undefined
  if (encodedMetadata === undefined) return { encodedMetadata, metadata: undefined }
  if (encodedMetadata.length > maxSize) throw new UploadError('METADATA_TOO_LARGE')
  const metadata = parseMetadata(encodedMetadata)
  if (!metadata) throw new UploadError('BAD_REQUEST', 'Upload-Metadata must be pairs of a unique key and a base64 value, separated by commas')
  return { encodedMetadata: trimMetadata(encodedMetadata), metadata }
}

function readConcatenation({ req, addresses }: Exchange): Pick<Upload, 'partial' | 'parts' | 'encodedParts'> {
  const encoded = header(req, 'upload-concat')
  if (encoded === undefined) return { partial: false, parts: undefined, encodedParts: undefined }
  const concatenation = parseConcatenation(encoded)
  if (!concatenation) throw new UploadError('BAD_REQUEST', 'Upload-Concat must be "partial", or "final;" and addresses separated by spaces')
  if (concatenation.kind === 'partial') return { partial: true, parts: undefined, encodedParts: undefined }
  const parts = concatenation.addresses.map((address) => {
    const id = idAt(addresses, req, address)
    if (id === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Concat must name uploads of this host and path')
    return id
  })
  return { partial: false, parts, encodedParts: encoded }
}
