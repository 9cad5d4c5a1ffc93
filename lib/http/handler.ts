// SPDX-License-Identifier: MIT

/**
 * Resumable uploads over `node:http`, in whichever protocols it is given.
 *
 * This file takes the options, finds out which protocol a request is in, and answers what goes wrong.
 * What a protocol means by a request is in the folder of that protocol.
 *
 * @module
 */

import { setMaxListeners } from 'node:events'
import { delayedSignal, type DelayedSignal } from '../delayed-signal.ts'
import { INLINE_MEDIA_TYPES } from '../download/media-type.ts'
import { DOWNLOAD_FIELDS, serveUpload } from '../download/serve-upload.ts'
import { stallSignal } from '../download/stall-signal.ts'
import { requestSignal } from '../request-signal.ts'
import type { UploadContext } from '../upload/context.ts'
import { assertNotBusy, counted } from '../upload/busy.ts'
import { toUploadError, UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { ExpirationPolicy } from '../upload/expiration.ts'
import { authorize, type UploadHooks, type UploadRequest } from '../upload/hooks.ts'
import { findReadable } from '../upload/read.ts'
import { sharedOf } from '../upload/shared.ts'
import { sweepUploads, type SweepReport } from '../upload/sweep.ts'
import type { Locker, UploadStore } from '../upload/types.ts'
import { checkCors, corsHeaders, preflightHeaders, type CorsOptions } from './cors.ts'
import { header, respond, respondError, type Exchange, type UploadResponse } from './exchange.ts'
import { assertFraming } from './framing.ts'
import { toAddresses } from './location.ts'
import type { Headers, Protocol, ProtocolFactory } from './protocol.ts'
import { parseTarget, type Target } from './request-target.ts'
import { closeWhenSent, inTurn, type Turn } from './turn.ts'

/**
 * What all handlers have in common: the hooks, and these. A duration is in milliseconds, 1 to
 * 2^31-1, or Infinity for never; `graceMs` and `progressIntervalMs` may be 0.
 */
export interface HandlerOptions extends UploadHooks {
  /** Where the uploads are kept. */
  readonly store: UploadStore
  /** The path of the creation URL as it arrives, with a slash at both ends. Default: `/files/`. */
  readonly path?: string | undefined
  /** The creation URL as clients see it, where a proxy changes it: a path or an http URL, with a slash at the end. Default: `path`. */
  readonly publicUrl?: string | undefined
  /** Addresses or networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * Keeps requests for one upload apart, in all handlers of the store. Default: a `KeyedLock`, which serves one
   * process. If several processes use the store there is no default: pass one that reaches them, as `LockFiles` does.
   */
  readonly locker?: Locker | undefined
  /** The most that one upload may hold, in bytes. Default: 100 GiB. */
  readonly maxSize?: number | undefined
  /** The most that one request may append, in bytes. Default: as much as the upload takes. */
  readonly maxAppendSize?: number | undefined
  /**
   * How many bodies may be received, downloads sent, copies and digests made at once, in all handlers of the store
   * together; one more is answered 503. Default: 10000.
   */
  readonly maxConcurrent?: number | undefined
  /** When unfinished uploads are given up. Nothing is removed before `sweep` runs. Default: never. */
  readonly expiration?: ExpirationPolicy | undefined
  /** Offers finished uploads for download; `inline` lists the media types that browsers may show, by default `INLINE_MEDIA_TYPES`. Default: off. */
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
  /** The least time between two calls of `onProgress`, or two messages about it, for one request, in milliseconds. Default: 1000. */
  readonly progressIntervalMs?: number | undefined
  /** Aborts when the server shuts down, as `ShutdownGroup.signal` does. Default: never. */
  readonly signal?: AbortSignal | undefined
}

/** A request listener, with one for the event `checkContinue`, and the sweeper. */
export interface UploadHandler {
  /** Answers a request. It does not reject, and resolves when the answer and all storing are done. */
  (req: UploadRequest, res: UploadResponse): Promise<void>
  /** The same for `server.on('checkContinue', …)`: refusals go out before the body is asked for. */
  checkContinue(req: UploadRequest, res: UploadResponse): Promise<void>
  /**
   * Goes through all uploads once: removes the expired, finishes what a crash or a failed hook left
   * unfinished. Call it at the start and every now and then. It disturbs no request.
   */
  sweep(): Promise<SweepReport>
}

/** Answers of 500 and above that are no failure of the server, or were published when they were given. */
const EXPECTED: readonly UploadErrorCode[] = ['UNSUPPORTED_CODING', 'OVERDUE', 'SHUTTING_DOWN']

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Returns a request listener that speaks the protocols below `path`: each request in the first one that
 * claims it, and what none claims in the first of them.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of bounds.
 */
export function createHandler(options: HandlerOptions, factories: readonly [ProtocolFactory, ...ProtocolFactory[]]): UploadHandler {
  const { store, download, expiration } = options
  if (download && !store.read) throw new TypeError('Cannot offer downloads as the store must be able to read')
  if (expiration) duration('expiration.afterMs', expiration.afterMs, 1, Number.MAX_SAFE_INTEGER)
  if (!['creation', 'activity', undefined].includes(expiration?.from)) throw new TypeError(`Cannot expire uploads as expiration.from must be creation or activity: received ${expiration?.from}`)
  const addresses = toAddresses(options.path ?? '/files/', options.publicUrl, options.trustedProxies ?? [])
  const cors = options.cors && checkCors(options.cors)
  const graceMs = duration('graceMs', options.graceMs ?? 10_000, 0)
  const answerTimeoutMs = duration('answerTimeoutMs', options.answerTimeoutMs ?? 30_000, 1)
  const context: UploadContext = {
    store,
    ...sharedOf(store, options.locker),
    hooks: options,
    expiration,
    maxSize: count('maxSize', options.maxSize ?? 100 * 1024 ** 3),
    maxAppendSize: count('maxAppendSize', options.maxAppendSize ?? Number.MAX_SAFE_INTEGER),
    maxConcurrent: count('maxConcurrent', options.maxConcurrent ?? 10_000),
    idleTimeoutMs: duration('idleTimeoutMs', options.idleTimeoutMs ?? 60_000, 1),
    lockTimeoutMs: duration('lockTimeoutMs', options.lockTimeoutMs ?? 5000, 1),
    progressIntervalMs: duration('progressIntervalMs', options.progressIntervalMs ?? 1000, 0),
    shutdownSignal: followOnce(options.signal),
  }

  /** Downloads are plain HTTP; no protocol for uploads has them. But one may say there where the upload stands. */
  const serve = async (exchange: Exchange, id: string): Promise<void> => {
    const { req, res, watchdog, protocol } = exchange
    await authorize(context, 'read', id, req)
    const upload = await findReadable(context, id)
    if (exchange.answered) return
    if (req.method !== 'HEAD') assertNotBusy(context) // its answer takes no file
    watchdog.stop()
    const stalled = stallSignal(req, res, context.idleTimeoutMs)
    if ('stream' in res) closeWhenSent(req, res.stream) // over HTTP/2, the download is over when its stream is closed
    try {
      await counted(context, () => serveUpload(req, res, upload, {
        read: (range) => store.read!(upload, range),
        inline: download?.inline ?? INLINE_MEDIA_TYPES,
        headers: { ...protocol.headers, ...protocol.downloadFields?.(exchange, upload), ...exchange.headers },
        signal: stalled,
      }))
    } catch (error) {
      if (stalled.aborted) return // the client has stopped reading, and is cut off
      if (!res.headersSent) await findReadable(context, id) // moved away or removed before its file was opened: that is the answer
      throw error
    }
  }

  const protocols = factories.map((make) => make(context, download && serve))
  const fallback = protocols[0] as Protocol
  const fieldsOf = (kind: 'requestFields' | 'responseFields'): readonly string[] =>
    [...new Set([...protocols.flatMap((protocol) => protocol[kind]), ...(download ? DOWNLOAD_FIELDS[kind] : [])])]
  const [requestFields, responseFields] = [fieldsOf('requestFields'), fieldsOf('responseFields')]

  const handle = (req: UploadRequest, res: UploadResponse, awaitsContinue: boolean): Promise<void> =>
    inTurn(req, res, (turn) => serveInTurn(req, res, awaitsContinue, turn))

  const serveInTurn = async (req: UploadRequest, res: UploadResponse, awaitsContinue: boolean, turn: Turn): Promise<void> => {
    let signal: DelayedSignal | undefined
    const watchdog = watch(answerTimeoutMs, () => {
      const error = new UploadError('OVERDUE')
      publishError(error, req)
      void respondError(exchange, error)
    })
    const target = parseTarget(targetOf(req), addresses.path)
    if (turn === 'gone' && target.kind !== 'upload') return // nobody would know its address
    const protocol = protocols.find((each) => each.claims(req, target)) ?? fallback
    const exchange: Exchange = {
      req, res, addresses, protocol, watchdog, awaitsContinue, method: protocol.methodOf(req), answered: false, headers: {},
      get signal() {
        return (signal ??= delayedSignal(requestSignal(req, res), graceMs)) // most requests are over before anybody asks for it
      },
    }
    try {
      if (turn === 'refused') throw new UploadError('BUSY', '') // no text: it might never be read
      watchdog.start()
      assertFraming(req)
      if (cors) exchange.headers = await corsHeaders(cors, header(req, 'origin'), responseFields)
      await route(exchange, target)
    } catch (cause) {
      const error = toUploadError(cause)
      if (isFailure(error) && cause !== signal?.reason) publishError(error, req)
      await respondError(exchange, error)
    } finally {
      watchdog.stop()
      signal?.dispose()
    }
  }

  const route = async (exchange: Exchange, target: Target): Promise<void> => {
    const { req, protocol, method } = exchange
    if (target.kind === 'none') throw new UploadError('NOT_FOUND')
    if (method === undefined) throw new UploadError('BAD_REQUEST', 'X-HTTP-Method-Override must be the name of one method')
    if (method === 'OPTIONS') return respond(exchange, 204, { ...discovery(), ...preflight(req, target.kind) })
    if (download && target.kind === 'upload' && isPlain(req) && method === req.method) {
      try {
        return await serve(exchange, target.id)
      } catch (error) {
        // As a download, what is not finished is not there, and not empty. But a HEAD may ask how far it has come,
        // or what became of it: the protocol refuses what it does not know itself.
        const refused = error instanceof UploadError && (error.status < 500 || error.code === 'REFUSED')
        if (!(refused && method === 'HEAD' && protocol.claims(req, target))) throw error
      }
    }
    if (!protocol.methodsOf(target.kind).includes(method)) {
      throw new UploadError('METHOD_NOT_ALLOWED', undefined, undefined, { headers: { Allow: methodsOf(target.kind).join(', ') } })
    }
    await protocol.serve(exchange, target)
  }

  /** Whether a request asks for bytes as any client of HTTP does. */
  const isPlain = (req: UploadRequest): boolean =>
    (req.method === 'GET' || req.method === 'HEAD') && !protocols.some(({ marks }) => header(req, marks) !== undefined)

  const methodsOf = (kind: 'creation' | 'upload'): readonly string[] => [...new Set(protocols.flatMap((protocol) => protocol.methodsOf(kind)))]

  const discovery = (): Headers => Object.assign({}, ...protocols.map((protocol) => protocol.discovery()))

  const preflight = (req: UploadRequest, kind: 'creation' | 'upload'): Headers => {
    if (!cors || header(req, 'access-control-request-method') === undefined) return {}
    return preflightHeaders(cors, methodsOf(kind), requestFields)
  }

  return Object.assign((req: UploadRequest, res: UploadResponse) => handle(req, res, false), {
    checkContinue: (req: UploadRequest, res: UploadResponse) => handle(req, res, true),
    sweep: () => sweepUploads(context, context.shutdownSignal),
  })
}

/** The target as the client sent it: some frameworks cut off what they have routed by, and keep the whole here. */
function targetOf(req: UploadRequest): string {
  const { originalUrl } = req as { originalUrl?: unknown }
  return typeof originalUrl === 'string' ? originalUrl : (req.url ?? '')
}

/** Whether operators should know. A server that is busy is not, one that ran out of descriptors is. */
function isFailure({ status, code, cause }: UploadError): boolean {
  return code === 'BUSY' ? cause !== undefined : status >= 500 && !EXPECTED.includes(code)
}

/** A timer that can be stopped and started again. */
function watch(timeoutMs: number, onTimeout: () => void): Exchange['watchdog'] {
  let timer: ReturnType<typeof setTimeout> | undefined
  const stop = (): void => clearTimeout(timer)
  const start = (): void => {
    stop()
    if (timeoutMs !== Infinity) timer = setTimeout(onTimeout, timeoutMs)
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

/** Milliseconds, or Infinity for never. What no timer counts may be longer than one can. */
function duration(name: string, value: number, leastMs: 0 | 1, mostMs: number = MAX_TIMER_MS): number {
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= mostMs) || value === Infinity) return value
  throw new RangeError(`${what} ${leastMs} to ${mostMs} milliseconds or Infinity: received ${value}`)
}
