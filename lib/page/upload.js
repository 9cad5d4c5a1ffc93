// SPDX-License-Identifier: MIT
// @ts-check

/**
 * A file on its way to a server by tus 1.0.0, whatever comes between.
 *
 * Design. What an upload does follows from what is wanted of it, its goal: to arrive, to rest, or to
 * vanish. One loop pursues the goal; to want something else is to change the goal and, where it cannot wait,
 * to abort the request that is under way. After an interruption nothing is assumed: HEAD tells what
 * the server holds. It is never sent while a PATCH runs, which it would end.
 *
 * The file goes in slices that take about a second each, as every answer is a receipt: what it counts
 * is safe, whatever becomes of this page. Between two receipts only `sent` grows.
 *
 * @module
 */

import { isOfServer, isSuccess, request } from './request.js'
import { Trouble } from './trouble.js'

/**
 * What can be known of a file that is not at hand; a `File` is one of these.
 *
 * @typedef {object} Description
 * @property {string} name
 * @property {number} size in bytes
 * @property {number} lastModified in milliseconds since 1970
 * @property {string} type its media type, or empty
 */

/**
 * - `missing`: its file is not at hand.
 * - `queued`: may begin as soon as it is run.
 * - `sending`, `pausing`, `asking` (what the server kept), `removing`: a request is under way.
 * - `waiting`: for the server, because of `trouble`.
 * - `paused`, `finished`, `failed` (because of `trouble`), `removed`: nothing happens.
 *
 * @typedef {'missing' | 'queued' | 'sending' | 'pausing' | 'asking' | 'removing' | 'waiting' | 'paused' | 'finished' | 'failed' | 'removed'} State
 */

const MIN_SLICE_BYTES = 256 * 1024
const MAX_SLICE_BYTES = 64 * 1024 ** 2
/** How long a slice should take: often enough for a receipt, and seldom enough to cost nothing. */
const SLICE_MS = 1000
/** How much longer the next slice may be, as the first ones are too short to tell the speed. */
const MAX_GROWTH = 4
/** How long a slice may go on that was under way when somebody paused. */
const PAUSE_MS = 2000
const FIRST_DELAY_MS = 250
const LAST_DELAY_MS = 30_000

/** Dispatches `change` whenever one of its fields has changed, and `anew` when the server had given it up and it begins from the start. */
export class Upload extends EventTarget {
  /** @readonly */
  description
  /** @type {State} */
  state
  /** Bytes that the server has said it holds. */
  acknowledged
  /** Bytes that have left this page, never fewer than are acknowledged. */
  sent
  /** @type {number | undefined} in bytes per second, of the last slices */
  speed
  /** @type {string | undefined} the upload's address */
  url
  /** @type {Trouble | undefined} why it waits or failed */
  trouble
  /** How often in a row the server was waited for. */
  attempts = 0
  /** @type {number | undefined} how many bytes were sent when somebody pulled the plug */
  sentWhenUnplugged

  /** @type {File | undefined} */
  #file
  #endpoint
  /** @type {'arrive' | 'rest' | 'vanish'} */
  #goal = 'arrive'
  #running = false
  #interruption = new AbortController()
  /** Whether `acknowledged` is what the server would say now. */
  #certain = false
  /** Whether the address is known to have been an upload's. */
  #proven
  #sliceBytes = MIN_SLICE_BYTES
  #maxSliceBytes = MAX_SLICE_BYTES
  #hurry = () => {}
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pauseTimer

  /**
   * @param {Description | File} description
   * @param {string} endpoint where uploads are created
   * @param {{ readonly url: string, readonly acknowledged: number }} [begun] what is known of it from before
   */
  constructor(description, endpoint, begun) {
    super()
    this.description = description
    this.#file = description instanceof File ? description : undefined
    this.#endpoint = endpoint
    this.state = this.#file ? 'queued' : 'missing'
    this.url = begun?.url
    this.#proven = begun !== undefined
    this.acknowledged = this.sent = begun?.acknowledged ?? 0
  }

  get running() {
    return this.#running
  }

  /** Whether something happens, or is about to. */
  get active() {
    return this.#running || this.state === 'queued'
  }

  /**
   * Hands over the file that was missing.
   *
   * @param {File} file
   */
  supply(file) {
    this.#file = file
    if (!this.active) this.resume()
  }

