// SPDX-License-Identifier: MIT

/**
 * A body goes to the disk: in large writes, whole, and with bounded memory.
 *
 * Whatever arrives while one `writev` is in progress goes out in the next. Node's own write stream
 * is not used: after a short `writev`, as on a full disk, it writes the rest at the wrong offset
 * (measured on 20 to 26).
 *
 * Each body is bounded, but their sum would not be. So all bodies of a store share one
 * {@link WriteBudget}: when it is used up, bodies are paused until something was written.
 *
 * @module
 */

import type { Readable } from 'node:stream'
import type { OpenFile } from './open-file.ts'

/** What waits goes to the disk in one call, up to this size. */
const WRITE_BUFFER_BYTES = 1024 * 1024
/** Most buffers in one call: each costs some 300 bytes itself, and the system takes no more. */
const WRITE_BUFFERS = 1024
/** Chunks below this size are joined. */
const SMALL_CHUNK_BYTES = 1024
/** What they are joined in. */
const SLAB_BYTES = 16 * 1024
const NO_SLAB = Buffer.alloc(0)
/** What Node reads from a socket at a time. A small chunk of it keeps all of it in memory. */
const SOCKET_READ_BYTES = 64 * 1024

/**
 * Writes all buffers at `offset`, and resolves with the offset behind them. A system that writes
 * only a part is asked again for the rest.
 */
export async function writeAll(file: OpenFile, buffers: readonly Uint8Array[], offset: number): Promise<number> {
  let end = offset
  for (let left = buffers; left.length > 0; ) {
    const { bytesWritten } = await file.writev(left, end)
    if (bytesWritten === 0) throw new Error('The system wrote nothing and gave no reason')
    end += bytesWritten
    left = rest(left, bytesWritten)
  }
  return end
}

/** What is left of the buffers without their first `bytes`. */
function rest(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  return buffers.flatMap((buffer) => {
    const left = buffer.subarray(Math.min(skip, buffer.length))
    skip -= buffer.length - left.length
    return left.length > 0 ? [left] : []
  })
}

/**
 * Yields what a body brings: each time everything that came since the last time. The body is
 * paused when that is much, or when the budget is spent.
 *
 * If the body fails or `signal` aborts, what came before is yielded first, and then the error is
 * thrown. However it ends, the body is destroyed unless it was read to its end.
 */
