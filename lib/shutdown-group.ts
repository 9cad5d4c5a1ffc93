// SPDX-License-Identifier: MIT

/**
 * Shuts servers and long work down together: stop, save, wait, force.
 *
 * `server.close()` waits for an endless upload for ever, and cutting its connection loses what it
 * sent. The way out is to tell the handlers: a signal aborts, bodies end as if the client had
 * stopped there (`HappyReader` does that), the handlers save what came and answer, and then the
 * connections are idle and can be closed.
 *
 * Design. *Signal* and *wait* are two things: `signal` tells whoever listens, and the group waits
 * for responses, sessions and tracked work by their own events; nothing polls. Connections are
 * tracked here because Node's own list forgets connections that never sent a request, upgraded
 * sockets and HTTP/2 sessions, and takes a connection for idle whose response was ended and is
 * still being sent. The process is never exited: when the last handle is closed it
 * ends by itself, and if it does not, something else is still at work that ought to be known.
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
 * `running`; `draining`: not ready any more, still serving; `closing`: no new connections, `signal`
 * has aborted; `closed`: everything has ended or was forced to.
 */
export type ShutdownState = 'running' | 'draining' | 'closing' | 'closed'

/** Options of {@link ShutdownGroup}. */
export interface ShutdownGroupOptions {
  /**
   * From the call of `shutdown` until everything is forced, in milliseconds: 0 to 2^31-1, or
   * Infinity, with which only a signal forces. Default: 10000.
   */
  readonly deadlineMs?: number | undefined
  /** How long to go on serving so that load balancers notice, in milliseconds: 0 to 2^31-1. Default: 0. */
  readonly readinessDelayMs?: number | undefined
  /**
   * Called on entering each state, in a microtask of its own. It is not waited for. If it throws or
   * rejects, the shutdown continues and the report lists the error. Default: none.
   */
  readonly onPhase?: ((state: ShutdownState) => void) | undefined
}

/** How a shutdown went. */
export interface ShutdownReport {
  /** What was given to `shutdown`; the signal's name if a signal began it. */
  readonly reason: unknown
  readonly durationMs: number
  /** HTTP/1 responses that ended during the shutdown. */
  readonly responses: number
  /** Promises given to `run` that settled during the shutdown. */
  readonly work: number
  /** What made an end of it, if something had to: the deadline, or a signal during the shutdown. */
  readonly forced: 'deadline' | 'signal' | undefined
  /** Connections and HTTP/2 sessions that were cut by force. */
  readonly forcedConnections: number
  /** Promises given to `run` that had not settled. */
  readonly abandonedWork: number
  /**
   * What `onPhase` threw or rejected with, and what closing a server threw. A rejection may be added
   * after the shutdown has ended.
   */
  readonly errors: readonly unknown[]
}

/** The reason with which {@link ShutdownGroup.signal} aborts; `cause` is what `shutdown` was given. */
export class ShutdownError extends Error {
  override readonly name: string = 'ShutdownError'
  readonly code = 'SHUTDOWN'
}

/** A server that can be added to a {@link ShutdownGroup}. */
export type ShutdownServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer

interface Session {
  readonly session: ServerHttp2Session
  /** Requests whose streams are not closed yet. Pushed streams are not included. */
  readonly streams: Set<ServerHttp2Stream>
}

interface Connection {
  /** Responses that are not finished yet, in the order of their requests. */
  readonly open: Set<ServerResponse>
  /** The response that was given `Connection: close` by the group. */
  last: ServerResponse | undefined
}

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** A signal within this time of the beginning is a copy of what began it, in milliseconds. */
const SAME_SIGNAL_MS = 500
/**
 * How long an HTTP/2 client may be silent before its socket is destroyed, once all is answered. Too
 * short loses answers: a frame that a slow client sends after that resets what it has not read yet.
 */
const LINGER_MS = 1000
/** Events that hand a request to the application; a listener for all but the first changes what Node does. */
const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation']
const UPGRADE_EVENTS = ['upgrade', 'connect']

