// SPDX-License-Identifier: MIT

/**
 * Clients of Resumable Uploads for HTTP that leave in the middle, come back, and believe what they are told,
 * while the server comes and goes.
 *
 * Each upload has one client, which does one thing after the other. So it knows what it may be told: not
 * only that no byte is missing, but where exactly the upload is, and that what it sends next is taken.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { begin, I8, PU, type Answer, type Exchange, type Head, type Version } from '../rufh/support.ts'
import { spoil } from './attack.ts'
import { contentOf } from './content.ts'
import { PATH } from './ledger.ts'
import type { Random } from './random.ts'
import type { Parcel, Parcels } from './rufh-parcels.ts'

/** A server that may be struck at any time. */
export interface Stage {
  readonly port: number
  readonly version: Version
  /** How often it was struck; counted before it is, and again when it has ended. */
  strikes: number
}

/** How a client parts with a request: it stays for the answer, closes, resets, or leaves it open and forgets it. */
type Leave = 'stay' | 'FIN' | 'RST' | 'open'

/** What a request is to bring, and how it goes. */
interface Plan {
  readonly start: number
  readonly end: number
  /** Whether it says that the end of its content is the end of the upload. */
  readonly complete: boolean
  /** Whether it says how long its content is. */
  readonly announced: boolean
  /** `wrong`: the content is not the one that the digest is of. */
  readonly digest: 'none' | 'right' | 'wrong'
  readonly leave: Leave
  /** Where it leaves. */
  readonly cut: number
  readonly pauseMs: number
}

/** Where an upload must be found after a request. Without `strikes`, whatever happens to the server. */
interface Expectation {
  readonly offsets: readonly number[]
  readonly strikes?: number
}

/** What the cuts of one kind have put at stake. */
export interface Cuts {
  rounds: number
  acknowledgedBytes: number
  lostBytes: number
}

const MAX_PIECES = 5
/** A body with a digest counts as a whole, so a long one would never get through. */
const MAX_VERIFIED_BYTES = 256 * 1024
/** What is sent of a request that another has taken over from, in bytes. */
const LATE_BYTES = 1000
const WHOLE_NUMBER = /^\d+$/

/** One client. */
export class RufhClient {
  readonly #stage: Stage
  readonly #random: Random
  readonly #left = new Set<Exchange>()
  /** What is still being heard. */
  readonly #underWay = new Set<Promise<unknown>>()
  #expected: Expectation | undefined
  #cut: { readonly how: 'FIN' | 'RST'; readonly told: number; readonly lost: number } | undefined
  /** How often each answer came; `cut` stands for none, `refused` for no connection, `104` for progress that was told. */
  readonly statuses: Map<string, number> = new Map()
  readonly cuts: Record<'FIN' | 'RST', Cuts> = {
    FIN: { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 },
    RST: { rounds: 0, acknowledgedBytes: 0, lostBytes: 0 },
  }

  constructor(stage: Stage, random: Random) {
    this.#stage = stage
    this.#random = random
  }

