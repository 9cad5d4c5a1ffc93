// SPDX-License-Identifier: MIT

/**
 * Resumable uploads over `node:http`, in whichever protocols it is given.
 *
 * This file finds out which protocol a request is in, and answers what goes wrong. What a protocol
 * means by a request is in the folder of that protocol.
 *
 * @module
 */

import { delayedSignal, type DelayedSignal } from '../delayed-signal.ts'
import { DOWNLOAD_FIELDS } from '../download/serve-upload.ts'
import { requestSignal } from '../request-signal.ts'
import { toUploadError, UploadError, type UploadErrorCode } from '../upload/errors.ts'
import { publishError } from '../upload/events.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import { sweepUploads, type SweepReport } from '../upload/sweep.ts'
import { corsHeaders, toCors, type Cors } from './cors.ts'
import { offerDownloads } from './download.ts'
import type { Download, Exchange, Headers, Protocol, ProtocolFactory, UploadResponse } from './exchange.ts'
import { assertFraming } from './framing.ts'
import type { Addresses } from './location.ts'
import { toSettings, type HandlerOptions, type Settings } from './options.ts'
import { header } from './request-headers.ts'
import { parseTarget, type Target } from './request-target.ts'
import { respond, respondError } from './respond.ts'
import { inTurn, type Turn } from './turn.ts'

/** A request listener, with one for the event `checkContinue`, and the sweeper. */
export interface UploadHandler {
  /**
   * Answers a request. It does not reject, and resolves when the answer and all storing are done.
   */
  (req: UploadRequest, res: UploadResponse): Promise<void>
  /** The same for `server.on('checkContinue', …)`: refusals go out before the body is asked for. */
  checkContinue(req: UploadRequest, res: UploadResponse): Promise<void>
  /**
   * Goes through all uploads once: removes the expired, finishes what a crash or a failed hook left
   * unfinished. Call it at the start and every now and then. It disturbs no request.
   */
  sweep(): Promise<SweepReport>
}

/** A handler: its options, and all that they lead to before a request comes. */
interface Site extends Omit<Settings, 'cors' | 'inline'> {
  readonly protocols: readonly [Protocol, ...Protocol[]]
  /** `undefined`: there are no downloads. */
  readonly download: Download | undefined
  /** `undefined`: pages of other origins are not allowed. */
  readonly cors: Cors | undefined
  /** The headers with which OPTIONS is answered. */
  readonly discovery: Headers
  /** The methods of both kinds of addresses, as a list in a header. */
  readonly methods: Readonly<Record<'creation' | 'upload', string>>
}

/** A request that has come, with the response that belongs to it. */
type Arrival = Pick<Exchange, 'req' | 'res' | 'awaitsContinue'>

/** Answers of 500 and above that are no failure of the server, or were published before. */
const EXPECTED: readonly UploadErrorCode[] = ['UNSUPPORTED_CODING', 'OVERDUE', 'SHUTTING_DOWN']

/**
 * Returns a request listener that speaks the protocols below `path`: each request in the first one
 * that claims it, and what none claims in the first of them.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds.
 */
export function createHandler(
  options: HandlerOptions,
  factories: readonly [ProtocolFactory, ...ProtocolFactory[]],
): UploadHandler {
  const { context, inline, cors, ...settings } = toSettings(options)
  const download = inline && offerDownloads(context, inline)
  const [first, ...others] = factories
  const protocols = [first(context, download), ...others.map((make) => make(context, download))] as const
  const speakers = download ? [...protocols, DOWNLOAD_FIELDS] : protocols
  const spoken = {
    requestFields: [...new Set(speakers.flatMap(({ requestFields }) => requestFields))],
    responseFields: [...new Set(speakers.flatMap(({ responseFields }) => responseFields))],
  }
  const methodsOf = (kind: 'creation' | 'upload'): string =>
    [...new Set(protocols.flatMap((protocol) => protocol.methodsOf(kind)))].join(', ')
  const site: Site = {
    ...settings,
    context,
    protocols,
    download,
    cors: cors && toCors(cors, spoken),
    discovery: Object.assign({}, ...protocols.map((protocol) => protocol.discovery)),
    methods: { creation: methodsOf('creation'), upload: methodsOf('upload') },
  }
  const listener = (awaitsContinue: boolean) => (req: UploadRequest, res: UploadResponse): Promise<void> =>
    inTurn(req, res, (turn) => serve(site, { req, res, awaitsContinue }, turn))
  return Object.assign(listener(false), {
    checkContinue: listener(true),
    sweep: () => sweepUploads(context, context.shutdownSignal),
  })
}

/** Serves a request whose turn it is. Does not reject. */
async function serve(site: Site, arrival: Arrival, turn: Turn): Promise<void> {
  const { req } = arrival
  const { addresses, cors } = site
  const target = parseTarget(targetOf(req), addresses.path)
  if (turn === 'gone' && target.kind !== 'upload') return // nobody would know its address

  const exchange = new ServedExchange(site, arrival, target)
  try {
    if (turn === 'refused') throw new UploadError('BUSY', { message: '' }) // no text: it might never be read
    if (cors || exchange.method !== 'OPTIONS') exchange.watchdog.start() // else nothing is waited for
    assertFraming(req)
    if (cors) exchange.headers = await corsHeaders(cors, header(req, 'origin'))
    await route(site, exchange, target)
  } catch (cause) {
    const error = toUploadError(cause)
    if (isFailure(error) && !exchange.isGone(cause)) publishError(error, req)
    await respondError(exchange, error)
  } finally {
    exchange.dispose()
  }
}