/**
 * Shuts down HTTP/1, HTTPS and HTTP/2 servers, and the work that belongs to them.
 *
 * 1. `draining`: the application reports that it is not ready (`onPhase`); for `readinessDelayMs`
 *    requests are served as before, with `Connection: close`.
 * 2. `closing`: the servers stop listening, HTTP/2 sessions say GOAWAY, and `signal` aborts.
 * 3. Responses under way are waited for. Those not begun yet get `Connection: close`, of several
 *    pipelined ones the last only (of those that had arrived when the answer began). A connection
 *    is closed when nothing is left to answer on it; one that never sent a whole request head is
 *    closed at once. Upgraded sockets are waited for. An HTTP/2 client that does not close its
 *    connection is cut after a second of silence, once all its streams are closed.
 * 4. `closed`: when all of this and all work given to `run` has ended.
 *
 * One deadline covers everything, the readiness delay included. When it passes, or a person presses
 * Ctrl-C again (see `listen`), all that is left is cut: `forced` in the report says so.
 *
 * It does not end a body by itself: give `signal` to what reads one. It does not exit the process
 * and cannot stop promises that it gave up on. A group is used once.
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
  readonly #onPhase: ((state: ShutdownState) => void) | undefined
  readonly #controller = new AbortController()
  readonly #servers = new Set<ShutdownServer>()
  readonly #connections = new Map<Socket, Connection>()
  readonly #handshakes = new Set<Socket>()
  readonly #upgraded = new Set<Socket>()
  readonly #sessions = new Map<Socket, Session>()
  readonly #work = new Set<Promise<unknown>>()
  readonly #listening = new Set<() => void>()
  readonly #force = withResolvers<'deadline' | 'signal'>()
  readonly #closed = withResolvers<ShutdownReport>()
  readonly #errors: unknown[] = []
  #state: ShutdownState = 'running'
  #beganAtMs = 0
  #responsesEnded = 0
  #workEnded = 0

  constructor(options: ShutdownGroupOptions = {}) {
    this.#deadlineMs = duration('deadlineMs', options.deadlineMs ?? 10_000, 0, Infinity)
    this.#readinessDelayMs = duration('readinessDelayMs', options.readinessDelayMs ?? 0, 0)
    this.#onPhase = options.onPhase
    setMaxListeners(0, this.signal) // one listener a request is what it is for
  }

  /** Aborts with a {@link ShutdownError} when the group begins to close: the server's context. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get state(): ShutdownState {
    return this.#state
  }

  /** Resolves when the shutdown, whoever began it, has ended: the moment to close what the work needed. */
  get closed(): Promise<ShutdownReport> {
    return this.#closed.promise
  }

  /**
   * Takes a server into the group, before it accepts connections. A server that starts to listen when
   * the group is closing or closed is closed at once. The shutdown does not wait for it.
   *
   * @throws {Error} if the shutdown has begun.
   */
  add(server: ShutdownServer): this {
    if (this.#state !== 'running') throw new Error(`Cannot add a server as the group must be running: it is ${this.#state}`)
    this.#servers.add(server)
    const events = server as HttpServer // one set of overloads for the four kinds
    events.on('connection', (socket: Socket) => this.#onConnection(socket, server))
    events.on('secureConnection', (socket: TLSSocket) => this.#onHandshakeEnd(socket))
    events.on('session', (session: ServerHttp2Session) => this.#onSession(session))
    events.on('listening', () => this.#onListening(server))
    prependWhileListenedTo(events, REQUEST_EVENTS, this.#onRequest)
    prependWhileListenedTo(events, UPGRADE_EVENTS, this.#onUpgrade)
    return this
  }

  /**
   * Has the shutdown wait for `work`, and returns its promise. Work begun after `closed` is not
   * waited for. A rejection is the caller's to handle. A function that throws counts as one that rejects.
   */
  run<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    const promise = Promise.resolve(typeof work === 'function' ? (async () => work())() : work)
    this.#work.add(promise)
    const settled = (): void => {
      this.#work.delete(promise)
      if (this.#state !== 'running') this.#workEnded++
    }
    promise.then(settled, settled)
    return promise
  }

  /**
   * Begins the shutdown at the first of `signals` (default: SIGTERM and SIGINT), and forces it when one
   * of them that is in `forcing`, too, comes during the shutdown (default: SIGINT, a person's second
   * Ctrl-C). No other signal is listened to. The listeners are removed when the group is closed, or
   * when the result is disposed of.
   *
   * Other signals change nothing when they come again. Process managers, frameworks and stop scripts
   * repeat SIGTERM, a closing terminal repeats SIGHUP, and neither means that there is no time left:
   * that is what `deadlineMs` is for. Within half a second of the beginning no signal forces: a terminal
   * sends Ctrl-C to every process in it, and npm passes it on to one that has received it already. For
   * that long the listeners stay in any case, because a signal without a listener ends the process.
   */
  listen(
    signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'],
    forcing: readonly NodeJS.Signals[] = ['SIGINT'],
  ): Disposable & { dispose(): void } {
    const onSignal = (signal: NodeJS.Signals): void => {
      if (this.#state === 'running') void this.shutdown(signal)
      else if (forcing.includes(signal) && this.#ageMs >= SAME_SIGNAL_MS) this.#force.resolve('signal')
    }
    const dispose = (): void => {
      this.#listening.delete(dispose)
      for (const signal of signals) process.off(signal, onSignal)
    }
    this.#listening.add(dispose)
    for (const signal of signals) process.on(signal, onSignal)
    return { dispose, [Symbol.dispose]: dispose }
  }

  /** Shuts down as described above. Every call returns the same promise; it does not reject. */
  shutdown(reason?: unknown): Promise<ShutdownReport> {
    if (this.#state === 'running') this.#closed.resolve(this.#shutdown(reason))
    return this.#closed.promise
  }

  async #shutdown(reason: unknown): Promise<ShutdownReport> {
    this.#beganAtMs = performance.now()
    const force = (): void => this.#force.resolve('deadline')
    const timer = this.#deadlineMs === Infinity ? undefined : setTimeout(force, this.#deadlineMs)
    this.#enter('draining')
    for (const connection of this.#connections.values()) announceClose(connection)

    const forced = await Promise.race([this.#force.promise, this.#drainAndClose(reason)])
    clearTimeout(timer)
    const forcedConnections = forced ? this.#cut(reason) : 0
    this.#enter('closed')
    this.#stopListening()
    return {
      reason,
      durationMs: this.#ageMs,
      responses: this.#responsesEnded,
      work: this.#workEnded,
      forced,
      forcedConnections,
      abandonedWork: this.#work.size,
      errors: this.#errors,
    }
  }

  /** Since the shutdown began. */
  get #ageMs(): number {
    return performance.now() - this.#beganAtMs
  }

  #stopListening(): void {
    const leftMs = SAME_SIGNAL_MS - this.#ageMs
    const dispose = (): void => this.#listening.forEach((disposeOne) => disposeOne())
    if (leftMs <= 0 || this.#listening.size === 0) dispose()
    else setTimeout(dispose, leftMs).unref()
  }

  async #drainAndClose(reason: unknown): Promise<undefined> {
    if (this.#readinessDelayMs > 0) await this.#readinessDelay()
    await twoTurns() // requests that have arrived get read, and are not reset by close()
    if (this.#state === 'closed') return
    this.#enter('closing')
    const servers = Array.from(this.#servers, (server) => stopListening(server).catch(this.#onError))
    for (const [socket, session] of this.#sessions) closeSession(socket, session)
    this.#abort(reason)
    for (const socket of this.#handshakes) socket.destroy()
    for (const socket of this.#connections.keys()) void this.#closeWhenIdle(socket)
    await Promise.all(servers)
    while (this.#work.size > 0) await Promise.allSettled(this.#work)
  }

  async #readinessDelay(): Promise<void> {
    const { promise, resolve } = withResolvers<void>()
    const timer = setTimeout(resolve, this.#readinessDelayMs)
    await Promise.race([promise, this.#force.promise])
    clearTimeout(timer)
  }

  #enter(state: ShutdownState): void {
    this.#state = state
    queueMicrotask(async () => {
      try {
        await this.#onPhase?.(state)
      } catch (error) {
        this.#errors.push(error)
      }
    })
  }

  readonly #onError = (error: unknown): void => void this.#errors.push(error)

  get #isClosing(): boolean {
    return this.#state === 'closing' || this.#state === 'closed'
  }

  /** A turn later, because listeners of 'listening' ask for the address. */
  #onListening(server: ShutdownServer): void {
    if (this.#isClosing) setImmediate(() => stopListening(server).catch(this.#onError))
  }

  #onConnection(socket: Socket, server: ShutdownServer): void {
    if (this.#state === 'closed') socket.destroy()
    else if (server instanceof TlsServer) this.#onHandshakeBegin(socket)
    else if (!('updateSettings' in server)) this.#track(socket) // HTTP/2 has sessions instead
  }

  /**
   * A TLS server shows a connection twice, first bare, then secured. `_parent` links the two. It is
   * not documented, but addresses were rejected, as clients of a Unix socket have none. A duplex
   * stream that is not a socket is left out: it is never a `_parent`.
   */
  #onHandshakeBegin(socket: Socket): void {
    if (!('destroySoon' in socket)) return
    this.#handshakes.add(socket)
    socket.once('close', () => this.#handshakes.delete(socket))
    if (this.#isClosing) socket.destroy()
  }

  #onHandshakeEnd(socket: TLSSocket & { readonly _parent?: Socket | null }): void {
    if (socket._parent) this.#handshakes.delete(socket._parent)
    if (socket.alpnProtocol !== 'h2') this.#track(socket)
  }

  #track(socket: Socket): Connection {
    const connection: Connection = { open: new Set(), last: undefined }
    this.#connections.set(socket, connection)
    socket.once('close', () => this.#connections.delete(socket))
    if (this.#isClosing) void this.#closeWhenIdle(socket)
    return connection
  }

  #onSession(session: ServerHttp2Session): void {
    const streams = new Set<ServerHttp2Stream>()
    // `session.socket` is a proxy that cannot destroy the socket. Its `once` returns the socket itself.
    const socket = session.socket.once('close', () => this.#sessions.delete(socket)) as Socket
    this.#sessions.set(socket, { session, streams })
    session.on('stream', (stream: ServerHttp2Stream) => {
      streams.add(stream)
      stream.once('finish', () => {
        if (this.#isClosing) closeAnswered(stream)
      })
      stream.once('close', () => {
        streams.delete(stream)
        if (this.#isClosing) socket.setTimeout(LINGER_MS)
      })
    })
    if (this.#isClosing) closeSession(socket, { session, streams })
  }

  readonly #onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    if ('stream' in req) return // of an HTTP/2 session; a client can write any version
    const { socket } = req
    const connection = this.#connections.get(socket) ?? this.#track(socket)
    if (connection.open.has(res)) return // handed on, as from 'checkContinue' to 'request'
    connection.open.add(res)
    if (this.#state !== 'running') announceClose(connection)
    res.once('close', () => {
      connection.open.delete(res)
      if (this.#state === 'running') return
      this.#responsesEnded++
      if (this.#isClosing) void this.#closeWhenIdle(socket)
    })
  }

  readonly #onUpgrade = (_req: IncomingMessage, socket: Socket): void => {
    this.#connections.delete(socket)
    this.#upgraded.add(socket)
    socket.once('close', () => this.#upgraded.delete(socket))
  }

  async #closeWhenIdle(socket: Socket): Promise<void> {
    await twoTurns()
    // Not `destroySoon`: a server can be given any duplex stream, and most lack it.
    if (this.#connections.get(socket)?.open.size === 0) socket.end(() => socket.destroy())
  }

  /** Destroys whatever is left and returns how many connections that were. */
  #cut(reason: unknown): number {
    for (const { session } of this.#sessions.values()) session.destroy()
    const left = [...this.#handshakes, ...this.#connections.keys(), ...this.#upgraded, ...this.#sessions.keys()]
    for (const socket of left) socket.destroy()
    for (const server of this.#servers) {
      try {
        server.close()
        if ('closeAllConnections' in server) server.closeAllConnections() // those older than add()
      } catch (error) {
        this.#onError(error)
      }
    }
    this.#abort(reason)
    return left.length
  }

  #abort(reason: unknown): void {
    const options = reason === undefined ? undefined : { cause: reason }
    if (!this.signal.aborted) this.#controller.abort(new ShutdownError('The server is shutting down', options))
  }
}

/**
 * Only the last of several pipelined responses may say `Connection: close`: Node closes after the
 * first that does, and the others would be dropped.
 */
function announceClose(connection: Connection): void {
  const last = [...connection.open].at(-1)
  if (connection.last === last) return
  if (connection.last && !connection.last.headersSent) connection.last.removeHeader('Connection')
  connection.last = last?.headersSent ? undefined : last
  connection.last?.setHeader('Connection', 'close')
}

/**
 * Keeps `listener` in front of those that the application has for `events`, for as long as it has
 * any: alone, it would make Node leave to the application what nobody there does.
 */
function prependWhileListenedTo(server: HttpServer, events: readonly string[], listener: (...args: never[]) => void): void {
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
 * Resolves when the server has closed. What `node:http` does on top of this is left out: it destroys
 * connections whose response was ended, even if most of it is still to be sent.
 */
function stopListening(server: ShutdownServer): Promise<unknown> {
  const { close } = server instanceof NetServer ? NetServer.prototype : server // that of Bun is not one
  return new Promise((resolve) => close.call(server, resolve))
}

/**
 * Sends GOAWAY. A dead client does not close its side of the connection, and may not even take the
 * GOAWAY. Its socket is destroyed when no stream is open and it has been silent for `LINGER_MS`.
 */
function closeSession(socket: Socket, { session, streams }: Session): void {
  session.close()
  for (const stream of streams) closeAnswered(stream)
  socket.setTimeout(LINGER_MS).on('timeout', () => {
    if (streams.size === 0) socket.destroy()
  })
}

/**
 * A stream whose response is out, but whose client goes on sending, would keep its session (RFC 9113 section 8.1). That
 * of a HEAD has no writable side from the beginning. Not at once: Node 20 to 26 abort the process if a stream is gone
 * whose last frame they have still to send.
 */
function closeAnswered(stream: ServerHttp2Stream): void {
  if (!stream.writableFinished || !stream.headersSent) return
  if (stream.endAfterHeaders || stream.readableEnded) return // it closes by itself, and a reset could overtake END_STREAM
  setImmediate(() => {
    if (!stream.destroyed) stream.close(0)
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

/** Milliseconds that a timer can count. `never` is Infinity where there may be a never. */
function duration(name: string, value: number, leastMs: 0 | 1, never?: typeof Infinity): number {
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const bounds = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${bounds}: received ${value}`)
}
