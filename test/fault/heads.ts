// SPDX-License-Identifier: MIT

/** Request lines and heads as nobody should send them, by name. @module */

import type { Random } from './random.ts'

/** Node reads no more of a head. */
const MAX_HEAD_BYTES = 16 * 1024
const VERSIONS = [
  'HTTP/2.0', 'HTTP/0.9', 'HTTP/3.0', 'HTTP/1.0', 'HTTP/1.1', 'HTTP/9.9', 'HTTP/', 'http/1.1', 'RTSP/1.0', '',
]
const COMMON_METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'] as const
const METHODS = [
  ...COMMON_METHODS, 'PUT', 'TRACE', 'CONNECT', 'PRI', 'QUERY', 'M-SEARCH', 'SOURCE', 'PROPFIND', 'get', 'G\u0000T', '',
]
const LINE_ENDS = ['\n', '\r', '\r\n\t', '\n\r']

/** Makes a head, for an upload at a path. */
export type MakeHead = (path: string, random: Random) => string

export const HEADS: readonly (readonly [name: string, make: MakeHead])[] = [
  ['a version', (path, random) => head(random.pick(COMMON_METHODS), path, { version: random.pick(VERSIONS) })],
  ['a method', (path, random) => head(random.pick(METHODS), path)],
  ['CONNECT', (path, random) => head('CONNECT', random.pick(['example.com:443', path, '*', '127.0.0.1:1']))],
  ['an upgrade', (path, random) => head(random.pick(COMMON_METHODS), path, { headers: [
    `Connection: ${random.pick(['Upgrade', 'Upgrade, HTTP2-Settings', 'close, Upgrade'])}`,
    `Upgrade: ${random.pick(['websocket', 'h2c', 'TLS/1.0', 'x'.repeat(500)])}`,
    'HTTP2-Settings: AAMAAABkAAQAAP__',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ] })],
  ['a target', (path, random) => head(random.pick(COMMON_METHODS), random.pick([
    `http://example.com${path}`, `https://user:secret@example.com:99999${path}`, 'http://', 'http://[::1', '*', '//',
    '/..%2f..%2fetc/passwd', `${path}/../..`, `${path}%00`, `${path}?${'q'.repeat(500)}`, `${path}#fragment`,
    '/%', '/%ff%fe', '\u00e9',
  ]))],
  ['a long target', (path, random) => head('GET', `${path}${'x'.repeat(random.integer(1000, 2 * MAX_HEAD_BYTES))}`)],
  ['many headers', (path, random) => head('HEAD', path, {
    headers: Array.from({ length: random.integer(100, 3000) }, (_, index) => `x${index}: y`),
  })],
  ['long headers', (path, random) => head('HEAD', path, {
    headers: [`x: ${'y'.repeat(MAX_HEAD_BYTES + random.integer(-300, 300))}`],
  })],
  ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['a handshake of TLS', (_, random) => `\u0016\u0003\u0001${'\u0000'.repeat(random.integer(10, 500))}\r\n\r\n`],
  ['noise', (_, random) => {
    const codes = Array.from({ length: random.integer(1, 2000) }, () => random.integer(0, 255))
    return `${String.fromCharCode(...codes)}\r\n\r\n`
  }],
  ['empty lines in front', (path, random) => `${'\r\n'.repeat(random.integer(1, 2000))}${head('HEAD', path)}`],
  ['a host', (path, random) => {
    const hosts = ['', 'Host: \r\n', 'Host: a\r\nHost: b\r\n', 'Host: a b\r\n', `Host: ${'x'.repeat(5000)}\r\n`]
    return `GET ${path} HTTP/1.1\r\n${random.pick(hosts)}\r\n`
  }],
  ['ends of lines', (path, random) => head('HEAD', path).replaceAll('\r\n', random.pick(LINE_ENDS))],
  ['an expectation', (path, random) => head('PATCH', path, {
    headers: [`Expect: ${random.pick(['100-continue', '200-ok', ''])}`, 'Content-Length: 0'],
  })],
]

/** A head, by default one that is right. */
export function head(method: string, target: string, others: HeadOptions = {}): string {
  const { version = 'HTTP/1.1', headers = [] } = others
  return [`${method} ${target} ${version}`, 'Host: test', 'Tus-Resumable: 1.0.0', ...headers, '', ''].join('\r\n')
}

/** What {@link head} holds besides. */
export interface HeadOptions {
  readonly version?: string
  readonly headers?: readonly string[]
}
