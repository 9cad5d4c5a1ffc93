// SPDX-License-Identifier: MIT

/**
 * Which pages of other origins may use the uploads (Fetch standard, section "HTTP CORS protocol").
 *
 * @module
 */

import { callHook } from '../upload/hooks.ts'

/** Who may. Off unless it is given. */
export interface CorsOptions {
  /** Exact origins such as `https://example.com`, `*` for any, or a function that decides. */
  readonly origins: '*' | readonly string[] | ((origin: string) => boolean | Promise<boolean>)
  /** Whether browsers may send cookies and read the answer. Not together with `*`. Default: false. */
  readonly credentials?: boolean | undefined
  /** Request headers that are allowed besides those of the protocols, `Authorization`, `Content-Type`, `X-Request-ID` and `X-Requested-With`. Default: none. */
  readonly allowHeaders?: readonly string[] | undefined
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
 * @throws {TypeError} for `*` with credentials, which browsers refuse, and for what is no origin.
 */
export function checkCors(options: CorsOptions): CorsOptions {
  const { origins, credentials = false } = options
  if (origins === '*' && credentials) throw new TypeError('Cannot allow credentials as origins must not be "*" then: name them')
  if (typeof origins === 'function' || origins === '*') return options
  for (const origin of origins) {
    if (!ORIGIN.test(origin)) throw new TypeError(`Cannot allow an origin as it must look like https://example.com: received ${JSON.stringify(origin)}`)
  }
  return options
}

/** The headers of every answer to a request with this `Origin`, or without one; `fields` may be read besides the usual ones. */
export async function corsHeaders(options: CorsOptions, origin: string | undefined, fields: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const { origins, credentials = false } = options
  const vary: Record<string, string> = origins === '*' ? {} : { Vary: 'Origin' }
  if (origin === undefined || !(await isAllowed(origins, origin))) return vary
  return {
    ...vary,
    'Access-Control-Allow-Origin': origins === '*' ? '*' : origin,
    'Access-Control-Expose-Headers': [...RESPONSE_FIELDS, ...fields].join(', '),
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
