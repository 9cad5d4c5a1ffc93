// SPDX-License-Identifier: MIT

/**
 * Requests that nearly are those of a client: one or a few of their headers say something else.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import type { Random } from './random.ts'
import { ALL_TEXTS, textsFor } from './parser-table.ts'

/** What a request is made from. */
export interface Draft {
  readonly method: string
  readonly target: string
  readonly headers: Map<string, string>
  readonly body: Buffer
}

/** The headers that say what a request is, with the values that a client would send. */
export function wellFormed(random: Random, path: string, offset: number, body: Buffer): Draft {
  return random.chance(0.5) ? wellFormedTus(random, path, offset, body) : wellFormedDraft(random, path, offset, body)
}

/** The same in Resumable Uploads for HTTP. */
function wellFormedDraft(random: Random, path: string, offset: number, body: Buffer): Draft {
  const headers = new Map([['Host', 'test'], ['Upload-Draft-Interop-Version', '8']])
  const method = random.pick(['POST', 'PUT', 'PATCH', 'PATCH', 'PATCH', 'HEAD', 'GET', 'DELETE'])
  if (method === 'PATCH') {
    headers
      .set('Content-Type', 'application/partial-upload')
      .set('Upload-Offset', String(offset))
      .set('Upload-Complete', '?0')
      .set('Content-Length', String(body.length))
    if (random.chance(0.3)) headers.set('Content-Digest', `sha-256=:${createHash('sha256').update(body).digest('base64')}:`)
  }
  if (method === 'POST' || method === 'PUT') {
    headers
      .set('Upload-Complete', random.pick(['?0', '?1']))
      .set('Content-Disposition', 'inline; filename="a.png"')
      .set('Want-Repr-Digest', 'sha-256=1')
      .set('Content-Length', '0')
  }
  return {
    method,
    target: method === 'POST' || method === 'PUT' ? '/files/' : path,
    headers,
    body: method === 'PATCH' ? body : Buffer.alloc(0),
  }
}

function wellFormedTus(random: Random, path: string, offset: number, body: Buffer): Draft {
  const headers = new Map([['Host', 'test'], ['Tus-Resumable', '1.0.0']])
  const method = random.pick(['POST', 'PATCH', 'PATCH', 'PATCH', 'HEAD', 'GET', 'DELETE', 'OPTIONS'])
  if (method === 'PATCH') {
    headers
      .set('Content-Type', 'application/offset+octet-stream')
      .set('Upload-Offset', String(offset))
      .set('Content-Length', String(body.length))
    if (random.chance(0.3)) headers.set('Upload-Checksum', `sha1 ${createHash('sha1').update(body).digest('base64')}`)
  }
  if (method === 'POST') {
    headers.set('Upload-Length', '10').set('Upload-Metadata', 'filename d29ybGQ=,filetype aW1hZ2UvcG5n').set('Content-Length', '0')
  }
  if (method === 'GET') headers.set('Range', 'bytes=0-4')
  return {
    method,
    target: method === 'POST' || method === 'OPTIONS' ? '/files/' : path,
    headers,
    body: method === 'PATCH' ? body : Buffer.alloc(0),
  }
}

/** The headers that the handler looks at, and a few that nobody should. `Content-Length` and `Transfer-Encoding` are Node's to judge. */
export const SPOILT_HEADERS: readonly string[] = [
  'Host', 'Tus-Resumable', 'Content-Type', 'Upload-Offset', 'Upload-Length', 'Upload-Defer-Length', 'Upload-Metadata', 'Upload-Concat',
  'Upload-Checksum', 'X-HTTP-Method-Override',
  'Upload-Draft-Interop-Version', 'Upload-Complete', 'Upload-Incomplete', 'Content-Digest', 'Repr-Digest', 'Want-Repr-Digest',
  'Content-Disposition', 'Content-Encoding',
  'Trailer', 'Expect', 'Origin', 'Access-Control-Request-Method', 'Forwarded', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'Range', 'If-Match',
  'If-None-Match', 'If-Modified-Since',
  'If-Unmodified-Since', 'If-Range', 'Authorization', 'Cookie', 'Connection', 'Upgrade', '__proto__', 'constructor',
]

/** Headers that Node must understand before anybody else is asked. */
export const FRAMING_HEADERS: readonly string[] = ['Content-Length', 'Transfer-Encoding']

/** The headers that the sources read, in lower case. */
export function headersOfSources(root: string): string[] {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  const reads = [
    /\bheader\(\w+, '([^']+)'/g,
    /\brefuseHeader\(\w+, '([^']+)'/g,
    /\b(?:headers|trailers)\['([^']+)'\](?! = )/g,
    /req\.headers\.(\w+)/g,
    /^ {4}'(if-[a-z-]+)':/gm,
  ]
  const names = files.flatMap((file) =>
    reads.flatMap((read) => Array.from(readFileSync(join(root, 'lib', file), 'utf8').matchAll(read), ([, name]) => name!.toLowerCase())),
  )
  return [...new Set(names)].sort()
}

/**
 * Values for headers: of every corpus, spoiled, as they are, or blown up to what Node lets through; as bytes of Latin-1 without a line end.
 */
export function headerValues(): fc.Arbitrary<string> {
  const text = textsFor({ accepted: ALL_TEXTS, refused: ALL_TEXTS })
  const long = fc.tuple(text, fc.integer({ min: 1000, max: 14_000 })).map(([piece, size]) => (piece || ' ').repeat(size).slice(0, size))
  return fc.oneof({ weight: 9, arbitrary: text }, { weight: 1, arbitrary: long }).map((value) =>
    Buffer.from(value)
      .toString('latin1')
      .replace(/[\r\n]/g, '')
      .slice(0, 14_000),
  )
}

/** The request on the wire. */
export function toBytes({ method, target, headers, body }: Draft): Buffer {
  const lines = Array.from(headers, ([name, value]) => `${name}: ${value}`)
  return Buffer.concat([Buffer.from([`${method} ${target} HTTP/1.1`, ...lines, '', ''].join('\r\n'), 'latin1'), body])
}