  /** Uploads something, however often it takes, until it is complete or the time has ended. */
  async upload(parcels: Parcels, length: number, name: string, ended: AbortSignal): Promise<void> {
    this.#forget()
    const parcel = parcels.begin(length, name)
    for (;;) {
      if (ended.aborted) return
      const begun = await this.#create(parcel)
      await this.#pause()
      if (parcel.path !== undefined) break
      if (begun) return // what became of it is not known: the next upload is another one
    }
    while (!ended.aborted && !parcel.receipt) {
      await this.#goOn(parcel)
      await this.#pause()
    }
    if (!ended.aborted && this.#random.chance(0.5)) await this.#askAgain(parcel)
  }

  /** Gives up what it has left open, and fails if anything was wrong with what it did not wait for. */
  async close(): Promise<void> {
    this.#forget()
    await Promise.all(this.#underWay)
  }

  #forget(): void {
    for (const exchange of this.#left) exchange.cut('fin')
    this.#left.clear()
    this.#expected = undefined
    this.#cut = undefined
  }

  /** Resolves with whether there was somebody to ask. */
  #create(parcel: Parcel): Promise<boolean> {
    const { length, key } = parcel
    const plan = this.#plan(parcel, 0)
    const told = this.#random.chance(plan.complete || this.#stage.version === 'HTTP/2' ? 0.3 : 0.6)
    const headers = {
      'Upload-Complete': plan.complete ? '?1' : '?0',
      'Content-Disposition': `attachment; filename="${key}"`,
      ...(this.#random.chance(0.9) ? I8 : {}),
      ...(told ? { 'Upload-Length': String(length) } : {}),
      ...(this.#random.chance(0.2) ? { 'Repr-Digest': `sha-256=:${parcel.sha256()}:` } : {}),
    }
    return this.#transmit(parcel, this.#random.pick(['POST', 'POST', 'PUT']), PATH, headers, plan)
  }

  /** Asks where the upload is, and sends more of it. */
  async #goOn(parcel: Parcel): Promise<void> {
    const offset = await this.#offset(parcel)
    if (offset === undefined || parcel.path === undefined) return
    const plan = this.#plan(parcel, offset)
    await this.#transmit(parcel, 'PATCH', parcel.path, appendHeaders(offset, plan.complete), plan)
  }

  /** Asks for the answer of a complete upload again, as one that has lost it does. */
  async #askAgain(parcel: Parcel): Promise<void> {
    await this.#offset(parcel)
    const { length, path = '' } = parcel
    await this.#transmit(parcel, 'PATCH', path, appendHeaders(length, true), {
      start: length,
      end: length,
      complete: true,
      announced: true,
      digest: 'none',
      leave: 'stay',
      cut: length,
      pauseMs: 0,
    })
  }

  #plan({ length }: Parcel, start: number): Plan {
    const random = this.#random
    const digest = random.pick(['none', 'none', 'none', 'none', 'right', 'wrong'] as const)
    const most = Math.min(length, digest === 'none' ? length : start + MAX_VERIFIED_BYTES)
    const end = random.chance(0.5) ? most : random.integer(Math.min(start + 1, most), most)
    return {
      start, end,
      digest: end === start ? 'none' : digest,
      complete: end === length && (start === length || random.chance(0.7)),
      announced: random.chance(0.6),
      leave: random.pick(['stay', 'stay', 'stay', 'FIN', 'RST', 'open']),
      cut: random.chance(0.2) ? end : random.integer(start, end),
      pauseMs: random.pick([0, 0, 0, 1, 10, 50]),
    }
  }

  /** Sends a request with content, and parts with it as planned. Resolves with whether there was somebody to send it to. */
  async #transmit(parcel: Parcel, method: string, path: string, headers: Readonly<Record<string, string>>, plan: Plan): Promise<boolean> {
    const { start, end, complete, announced, digest, leave, pauseMs } = plan
    const { strikes, version } = this.#stage
    const known = parcel.told
    const cut = leave === 'stay' ? end : plan.cut
    const whole = cut === end && (announced || leave === 'stay')
    const digestField =
      digest === 'none'
        ? {}
        : {
            'Content-Digest': `sha-256=:${createHash('sha256')
              .update(contentOf(parcel.key, start, end))
              .digest('base64')}:`,
          }
    if (complete && start === end && announced) parcel.ended = true // the head is all of it
    let exchange: Exchange
    try {
      exchange = await begin(this.#stage, { method, path, headers: { ...headers, ...digestField } }, announced ? end - start : 'unknown')
    } catch {
      this.#count('refused')
      return false
    }
    let over = false
    const heard = this.#listen(parcel, exchange, { creation: method !== 'PATCH', plan, whole, known }).finally(() => (over = true))
    this.#underWay.add(heard)
    heard.then(() => this.#underWay.delete(heard), () => {}) // it fails where it is waited for

    const stops = [
      start,
      ...Array.from({ length: this.#random.integer(0, MAX_PIECES - 1) }, () => this.#random.integer(start, cut)),
      cut,
    ].sort((one, other) => one - other)
    for (const [index, from] of stops.slice(0, -1).entries()) {
      const to = stops[index + 1]!
      if (from === to) continue
      if (over) break
      if (complete && whole && digest !== 'wrong' && to === end) parcel.ended = true
      const content = digest === 'wrong' ? spoil(contentOf(parcel.key, from, to)) : parcel.take(from, to)
      await Promise.race([write(exchange, content), heard]) // over HTTP/2 nobody may ever take what is not wanted
      if (pauseMs > 0) await delay(pauseMs)
    }

    this.#expected = digest !== 'none' ? { offsets: whole && digest === 'right' ? [start, end] : [start] } : undefined
    if (leave === 'stay') {
      if (complete && digest !== 'wrong') parcel.ended = true
      exchange.end()
      await heard
      exchange.cut('fin')
    } else if (leave === 'open') {
      this.#left.add(exchange)
      void heard.then((status) => (status === 409 ? this.#sendLate(parcel, exchange) : exchange.cut('fin')), () => {})
    } else {
      this.#cut = { how: leave, told: known, lost: parcel.lost }
      exchange.cut(leave === 'FIN' || over ? 'fin' : 'rst') // to reset what is closing leaves Node with half a socket
      if (leave === 'RST' || this.#random.chance(0.5)) return true
      await exchange.closed
      const status = await heard
      // What a FIN follows has arrived, unless the server was struck; a session of HTTP/2 takes what waits in it along.
      if (digest === 'none' && version === 'HTTP/1.1' && (status === undefined || status <= 400)) {
        this.#expected = { offsets: [cut], strikes }
      }
    }
    return true
  }

  /** Where the upload is, which must be where it was left; `undefined` if it was not told. */
  async #offset(parcel: Parcel): Promise<number | undefined> {
    const known = parcel.told
    const { path = '', length } = parcel
    const answer = await this.#ask('HEAD', path, I8)
    if (answer?.status !== 204) {
      assert.ok(!answer || answer.status === 423 || answer.status === 503, `HEAD ${path} was answered ${answer?.status}`)
      return undefined
    }
    const { headers } = answer
    const offset = offsetIn(answer) ?? assert.fail(`HEAD ${path} told no offset`)
    parcel.hear(offset, known, 'HEAD')
    if (this.#cut) {
      const { how, told, lost } = this.#cut
      this.cuts[how].rounds++
      this.cuts[how].acknowledgedBytes += Math.max(0, offset - told)
      this.cuts[how].lostBytes += parcel.lost - lost
      this.#cut = undefined
    }
    const { offsets, strikes = this.#stage.strikes } = this.#expected ?? { offsets: [offset] }
    if (strikes === this.#stage.strikes) assert.ok(offsets.includes(offset), `${path} is at ${offset} and not at ${offsets.join(' or ')}`)
    this.#expected = undefined
    assert.equal(headers.get('upload-length') ?? String(length), String(length))
    assert.ok(!parcel.receipt || headers.get('upload-complete') === '?1', `${path} is not complete any more`)
    if (headers.get('upload-complete') === '?1')
      assert.ok(
        parcel.ended && offset === length,
        `${path} is complete at ${offset} of ${length}, and its client has${parcel.ended ? '' : ' not'} said so`,
      )
    else assert.equal(headers.get('upload-complete'), '?0')
    for (const exchange of this.#left) this.#sendLate(parcel, exchange)
    return offset
  }

  /** Goes on with a request that another has taken over from: none of it must get into the upload any more. */
  #sendLate(parcel: Parcel, exchange: Exchange): void {
    if (!this.#left.delete(exchange)) return
    const late = spoil(contentOf(parcel.key, parcel.told, Math.min(parcel.length, parcel.told + LATE_BYTES)))
    if (late.length > 0) void write(exchange, late) // a chunk of no bytes would be the last one
    exchange.cut('fin')
  }

  /** Asks without content; `undefined` if there was no answer. */
  async #ask(method: string, path: string, headers: Readonly<Record<string, string>>): Promise<Answer | undefined> {
    let answer: Answer | undefined
    try {
      const exchange = await begin(this.#stage, { method, path, headers }, 'none')
      answer = await exchange.answer.finally(() => exchange.cut('fin'))
    } catch {} // refused, reset, or ended before the answer
    this.#count(answer?.status ?? 'cut')
    return answer
  }

  /** Hears all that a request is told, and resolves with the status. What is wrong with it, it rejects with. */
  async #listen(parcel: Parcel, exchange: Exchange, request: Request): Promise<number | undefined> {
    const told = this.#hearInterim(parcel, exchange, request)
    let answer: Answer | undefined
    try {
      answer = await exchange.answer
    } catch {} // reset, or ended before the answer
    const last = await told
    this.#count(answer?.status ?? 'cut')
    if (answer) this.#judge(parcel, answer, { ...request, known: Math.max(request.known, last) })
    return answer?.status
  }

  /** Resolves with the highest offset that was told before the answer. */
  async #hearInterim(parcel: Parcel, exchange: Exchange, { creation, known }: Request): Promise<number> {
    let last = known
    for (;;) {
      let head: Head
      try {
        head = await exchange.interim()
      } catch {
        return last // that was all
      }
      const { status, headers } = head
      const location = headers.get('location')
      const offset = offsetIn(head)
      assert.deepEqual([status, headers.get('upload-draft-interop-version')], [104, '8'])
      assert.ok(offset !== undefined || (creation && location !== undefined), `A 104 for ${parcel.path} says nothing`)
      assert.ok(creation || location === undefined, `A 104 to an append of ${parcel.path} tells where that is`)
      if (location !== undefined) parcel.foundAt(location)
      if (offset === undefined) continue
      this.#count('104')
      parcel.hear(offset, last, '104')
      last = offset
    }
  }

  #judge(parcel: Parcel, answer: Answer, { creation, plan, whole, known }: Request): void {
    const { status, headers } = answer
    const { start, end, complete, digest, leave } = plan
    const what = `${creation ? 'The creation of' : 'An append to'} ${parcel.path ?? parcel.key} of ${start} to ${end} (${complete ? '?1' : '?0'}, digest ${digest}, ${leave}) was answered ${status} ${answer.body}`
    const location = headers.get('location')
    const offset = offsetIn(answer)
    if (creation && location !== undefined) parcel.foundAt(location)
    if (offset !== undefined) parcel.hear(offset, known, String(status))
    if (headers.get('upload-complete') === '?1') {
      assert.ok(complete && whole && digest !== 'wrong', what)
      return parcel.receive(answer)
    }
    if (status === 201 || status === 204) {
      assert.equal(status, creation ? 201 : 204, what)
      assert.ok(whole && !complete && digest !== 'wrong' && (!creation || location !== undefined), what)
      assert.deepEqual([offset, headers.get('upload-complete')], [end, '?0'], what)
    } else if (status === 400) {
      assert.ok(whole ? digest === 'wrong' : leave === 'FIN' || leave === 'open', what) // which is closed in the end
      parcel.refused = creation && whole && parcel.path === undefined
    } else if (status === 409) {
      assert.ok(leave === 'open', what) // its client has gone on elsewhere
    } else if (status === 503) {
      assert.ok(offset === undefined || !creation || location !== undefined, what)
    } else {
      assert.equal(status, 423, what)
    }
  }

  #count(status: number | string): void {
    this.statuses.set(String(status), (this.statuses.get(String(status)) ?? 0) + 1)
  }

  /** What a client waits before it tries again. */
  #pause(): Promise<void> {
    return delay(this.#random.integer(0, 30))
  }
}

/** A request under way, as far as its answer depends on it. */
interface Request {
  readonly creation: boolean
  readonly plan: Plan
  /** Whether all of it is sent. */
  readonly whole: boolean
  /** What was told of the upload when it began. */
  readonly known: number
}

/** Writes to whoever may be gone: that shows in the answer. */
async function write(exchange: Exchange, content: Buffer): Promise<void> {
  await exchange.write(content).catch(() => {})
}

/** Finishes an upload as a well-behaved client does when nothing is wrong any more, and asks for its answer twice. */
export async function finishParcel(stage: Stage, parcel: Parcel): Promise<void> {
  const { path = '', length } = parcel
  const offset = await offsetOf(stage, parcel)
  parcel.ended = true
  const digest = { 'Want-Repr-Digest': 'sha-256=10' }
  const first = await exchangeOf(stage, 'PATCH', path, { ...appendHeaders(offset, true), ...digest }, parcel.take(offset, length))
  assert.equal(first.headers.get('upload-complete'), '?1', `PATCH ${path} was answered ${first.status} ${first.body}`)
  assert.equal(first.headers.get('repr-digest'), `sha-256=:${parcel.sha256()}:`)
  parcel.hear(Number(first.headers.get('upload-offset')), offset, 'the last answer')
  parcel.receive(first)
  parcel.receive(await exchangeOf(stage, 'PATCH', path, appendHeaders(length, true), Buffer.alloc(0)))
  assert.equal(await offsetOf(stage, parcel), length)
}

/** The offset that HEAD tells, which must not be less than what was told before. */
export async function offsetOf(stage: Stage, parcel: Parcel): Promise<number> {
  const { path = '', told } = parcel
  const answer = await exchangeOf(stage, 'HEAD', path, I8)
  assert.equal(answer.status, 204, `HEAD ${path}`)
  if (parcel.receipt) assert.equal(answer.headers.get('upload-complete'), '?1', `${path} is not complete any more`)
  const offset = offsetIn(answer) ?? assert.fail(`HEAD ${path} told no offset`)
  parcel.hear(offset, told, 'HEAD')
  return offset
}

async function exchangeOf(
  stage: Stage,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  content?: Buffer,
): Promise<Answer> {
  const exchange = await begin(stage, { method, path, headers }, content?.length ?? 'none')
  if (content && content.length > 0) await exchange.write(content)
  if (content) exchange.end()
  return exchange.answer.finally(() => exchange.cut('fin'))
}

export function appendHeaders(offset: number, complete: boolean): Record<string, string> {
  return { ...I8, ...PU, 'Upload-Offset': String(offset), 'Upload-Complete': complete ? '?1' : '?0' }
}

function offsetIn({ headers }: Head): number | undefined {
  const text = headers.get('upload-offset')
  if (text === undefined) return undefined
  assert.match(text, WHOLE_NUMBER)
  return Number(text)
}
