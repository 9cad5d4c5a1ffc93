// SPDX-License-Identifier: MIT
// @ts-check

/**
 * Uploads a file by tus 1.0.0, through all interruptions.
 *
 * Design. An upload has a goal: to arrive, to rest, or to vanish. One loop pursues the goal. A new
 * wish changes the goal and, if it cannot wait, aborts the request in progress. After an
 * interruption nothing is assumed: HEAD asks what the server holds. It is never sent during a
 * PATCH, as it would end it.
 *
 * The file is sent in slices that take about a second each. Every response is a receipt: the bytes
 * that it counts are safe, whatever happens to this page. Between two receipts only `sent` grows.
 *
 * @module
 */

import { isOfServer, isSuccess, request } from './request.js'
import { Trouble } from './trouble.js'

/**
 * What is known of a file that has not been chosen again yet. A `File` is also a description.
 *
 * @typedef {object} Description
 * @property {string} name
 * @property {number} size in bytes
 * @property {number} lastModified in milliseconds since 1970
 * @property {string} type its media type, or empty
 */

/**
 * - `missing`: the file must be chosen again.
 * - `queued`: it can be run.
 * - `sending`, `pausing`, `asking` (what is stored), `removing`: a request is in progress.
 * - `waiting`: it will try again, because of `trouble`.
 * - `paused`, `finished`, `failed` (because of `trouble`), `removed`: nothing happens.
 *
 * @typedef {'missing' | 'queued' | 'sending' | 'pausing' | 'asking' | 'removing' | Resting} State
 * @typedef {'waiting' | 'paused' | 'finished' | 'failed' | 'removed'} Resting
 */

const MIN_SLICE_BYTES = 256 * 1024
const MAX_SLICE_BYTES = 64 * 1024 ** 2
/** How long a slice should take: short enough for frequent receipts, long enough to cost little. */
const SLICE_MS = 1000
/** How many times larger the next slice may be: the first ones are too short to measure a speed. */
const MAX_GROWTH = 4
/** How long a pause waits for the slice in progress. */
const PAUSE_MS = 2000
const FIRST_DELAY_MS = 250
const LAST_DELAY_MS = 30_000

/**
 * Dispatches `change` when a field has changed, and `restart` when the server no longer has the
 * upload and it starts over.
 */
export class Upload extends EventTarget {
  /** @readonly */
  description
  /** @type {State} */
  state
  /** Bytes that the server has acknowledged. */
  acknowledged
  /** Bytes that have left this page; never less than `acknowledged`. */
  sent
  /** @type {number | undefined} in bytes per second, measured on the last slices */
  speed
  /** @type {string | undefined} the URL of the upload */
  url
  /** @type {Trouble | undefined} why it is waiting or has failed */
  trouble
  /** How many attempts in a row have failed. */
  attempts = 0
  /** @type {number | undefined} how many bytes had been sent when the plug was pulled */
  sentWhenUnplugged

  /** @type {File | undefined} */
  #file
  #endpoint
  /** @type {'arrive' | 'rest' | 'vanish'} */
  #goal = 'arrive'
  #running = false
  #interruption = new AbortController()
  /** Whether `acknowledged` is certainly what the server has. */
  #certain = false
  /** Whether `url` is known to have been the URL of an upload. */
  #proven
  #sliceBytes = MIN_SLICE_BYTES
  #maxSliceBytes = MAX_SLICE_BYTES
  #hurry = () => {}
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pauseTimer

  /**
   * @param {Description | File} description
   * @param {string} endpoint where uploads are created
   * @param {{ readonly url: string, readonly acknowledged: number }} [memory]
   */
  constructor(description, endpoint, memory) {
    super()
    this.description = description
    this.#file = description instanceof File ? description : undefined
    this.#endpoint = endpoint
    this.state = this.#file ? 'queued' : 'missing'
    this.url = memory?.url
    this.#proven = memory !== undefined
    this.acknowledged = this.sent = memory?.acknowledged ?? 0
  }

  get running() {
    return this.#running
  }

  /** Whether it is running or about to run. */
  get active() {
    return this.#running || this.state === 'queued'
  }

  /**
   * Supplies the missing file.
   *
   * @param {File} file
   */
  supply(file) {
    this.#file = file
    if (!this.active) this.resume()
  }

