// SPDX-License-Identifier: MIT

/**
 * Serves the page at `/`: files as they lie in `lib/page`, with what the page must know written into
 * its HTML, and headers that let it run its own scripts, reach the uploads and do nothing else.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { evaluatePreconditions } from '../download/preconditions.ts'
import { respondEarly, type EarlyResponse } from '../early-response.ts'

/** What the page must know. */
export interface PageOptions {
  /** The path of the creation URL as it arrives, with a slash at both ends. */
  readonly path: string
  /** The same as browsers see it, where a proxy changes it. */
  readonly publicUrl: string | undefined
  /** In bytes. */
  readonly maxSize: number
  /** Whether finished uploads can be downloaded. */
  readonly download: boolean
}

/** Answers a request for one of the page's files; `undefined` if it is for something else. */
export type Page = (req: IncomingMessage, res: ServerResponse) => Promise<void> | undefined

interface PageFile {
  readonly body: string
  readonly mediaType: string
  /** As the `ETag` header has it, in its quotes. */
  readonly etag: string
}

/** The same place from `lib/cli` and, compiled, from `dist/cli`. */
const FOLDER = new URL('../../lib/page/', import.meta.url)

const FILES: ReadonlyMap<string, readonly [name: string, mediaType: string]> = new Map<string, readonly [string, string]>([
  ['/', ['index.html', 'text/html; charset=utf-8']],
  ['/page.css', ['page.css', 'text/css; charset=utf-8']],
  ...['page', 'upload', 'request', 'trouble', 'words', 'memory'].map((name) => [`/${name}.js`, [`${name}.js`, 'text/javascript; charset=utf-8']] as const),
])

const REFUSAL: EarlyResponse = {
  status: 405,
  headers: { Allow: 'GET, HEAD', 'Content-Type': 'text/plain; charset=utf-8' },
  body: 'This method is not allowed here\n',
}

/** `absolute-form` or `origin-form` of a request target (RFC 9112 section 3.2), down to its path. */
const PATH = /^(?:https?:\/\/[^/?#]*)?([^?#]*)/i

/**
 * Reads the page's files, once.
 *
 * @throws what the file system says, if one of them cannot be read.
 */
export function readPage(options: PageOptions): Page {
  const common = headersOf(options)
  const files = new Map(Array.from(FILES, ([path, [name, mediaType]]) => {
    const text = readFileSync(new URL(name, FOLDER), 'utf8')
    const body = name === 'index.html' ? fill(text, options) : text
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
    return [path, { body, mediaType, etag }] as const
  }))
  return (req, res) => {
    const [, path = ''] = PATH.exec(req.url ?? '') ?? []
    const file = files.get(path || '/') // `http://host` is `http://host/` (RFC 9110 section 4.2.3)
    if (!file) return undefined
    const reads = req.method === 'GET' || req.method === 'HEAD'
    if (!reads && (path === options.path || `${path}/` === options.path)) return undefined // uploads are created there
    const { status, headers, body } = reads ? contentOf(file, req) : REFUSAL
    return respondEarly(req, res, { status, headers: { ...common, ...headers }, body })
  }
}

function contentOf({ body, mediaType, etag }: PageFile, { headers: { 'if-none-match': ifNoneMatch } }: IncomingMessage): EarlyResponse {
  const verdict = evaluatePreconditions({ 'if-none-match': ifNoneMatch }, { etag, modifiedSeconds: 0 })
  if (verdict === 'not-modified') return { status: 304, headers: { ETag: etag } }
  return { status: 200, headers: { ETag: etag, 'Content-Type': mediaType }, body }
}

/** Its scripts and style are files of this origin; everything else is switched off, sinks that make HTML of text included. */
function headersOf({ publicUrl }: PageOptions): Readonly<Record<string, string>> {
  const elsewhere = publicUrl !== undefined && URL.canParse(publicUrl) ? ` ${new URL(publicUrl).origin}` : ''
  return {
    'Content-Security-Policy': [
      "default-src 'none'", "script-src 'self'", "style-src 'self'", 'img-src data:', `connect-src 'self'${elsewhere}`,
      "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    ].join('; '),
    'Cache-Control': 'no-cache',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
  }
}

/** Puts values in the places of `%name%`. */
function fill(html: string, { path, publicUrl, maxSize, download }: PageOptions): string {
  const values = new Map<string, unknown>([['endpoint', publicUrl ?? path], ['maxSize', maxSize], ['download', download]])
  return html.replace(/%([A-Za-z]+)%/g, (place, name: string) => (values.has(name) ? escapeHtml(String(values.get(name))) : place))
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
