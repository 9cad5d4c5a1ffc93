// SPDX-License-Identifier: MIT

/**
 * Serves the page at `/`: the files of `lib/page`, with the settings written into its HTML. Its
 * headers let it run its own scripts and reach the uploads, and nothing else.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { extname } from 'node:path'
import { evaluatePreconditions } from '../download/preconditions.ts'
import { respondEarly, type EarlyResponse } from '../early-response.ts'

/** The settings that the page needs. */
export interface PageOptions {
  /** The path of the creation URL as the server sees it, with a slash at both ends. */
  readonly path: string
  /** The creation URL as browsers see it, if a proxy changes it. */
  readonly publicUrl: string | undefined
  /** In bytes. */
  readonly maxSize: number
  /** Whether finished uploads can be downloaded. */
  readonly download: boolean
}

/** Answers a request for one of the page's files; returns `undefined` for any other request. */
export type Page = (req: IncomingMessage, res: ServerResponse) => Promise<void> | undefined

interface PageFile {
  readonly body: string
  readonly mediaType: string
  /** Its `ETag`, with the quotes. */
  readonly etag: string
}

/** Reached from `lib/cli` and, compiled, from `dist/cli`. */
const FOLDER = new URL('../../lib/page/', import.meta.url)

const NAMES = [
  'index.html', 'page.css', 'page.js', 'upload.js', 'request.js', 'trouble.js', 'words.js', 'memory.js',
] as const
const MEDIA_TYPES: Readonly<Record<string, string>> = { html: 'text/html', css: 'text/css', js: 'text/javascript' }

const REFUSAL: EarlyResponse = {
  status: 405,
  headers: { Allow: 'GET, HEAD', 'Content-Type': 'text/plain; charset=utf-8' },
  body: 'This method is not allowed here\n',
}

/**
 * `absolute-form` or `origin-form` of a request target (RFC 9112 section 3.2), down to its path.
 */
const PATH = /^(?:https?:\/\/[^/?#]*)?([^?#]*)/i

/**
 * Reads the page's files once.
 *
 * @throws the error of the file system if one of them cannot be read.
 */
export function readPage(options: PageOptions): Page {
  const common = headersOf(options)
  const files = new Map(NAMES.map((name) => [name === 'index.html' ? '/' : `/${name}`, readPageFile(name, options)]))
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

function readPageFile(name: (typeof NAMES)[number], options: PageOptions): PageFile {
  const text = readFileSync(new URL(name, FOLDER), 'utf8')
  const body = name === 'index.html' ? fill(text, options) : text
  const mediaType = `${MEDIA_TYPES[extname(name).slice(1)]}; charset=utf-8`
  return { body, mediaType, etag: `"${createHash('sha256').update(body).digest('base64url')}"` }
}

function contentOf({ body, mediaType, etag }: PageFile, { headers }: IncomingMessage): EarlyResponse {
  const verdict = evaluatePreconditions({ 'if-none-match': headers['if-none-match'] }, { etag, modifiedSeconds: 0 })
  if (verdict === 'not-modified') return { status: 304, headers: { ETag: etag } }
  return { status: 200, headers: { ETag: etag, 'Content-Type': mediaType }, body }
}

/**
 * The page's scripts and styles are files of this origin. Everything else is forbidden, including
 * the functions that turn text into HTML.
 */
function headersOf({ publicUrl }: PageOptions): Readonly<Record<string, string>> {
  const elsewhere = publicUrl !== undefined && URL.canParse(publicUrl) ? ` ${new URL(publicUrl).origin}` : ''
  return {
    'Content-Security-Policy': [
      "default-src 'none'", "script-src 'self'", "style-src 'self'", 'img-src data:',
      `connect-src 'self'${elsewhere}`, "base-uri 'none'", "form-action 'none'",
      "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    ].join('; '),
    'Cache-Control': 'no-cache',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
  }
}

/** Replaces each `%name%` by its value. */
function fill(html: string, { path, publicUrl, maxSize, download }: PageOptions): string {
  const values = new Map<string, unknown>(Object.entries({ endpoint: publicUrl ?? path, maxSize, download }))
  return html.replace(/%([A-Za-z]+)%/g, (place, name: string) => {
    return values.has(name) ? escapeHtml(String(values.get(name))) : place
  })
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
