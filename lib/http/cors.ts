// SPDX-License-Identifier: MIT

/**
 * Which pages of other origins may use the uploads (Fetch standard, section "HTTP CORS protocol").
 *
 * @module
 */

import { validateHeaderName } from 'node:http'
import { callHook } from '../upload/hooks.ts'
import type { Headers } from './exchange.ts'
import { wholeNumber } from './option-checks.ts'

/** Which origins, and what they may send and read. */
export interface CorsOptions {
  /**
   * Exact origins such as `https://example.com` or `capacitor://localhost`, `*` for any, or a
   * function that decides. A list cannot hold `null`, which is the origin of every sandboxed page
   * and of most local files, nor `file://`, which some apps have.
   */
  readonly origins: '*' | readonly string[] | ((origin: string) => boolean | Promise<boolean>)
  /**
   * Whether browsers may send cookies and read the answer. Not together with `*`. Default: false.
   */
  readonly credentials?: boolean | undefined
  /**
   * Request headers that are allowed besides those of the protocols, `Authorization`,
   * `Content-Type`, `X-Request-ID` and `X-Requested-With`. Default: none.
   */
  readonly allowHeaders?: readonly string[] | undefined
  /**
   * Response headers that pages may read besides those of the protocols and of downloads, such as
   * those that hooks add. Default: none.
   */
  readonly exposeHeaders?: readonly string[] | undefined
  /** How long browsers may remember the answer to a preflight, in seconds. Default: 7200. */
  readonly maxAgeSeconds?: number | undefined
}

/** What pages may send in every protocol. */
const REQUEST_FIELDS = ['Authorization', 'Content-Type', 'X-Request-ID', 'X-Requested-With']
/** What they may read in every protocol. */
const RESPONSE_FIELDS = ['Location', 'Retry-After']
/** An `ASCII-origin` with a scheme and a host (RFC 6454 section 6.2). */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9.:[\]-]+$/

/**
 * Returns the options as they are.
 *
 * @throws {TypeError} for `*` with credentials, which browsers refuse, for a list that is not an
 * array, and for an invalid origin or header name; {@link RangeError} if `maxAgeSeconds` is out of
 * bounds.
 */
export function checkCors(options: CorsOptions): CorsOptions {
  const { origins, credentials = false, allowHeaders = [], exposeHeaders = [], maxAgeSeconds = 7200 } = options
  checkHeaderNames('cors.allowHeaders', allowHeaders)
  checkHeaderNames('cors.exposeHeaders', exposeHeaders)
  wholeNumber('cors.maxAgeSeconds', maxAgeSeconds)
  if (origins === '*' && credentials) {
    throw new TypeError('Cannot allow credentials as cors.origins must name each origin: received *')
  }
  if (origins !== '*' && typeof origins !== 'function') checkOrigins(origins)
  return options
}

function checkHeaderNames(option: string, names: readonly string[]): void {
  if (!Array.isArray(names)) {
    throw new TypeError(`Cannot allow cross-origin requests as ${option} must be an array: received ${typeof names}`)
  }
  for (const name of names) {
    try {
      validateHeaderName(name)
    } catch (cause) {
      const what = 'it must be a name such as X-Tenant'
      throw new TypeError(`Cannot allow a header as ${what}: received ${JSON.stringify(name)}`, { cause })
    }
  }
}

function checkOrigins(origins: readonly string[]): void {
  if (!Array.isArray(origins)) {
    const what = 'cors.origins must be "*", an array or a function'
    throw new TypeError(`Cannot allow cross-origin requests as ${what}: received ${typeof origins}`)
  }
  for (const origin of origins as readonly string[]) {
    if (ORIGIN.test(origin)) continue
    const shared = origin === 'null' || origin === 'file://' ? '. Any local file has it: use a function' : ''
    const received = JSON.stringify(origin) + shared
    throw new TypeError(`Cannot allow an origin as it must look like https://example.com: received ${received}`)
  }
}

/** A request of a page. */
export interface PageRequest {
  /** Its `Origin`. */
  readonly origin: string | undefined
  /** The response headers that the page may read besides the usual ones. */
  readonly fields: readonly string[]
}

/**
 * The headers of every answer to a request.
 *
 * Pages that may read a download may also embed it. An `<img>` sends no `Origin` unless it has the
 * attribute `crossorigin`, so without that it needs `*`.
 */
export async function corsHeaders(options: CorsOptions, { origin, fields }: PageRequest): Promise<Headers> {
  const { origins, credentials = false, exposeHeaders = [] } = options
  const embeddable = { 'Cross-Origin-Resource-Policy': 'cross-origin' }
  const always: Record<string, string> = origins === '*' ? embeddable : { Vary: 'Origin' }
  if (origin === undefined || !(await isAllowed(origins, origin))) return always
  return {
    ...always,
    ...embeddable,
    'Access-Control-Allow-Origin': origins === '*' ? '*' : origin,
    'Access-Control-Expose-Headers': [...RESPONSE_FIELDS, ...fields, ...exposeHeaders].join(', '),
    ...(credentials ? { 'Access-Control-Allow-Credentials': 'true' } : {}),
  }
}

/** What pages may ask for. */
export interface Permissions {
  readonly methods: readonly string[]
  /** The request headers that a page may send besides the usual ones. */
  readonly fields: readonly string[]
}

/** The headers that answer a preflight, besides those of every answer. */
export function preflightHeaders(options: CorsOptions, { methods, fields }: Permissions): Headers {
  const { allowHeaders = [], maxAgeSeconds = 7200 } = options
  return {
    'Access-Control-Allow-Methods': methods.join(', '),
    'Access-Control-Allow-Headers': [...REQUEST_FIELDS, ...fields, ...allowHeaders].join(', '),
    'Access-Control-Max-Age': String(maxAgeSeconds),
  }
}

function isAllowed(origins: CorsOptions['origins'], origin: string): boolean | Promise<boolean> {
  if (origins === '*') return true
  return typeof origins === 'function' ? callHook(() => origins(origin)) : origins.includes(origin)
}