  /**
   * Starts or resumes the upload. Resolves when the file has arrived, the upload was paused or
   * removed, or it cannot continue by itself. Does not reject.
   */
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
      this.dispatchEvent(new Event('change')) // `active` has changed
    }
  }

  /**
   * Makes it continue: at once if it is waiting, or else as soon as it is run.
   */
  resume() {
    clearTimeout(this.#pauseTimer)
    this.sentWhenUnplugged = undefined
    this.#goal = 'arrive'
    if (this.state === 'failed' && !this.#proven) this.url = undefined // start over: the URL may never have worked
    if (!this.#running) this.#enter('queued')
    else if (this.state === 'pausing') this.#enter('sending')
    this.#hurry()
  }

  /** Sends no further slice. The slice in progress may end, if it does so soon. */
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

  /** Cuts the connection, then asks the server what it has stored. */
  unplug() {
    this.sentWhenUnplugged = this.sent
    this.#goal = 'rest'
    this.#interruption.abort()
  }

  /** Stops it and removes it from the server. A second call does not wait for the server. */
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
   * Works towards a goal until it is reached, the goal changes, or a person is needed.
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
      if (trouble?.passes) throw trouble // any other refusal is final
    }
    this.#enter('removed')
  }

  /** @param {AbortSignal} signal */
  async #inspect(signal) {
    const answer = await request('HEAD', /** @type {string} */ (this.url), { signal })
    if (this.#isGone(answer)) return this.#forget()
    this.#assertSuccess(answer)
    const size = String(this.description.size)
    if ((answer.getResponseHeader('Upload-Length') ?? size) !== size) this.#forget() // it belongs to another file
    else this.#acknowledge(answer)
  }

  /** @param {AbortSignal} signal */
  async #create(signal) {
    const { name, size, type } = this.description
    const metadata = [`filename ${toBase64(name)}`, ...(type === '' ? [] : [`filetype ${toBase64(type)}`])].join(',')
    const headers = { 'Upload-Length': String(size), 'Upload-Metadata': metadata }
    const answer = await request('POST', this.#endpoint, { headers, signal })
    this.#assertSuccess(answer)
    const location = answer.getResponseHeader('Location')
    const { origin } = new URL(this.#endpoint)
    const url = location !== null && URL.canParse(location, origin) ? new URL(location, this.#endpoint) : undefined
    if (url?.origin !== origin) throw new Trouble('NONSENSE') // the policy of the page allows no other
    this.url = url.href
    this.#proven = false
    this.#certain = true
    this.acknowledged = this.sent = 0
    this.dispatchEvent(new Event('change')) // now there is something to remember
  }

  /**
   * Sends a slice, and sizes the next one by the speed of this one.
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
    if (answer.status === 413 && slice.size > MIN_SLICE_BYTES) { // most likely the limit of a proxy
      this.#sliceBytes = this.#maxSliceBytes = Math.max(MIN_SLICE_BYTES, slice.size / 4)
      return
    }
    if (this.#isGone(answer)) return this.#forget()
    this.#assertSuccess(answer)
    this.#acknowledge(answer)
    if (this.acknowledged <= offset) throw new Trouble('NONSENSE')
    const speed = ((this.acknowledged - offset) * 1000) / Math.max(1, performance.now() - beganMs)
    this.speed = this.speed === undefined ? speed : 0.7 * this.speed + 0.3 * speed
    const idealBytes = Math.max(MIN_SLICE_BYTES, (speed * SLICE_MS) / 1000)
    this.#sliceBytes = Math.ceil(Math.min(this.#maxSliceBytes, MAX_GROWTH * slice.size, idealBytes))
    this.dispatchEvent(new Event('change'))
  }

  /**
   * Whether the server no longer has the upload. It must be the server that says so, as a proxy may
   * find nothing while a server is being replaced. And the URL must have worked before.
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

  /** Makes the upload start over. */
  #forget() {
    this.url = undefined
    this.#certain = false
    this.acknowledged = this.sent = 0
    this.dispatchEvent(new Event('change'))
    this.dispatchEvent(new Event('restart'))
  }

  /**
   * Accepts an offset if it is valid: `1*DIGIT`, and not beyond the end of the file.
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
   * Waits, longer each time. Ends early when a person resumes or the network is back.
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
      // Random, so that not all pages that lost a server return at the same moment.
      const timer = setTimeout(done, Math.max(leastMs, growingMs * (0.5 + Math.random() / 2)))
      addEventListener('online', done)
      signal.addEventListener('abort', done)
      this.#hurry = done
    })
  }
}

/**
 * Throws if the file was changed or removed. Alone, the failed request looks like a network error.
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
 * Encodes the UTF-8 bytes of a text, as tus section "Upload-Metadata" requires.
 *
 * @param {string} text
 */
function toBase64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
}
