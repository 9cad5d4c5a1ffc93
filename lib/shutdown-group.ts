// SPDX-License-Identifier: MIT

/**
 * Shuts servers and long work down together: stop, save, wait, force.
 *
 * `server.close()` waits forever for an endless upload, and cutting its connection loses the bytes
 * that were sent. The way out is to inform the handlers. A signal aborts, and bodies end as if the
 * client had stopped there (`HappyReader` does that). The handlers save what has arrived, and
 * answer. After that the connections are idle and can be closed.
 *
 * Design. *Signal* and *wait* are two things. `signal` informs everybody who listens to it. The
 * group waits for responses, streams and tracked work by their own events; nothing polls.
 *
 * Each socket is in one of four states: `handshake`, `http1`, `http2` or `upgraded`. The group
 * keeps this list because Node's own is not enough: it leaves out connections that never sent a
 * request, upgraded sockets and HTTP/2 sessions. It also counts a connection as idle when its
 * response was ended, although most of the response may still have to be sent.
 *
 * The process is never exited. It ends by itself when the last handle is closed. If it does not,
 * something else is still running, and you want to know about it.
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { setMaxListeners } from 'node:events'
import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http'
import type { Http2SecureServer, Http2Server, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { Server as NetServer, type Socket } from 'node:net'
import { Server as TlsServer, type TLSSocket } from 'node:tls'

/**
 * - `running`: no shutdown has begun.
 * - `draining`: not ready any more, still serving.
 * - `closing`: no new connections; `signal` has aborted.
 * - `closed`: everything has ended, or was forced to.
 */
export type ShutdownState = 'running' | 'draining' | 'closing' | 'closed'

export interface ShutdownGroupOptions {
  /**
   * From the call of `shutdown` until everything is forced, in milliseconds: 0 to 2^31-1, or
   * Infinity, with which only a signal or `force` does so. Default: 10000.
   */
  readonly deadlineMs?: number | undefined
  /**
   * How long to keep serving so that load balancers notice, in milliseconds: 0 to 2^31-1.
   * Default: 0.
   */
  readonly readinessDelayMs?: number | undefined
}

/** How a shutdown went. */
export interface ShutdownReport {
  /** What was given to `shutdown`, or the name of the signal that began it. */
  readonly reason: unknown
  readonly durationMs: number
  /** Responses of HTTP/1 and streams of HTTP/2 that ended during the shutdown. */
  readonly responses: number
  /** Promises given to `run` that settled during the shutdown. */
  readonly work: number
  /** What cut the rest: the deadline, a signal during the shutdown, or a call of `force`. */
  readonly forced: 'deadline' | 'signal' | 'call' | undefined
  /** Connections that were cut by force. An HTTP/2 session is one connection. */
  readonly forcedConnections: number
  /** Promises given to `run` that had not settled. */
  readonly abandonedWork: number
  /** What closing a server threw. One that listens late can add to it after the end. */
  readonly errors: readonly unknown[]
}

/**
 * The reason with which {@link ShutdownGroup.signal} aborts. `cause` is what `shutdown` was given.
 */
export class ShutdownError extends Error {
  override readonly name: string = 'ShutdownError'
  readonly code = 'SHUTDOWN'
}

/** A server that can be added to a {@link ShutdownGroup}. */
export type ShutdownServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer

/** The state of a socket. */
type Connection = { readonly kind: 'handshake' | 'upgraded' } | Http1Connection | Http2Connection

interface Http1Connection {
  readonly kind: 'http1'
  /** Responses that are not finished yet, in the order of their requests. */
  readonly open: Set<ServerResponse>
  /** The response to which the group added `Connection: close`. */
  last: ServerResponse | undefined
}

interface Http2Connection {
  readonly kind: 'http2'
  readonly session: ServerHttp2Session
  /** Streams of requests that are not closed yet. Pushed streams are not included. */
  readonly streams: Set<ServerHttp2Stream>
}

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** A signal within this time of the beginning is a copy of what began it, in milliseconds. */
const SAME_SIGNAL_MS = 500
/**
 * How long an HTTP/2 client may be silent before its socket is destroyed, once everything is
 * answered. A shorter time loses answers: a slow client may still send a frame, and a frame that
 * arrives at a closed socket resets what the client has not read yet.
 */
const LINGER_MS = 1000
/** Events that hand a request to the application. */
const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation']
const UPGRADE_EVENTS = ['upgrade', 'connect']