async function route(site: Site, exchange: Exchange, target: Target): Promise<void> {
  const { req, protocol, method } = exchange
  if (target.kind === 'none') throw new UploadError('NOT_FOUND')
  if (method === undefined) {
    throw new UploadError('BAD_REQUEST', { message: 'X-HTTP-Method-Override must be a single method name' })
  }
  if (method === 'OPTIONS') {
    return respond(exchange, { status: 204, headers: capabilitiesOf(site, req, target.kind) })
  }
  if (target.kind === 'upload' && (await isDownloaded(site, exchange, target))) return
  if (!protocol.methodsOf(target.kind).includes(method)) {
    throw new UploadError('METHOD_NOT_ALLOWED', { headers: { Allow: site.methods[target.kind] } })
  }
  await protocol.serve(exchange, target)
}

/**
 * Answers a plain GET or HEAD with the bytes of the upload; resolves with `false` if the protocol
 * is to answer in place of that.
 *
 * An unfinished upload has no bytes to download, so it is not found. But a HEAD may ask how far it
 * has come, or what became of it: the protocol refuses what it does not know itself.
 */
async function isDownloaded(
  { download, protocols }: Site,
  exchange: Exchange,
  target: Target & { readonly kind: 'upload' },
): Promise<boolean> {
  const { req, protocol, method } = exchange
  const isPlain = (req.method === 'GET' || req.method === 'HEAD') && method === req.method
  if (!download || !isPlain || protocols.some(({ marks }) => header(req, marks) !== undefined)) return false
  try {
    await download(exchange, target.id)
    return true
  } catch (error) {
    const refused = error instanceof UploadError && (error.status < 500 || error.code === 'REFUSED')
    if (refused && method === 'HEAD' && protocol.claims(req, target)) return false
    throw error
  }
}

/** The headers that answer OPTIONS. A browser asks a question of its own before a request of a page. */
function capabilitiesOf({ cors, discovery, methods }: Site, req: UploadRequest, kind: 'creation' | 'upload'): Headers {
  if (!cors || header(req, 'access-control-request-method') === undefined) return discovery
  return { ...discovery, 'Access-Control-Allow-Methods': methods[kind], ...cors.preflight }
}

/**
 * The target as the client sent it. Some frameworks cut off the part that they have routed by, and
 * keep the whole in `originalUrl`.
 */
function targetOf(req: UploadRequest): string {
  const { originalUrl } = req as { originalUrl?: unknown }
  return typeof originalUrl === 'string' ? originalUrl : (req.url ?? '')
}

/**
 * Whether operators should know. A busy server is no failure, one that ran out of descriptors is.
 */
function isFailure({ status, code, cause }: UploadError): boolean {
  return code === 'BUSY' ? cause !== undefined : status >= 500 && !EXPECTED.includes(code)
}

/** An exchange of a handler. A class, as what most requests never need is made on demand. */
class ServedExchange implements Exchange {
  readonly req: UploadRequest
  readonly res: UploadResponse
  readonly addresses: Addresses
  readonly protocol: Protocol
  readonly method: string | undefined
  readonly watchdog: Watchdog
  awaitsContinue: boolean
  answered = false
  headers: Headers = {}
  readonly #graceMs: number
  #signal: DelayedSignal | undefined

  constructor({ addresses, protocols, answerTimeoutMs, graceMs }: Site, arrival: Arrival, target: Target) {
    const { req, res, awaitsContinue } = arrival
    this.req = req
    this.res = res
    this.awaitsContinue = awaitsContinue
    this.addresses = addresses
    this.protocol = protocols.find((each) => each.claims(req, target)) ?? protocols[0]
    this.method = this.protocol.methodOf(req)
    this.watchdog = new Watchdog(answerTimeoutMs, this)
    this.#graceMs = graceMs
  }

  get signal(): AbortSignal {
    return (this.#signal ??= delayedSignal(requestSignal(this.req, this.res), this.#graceMs))
  }

  /** Whether an error says no more than that the client has gone. */
  isGone(cause: unknown): boolean {
    return this.#signal !== undefined && cause === this.#signal.reason
  }

  dispose(): void {
    this.watchdog.stop()
    this.#signal?.dispose()
  }
}

/** Answers an exchange when a time has passed. It can be stopped and started again. */
class Watchdog {
  readonly #timeoutMs: number
  readonly #exchange: Exchange
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number, exchange: Exchange) {
    this.#timeoutMs = timeoutMs
    this.#exchange = exchange
  }

  start(): void {
    this.stop()
    if (this.#timeoutMs !== Infinity) this.#timer = setTimeout(onOverdue, this.#timeoutMs, this.#exchange)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

function onOverdue(exchange: Exchange): void {
  const error = new UploadError('OVERDUE')
  publishError(error, exchange.req)
  void respondError(exchange, error)
}
