// SPDX-License-Identifier: MIT

/**
 * Which pages of other origins may use the uploads (Fetch standard, section "HTTP CORS protocol").
 *
 * @module
 */

import { validateHeaderName } from 'node:http'
import { callHook } from '../upload/hooks.ts'

/** Who may. Off unless it is given. */
export interface CorsOptions {
  /**
   * Exact origins such as `https://example.com` or `capacitor://localhost`, `*` for any, or a
   * function that decides. A list cannot hold `null`, which is the origin of every sandboxed page
   * and of most local files, nor `file://`, which some apps have.
   */
  readonly origins: '*' | readonly string[] | ((origin: string) => boolean | Promise<boolean>)
  /** Whether browsers may send cookies and read the answer. Not together with `*`. Default: false. */
  readonly credentials?: boolean | undefined
  /** Request headers that are allowed besides those of the protocols, `Authorization`, `Content-Type`, `X-Request-ID` and `X-Requested-With`. Default: none. */
  readonly allowHeaders?: readonly string[] | undefined
  /**
   * Response headers that pages may read besides those of the protocols and of downloads, such as
   * those that hooks add. Default: none.
   */
  readonly exposeHeaders?: readonly string[] | undefined
  /** How long browsers may remember the answer to a preflight, in seconds. Default: 7200. */
  readonly maxAgeSeconds?: number | undefined
}

/** What pages may send whatever the protocol. */
const REQUEST_FIELDS = ['Authorization', 'Content-Type', 'X-Request-ID', 'X-Requested-With']
/** What they may read. */
const RESPONSE_FIELDS = ['Location', 'Retry-After']
/** An `ASCII-origin` with a scheme and a host (RFC 6454 section 6.2), which is what a configured one must look like. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9.:[\]-]+$/

/**
 * Checks the options.
 *
 * @throws {TypeError} for `*` with credentials, which browsers refuse, for a list that is not an array, and for an
 * invalid origin or header name; {@link RangeError} if `maxAgeSeconds` is out of bounds.
 */
export function checkCors(options: CorsOptions): CorsOptions {
  const { origins, credentials = false, allowHeaders = [], exposeHeaders = [], maxAgeSeconds = 7200 } = options
  for (const [name, list] of Object.entries({ allowHeaders, exposeHeaders })) {
    if (!Array.isArray(list)) throw new TypeError(`Cannot allow pages of other origins as cors.${name} must be an array: received ${typeof list}`)
  }
  if (!(Number.isSafeInteger(maxAgeSeconds) && maxAgeSeconds >= 0)) {
    throw new RangeError(`Cannot have answers remembered as cors.maxAgeSeconds must be a whole number, not negative: received ${maxAgeSeconds}`)
  }
  for (const name of [...allowHeaders, ...exposeHeaders]) {
    try {
      validateHeaderName(name)
    } catch (cause) {
      const received = JSON.stringify(name)
      throw new TypeError(`Cannot allow a header as it must be a name such as X-Tenant: received ${received}`, { cause })
    }
  }
  if (origins === '*' && credentials) throw new TypeError('Cannot allow credentials as origins must not be "*" then: name them')
  if (typeof origins === 'function' || origins === '*') return options
  if (!Array.isArray(origins)) {
    const what = 'cors.origins must be "*", an array or a function'
    throw new TypeError(`Cannot allow pages of other origins as ${what}: received ${typeof origins}`)
  }
  for (const origin of origins) {
    if (ORIGIN.test(origin)) continue
    const shared = origin === 'null' || origin === 'file://' ? '. Any local file has it: use a function' : ''
    const received = JSON.stringify(origin) + shared
    throw new TypeError(`Cannot allow an origin as it must look like https://example.com: received ${received}`)
  }
  return options
}

/**
 * The headers of every answer to a request with this `Origin`, or without one; `fields` may be read
 * besides the usual ones.
 *
 * Pages that may read a download may also embed it. An `<img>` sends no `Origin` unless it has the
 * attribute `crossorigin`, so without that it needs `*`.
 */
export async function corsHeaders(options: CorsOptions, origin: string | undefined, fields: readonly string[]): Promise<Readonly<Record<string, string>>> {
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

/** The headers that answer a preflight, besides those of every answer; `fields` may be sent besides the usual ones. */
export function preflightHeaders(options: CorsOptions, methods: readonly string[], fields: readonly string[]): Readonly<Record<string, string>> {
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