  /** Begins or goes on, until the file has arrived, somebody wants it otherwise, or there is no point. Does not reject. */
  async run() {
    if (this.#running) return
    this.#running = true
    try {
      let goal
      do {
        goal = this.#goal
        await this.#pursue(goal)
      } while (goal !== this.#goal || this.#interruption.signal.aborted)
    } finally {
      this.#running = false
      this.dispatchEvent(new Event('change')) // only now it is not active any more
    }
  }

  /** Wants it to arrive: what waits for the server tries at once, what does not run is `queued`. */
  resume() {
    clearTimeout(this.#pauseTimer)
    this.sentWhenUnplugged = undefined
    this.#goal = 'arrive'
    if (this.state === 'failed' && !this.#proven) this.url = undefined // a person decides what the answer could not: to begin anew
    if (!this.#running) this.#enter('queued')
    else if (this.state === 'pausing') this.#enter('sending')
    this.#hurry()
  }

  /** Lets the slice that is under way end, if it does so soon, and begins no other. */
  pause() {
    this.#goal = 'rest'
    if (this.state === 'sending') {
      this.#pauseTimer = setTimeout(() => this.unplug(), PAUSE_MS)
      this.#enter('pausing')
    } else if (this.#running) {
      this.sentWhenUnplugged = undefined
      this.#interruption.abort()
    } else this.#enter('paused')
  }

  /** Cuts the connection off, then asks the server what it has kept. */
  unplug() {
    this.sentWhenUnplugged = this.sent
    this.#goal = 'rest'
    this.#interruption.abort()
  }

  /** Stops it, and has the server remove what it holds; asked for again, it does not wait for the server. */
  remove() {
    clearTimeout(this.#pauseTimer)
    const again = this.#goal === 'vanish'
    this.#goal = 'vanish'
    if (again) this.url = undefined
    this.#interruption.abort()
    void this.run()
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state
    this.dispatchEvent(new Event('change'))
  }

  /**
   * Works towards a goal until it is reached, another is wanted, or a person is needed.
   *
   * @param {'arrive' | 'rest' | 'vanish'} goal
   */
  async #pursue(goal) {
    this.#interruption = new AbortController()
    const { signal } = this.#interruption
    this.attempts = 0
    for (;;) {
      const before = this.acknowledged
      try {
        if (goal === 'arrive') await this.#arrive(signal)
        else if (goal === 'rest') await this.#rest(signal)
        else await this.#vanish(signal)
        return
      } catch (error) {
        this.#certain = false
        if (signal.aborted || this.#goal !== goal) return
        this.trouble = error instanceof Trouble ? error : new Trouble('DEFECT', { cause: error })
        if (!this.trouble.passes) return this.#enter('failed')
        this.attempts = this.acknowledged > before ? 1 : this.attempts + 1
        if (goal !== 'vanish') this.#enter('waiting')
        await this.#wait(this.trouble.retryAfterMs ?? 0, signal)
        if (signal.aborted) return
      }
    }
  }

  /** @param {AbortSignal} signal */
  async #arrive(signal) {
    const file = this.#file
    if (!file) return this.#enter('missing')
    if (this.state !== 'waiting') this.#enter('sending')
    for (;;) {
      if (this.url !== undefined && !this.#certain) await this.#inspect(signal)
      if (this.url === undefined) await this.#create(signal)
      this.trouble = undefined
      if (this.acknowledged === file.size) return this.#enter('finished')
      if (this.#goal !== 'arrive') return
      if (this.state === 'waiting') this.#enter('sending')
      await this.#append(file, signal)
    }
  }

  /** @param {AbortSignal} signal */
  async #rest(signal) {
    clearTimeout(this.#pauseTimer)
    if (this.sentWhenUnplugged !== undefined && this.url !== undefined && !this.#certain) {
      if (this.state !== 'waiting') this.#enter('asking')
      await this.#inspect(signal)
    }
    if (this.#goal === 'rest' && this.state !== 'finished') this.#enter('paused')
  }

  /** @param {AbortSignal} signal */
  async #vanish(signal) {
    if (this.url !== undefined) {
      this.#enter('removing')
      const answer = await request('DELETE', this.url, { signal })
      const trouble = isSuccess(answer.status) ? undefined : Trouble.from(answer)
      if (trouble?.passes) throw trouble // any other refusal will not become an agreement
    }
    this.#enter('removed')
  }

  /** @param {AbortSignal} signal */
  async #inspect(signal) {
    const answer = await request('HEAD', /** @type {string} */ (this.url), { signal })
    if (this.#isGone(answer)) return this.#forget()
    this.#assertSuccess(answer)
    const size = String(this.description.size)
    if ((answer.getResponseHeader('Upload-Length') ?? size) !== size) this.#forget() // it is another file's
    else this.#acknowledge(answer)
  }

  /** @param {AbortSignal} signal */
  async #create(signal) {
    const { name, size, type } = this.description
    const metadata = [`filename ${toBase64(name)}`, ...(type === '' ? [] : [`filetype ${toBase64(type)}`])].join(',')
    const answer = await request('POST', this.#endpoint, { headers: { 'Upload-Length': String(size), 'Upload-Metadata': metadata }, signal })
    this.#assertSuccess(answer)
    const location = answer.getResponseHeader('Location')
    const { origin } = new URL(this.#endpoint)
    const url = location !== null && URL.canParse(location, origin) ? new URL(location, this.#endpoint) : undefined
    if (url?.origin !== origin) throw new Trouble('NONSENSE') // the page may reach no other
    this.url = url.href
    this.#proven = false
    this.#certain = true
    this.acknowledged = this.sent = 0
    this.dispatchEvent(new Event('change')) // there is something to remember
  }

  /**
   * Sends a slice, and the next will be as long as this one should have been.
   *
   * @param {File} file
   * @param {AbortSignal} signal
   */
  async #append(file, signal) {
    const offset = this.acknowledged
    const slice = file.slice(offset, offset + this.#sliceBytes)
    const beganMs = performance.now()
    const answer = await request('PATCH', /** @type {string} */ (this.url), {
      headers: { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': String(offset) },
      body: slice,
      signal,
      onSent: (bytes) => {
        this.sent = offset + bytes
        this.dispatchEvent(new Event('change'))
      },
    })
    if (answer.status === 0) await assertReadable(slice)
    if (answer.status === 413 && slice.size > MIN_SLICE_BYTES) { // a proxy's limit, most likely, which may be anywhere below
      this.#sliceBytes = this.#maxSliceBytes = Math.max(MIN_SLICE_BYTES, slice.size / 4)
      return
    }
    if (this.#isGone(answer)) return this.#forget()
    this.#assertSuccess(answer)
    this.#acknowledge(answer)
    if (this.acknowledged <= offset) throw new Trouble('NONSENSE')
    const speed = ((this.acknowledged - offset) * 1000) / Math.max(1, performance.now() - beganMs)
    this.speed = this.speed === undefined ? speed : 0.7 * this.speed + 0.3 * speed
    this.#sliceBytes = Math.ceil(Math.min(this.#maxSliceBytes, MAX_GROWTH * slice.size, Math.max(MIN_SLICE_BYTES, (speed * SLICE_MS) / 1000)))
    this.dispatchEvent(new Event('change'))
  }

  /**
   * Whether the server has given up what it had. Of an address that never worked it cannot be said, and
   * nobody else can say it: while a server is being replaced, a proxy may find nothing there.
   *
   * @param {XMLHttpRequest} answer
   */
  #isGone(answer) {
    return this.#proven && isOfServer(answer) && [404, 410].includes(answer.status)
  }

  /** @param {XMLHttpRequest} answer */
  #assertSuccess(answer) {
    const claimed = isSuccess(answer.status) || (this.#proven && [404, 410].includes(answer.status))
    if (claimed && !isOfServer(answer)) throw new Trouble('STRANGER')
    if (!isSuccess(answer.status)) throw Trouble.from(answer)
  }

  /** Begins anew. */
  #forget() {
    this.url = undefined
    this.#certain = false
    this.acknowledged = this.sent = 0
    this.dispatchEvent(new Event('change'))
    this.dispatchEvent(new Event('anew'))
  }

  /**
   * Believes an offset, if it can be one: `1*DIGIT`, and not beyond the end of the file.
   *
   * @param {XMLHttpRequest} answer
   */
  #acknowledge(answer) {
    const text = answer.getResponseHeader('Upload-Offset') ?? ''
    const offset = /^[0-9]+$/.test(text) ? Number(text) : NaN
    if (!Number.isSafeInteger(offset) || offset > this.description.size) throw new Trouble('NONSENSE')
    this.#proven = this.#certain = true
    this.acknowledged = offset
    this.sent = offset
  }

  /**
   * Waits longer each time, until somebody is in a hurry or the network is back.
   *
   * @param {number} leastMs
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #wait(leastMs, signal) {
    const growingMs = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.attempts - 1))
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        removeEventListener('online', done)
        signal.removeEventListener('abort', done)
        this.#hurry = () => {}
        resolve()
      }
      // Not all pages that lost a server shall come back at the same moment.
      const timer = setTimeout(done, Math.max(leastMs, growingMs * (0.5 + Math.random() / 2)))
      addEventListener('online', done)
      signal.addEventListener('abort', done)
      this.#hurry = done
    })
  }
}

/**
 * Browsers tell a file that was changed or removed from a network that failed only to who reads it.
 *
 * @param {Blob} slice
 */
async function assertReadable(slice) {
  try {
    await slice.slice(0, 1).arrayBuffer()
  } catch (cause) {
    throw new Trouble('UNREADABLE', { cause })
  }
}

/**
 * Of the text's UTF-8, as tus section "Upload-Metadata" has it.
 *
 * @param {string} text
 */
function toBase64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
}