/**
 * Shuts down HTTP/1, HTTPS and HTTP/2 servers, and the work that belongs to them, without cutting
 * off a response in progress.
 *
 * 1. `draining`: requests are served for `readinessDelayMs`, with `Connection: close`. Meanwhile
 *    the application reports that it is not ready: a readiness check answers 503 unless `state` is
 *    `running`.
 * 2. `closing`: the servers stop listening, HTTP/2 sessions send GOAWAY, and `signal` aborts.
 * 3. The group waits for responses in progress. Those whose head was not sent get
 *    `Connection: close`. Of pipelined responses only the last gets it (of those whose requests had
 *    arrived when the answer began).
 * 4. A connection is closed when nothing is left to answer on it. One that never sent a whole
 *    request head is closed at once. Upgraded sockets are left to the application, and waited for.
 *    An HTTP/2 client that does not close its connection is cut after a second of silence, once all
 *    its streams are closed.
 * 5. `closed`: all connections and all work given to `run` have ended.
 *
 * One deadline covers everything, the readiness delay included. When it passes, when a person
 * presses Ctrl-C again (see `listen`), or when `force` is called, everything that is left is cut.
 * `forced` in the report says which one it was.
 *
 * It does not end a body by itself: give `signal` to the code that reads one. It does not close
 * upgraded sockets such as WebSockets before the deadline: close them when `signal` aborts. It does
 * not exit the process, and it cannot stop promises that it gave up on. A group is used once.
 *
 * Comparison. `server.close()` with `server.closeIdleConnections()` waits forever for an endless
 * upload, an upgraded socket or half a request head, and HTTP/2 servers have only the first of the
 * two. `http-terminator` has a deadline, but it cuts an upload in progress without an answer, and
 * what the upload had sent is lost. Neither informs the handlers, and neither waits for work that
 * outlives its response.
 *
 * @throws {TypeError} if a duration is not a number, {@link RangeError} if it is out of bounds.
 * Source: "Resilient uploads", FOSDEM 2026 (there: `ShutdownGroup` and the server context).
 *
 * @example A server that stops well on SIGTERM
 * ```ts
 * import { createServer } from 'node:http'
 * import { HappyReader } from 'longhaul/happy-reader'
 * import { ShutdownGroup } from 'longhaul/shutdown-group'
 *
 * const group = new ShutdownGroup({ deadlineMs: 10_000 })
 * const server = createServer(async (req, res) => {
 *   const body = new HappyReader(req, { signal: group.signal })
 *   for await (const chunk of body) await group.run(save(chunk))
 *   res.writeHead(body.error ? 503 : 204).end()
 * }).listen(8080)
 * group.add(server).listen()
 *
 * async function save(chunk: Uint8Array) { console.log(`${chunk.length} bytes saved`) }
 * ```
 */
export class ShutdownGroup {
  readonly #deadlineMs: number
  readonly #readinessDelayMs: number
  readonly #controller = new AbortController()
  readonly #servers = new Set<ShutdownServer>()
  readonly #connections = new Map<Socket, Connection>()
  readonly #work = new Set<Promise<unknown>>()
  readonly #forced = withResolvers<'deadline' | 'signal' | 'call'>()
  readonly #closed = withResolvers<ShutdownReport>()
  readonly #errors: unknown[] = []
  readonly #ended = { responses: 0, work: 0 }
  #state: ShutdownState = 'running'
  #beganAtMs = 0

  constructor(options: ShutdownGroupOptions = {}) {
    this.#deadlineMs = duration('deadlineMs', options.deadlineMs ?? 10_000, { leastMs: 0, never: Infinity })
    this.#readinessDelayMs = duration('readinessDelayMs', options.readinessDelayMs ?? 0, { leastMs: 0 })
    setMaxListeners(0, this.signal) // one listener per request is what it is for
  }

  /** Aborts with a {@link ShutdownError} when the group begins to close: the server's context. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get state(): ShutdownState {
    return this.#state
  }

  /**
   * Resolves when the shutdown has ended, whoever began it. That is the moment to close what the
   * work needed.
   */
  get closed(): Promise<ShutdownReport> {
    return this.#closed.promise
  }

