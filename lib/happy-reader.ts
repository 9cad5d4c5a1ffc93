// SPDX-License-Identifier: MIT

/**
 * Reads a request body to a clean end: the failure is kept, not thrown.
 *
 * A client that drops its connection makes Node fail the request stream, and whatever was
 * reading it usually throws away what had arrived. `HappyReader` stands between the two. Its
 * consumer sees bytes and then an ordinary end, whatever became of the source, and so saves what
 * it has. Why the body ended is in `error`, for the consumer to look at afterwards.
 *
 * Design. The source is read in flowing mode, because a paused-mode `read()` joins buffered chunks
 * and thereby copies them. Flowing mode loses what is buffered when a source fails: a destroyed
 * stream emits no 'data'. But `read()` still returns those bytes, so a failure is followed by a
 * `read()` loop, and no byte that Node had received is lost. A source is only ever paused, never
 * destroyed: the request must stay alive so that an answer can go out.
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { Readable } from 'node:stream'

/**
 * Why a body ended before its time.
 *
 * - `ABORTED`: the source failed or was closed; the client is gone. `cause` is the source's error.
 * - `SHORT`: the source ended cleanly with fewer than `expectedBytes`.
 * - `TOO_LARGE`: the source held more than `maxBytes`; exactly `maxBytes` were delivered.
 * - `IDLE`: the source was silent for `idleTimeoutMs` while it was waited for.
 * - `INTERRUPTED`: this side stopped reading; `cause` is the reason given.
 */
export type HappyReaderErrorCode = 'ABORTED' | 'SHORT' | 'TOO_LARGE' | 'IDLE' | 'INTERRUPTED'

/** What a {@link HappyReader} keeps instead of throwing. Compare `code`, not the class. */
export class HappyReaderError extends Error {
  override readonly name: string = 'HappyReaderError'
  readonly code: HappyReaderErrorCode

