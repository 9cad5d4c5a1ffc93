// SPDX-License-Identifier: MIT

/**
 * The requests of `support.ts` with an eye on every answer, interim ones included: whatever tells limits
 * tells them as the draft says (checklist R20), and an offset is a number of bytes.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { parseDictionary } from '../../lib/rufh/structured-fields.ts'
import { addressOf } from '../support/address-of.ts'
import * as bare from './support.ts'
import { I8, type Answer, type Call, type Exchange, type Head, type Site } from './support.ts'

const KNOWN_LIMITS = ['max-size', 'min-size', 'max-append-size', 'min-append-size', 'max-age', 'expires']
const MAX_INTEGER = 999_999_999_999_999
const INCONSISTENT_LENGTH = 'https://iana.org/assignments/http-problem-types#inconsistent-upload-length'

/** The limits that an answer tells; `undefined` if it tells none. Fails if the field is not what it must be. */
export function limitsOf({ headers }: Head): ReadonlyMap<string, number> | undefined {
  const field = headers.get('upload-limit')
  if (field === undefined) return undefined
  const members = parseDictionary(field) ?? assert.fail(`not a dictionary: ${field}`)
  assert.ok(members.size > 0, 'a field without limits is not sent')
  const limits = new Map<string, number>()
  for (const [key, member] of members) {
    assert.ok(KNOWN_LIMITS.includes(key), field)
    if (member.type !== 'integer') assert.fail(`not an integer: ${field}`)
    assert.ok(member.value >= 0 && member.value <= MAX_INTEGER, field)
    limits.set(key, member.value)
  }
  for (const what of ['size', 'append-size']) {
    assert.ok((limits.get(`min-${what}`) ?? 0) <= (limits.get(`max-${what}`) ?? Infinity), field)
  }
  return limits
}

/** As {@link limitsOf}, for an answer that must tell them. */
export function toldLimits(answer: Head): ReadonlyMap<string, number> {
  return limitsOf(answer) ?? assert.fail(`${answer.status} tells no limits`)
}

/** What is wrong with a length, in the words of the draft. */
export function assertInconsistentLength(answer: Answer): void {
  assert.equal(answer.status, 400)
  assert.equal(answer.headers.get('content-type'), 'application/problem+json')
  assert.equal((JSON.parse(answer.body) as { readonly type: unknown }).type, INCONSISTENT_LENGTH)
  assert.equal(answer.headers.get('upload-complete'), '?0')
}

export const ask = checked(bare.ask)
export const head = checked(bare.head)
export const append = checked(bare.append)

/** As `begin` of `support.ts`. */
export async function begin(site: Site, call: Call, length: number | 'unknown' | 'none'): Promise<Exchange> {
  const exchange = await bare.begin(site, call, length)
  const answer = exchange.answer.then(check)
  answer.catch(() => {}) // a test may be about the cut alone
  return { ...exchange, answer }
}

/** Creates an upload that is to go on; returns its path. */
export async function make(site: Site, headers: Call['headers'] = {}, content = ''): Promise<string> {
  return addressOf(await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?0', ...headers }, content))
}

/** Asks where an upload stands, and compares. `length`: `undefined` if it is not known. */
export async function assertState(site: Site, path: string, offset: number, completeness: '?0' | '?1', length?: number): Promise<void> {
  const { status, headers } = await head(site, path)
  const state = [status, headers.get('upload-offset'), headers.get('upload-complete'), headers.get('upload-length')]
  assert.deepEqual(state, [204, String(offset), completeness, length === undefined ? undefined : String(length)])
}

/** The interim responses of an exchange that has ended, and perhaps was never answered. */
export async function interimOf(exchange: Exchange): Promise<Head[]> {
  await exchange.answer.catch(() => {})
  const heads: Head[] = []
  for (;;) {
    const next = await exchange.interim().catch(() => undefined)
    if (!next) return heads
    heads.push(next)
  }
}

function checked<Args extends readonly unknown[]>(request: (...args: Args) => Promise<Answer>): (...args: Args) => Promise<Answer> {
  return async (...args) => check(await request(...args))
}

function check(answer: Answer): Answer {
  for (const each of [...answer.interim, answer]) {
    limitsOf(each)
    assert.match(each.headers.get('upload-offset') ?? '0', /^(?:0|[1-9]\d{0,14})$/)
  }
  return answer
}