  /**
   * Adds a server, before it accepts connections. A server that starts to listen when the group is
   * closing or closed is closed at once, and the shutdown does not wait for it.
   *
   * @throws {Error} if the shutdown has begun.
   */
  add(server: ShutdownServer): this {
    if (this.#state !== 'running') {
      throw new Error(`Cannot add a server as the group must be running: it is ${this.#state}`)
    }
    this.#servers.add(server)
    const events = server as HttpServer // one set of overloads for the four kinds
    events.on('connection', (socket: Socket) => this.#onConnection(socket, server))
    events.on('secureConnection', this.#onSecureConnection)
    events.on('session', this.#onSession)
    events.on('listening', () => this.#onListening(server))
    prependWhileListenedTo(events, REQUEST_EVENTS, this.#onRequest)
    prependWhileListenedTo(events, UPGRADE_EVENTS, this.#onUpgrade)
    return this
  }

  /**
   * Makes the shutdown wait for `work`, and returns its promise. Work that begins after `closed` is
   * not waited for. A rejection is the caller's to handle. A function that throws counts as one
   * that rejects.
   */
  run<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    const promise = Promise.resolve(typeof work === 'function' ? (async () => work())() : work)
    this.#work.add(promise)
    const settled = (): void => {
      this.#work.delete(promise)
      if (this.#state !== 'running') this.#ended.work++
    }
    promise.then(settled, settled)
    return promise
  }

  /**
   * Begins the shutdown at the first of `signals` (default: SIGTERM and SIGINT). During the
   * shutdown one of them forces it if it is also in `forcing` (default: SIGINT, a person's second
   * Ctrl-C). No other signal is listened to. The listeners are removed when the group is closed, or
   * when the result is disposed of.
   *
   * The other signals change nothing when they come again. Process managers, frameworks and stop
   * scripts repeat SIGTERM, and a closing terminal repeats SIGHUP. Neither means that no time is
   * left: that is what `deadlineMs` is for.
   *
   * Within half a second of the beginning no signal forces. On Ctrl-C a process under npm gets
   * SIGINT twice: from the terminal, and from npm. The listeners stay for that long in any case,
   * because a signal without a listener ends the process.
   */
  listen(
    signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'],
    forcing: readonly NodeJS.Signals[] = ['SIGINT'],
  ): Disposable & { dispose(): void } {
    const onSignal = (signal: NodeJS.Signals): void => {
      if (this.#state === 'running') void this.shutdown(signal)
      else if (forcing.includes(signal) && this.#ageMs >= SAME_SIGNAL_MS) this.#forced.resolve('signal')
    }
    const dispose = (): void => signals.forEach((signal) => process.off(signal, onSignal))
    for (const signal of signals) process.on(signal, onSignal)
    void this.closed.then(() => setTimeout(dispose, Math.max(0, SAME_SIGNAL_MS - this.#ageMs)).unref())
    return { dispose, [Symbol.dispose]: dispose }
  }

  /** Shuts down as described above. Every call returns the same promise; it does not reject. */
  shutdown(reason?: unknown): Promise<ShutdownReport> {
    if (this.#state === 'running') this.#closed.resolve(this.#shutdown(reason))
    return this.#closed.promise
  }

  /** Ends a shutdown in progress at once, as the deadline would. Without one it does nothing. */
  force(): void {
    if (this.#state !== 'running') this.#forced.resolve('call')
  }

  async #shutdown(reason: unknown): Promise<ShutdownReport> {
    this.#state = 'draining'
    this.#beganAtMs = performance.now()
    const force = (): void => this.#forced.resolve('deadline')
    const timer = this.#deadlineMs === Infinity ? undefined : setTimeout(force, this.#deadlineMs)
    for (const connection of this.#connections.values()) announceClose(connection)
    const forced = await Promise.race([this.#forced.promise, this.#drainAndClose(reason)])
    clearTimeout(timer)
    this.#state = 'closed'
    const forcedConnections = forced ? this.#cut(reason) : 0
    return {
      reason,
      durationMs: this.#ageMs,
      ...this.#ended,
      forced,
      forcedConnections,
      abandonedWork: this.#work.size,
      errors: this.#errors,
    }
  }

  async #drainAndClose(reason: unknown): Promise<undefined> {
    if (this.#readinessDelayMs > 0) await this.#readinessDelay()
    await twoTurns() // requests that have arrived are read, and close() does not reset them
    if (this.#state === 'closed') return
    this.#state = 'closing'
    const servers = Array.from(this.#servers, (server) => this.#stopListening(server))
    for (const [socket, connection] of this.#connections) this.#close(socket, connection)
    this.#abort(reason)
    await Promise.all(servers)
    while (this.#work.size > 0) await Promise.allSettled(this.#work)
  }

  async #readinessDelay(): Promise<void> {
    const { promise, resolve } = withResolvers<void>()
    const timer = setTimeout(resolve, this.#readinessDelayMs)
    await Promise.race([promise, this.#forced.promise])
    clearTimeout(timer)
  }

  /** Destroys everything that is left, and returns how many connections that were. */
  #cut(reason: unknown): number {
    const { size } = this.#connections
    for (const [socket, connection] of this.#connections) {
      if (connection.kind === 'http2') connection.session.destroy()
      socket.destroy()
    }
    for (const server of this.#servers) {
      try {
        server.close()
        if ('closeAllConnections' in server) server.closeAllConnections() // those older than add()
      } catch (error) {
        this.#errors.push(error)
      }
    }
    this.#abort(reason)
    return size
  }

  /** A second time it does nothing. */
  #abort(reason: unknown): void {
    const options = reason === undefined ? undefined : { cause: reason }
    this.#controller.abort(new ShutdownError('The server is shutting down', options))
  }

  /** Since the shutdown began. */
  get #ageMs(): number {
    return performance.now() - this.#beganAtMs
  }

  get #isClosing(): boolean {
    return this.#state === 'closing' || this.#state === 'closed'
  }

  /** A turn later, because listeners of 'listening' ask for the address. */
  #onListening(server: ShutdownServer): void {
    if (this.#isClosing) setImmediate(() => this.#stopListening(server))
  }

  /**
   * Resolves when the server has closed. `close` of `node:http` is not used, because it destroys
   * connections whose response was ended, even if most of the response is still to be sent.
   */
  async #stopListening(server: ShutdownServer): Promise<void> {
    const { close } = server instanceof NetServer ? NetServer.prototype : server // Bun's is not one
    try {
      await new Promise((resolve) => close.call(server, resolve))
    } catch (error) {
      this.#errors.push(error)
    }
  }

  /**
   * A TLS server shows a connection twice: first the bare socket, then the secured one. An HTTP/2
   * server shows its sessions. A duplex stream that is not a socket has no handshake to wait for,
   * because nothing would link it to its secured one.
   */
  #onConnection(socket: Socket, server: ShutdownServer): void {
    if (this.#state === 'closed') socket.destroy()
    else if (server instanceof TlsServer) {
      if ('destroySoon' in socket) this.#enter(socket, { kind: 'handshake' })
    } else if (!('updateSettings' in server)) this.#enter(socket, newHttp1())
  }

  /**
   * `_parent` is the bare socket. It is not documented, but the alternative, looking it up by the
   * client's address, fails on Unix sockets: clients have no address there.
   */
  readonly #onSecureConnection = (socket: TLSSocket & { readonly _parent?: Socket | null }): void => {
    if (socket._parent) this.#connections.delete(socket._parent)
    if (socket.alpnProtocol !== 'h2') this.#enter(socket, newHttp1())
  }

  readonly #onSession = (session: ServerHttp2Session): void => {
    const streams = new Set<ServerHttp2Stream>()
    const socket = this.#enter(session.socket, { kind: 'http2', session, streams })
    session.on('stream', (stream: ServerHttp2Stream) => {
      streams.add(stream)
      stream.once('finish', () => {
        if (this.#isClosing) closeAnswered(stream)
      })
      stream.once('close', () => {
        streams.delete(stream)
        if (this.#state !== 'running') this.#ended.responses++
        if (this.#isClosing) socket.setTimeout(LINGER_MS)
      })
    })
  }

  readonly #onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    if ('stream' in req) return // HTTP/2; the version of an HTTP/1 request is what its client wrote
    const { socket } = req
    if (res.closed) return // handed on when its client had left: no 'close' would follow
    const known = this.#connections.get(socket)
    const connection = known?.kind === 'http1' ? known : newHttp1()
    if (connection !== known) this.#enter(socket, connection)
    if (connection.open.has(res)) return // handed on, as from 'checkContinue' to 'request'
    connection.open.add(res)
    if (this.#state !== 'running') announceClose(connection)
    res.once('close', () => {
      connection.open.delete(res)
      if (this.#state !== 'running') this.#ended.responses++
      if (this.#isClosing) void this.#closeWhenIdle(socket, connection)
    })
  }

  readonly #onUpgrade = (req: IncomingMessage, socket: Socket): void => {
    if ('stream' in req) return // CONNECT over HTTP/2 does not take the connection
    this.#enter(socket, { kind: 'upgraded' })
  }

  /**
   * Puts a socket into a state, and returns the socket. `session.socket` is a proxy that cannot
   * destroy the socket, but its `once` returns the socket itself.
   */
  #enter(socketOrProxy: Socket, connection: Connection): Socket {
    const socket = socketOrProxy.once('close', () => this.#connections.delete(socket))
    this.#connections.set(socket, connection)
    if (this.#isClosing) this.#close(socket, connection)
    return socket
  }

  /** Closes a connection as soon as its state allows. The application closes an upgraded one. */
  #close(socket: Socket, connection: Connection): void {
    if (connection.kind === 'handshake') socket.destroy()
    else if (connection.kind === 'http1') void this.#closeWhenIdle(socket, connection)
    else if (connection.kind === 'http2') closeSession(socket, connection)
  }

  async #closeWhenIdle(socket: Socket, connection: Http1Connection): Promise<void> {
    await twoTurns()
    if (this.#connections.get(socket) !== connection || connection.open.size > 0) return
    // Not `destroySoon`: a server can be given any duplex stream, and most do not have it.
    socket.end(() => socket.destroy())
  }
}

function newHttp1(): Http1Connection {
  return { kind: 'http1', open: new Set(), last: undefined }
}

/**
 * Only the last of several pipelined responses may say `Connection: close`: Node closes after the
 * first one that does, and would drop the others.
 */
function announceClose(connection: Connection): void {
  if (connection.kind !== 'http1') return
  const last = [...connection.open].at(-1)
  if (connection.last === last) return
  if (connection.last && !connection.last.headersSent) connection.last.removeHeader('Connection')
  connection.last = last?.headersSent ? undefined : last
  connection.last?.setHeader('Connection', 'close')
}

/**
 * Keeps `listener` in front of the application's listeners of `events`, for as long as there are
 * any. On its own it would make Node believe that the application handles the event.
 */
function prependWhileListenedTo(
  server: HttpServer,
  events: readonly string[],
  listener: (...args: never[]) => void,
): void {
  const ours = listener as (...args: unknown[]) => void
  const prepended = new Set<string>()
  const onNew = (event: string): void => {
    if (!events.includes(event) || prepended.has(event)) return
    prepended.add(event)
    server.prependListener(event, ours)
  }
  const onRemoved = (event: string): void => {
    if (!prepended.has(event) || server.listenerCount(event) > 1) return
    prepended.delete(event)
    server.off(event, ours)
  }
  for (const event of events) if (server.listenerCount(event) > 0) onNew(event)
  server.on('newListener', onNew).on('removeListener', onRemoved)
}

/**
 * Sends GOAWAY. A dead client does not close its side of the connection, and may not even receive
 * the GOAWAY. So the socket is destroyed when no stream is open and it was silent for `LINGER_MS`.
 */
function closeSession(socket: Socket, { session, streams }: Http2Connection): void {
  session.close()
  for (const stream of streams) closeAnswered(stream)
  socket.setTimeout(LINGER_MS).on('timeout', () => {
    if (streams.size === 0) socket.destroy()
  })
}

/**
 * Closes a stream whose response is out although its client still sends (RFC 9113 section 8.1).
 * Otherwise the stream would keep its session open. Two kinds are left alone. The stream of a HEAD
 * has no writable side, so it looks finished before its answer has begun. A stream whose request
 * has ended closes by itself, and a reset could overtake its last frame.
 *
 * This happens a turn later, because Node 20 to 26 abort the process when a stream disappears
 * before its last frame was sent.
 *
 * A closed stream lives on until what has arrived is read. The handler may have paused it, so it is
 * read here. Listeners of 'data' still receive what is read.
 */
function closeAnswered(stream: ServerHttp2Stream): void {
  if (!stream.writableFinished || !stream.headersSent) return
  if (stream.endAfterHeaders || stream.readableEnded) return
  setImmediate(() => {
    if (stream.destroyed) return
    stream.close(0)
    stream.on('readable', () => {
      while (stream.read() !== null); // Node 26 returns one chunk at a time
    })
  })
}

/** After the second of two immediates, every socket that had data was read once. */
async function twoTurns(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate)
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T | Promise<T>) => void } {
  let resolve!: (value: T | Promise<T>) => void
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}

/** Milliseconds that a timer can count; Infinity only where `never` allows it. */
function duration(name: string, value: number, bounds: { leastMs: 0 | 1; never?: typeof Infinity }): number {
  const { leastMs, never } = bounds
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const range = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${range}: received ${value}`)
}
