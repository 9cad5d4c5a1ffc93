// SPDX-License-Identifier: MIT

/** Frames of HTTP/2 that are malformed, or that nobody sends so often, by name. @module */

import { END_HEADERS, END_STREAM, fields, frame, headers, target, TYPE, words } from './http2-frames.ts'
import type { Random } from './random.ts'

const APPEND = { 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 }
const TYPES = Object.values(TYPE)
const METHODS = ['GET', 'PATCH', 'HEAD', 'POST'] as const
/** Codes of errors: all there are, and some that do not exist. */
const ERROR_CODES = 16
const MANY = 2000
const SOME = 50
const MAX_WINDOW = 2 ** 31 - 1
const PADDED = 8

/** Makes what one client sends behind the preface, for an upload at a path. */
export type Nonsense = (path: string, random: Random) => Buffer

export const NONSENSE: readonly (readonly [name: string, make: Nonsense])[] = [
  ['GOAWAY and a request', (path, random) => Buffer.concat([
    frame(TYPE.GOAWAY, 0, 0, words(0, random.integer(0, ERROR_CODES))),
    headers(1, 'PATCH', path, APPEND),
    frame(TYPE.DATA, random.pick([0, END_STREAM]), 1, noise(random, 10)),
  ])],
  ['random frames', (_, random) => times(SOME, () => {
    const type = random.pick([...TYPES, random.integer(10, 255)])
    return frame(type, random.integer(0, 255), random.integer(0, 9), noise(random, 60))
  })],
  ['random frames behind a request', (path, random) => Buffer.concat([
    headers(1, random.pick(METHODS), path, APPEND),
    times(SOME, () => frame(random.pick(TYPES), random.integer(0, 255), random.integer(0, 3), noise(random, 20))),
  ])],
  ['random bytes', (_, random) => noise(random, 5000)],
  ['SETTINGS without end', (_, random) => {
    const [id, value] = [random.integer(0, 9), random.integer(0, 2 ** 31)]
    return times(MANY, () => frame(TYPE.SETTINGS, 0, 0, Buffer.concat([words(id).subarray(2), words(value)])))
  }],
  ['PING without end', () => times(MANY, () => frame(TYPE.PING, 0, 0, words(1, 2)))],
  ['CONTINUATION without end', (path) => Buffer.concat([
    frame(TYPE.HEADERS, 0, 1, fields(target('GET', path))),
    times(MANY, () => frame(TYPE.CONTINUATION, 0, 1, fields({ x: 'y'.repeat(100) }))),
  ])],
  ['empty CONTINUATION', (path) => Buffer.concat([
    frame(TYPE.HEADERS, 0, 1, fields(target('GET', path))),
    times(MANY, () => frame(TYPE.CONTINUATION, 0, 1)),
  ])],
  ['fields that are not HPACK', (_, random) => frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 1, noise(random, 300))],
  ['a table of fields that is too large', () => (
    frame(TYPE.HEADERS, END_HEADERS, 1, Buffer.of(0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f))
  )],
  ['a large field that is repeated from the table', (path) => {
    const stored = Buffer.concat([Buffer.of(0x40), fields({ cookie: 'x'.repeat(120) }).subarray(1)])
    const repeated = Buffer.alloc(8000, 0xbe) // the newest entry
    const all = Buffer.concat([fields(target('GET', path)), stored, repeated])
    return frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 1, all)
  }],
  ['a window that overflows', (path, random) => Buffer.concat([
    headers(1, 'GET', path, {}, END_STREAM),
    times(3, () => frame(TYPE.WINDOW_UPDATE, 0, random.pick([0, 1]), words(MAX_WINDOW))),
  ])],
  ['more than the window allows', (path) => Buffer.concat([
    headers(1, 'PATCH', path, APPEND),
    times(20, () => frame(TYPE.DATA, 0, 1, Buffer.alloc(16_000))),
  ])],
  ['DATA of an unknown stream', (_, random) => frame(TYPE.DATA, 0, random.pick([0, 1, 2, 99]), noise(random, 10))],
  ['empty DATA without end', (path) => Buffer.concat([
    headers(1, 'PATCH', path, APPEND),
    times(MANY, () => frame(TYPE.DATA, 0, 1)),
  ])],
  ['padding that is longer than its frame', (path) => Buffer.concat([
    headers(1, 'PATCH', path, APPEND),
    frame(TYPE.DATA, PADDED, 1, Buffer.of(200, 1, 2)),
  ])],
  ['a stream that depends on itself', () => frame(TYPE.PRIORITY, 0, 1, Buffer.concat([words(1), Buffer.of(0)]))],
  ['half a frame', (path, random) => headers(1, 'GET', path).subarray(0, random.integer(1, 40))],
]

/** So many streams, each of which is reset right behind its head. */
export function resetStreams(path: string, random: Random, count: number): Buffer {
  return times(count, (index) => Buffer.concat([
    headers(2 * index + 1, random.pick(METHODS), path, APPEND),
    frame(TYPE.RST_STREAM, 0, 2 * index + 1, words(random.integer(0, ERROR_CODES))),
  ]))
}

function times(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)))
}

/** So many random bytes at most. */
function noise(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random.integer(0, most) }, () => random.integer(0, 255)))
}
