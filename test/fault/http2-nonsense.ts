// SPDX-License-Identifier: MIT

/** Frames of HTTP/2 that make no sense, or too much of it, by name. @module */

import { END_HEADERS, END_STREAM, fields, frame, headers, TYPE, words } from './http2-frames.ts'
import type { Random } from './random.ts'

const APPEND = { 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 }
const TYPES = Object.values(TYPE)
const ERROR_CODES = 16
const MANY = 2000

/** Makes what one client sends behind the preface, for an upload at a path. */
export type Nonsense = (path: string, random: Random) => Buffer

export const NONSENSE: readonly (readonly [name: string, make: Nonsense])[] = [
  ['GOAWAY and a request', (path, random) => Buffer.concat([
    frame(TYPE.GOAWAY, 0, 0, words(0, random.integer(0, ERROR_CODES))), headers(1, 'PATCH', path, APPEND), frame(TYPE.DATA, random.pick([0, END_STREAM]), 1, bytes(random, 10)),
  ])],
  ['random frames', (_, random) => Buffer.concat(Array.from({ length: 50 }, () => frame(random.pick([...TYPES, random.integer(10, 255)]), random.integer(0, 255), random.integer(0, 9), bytes(random, random.integer(0, 60)))))],
  ['random frames behind a request', (path, random) => Buffer.concat([
    headers(1, random.pick(['GET', 'PATCH', 'HEAD', 'POST']), path, APPEND),
    ...Array.from({ length: 50 }, () => frame(random.pick(TYPES), random.integer(0, 255), random.integer(0, 3), bytes(random, random.integer(0, 20)))),
  ])],
  ['random bytes', (_, random) => bytes(random, random.integer(1, 5000))],
  ['SETTINGS without end', (_, random) => repeat(frame(TYPE.SETTINGS, 0, 0, setting(random.integer(0, 9), random.integer(0, 2 ** 31))), MANY)],
  ['PING without end', (_, random) => repeat(frame(TYPE.PING, 0, 0, bytes(random, 8)), MANY)],
  ['streams that are reset at once', (path, random) => Buffer.concat(Array.from({ length: MANY }, (_, index) => Buffer.concat([
    headers(2 * index + 1, random.pick(['GET', 'PATCH', 'HEAD']), path, APPEND), frame(TYPE.RST_STREAM, 0, 2 * index + 1, words(random.integer(0, ERROR_CODES))),
  ])))],
  ['CONTINUATION without end', (path) => Buffer.concat([
    frame(TYPE.HEADERS, 0, 1, fields({ ':method': 'GET', ':scheme': 'http', ':path': path })), repeat(frame(TYPE.CONTINUATION, 0, 1, fields({ x: 'y'.repeat(100) })), MANY),
  ])],
  ['empty CONTINUATION', (path) => Buffer.concat([
    frame(TYPE.HEADERS, 0, 1, fields({ ':method': 'GET', ':scheme': 'http', ':path': path })), repeat(frame(TYPE.CONTINUATION, 0, 1), MANY),
  ])],
  ['fields that HPACK cannot read', (_, random) => frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 1, bytes(random, random.integer(1, 300)))],
  ['a table of fields that is too large', () => frame(TYPE.HEADERS, END_HEADERS, 1, Buffer.of(0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f))],
  ['one large field, named very often', (path) => Buffer.concat([
    frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([fields({ ':method': 'GET', ':scheme': 'http', ':path': path }), indexed('cookie', 'x'.repeat(120)), Buffer.alloc(8000, 0xbe)])),
  ])],
  ['a window that overflows', (path, random) => Buffer.concat([
    headers(1, 'GET', path, {}, END_STREAM), repeat(frame(TYPE.WINDOW_UPDATE, 0, random.pick([0, 1]), words(2 ** 31 - 1)), 3),
  ])],
  ['more than the window lets through', (path, random) => Buffer.concat([headers(1, 'PATCH', path, APPEND), repeat(frame(TYPE.DATA, 0, 1, bytes(random, 16_000)), 20)])],
  ['DATA of a stream that is not there', (_, random) => frame(TYPE.DATA, 0, random.pick([0, 1, 2, 99]), bytes(random, 10))],
  ['empty DATA without end', (path) => Buffer.concat([headers(1, 'PATCH', path, APPEND), repeat(frame(TYPE.DATA, 0, 1), MANY)])],
  ['padding that is longer than its frame', (path) => Buffer.concat([headers(1, 'PATCH', path, APPEND), frame(TYPE.DATA, 8, 1, Buffer.of(200, 1, 2))])],
  ['PRIORITY of itself', () => frame(TYPE.PRIORITY, 0, 1, Buffer.concat([words(1), Buffer.of(0)]))],
  ['half a frame', (path, random) => headers(1, 'GET', path).subarray(0, random.integer(1, 40))],
]

/** A field that is put into the table, where it is the first. */
function indexed(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x40), fields({ [name]: value }).subarray(1)])
}

function setting(id: number, value: number): Buffer {
  const all = Buffer.alloc(6)
  all.writeUInt16BE(id, 0)
  all.writeUInt32BE(value, 2)
  return all
}

function repeat(bytes: Buffer, times: number): Buffer {
  return Buffer.alloc(bytes.length * times, bytes)
}

function bytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.integer(0, 255)))
}
