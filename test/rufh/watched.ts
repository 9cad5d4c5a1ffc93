// SPDX-License-Identifier: MIT

/** What the tests of appends have in common: a store that tells what it was given, and requests that stay open. @module */

import assert from 'node:assert/strict'
import { begin, I8, PU, type Answer, type Exchange, type Site } from './support.ts'

/** Begins an append; the first of its content is sent, and the rest is up to the test. */
export async function beginAppend(
  site: Site, path: string, offset: number, complete: boolean, length: number | 'unknown', content: string | Uint8Array = '',
): Promise<Exchange> {
  const headers = { ...I8, ...PU, 'Upload-Offset': String(offset), 'Upload-Complete': complete ? '?1' : '?0' }
  const exchange = await begin(site, { method: 'PATCH', path, headers }, length)
  if (content.length > 0) await exchange.write(content)
  return exchange
}

/** Appends content of which some may still be on its way when the answer comes. */
export async function appendLarge(
  site: Site,
  path: string,
  offset: number,
  complete: boolean,
  content: string | Uint8Array,
): Promise<Answer> {
  const exchange = await beginAppend(site, path, offset, complete, content.length)
  void exchange.write(content)
  exchange.end()
  try {
    return await exchange.answer
  } finally {
    exchange.cut('fin')
  }
}

/** The problem that an answer describes. */
export function problemOf(answer: Answer): Readonly<Record<string, unknown>> {
  assert.equal(answer.headers.get('content-type'), 'application/problem+json')
  return JSON.parse(answer.body) as Record<string, unknown>
}

/** A refusal that is of no registered type is one line of text. */
export function assertPlain(answer: Answer): void {
  assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8')
  assert.match(answer.body, /^[A-Z][^\r\n]*\n$/)
}