export function batchesOf(
  body: Readable,
  budget: WriteBudget,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<readonly Uint8Array[]> {
  return new Batches(body, budget, signal)
}

/** Who waits for the next batch. */
interface Waiting {
  readonly resolve: (result: IteratorResult<readonly Uint8Array[], undefined>) => void
  readonly reject: (error: unknown) => void
}

/**
 * A slow body waits here for most of its time. An async generator with `finished` of
 * `node:stream/promises` would be shorter, and hold four times as much memory.
 */
class Batches implements AsyncIterableIterator<readonly Uint8Array[]> {
  readonly #body: Readable
  readonly #budget: WriteBudget
  readonly #signal: AbortSignal | undefined
  /** What came and was not handed over yet. */
  #batch: Batch | undefined
  /** What is being written, in bytes of memory. */
  #handedBytes = 0
  #waiting: Waiting | undefined
  #turn: NodeJS.Immediate | undefined
  #end: 'none' | 'clean' | 'failed' = 'none'
  #error: unknown

  constructor(body: Readable, budget: WriteBudget, signal: AbortSignal | undefined) {
    this.#body = body
    this.#budget = budget
    this.#signal = signal
    body.pause().on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd).on('error', this.#onEnd)
    signal?.addEventListener('abort', this.#onAbort)
    if (signal?.aborted) this.#onAbort()
    else if (body.readableEnded || body.destroyed) this.#onEnd() // nothing more is announced
    else budget.resumeInTurn(this.#resume)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Called when what was handed over last is written. */
  next(): Promise<IteratorResult<readonly Uint8Array[], undefined>> {
    this.#release()
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      if (this.#batch !== undefined || this.#end !== 'none') this.#handOver()
    })
  }

  /** Called when nothing more is wanted. */
  return(): Promise<IteratorResult<readonly Uint8Array[], undefined>> {
    this.#leave('failed')
    this.#handedBytes += this.#batch?.bytes ?? 0
    this.#batch = undefined
    this.#release()
    return Promise.resolve({ done: true, value: undefined })
  }

  readonly #resume = (): void => void this.#body.resume()

  readonly #onData = (chunk: unknown): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    if (!(bytes instanceof Uint8Array)) {
      this.#body.destroy(new TypeError(`Cannot append the body as it must be of bytes: received ${typeof chunk}`))
      return
    }
    if (bytes.length === 0) return
    this.#batch ??= new Batch()
    this.#budget.hold(this.#batch.add(bytes))
    if (this.#batch.isFull || this.#budget.isSpent) this.#body.pause()
    // What arrives together is written together.
    if (this.#waiting) this.#turn ??= setImmediate(this.#handOver)
  }

  /** The body has ended, failed or closed. */
  readonly #onEnd = (error?: unknown): void => {
    if (this.#end !== 'none') return
    const { readableEnded, errored } = this.#body
    if (!readableEnded) this.#error = errored ?? (error instanceof Error ? error : closedEarly())
    this.#leave(readableEnded ? 'clean' : 'failed')
    if (this.#waiting) this.#handOver()
  }

  readonly #onAbort = (): void => {
    if (this.#end !== 'none') return
    this.#error = this.#signal?.reason
    this.#leave('failed')
    if (this.#waiting) this.#handOver()
  }

  readonly #handOver = (): void => {
    clearImmediate(this.#turn)
    this.#turn = undefined
    const [waiting, batch] = [this.#waiting, this.#batch]
    this.#waiting = this.#batch = undefined
    if (batch) {
      this.#handedBytes = batch.bytes
      if (this.#end === 'none' && this.#body.isPaused()) this.#budget.resumeInTurn(this.#resume)
      waiting?.resolve({ done: false, value: batch.take() })
    } else if (this.#end === 'failed') {
      waiting?.reject(this.#error)
    } else {
      waiting?.resolve({ done: true, value: undefined })
    }
  }

  #release(): void {
    this.#budget.release(this.#handedBytes)
    this.#handedBytes = 0
  }

  /** Detaches from the body, but for the listener that swallows a late 'error'. */
  #leave(end: 'clean' | 'failed'): void {
    if (this.#end !== 'none') return
    this.#end = end
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#body.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd)
    this.#budget.forget(this.#resume)
    if (end === 'failed') this.#body.destroy()
  }
}

/** As Node names it for its own readers. */
function closedEarly(): Error {
  return Object.assign(new Error('The body was closed before its end'), { code: 'ERR_STREAM_PREMATURE_CLOSE' })
}

/** How much memory the bytes of all bodies may take while they wait to be written. */
export class WriteBudget {
  readonly #maxBytes: number
  #heldBytes = 0
  /**
   * What resumes the bodies that wait for room, in order of arrival. While there are any, bytes are
   * held, and those are written without any client's help: so room will come.
   */
  readonly #waiting = new Set<() => void>()

  constructor(maxBytes: number) {
    if (!(Number.isSafeInteger(maxBytes) && maxBytes >= WRITE_BUFFER_BYTES)) {
      const expectation = `maxBufferedBytes must be a whole number from ${WRITE_BUFFER_BYTES}`
      throw new RangeError(`Cannot hold bytes to be written as ${expectation}: received ${maxBytes}`)
    }
    this.#maxBytes = maxBytes
  }

  get isSpent(): boolean {
    return this.#heldBytes >= this.#maxBytes
  }

  hold(bytes: number): void {
    this.#heldBytes += bytes
  }

  /** Resumes those that wait: as many as there is room for, or all if nothing is held any more. */
  release(bytes: number): void {
    this.#heldBytes -= bytes
    let room = this.#maxBytes - this.#heldBytes
    for (const resume of this.#waiting) {
      if (room <= 0 && this.#heldBytes > 0) return
      room -= SOCKET_READ_BYTES
      this.#waiting.delete(resume)
      resume()
    }
  }

  resumeInTurn(resume: () => void): void {
    if (this.isSpent || this.#waiting.size > 0) this.#waiting.add(resume)
    else resume()
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume)
  }
}

/**
 * Chunks that go to the disk in one call. Small ones are copied together, so that what they take
 * is counted in bytes.
 */
class Batch {
  readonly #buffers: Uint8Array[] = []
  #chunks = 0
  #bytes = 0
  #lastMemory: ArrayBufferLike | undefined
  #slab = NO_SLAB
  /** Where in the slab the bytes are that are not in a buffer yet. */
  #from = 0
  #to = 0

  get isFull(): boolean {
    return this.#bytes >= WRITE_BUFFER_BYTES || this.#buffers.length >= WRITE_BUFFERS
  }

  get isEmpty(): boolean {
    return this.#chunks === 0
  }

  /** What it takes of memory, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns what the chunk costs, in bytes of memory. */
  add(chunk: Uint8Array): number {
    // The first is kept as it is, and mostly is the only one.
    const cost = this.#chunks > 0 && chunk.length < SMALL_CHUNK_BYTES ? this.#join(chunk) : this.#keep(chunk)
    this.#chunks++
    this.#bytes += cost
    return cost
  }

  take(): readonly Uint8Array[] {
    this.#closeRun()
    return this.#buffers
  }

  #keep(chunk: Uint8Array): number {
    this.#closeRun()
    this.#buffers.push(chunk)
    const { buffer: memory } = chunk
    const isCounted = memory === this.#lastMemory
    this.#lastMemory = memory
    return isCounted ? chunk.length : Math.max(chunk.length, Math.min(memory.byteLength, SOCKET_READ_BYTES))
  }

  #join(chunk: Uint8Array): number {
    const isFull = this.#to + chunk.length > this.#slab.length
    if (isFull) {
      this.#closeRun()
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#from = this.#to = 0
    }
    this.#slab.set(chunk, this.#to)
    this.#to += chunk.length
    return isFull ? SLAB_BYTES : 0
  }

  #closeRun(): void {
    if (this.#to > this.#from) this.#buffers.push(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}
