// SPDX-License-Identifier: MIT

/**
 * tus 1.0.0 over `node:http`, with all of its extensions.
 *
 * This file takes the options, routes a request to its operation, and answers what goes wrong. The
 * operations are in `operations.ts`; what the headers mean is in small pure modules beside it.
 *
 * @module
 */

import { setMaxListeners } from 'node:events'
import { delayedSignal, type DelayedSignal } from '../delayed-signal.ts'
import { INLINE_MEDIA_TYPES } from '../download/media-type.ts'
import { serveUpload } from '../download/serve-upload.ts'
import { stallSignal } from '../download/stall-signal.ts'
import { KeyedLock } from '../keyed-lock.ts'
import { requestSignal } from '../request-signal.ts'
import type { UploadContext } from '../upload/context.ts'
import { toUploadError, UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { ExpirationPolicy } from '../upload/expiration.ts'
import { authorize, type UploadHooks } from '../upload/hooks.ts'
import { findReadable } from '../upload/read.ts'
import { sweepUploads, type SweepReport } from '../upload/sweep.ts'
import type { Locker, UploadStore } from '../upload/types.ts'
import { checkCors, corsHeaders, preflightHeaders, type CorsOptions } from './cors.ts'
import { effectiveMethod } from './effective-method.ts'
import { header, respond, respondError, type Exchange, type TusRequest, type TusResponse } from './exchange.ts'
import { toAddresses } from './location.ts'
import { append, create, inspect, terminate } from './operations.ts'
import { discoveryHeaders, methodsOf, TUS_VERSION } from './protocol.ts'
import { parseTarget } from './request-target.ts'

/** Options of {@link tusHandler}: the hooks, and these. */
export interface TusHandlerOptions extends UploadHooks {
  /** Where the uploads are kept. */
  readonly store: UploadStore
  /** The path of the creation URL as it arrives, with a slash at both ends. Default: `/files/`. */
  readonly path?: string | undefined
  /** The creation URL as clients see it, where a proxy changes it: a path or an http URL, with a slash at the end. Default: `path`. */
  readonly publicUrl?: string | undefined
  /** Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * Keeps requests for one upload apart. Default: a {@link KeyedLock}, which serves one process. If
   * several processes use the store there is no default: pass one that reaches them, as `LockFiles` does.
   */
  readonly locker?: Locker | undefined
  /** The most that one upload may hold, in bytes. Default: 100 GiB. */
  readonly maxSize?: number | undefined
  /** The most that one request may append, in bytes. Default: as much as the upload takes. */
  readonly maxAppendSize?: number | undefined
  /** The most that an encoded `Upload-Metadata` may hold, in bytes. Node limits all headers to 16 KiB. Default: 16 KiB. */
  readonly maxMetadataSize?: number | undefined
  /** How many bodies may be received at once; one more is answered 503. Default: 10000. */
  readonly maxConcurrent?: number | undefined
  /** When unfinished uploads are given up. Nothing is removed before `sweep` runs. Default: never. */
  readonly expiration?: ExpirationPolicy | undefined
  /** Offers finished uploads for download; `inline` lists the media types that browsers may show. Default: off. */
  readonly download?: { readonly inline?: readonly string[] | undefined } | undefined
  /** Lets pages of other origins in. Default: off. */
  readonly cors?: CorsOptions | undefined
  /** How long a body may be silent, or the client of a download read nothing, in milliseconds. Default: 60000. */
  readonly idleTimeoutMs?: number | undefined
  /** How long saving may go on once the client is gone, in milliseconds. Default: 10000. */
  readonly graceMs?: number | undefined
  /** How long to wait until another request lets go of an upload, in milliseconds. Default: 5000. */
  readonly lockTimeoutMs?: number | undefined
  /**
   * How long a client may wait for the server, hooks included, before it is answered 503; the work goes on, and HEAD tells
   * when it is done. A creation that is answered so has an address that nobody knows: what `onFinish` does should not
   * take as long. In milliseconds; a concatenation may take longer. Default: 30000.
   */
  readonly answerTimeoutMs?: number | undefined
  /** The least time between two calls of `onProgress` for one request, in milliseconds. Default: 1000. */
  readonly progressIntervalMs?: number | undefined
  /** Aborts when the server shuts down, as `ShutdownGroup.signal` does. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/** A request listener, with one for the event `checkContinue`, and the sweeper. */
export interface TusHandler {
  /** Answers a request. It does not reject, and resolves when the answer and all storing are done. */
  (req: TusRequest, res: TusResponse): Promise<void>
  /** The same for `server.on('checkContinue', …)`: refusals go out before the body is asked for. */
  checkContinue(req: TusRequest, res: TusResponse): Promise<void>
  /**
   * Goes through all uploads once: removes the expired, finishes what a crash or a failed hook left
   * unfinished. Call it at the start and every now and then. It disturbs no request.
   */
  sweep(): Promise<SweepReport>
}

/** Answers of 500 and above that are no failure of the server, or were published when they were given. */
const EXPECTED: readonly UploadErrorCode[] = ['BUSY', 'OVERDUE', 'SHUTTING_DOWN']

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Returns a request listener that speaks tus 1.0.0 below `path`.
 *
 * 1. Bytes are stored as they arrive. Whatever cuts a request off, everything that Node received of
 *    it is stored, and the next HEAD says so. A body with a checksum counts as a whole or not at all.
 * 2. A request for an upload that another request holds asks it to let go; the other saves and is
 *    answered 409, the newcomer goes on. If that takes longer than `lockTimeoutMs`: 423.
 * 3. An upload with all its bytes is `finishing` until `onFinish` has run, at least once; only then is
 *    it said to be complete. What `onFinish` answered or refused is remembered, and answered again.
 * 4. When `signal` aborts, bodies end, are stored, and their clients are answered 503.
 * 5. Every refusal is one line of text and a status from the table in `upload/errors.ts`; it changes
 *    nothing that is stored. What the server is to blame for is published, with its cause, on the
 *    `node:diagnostics_channel` named `longhaul:error`; what happens to uploads on `longhaul:create`,
 *    `:append`, `:finish`, `:reject`, `:terminate` and `:expire`.
 *
 * Set `requestTimeout` of the server to 0: it cuts uploads that are progressing; `idleTimeoutMs` ends
 * those that are not. Give `headersTimeout` then: Node would derive 0 from it. Mount the handler
 * before anything that reads bodies.
 *
 * It offers the extensions that the store is able to support. Without `authorize` whoever knows an
 * address may use it. Downloads, CORS and proxies are off unless an option says so. A concatenation of
 * unfinished parts gets its bytes when it is next asked for, or by `sweep`.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds. Source: tus.io/protocols, version 1.0.0.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { FileStore } from 'longhaul/file-store'
 * import { tusHandler } from 'longhaul/tus'
 *
 * const tus = tusHandler({ store: new FileStore('./uploads') })
 * const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, tus)
 * server.on('checkContinue', tus.checkContinue).listen(1080)
 * ```
 */
export function tusHandler(options: TusHandlerOptions): TusHandler {
  const { store, locker, download, expiration } = options
  if (store.shared && !locker) throw new TypeError('Cannot keep requests apart as a store that is shared between processes must come with a locker that reaches them')
  if (download && !store.read) throw new TypeError('Cannot offer downloads as the store must be able to read')
  if (expiration) duration('expiration.afterMs', expiration.afterMs, Number.MAX_SAFE_INTEGER)
  if (!['creation', 'activity', undefined].includes(expiration?.from)) throw new TypeError(`Cannot expire uploads as expiration.from must be creation or activity: received ${expiration?.from}`)
  const addresses = toAddresses(options.path ?? '/files/', options.publicUrl, options.trustedProxies ?? [])
  const cors = options.cors && checkCors(options.cors)
  const maxMetadataSize = count('maxMetadataSize', options.maxMetadataSize ?? 16 * 1024)
  const graceMs = duration('graceMs', options.graceMs ?? 10_000)
  const answerTimeoutMs = duration('answerTimeoutMs', options.answerTimeoutMs ?? 30_000)
  const context: UploadContext = {
    store,
    locker: locker ?? new KeyedLock(),
    hooks: options,
    expiration,
    maxSize: count('maxSize', options.maxSize ?? 100 * 1024 ** 3),
    maxAppendSize: count('maxAppendSize', options.maxAppendSize ?? Number.MAX_SAFE_INTEGER),
    maxConcurrent: count('maxConcurrent', options.maxConcurrent ?? 10_000),
    underWay: { bodies: 0 },
    idleTimeoutMs: duration('idleTimeoutMs', options.idleTimeoutMs ?? 60_000),
    lockTimeoutMs: duration('lockTimeoutMs', options.lockTimeoutMs ?? 5000),
    progressIntervalMs: duration('progressIntervalMs', options.progressIntervalMs ?? 1000),
    shutdownSignal: followOnce(options.signal),
  }

  const handle = async (req: TusRequest, res: TusResponse, awaitsContinue: boolean): Promise<void> => {
    let signal: DelayedSignal | undefined
    const watchdog = watch(answerTimeoutMs, () => {
      const error = new UploadError('OVERDUE')
      publishError(error, req)
      void respondError(exchange, error)
    })
    const exchange: Exchange = {
      req, res, addresses, watchdog, awaitsContinue, answered: false, headers: {},
      get signal() {
        return (signal ??= delayedSignal(requestSignal(req, res), graceMs)) // most requests are over before anybody asks for it
      },
    }
    try {
      watchdog.start()
      if (cors) exchange.headers = await corsHeaders(cors, header(req, 'origin'))
      await route(exchange)
    } catch (cause) {
      const error = toUploadError(cause)
      if (error.status >= 500 && !EXPECTED.includes(error.code) && cause !== signal?.reason) publishError(error, req)
      await respondError(exchange, error)
    } finally {
      watchdog.stop()
      signal?.dispose()
    }
  }

  const route = async (exchange: Exchange): Promise<void> => {
    const { req } = exchange
    const target = parseTarget(targetOf(req), addresses.path)
    if (target.kind === 'none') throw new UploadError('NOT_FOUND')

    const method = effectiveMethod(req.method ?? '', header(req, 'x-http-method-override'))
    if (method === undefined) throw new UploadError('BAD_REQUEST', 'X-HTTP-Method-Override must be the name of one method')
    const allowed = methodsOf(target.kind, download !== undefined)
    if (!allowed.includes(method)) return respond(exchange, 405, { Allow: allowed.join(', ') }, 'This method is not allowed here')
    if (method === 'OPTIONS') {
      const asked = cors && header(req, 'access-control-request-method') !== undefined ? preflightHeaders(cors, allowed) : {}
      return respond(exchange, 204, { ...discoveryHeaders({ store, expires: expiration !== undefined }, context.maxSize), ...asked })
    }
    const version = header(req, 'tus-resumable')
    if (target.kind === 'upload' && download && version === undefined && (method === 'GET' || method === 'HEAD') && method === req.method) {
      return serve(exchange, target.id)
    }
    if (version !== TUS_VERSION) throw new UploadError('UNSUPPORTED_VERSION')

    if (target.kind === 'creation') return create(context, exchange, maxMetadataSize)
    if (method === 'HEAD') return inspect(context, exchange, target.id)
    if (method === 'PATCH') return append(context, exchange, target.id)
    if (method === 'DELETE') return terminate(context, exchange, target.id)
    return serve(exchange, target.id)
  }

  /** Downloads are plain HTTP; tus does not have them. */
  const serve = async (exchange: Exchange, id: string): Promise<void> => {
    const { req, res, watchdog } = exchange
    await authorize(context, 'read', id, req)
    const upload = await findReadable(context, id)
    if (exchange.answered) return
    watchdog.stop()
    const stalled = stallSignal(req, res, context.idleTimeoutMs)
    try {
      await serveUpload(req, res, upload, {
        read: (range) => store.read!(upload, range),
        inline: download?.inline ?? INLINE_MEDIA_TYPES,
        headers: { 'Tus-Resumable': TUS_VERSION, ...exchange.headers },
        signal: stalled,
      })
    } catch (error) {
      if (!stalled.aborted) throw error // the client has stopped reading, and is cut off
    }
  }

  return Object.assign((req: TusRequest, res: TusResponse) => handle(req, res, false), {
    checkContinue: (req: TusRequest, res: TusResponse) => handle(req, res, true),
    sweep: () => sweepUploads(context, context.shutdownSignal),
  })
}

/** The target as the client sent it: some frameworks cut off what they have routed by, and keep the whole here. */
function targetOf(req: TusRequest): string {
  const { originalUrl } = req as { originalUrl?: unknown }
  return typeof originalUrl === 'string' ? originalUrl : (req.url ?? '')
}

/** A timer that can be stopped and started again. */
function watch(timeoutMs: number, onTimeout: () => void): Exchange['watchdog'] {
  let timer: ReturnType<typeof setTimeout> | undefined
  const stop = (): void => clearTimeout(timer)
  const start = (): void => {
    stop()
    timer = setTimeout(onTimeout, timeoutMs)
  }
  return { start, stop }
}

/** A signal of our own, which takes a listener for each request, behind one listener on the one we were given. */
function followOnce(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (!signal || signal.aborted) return signal
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  return controller.signal
}

function count(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`Cannot limit uploads as ${name} must be a whole number, not negative: received ${value}`)
}

function duration(name: string, value: number, maxMs: number = MAX_TIMER_MS): number {
  if (typeof value === 'number' && value >= 1 && value <= maxMs) return value
  throw new RangeError(`Cannot time uploads as ${name} must be 1 to ${maxMs} milliseconds: received ${value}`)
}
