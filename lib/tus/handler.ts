// SPDX-License-Identifier: MIT

/**
 * tus 1.0.0 over `node:http`: core, creation, creation-with-upload and termination.
 *
 * This file only does HTTP: it reads headers with the pure functions beside it, calls a use case
 * of `../upload`, and writes the answer.
 *
 * @module
 */

import { channel } from 'node:diagnostics_channel'
import { setMaxListeners } from 'node:events'
import { delayedSignal } from '../delayed-signal.ts'
import { KeyedLock } from '../keyed-lock.ts'
import { requestSignal } from '../request-signal.ts'
import { appendToUpload } from '../upload/append.ts'
import type { IncomingBody, UploadContext } from '../upload/context.ts'
import { createUpload } from '../upload/create.ts'
import { toUploadError, UploadError } from '../upload/errors.ts'
import { inspectUpload } from '../upload/inspect.ts'
import type { Received } from '../upload/receive.ts'
import { terminateUpload } from '../upload/terminate.ts'
import type { Locker, UploadStore } from '../upload/types.ts'
import { parseByteCount } from './byte-count.ts'
import { effectiveMethod } from './effective-method.ts'
import {
  hasBody, header, isAppendMediaType, refuseHeaders, respond, respondError,
  type Exchange, type TusRequest, type TusResponse,
} from './exchange.ts'
import { formatMetadata, parseMetadata } from './metadata.ts'
import { APPEND_MEDIA_TYPE, discoveryHeaders, METHODS, TUS_VERSION } from './protocol.ts'
import { parseTarget } from './request-target.ts'

