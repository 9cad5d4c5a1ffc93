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

/** The headers that pages of other origins are answered with, as far as they are known before. */
export interface Cors extends Pick<CorsOptions, 'origins'> {
  /** Sent with every answer. */
  readonly always: Headers
  /** Sent with every answer to a page that is allowed, besides its origin. */
  readonly allowed: Headers
  /** What pages may ask for: sent with the answer to a preflight. */
  readonly preflight: Headers
}

/** What the protocols speak. */
export interface Spoken {
  /** The request headers that pages may send besides the usual ones. */
  readonly requestFields: readonly string[]
  /** The response headers that they may read besides the usual ones. */
  readonly responseFields: readonly string[]
}

/**
 * Prepares the headers.
 *
 * Pages that may read a download may also embed it. An `<img>` sends no `Origin` unless it has the
 * attribute `crossorigin`, so without that it needs `*`.
 */
export function toCors(options: CorsOptions, { requestFields, responseFields }: Spoken): Cors {
  const { origins, credentials = false, allowHeaders = [], exposeHeaders = [], maxAgeSeconds = 7200 } = options
  const embeddable = { 'Cross-Origin-Resource-Policy': 'cross-origin' }
  const always: Headers = origins === '*' ? embeddable : { Vary: 'Origin' }
  return {
    origins,
    always,
    allowed: {
      ...always,
      ...embeddable,
      'Access-Control-Expose-Headers': [...RESPONSE_FIELDS, ...responseFields, ...exposeHeaders].join(', '),
      ...(credentials ? { 'Access-Control-Allow-Credentials': 'true' } : {}),
    },
    preflight: {
      'Access-Control-Allow-Headers': [...REQUEST_FIELDS, ...requestFields, ...allowHeaders].join(', '),
      'Access-Control-Max-Age': String(maxAgeSeconds),
    },
  }
}

/** The headers of every answer to a request with this `Origin`. */
export async function corsHeaders({ origins, always, allowed }: Cors, origin: string | undefined): Promise<Headers> {
  if (origin === undefined || !(await isAllowed(origins, origin))) return always
  return { ...allowed, 'Access-Control-Allow-Origin': origins === '*' ? '*' : origin }
}

function isAllowed(origins: CorsOptions['origins'], origin: string): boolean | Promise<boolean> {
  if (origins === '*') return true
  return typeof origins === 'function' ? callHook(() => origins(origin)) : origins.includes(origin)
}