  constructor(code: HappyReaderErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface HappyReaderOptions {
  /** Deliver at most this many bytes; one more ends the body with `TOO_LARGE`. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** The length that was announced, in bytes; a clean end before it is `SHORT`. Default: not known. */
  readonly expectedBytes?: number | undefined
  /** How long the source may be silent, in milliseconds, 1 to 2^31-1 or Infinity. Default: Infinity. */
  readonly idleTimeoutMs?: number | undefined
  /** When it aborts, the reader is interrupted with its reason. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** Bytes to hold for a slow consumer before the source is paused, of 1024 chunks at most. Default: 65536. */
  readonly highWaterMark?: number | undefined
}

/** The most chunks that wait for a slow consumer. Each costs about 300 bytes, however small it is. */
const MAX_WAITING_CHUNKS = 1024
/** Catching up ends when nothing arrived for this long, in milliseconds: a busy kernel may deliver late. */
const CATCH_UP_QUIET_MS = 10
/** And then for this many turns of the event loop: a busy process looks late at what has arrived. */
const CATCH_UP_QUIET_TURNS = 8
/** Catching up takes at most this many bytes: more than the socket buffers of a Linux host hold. */
const CATCH_UP_MAX_BYTES = 16 * 1024 * 1024
/**
 * Catching up lasts at most this long, in milliseconds. Otherwise hundreds of fast clients would keep
 * the disk busy until each of them had reached the byte limit.
 */
const CATCH_UP_MAX_MS = 500
/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * A readable that delivers every byte its source delivered, and then always ends.
 *
 * 1. Data passes through, with backpressure. Nothing is read before the consumer asks. The source is
 *    paused when `highWaterMark` bytes or 1024 chunks wait; what it holds then is up to Node.
 * 2. When the source ends, fails, closes, falls silent or exceeds `maxBytes`, everything that Node
 *    had buffered for it is delivered, `error` is set (or stays `undefined`: success), and the
 *    reader ends. The first ending wins.
 * 3. `interrupt()`, or an aborted `signal`, catches up with what the kernel still holds: reading
 *    continues until nothing has arrived for 10 ms and eight turns of the event loop, 16 MiB have
 *    come, or half a second has passed. A body that turns out complete meanwhile is complete; one
 *    that fails is `ABORTED`.
 *
 * Success is a clean end that no abort preceded, with `expectedBytes` reached if that is known.
 * `IncomingMessage.complete` is not trusted: over HTTP/2 it is true for a truncated body as well.
 *
 * The idle timer runs only while the source is waited for, never while the consumer is slow.
 *
 * It does not destroy or answer the request, and does not return bytes that were read before: it
 * continues where the source stands. After the end the source is left paused, so a second reader can
 * continue where this one stopped; only what `TOO_LARGE` cut from its last chunk is gone. To stop
 * early, call `destroy()`: it detaches from the source without destroying it.
 *
 * Answer when the body has ended. After an answer Node discards an HTTP/1 body that nobody had begun
 * to read. Over HTTP/2 it then reports a clean reset of the stream as its end, and only
 * `expectedBytes` notices.
 *
 * @throws {TypeError} if the source is not a stream of bytes; {@link RangeError} if a number is out
 * of bounds; a TypeError of Node for `highWaterMark`. Source: "Resilient uploads", FOSDEM 2026 (there:
 * `happyReader`).
 *
 * @example Save what came, then look at how it ended
 * ```ts
 * import { createServer } from 'node:http'
 * import { createWriteStream } from 'node:fs'
 * import { pipeline } from 'node:stream/promises'
 * import { HappyReader } from 'longhaul/happy-reader'
 *
 * createServer(async (req, res) => {
 *   const body = new HappyReader(req, { maxBytes: 1024 ** 3, idleTimeoutMs: 30_000 })
 *   await pipeline(body, createWriteStream('upload.bin')) // never fails because of the client
 *   console.log(`${body.bytesRead} bytes saved; ${body.error?.code ?? 'complete'}`)
 *   res.end()
 * }).listen(8080)
 * ```
 */
export class HappyReader extends Readable {
  readonly #source: Readable
  readonly #http2Stream: Readable | undefined
  readonly #maxBytes: number
  readonly #expectedBytes: number | undefined
  readonly #idleTimeoutMs: number
  readonly #signal: AbortSignal | undefined
  #phase: 'reading' | 'catchingUp' | 'over' = 'reading'
  /** Whether the source was asked for data. `isPaused()` is no help: Node 26 does not pause a destroyed stream. */
  #flowing = false
  #bytesRead = 0
  /** Chunks handed on since none was waiting: never fewer than are waiting now. */
  #waitingChunks = 0
  #error: HappyReaderError | undefined
  /** Runs while the source is waited for: until it counts as idle or, when catching up, as quiet. */
  #silenceTimer: NodeJS.Timeout | undefined
  /** Pending while the timer was set in this turn of the event loop. */
  #turn: NodeJS.Immediate | undefined
  #interruption: HappyReaderError | undefined
  #catchUpUntilBytes = Infinity
  #catchUpUntilMs = Infinity
  #quietTurns = 0
  #quietTurn: NodeJS.Immediate | undefined

  constructor(source: Readable, options: HappyReaderOptions = {}) {
    super({ highWaterMark: options.highWaterMark ?? 64 * 1024 })
    if (source.readableObjectMode || source.readableEncoding) {
      const received = 'it has an encoding or is in object mode'
      throw new TypeError(`Cannot read the source as it must be a stream of bytes: ${received}`)
    }
    this.#source = source
    this.#http2Stream = http2StreamOf(source)
    this.#maxBytes = count('maxBytes', options.maxBytes) ?? Infinity
    this.#expectedBytes = count('expectedBytes', options.expectedBytes)
    this.#idleTimeoutMs = duration('idleTimeoutMs', options.idleTimeoutMs ?? Infinity, { leastMs: 1, never: Infinity })
    this.#signal = options.signal

    // Else a 'data' listener would start it before the consumer asks; and HTTP/2 throws away on an abort
    // what is buffered for a request that was neither read nor paused.
    source.pause()
    source.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onFailure).on('close', this.#onFailure)
    if (options.signal?.aborted) this.#onSignal()
    else options.signal?.addEventListener('abort', this.#onSignal)
  }

  /** Why the body ended early; `undefined` while it lasts and after a success. Set before 'end'. */
  get error(): HappyReaderError | undefined {
    return this.#error
  }

  /** Bytes taken from the source and handed on so far. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  /**
   * Ends the body soon, keeping what has arrived: see step 3 above. The request stays alive.
   * A second call, or one after the end, does nothing.
   */
  interrupt(reason?: unknown): void {
    if (this.#phase !== 'reading') return
    this.#phase = 'catchingUp'
    const what = 'The body was interrupted before its end'
    this.#interruption = new HappyReaderError('INTERRUPTED', what, withCause(reason))
    this.#catchUpUntilBytes = this.#bytesRead + CATCH_UP_MAX_BYTES
    this.#catchUpUntilMs = performance.now() + CATCH_UP_MAX_MS
    this.#stopWaiting()
    if (this.#flowing) this.#wait()
  }

  override _read(): void {
    if (this.#phase === 'over') return
    // Nothing more is announced by a source that was over before it got here.
    if (this.#source.destroyed || this.#source.readableEnded || this.#http2Stream?.closed) return this.#onFailure()
    if (this.#flowing || this.#waitingChunks >= MAX_WAITING_CHUNKS) return
    this.#flowing = true
    this.#source.resume()
    this.#wait()
  }

  // Readable counts bytes alone, so it does not say when enough chunks were taken.
  override read(size?: number): ReturnType<Readable['read']> {
    const taken = super.read(size)
    const wantsMore = this.readableLength === 0 || (taken === null && size !== 0)
    if (wantsMore && this.#waitingChunks >= MAX_WAITING_CHUNKS) {
      this.#waitingChunks = 0
      this._read()
    }
    return taken
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#phase !== 'over') {
      const what = 'The reader was destroyed before the body ended'
      this.#leave(new HappyReaderError('INTERRUPTED', what, withCause(error)))
    }
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    const room = this.#maxBytes - this.#bytesRead
    if (chunk.length > room) {
      if (room > 0) this.#deliver(chunk.subarray(0, room))
      this.#end(new HappyReaderError('TOO_LARGE', `The body is larger than ${this.#maxBytes} bytes`))
      return
    }
    const wantsMore = this.#deliver(chunk)
    if (this.#phase === 'catchingUp' && this.#hasCaughtUp()) return this.#end(this.#interruption)
    if (wantsMore) return this.#wait()
    this.#stopWaiting()
    this.#flowing = false
    this.#source.pause()
  }

  readonly #onEnd = (): void => {
    if (wasAborted(this.#source)) return this.#onFailure()
    const missing = (this.#expectedBytes ?? 0) - this.#bytesRead
    this.#end(missing > 0 ? new HappyReaderError('SHORT', `The body ended ${missing} bytes too soon`) : undefined)
  }

  /** The source failed or closed, now or before it was given to us. */
  readonly #onFailure = (cause?: Error | boolean): void => {
    this.#source.off('data', this.#onData) // read() would emit to it as well
    this.#catchUpUntilBytes = this.#catchUpUntilMs = Infinity // nothing follows what Node holds
    this.#drain(this.#source)
    if (this.#http2Stream) this.#drain(this.#http2Stream)
    if (this.#phase === 'over') return // the drained bytes exceeded a limit
    if (this.#source.readableEnded && !wasAborted(this.#source)) return this.#onEnd()
    const error = cause || this.#source.errored // a boolean is what a socket's 'close' brings
    this.#end(new HappyReaderError('ABORTED', 'The source failed before its end', withCause(error || undefined)))
  }

  readonly #onSignal = (): void => this.interrupt(this.#signal?.reason)

  #drain(stream: Readable): void {
    for (let chunk; this.#phase !== 'over' && (chunk = stream.read()) !== null; ) this.#onData(chunk)
  }

  #deliver(chunk: Buffer): boolean {
    this.#bytesRead += chunk.length
    const wantsMore = this.push(chunk)
    this.#waitingChunks = this.readableLength === 0 ? 0 : this.#waitingChunks + 1
    return wantsMore && this.#waitingChunks < MAX_WAITING_CHUNKS
  }

  /** The source is the next to act: watch for silence. */
  #wait(): void {
    if (this.#phase === 'catchingUp') {
      this.#stopWaiting()
      this.#quietTurns = 0
      this.#silenceTimer = setTimeout(this.#onQuietTurn, CATCH_UP_QUIET_MS)
    } else if (this.#phase === 'reading' && this.#idleTimeoutMs !== Infinity && this.#turn === undefined) {
      clearTimeout(this.#silenceTimer)
      this.#silenceTimer = setTimeout(this.#onIdle, this.#idleTimeoutMs)
      // Node's clock stands still within a turn, so one timer per turn is enough, and much cheaper.
      this.#turn = setImmediate(this.#onTurn)
    }
  }

  readonly #onTurn = (): void => {
    this.#turn = undefined
  }

  #stopWaiting(): void {
    clearTimeout(this.#silenceTimer)
    clearImmediate(this.#turn)
    clearImmediate(this.#quietTurn)
    this.#turn = undefined
  }

  #hasCaughtUp(): boolean {
    if (this.#bytesRead === this.#expectedBytes) return false // it is complete if it ends now, and it does next
    return this.#bytesRead >= this.#catchUpUntilBytes || performance.now() >= this.#catchUpUntilMs
  }

  readonly #onQuietTurn = (): void => {
    if (++this.#quietTurns === CATCH_UP_QUIET_TURNS) this.#end(this.#interruption)
    else this.#quietTurn = setImmediate(this.#onQuietTurn)
  }

  readonly #onIdle = (): void => {
    this.#end(new HappyReaderError('IDLE', `The source was silent for ${this.#idleTimeoutMs} ms`))
  }

  #end(error: HappyReaderError | undefined): void {
    if (this.#phase === 'over') return // the consumer destroyed the reader when it was given the last bytes
    this.#leave(error)
    this.push(null)
  }

  /** Detaches from the source, but for a listener that swallows a late 'error'. */
  #leave(error: HappyReaderError | undefined): void {
    this.#phase = 'over'
    this.#error = error
    this.#stopWaiting()
    this.#signal?.removeEventListener('abort', this.#onSignal)
    const source = this.#source
    source.off('data', this.#onData).off('end', this.#onEnd).off('error', this.#onFailure).off('close', this.#onFailure)
    source.off('error', ignore).on('error', ignore).pause() // one for all readers of a source
  }
}

function ignore(): void {}

function withCause(cause: unknown): ErrorOptions | undefined {
  return cause === undefined || cause === null ? undefined : { cause }
}

/** The HTTP/2 compatibility request is a view of a stream that has a buffer, and a fate, of its own. */
function http2StreamOf(source: Readable): Readable | undefined {
  // `httpVersion` proves nothing: a client of HTTP/1 can write 2.0 as well.
  const { stream } = source as { readonly stream?: unknown }
  return stream instanceof Readable && 'session' in stream ? stream : undefined
}

/** Over HTTP/2 an aborted body ends cleanly: 'end' without 'error'. */
function wasAborted(source: Readable): boolean {
  return (source as { aborted?: boolean }).aborted === true
}

function count(name: string, value: number | undefined): number | undefined {
  if (value === undefined || value === Infinity || (Number.isSafeInteger(value) && value >= 0)) return value
  throw new RangeError(`Cannot read the source as ${name} must be a whole number of bytes: received ${value}`)
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