/** Options of {@link tusHandler}. */
export interface TusHandlerOptions {
  /** Where the uploads are kept. */
  readonly store: UploadStore
  /** The path of the creation URL, with a slash at both ends. Default: `/files/`. */
  readonly path?: string | undefined
  /** Keeps requests for one upload apart. Default: a {@link KeyedLock}, which serves one process. */
  readonly locker?: Locker | undefined
  /** The most that one upload may hold, in bytes. Default: 100 GiB. */
  readonly maxSize?: number | undefined
  /** How long a body may be silent, in milliseconds. Default: 60000. */
  readonly idleTimeoutMs?: number | undefined
  /** How long saving may go on once the client is gone, in milliseconds. Default: 10000. */
  readonly graceMs?: number | undefined
  /** How long to wait until another request lets go of an upload, in milliseconds. Default: 5000. */
  readonly lockTimeoutMs?: number | undefined
  /** Aborts when the server shuts down, as `ShutdownGroup.signal` does. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/** A request listener; {@link TusHandler.checkContinue} is one for the event of that name. */
export interface TusHandler {
  /** Answers a request. It does not reject, and resolves when the answer and all storing are done. */
  (req: TusRequest, res: TusResponse): Promise<void>
  /** The same for `server.on('checkContinue', …)`: refusals go out before the body is asked for. */
  checkContinue(req: TusRequest, res: TusResponse): Promise<void>
}

/** How long a client may go on sending to a server that shuts down, after it was told so. */
const SHUTDOWN_LINGER_MS = 250

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** `path-absolute` (RFC 3986 section 3.3) that ends with a slash; what `Location` begins with. */
const PATH = /^\/(?:[A-Za-z0-9\-._~%!$&'()*+,;=:@]+\/)*$/

const errorChannel = channel('longhaul:error')

/**
 * Returns a request listener that speaks tus 1.0.0 below `path`.
 *
 * 1. Bytes are stored as they arrive. Whatever cuts a request off, everything that Node received of
 *    it is stored, and the next HEAD says so.
 * 2. A request for an upload that another request holds asks it to let go; the other saves and is
 *    answered 409, the newcomer goes on. If that takes longer than `lockTimeoutMs`: 423.
 * 3. When `signal` aborts, bodies end, are stored, and their clients are answered 503.
 * 4. Every refusal is one line of text and a status from the table in `upload/errors.ts`; it changes
 *    nothing that is stored. What the server is to blame for is published, with its cause, on the
 *    `node:diagnostics_channel` named `longhaul:error`.
 *
 * Set `server.requestTimeout` to 0: it cuts uploads that are progressing; `idleTimeoutMs` ends those
 * that are not. Mount the handler before anything that reads bodies.
 *
 * It does not authenticate, offer downloads, or answer cross-origin preflights. `Location` is a path:
 * no header of the request is reflected in it.
 *
 * @throws {TypeError} if `path` is not one that ends with a slash, {@link RangeError} if a number is out of
 * bounds. Source: tus.io/protocols, version 1.0.0.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { FileStore } from 'longhaul/file-store'
 * import { tusHandler } from 'longhaul/tus'
 *
 * const tus = tusHandler({ store: new FileStore('./uploads') })
 * const server = createServer({ requestTimeout: 0 }, tus)
 * server.on('checkContinue', tus.checkContinue).listen(1080)
 * ```
 */
export function tusHandler(options: TusHandlerOptions): TusHandler {
  const { path = '/files/', maxSize = 100 * 1024 ** 3 } = options
  if (!PATH.test(path)) throw new TypeError(`Cannot mount uploads as path must begin and end with a slash, with plain segments between: received ${JSON.stringify(path)}`)
  if (!(Number.isSafeInteger(maxSize) && maxSize >= 0)) throw new RangeError(`Cannot limit uploads as maxSize must be a whole number of bytes: received ${maxSize}`)
  const graceMs = duration('graceMs', options.graceMs ?? 10_000)
  const context: UploadContext = {
    store: options.store,
    locker: options.locker ?? new KeyedLock(),
    maxSize,
    idleTimeoutMs: duration('idleTimeoutMs', options.idleTimeoutMs ?? 60_000),
    lockTimeoutMs: duration('lockTimeoutMs', options.lockTimeoutMs ?? 5000),
    shutdownSignal: followOnce(options.signal),
  }

  const handle = async (req: TusRequest, res: TusResponse, awaitsContinue: boolean): Promise<void> => {
    const clientSignal = requestSignal(req, res)
    const signal = delayedSignal(clientSignal, graceMs)
    const exchange: Exchange = { req, res, path, signal, awaitsContinue }
    try {
      await route(context, exchange)
    } catch (cause) {
      const error = toUploadError(cause)
      if (error.status >= 500 && cause !== clientSignal.reason) errorChannel.publish({ error, req })
      if (!res.headersSent) await respondError(exchange, error)
    } finally {
      signal.dispose()
    }
  }
  return Object.assign((req: TusRequest, res: TusResponse) => handle(req, res, false), {
    checkContinue: (req: TusRequest, res: TusResponse) => handle(req, res, true),
  })
}

function route(context: UploadContext, exchange: Exchange): Promise<void> {
  const { req, path } = exchange
  const target = parseTarget(req.url ?? '', path)
  if (target.kind === 'none') throw new UploadError('NOT_FOUND')

  const method = effectiveMethod(req.method ?? '', header(req, 'x-http-method-override'))
  if (method === undefined) throw new UploadError('BAD_REQUEST', 'X-HTTP-Method-Override must be the name of one method')
  const allowed: readonly string[] = METHODS[target.kind]
  if (!allowed.includes(method)) return respond(exchange, 405, { Allow: allowed.join(', ') }, 'This method is not allowed here')
  if (method === 'OPTIONS') return respond(exchange, 204, discoveryHeaders(context.maxSize))
  if (header(req, 'tus-resumable') !== TUS_VERSION) throw new UploadError('UNSUPPORTED_VERSION')

  if (target.kind === 'creation') return create(context, exchange)
  if (method === 'HEAD') return inspect(context, exchange, target.id)
  if (method === 'PATCH') return append(context, exchange, target.id)
  return terminate(context, exchange, target.id)
}

/** tus section "Creation", with "Creation With Upload". */
async function create(context: UploadContext, exchange: Exchange): Promise<void> {
  const { req, signal } = exchange
  refuseHeaders(req, ['Upload-Defer-Length', 'Upload-Concat', 'Upload-Checksum'])
  const length = parseByteCount(header(req, 'upload-length') ?? '')
  if (length === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Length must be a whole number of bytes')
  const encodedMetadata = header(req, 'upload-metadata') || undefined
  const metadata = encodedMetadata === undefined ? undefined : parseMetadata(encodedMetadata)
  if (encodedMetadata !== undefined && !metadata) {
    throw new UploadError('BAD_REQUEST', 'Upload-Metadata must be pairs of a unique key and a base64 value, separated by commas')
  }

  const mediaTypeFits = isAppendMediaType(req)
  if (hasBody(req) && !mediaTypeFits) throw new UploadError('UNSUPPORTED_MEDIA_TYPE', `The content type of a body must be ${APPEND_MEDIA_TYPE}`)
  const body = mediaTypeFits ? incomingBody(exchange, (upload) => [201, createdHeaders(exchange, upload, true)]) : undefined
  const received = await createUpload(context, { length, metadata, encodedMetadata }, body, signal)
  if (received.kind === 'refused') throw received.error
  if (received.kind !== 'received') return
  await respond(exchange, 201, createdHeaders(exchange, received.upload, body !== undefined))
}

function createdHeaders(exchange: Exchange, upload: { id: string; offset: number }, withOffset: boolean): Record<string, string> {
  const location = { Location: `${exchange.path}${upload.id}` }
  return withOffset ? { ...location, 'Upload-Offset': String(upload.offset) } : location
}

/** tus section "HEAD". */
async function inspect(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  const upload = await inspectUpload(context, id, exchange.signal)
  const metadata = upload.encodedMetadata ?? formatMetadata(upload.metadata)
  await respond(exchange, 200, {
    'Upload-Offset': String(upload.offset),
    ...(upload.length === undefined ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(upload.length) }),
    ...(metadata === undefined ? {} : { 'Upload-Metadata': metadata }),
  })
}

/** tus section "PATCH". */
async function append(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  const { req, signal } = exchange
  if (!isAppendMediaType(req)) throw new UploadError('UNSUPPORTED_MEDIA_TYPE', `The content type must be ${APPEND_MEDIA_TYPE}`)
  refuseHeaders(req, ['Upload-Length', 'Upload-Checksum'])
  const offset = parseByteCount(header(req, 'upload-offset') ?? '')
  if (offset === undefined) throw new UploadError('BAD_REQUEST', 'Upload-Offset must be a whole number of bytes')

  const received: Received = await appendToUpload(context, id, offset, incomingBody(exchange, () => undefined), signal)
  if (received.kind === 'refused') throw received.error
  if (received.kind === 'received') await respond(exchange, 204, { 'Upload-Offset': String(received.upload.offset) })
}

/** tus section "Termination". */
async function terminate(context: UploadContext, exchange: Exchange, id: string): Promise<void> {
  await terminateUpload(context, id, exchange.signal)
  await respond(exchange, 204, {})
}

/** The request's body as the core wants it; `onShutdown` may give another answer than 503. */
function incomingBody(
  exchange: Exchange,
  onShutdown: (upload: { id: string; offset: number }) => readonly [status: number, headers: Record<string, string>] | undefined,
): IncomingBody {
  const { req, res } = exchange
  const announced = header(req, 'content-length')
  const length = announced === undefined ? undefined : parseByteCount(announced)
  if (announced !== undefined && length === undefined) throw new UploadError('BAD_REQUEST', 'Content-Length must be a whole number of bytes')
  if (hasBody(req) && (req.readableDidRead || req.readableEnded)) throw new UploadError('BODY_CONSUMED')
  req.pause() // the lock comes first; an abort meanwhile throws away what HTTP/2 holds for a request that is not paused
  return {
    source: req,
    length: length ?? (hasBody(req) ? undefined : 0),
    accept: () => {
      if (exchange.awaitsContinue) res.writeContinue()
      exchange.awaitsContinue = false
    },
    answerShutdown: (upload, drain) => {
      const answer = onShutdown(upload)
      const linger = { lingerMs: SHUTDOWN_LINGER_MS, drain }
      return answer ? respond(exchange, ...answer, '', linger) : respondError(exchange, new UploadError('SHUTTING_DOWN'), linger)
    },
  }
}

/** A signal of our own, which takes a listener for each request, behind one listener on the one we were given. */
function followOnce(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (!signal || signal.aborted) return signal
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  return controller.signal
}

function duration(name: string, value: number): number {
  if (value >= 1 && value <= MAX_TIMER_MS) return value
  throw new RangeError(`Cannot time uploads as ${name} must be 1 to ${MAX_TIMER_MS} milliseconds: received ${value}`)
}
