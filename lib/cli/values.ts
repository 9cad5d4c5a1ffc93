// SPDX-License-Identifier: MIT

/**
 * The values that flags take: how each is read, and what the error of a bad one says.
 *
 * @module
 */

import { toAddresses } from '../http/location.ts'
import { dialectOf, type InteropVersion } from '../rufh/interop.ts'
import { parseHost } from './allowed-host.ts'
import { parseDuration, parseSize } from './quantity.ts'

/** A kind of value. */
export interface Kind<T> {
  /** Completes the sentence "--flag must be …". */
  readonly expected: string
  /** Reads a value; `undefined` if it is not of this kind. */
  readonly parse: (word: string) => T | undefined
}

const MAX_TIMER_MS = 2 ** 31 - 1

export const DIRECTORY: Kind<string> = { expected: 'the path of a directory', parse: parseName }
export const HOST: Kind<string> = { expected: 'an IP address or a host name', parse: parseName }
export const PORT: Kind<number> = { expected: 'a number from 0 to 65535', parse: parsePort }
export const PATH: Kind<string> = { expected: 'a path such as /files/', parse: parsePath }
export const SIZE: Kind<number> = { expected: 'a size such as 4096, 10MiB or 2GB', parse: parseSize }
export const COUNT: Kind<number> = { expected: 'a number from 1 to 999999', parse: parseCount }

/** A time that a timer of Node can wait for. */
export const TIMEOUT: Kind<number> = { expected: 'a time from 1ms to 596h, such as 30s', parse: parseTimeout }

/** A time of any length but 0. */
export const AGE: Kind<number> = {
  expected: 'a time above 0, such as 24h',
  parse: (word) => parseDuration(word) || undefined,
}

export const FILE_MODE: Kind<number> = {
  expected: 'an octal mode such as 640 that lets the owner read and write',
  parse: (word) => parseMode(word, 0o600),
}

export const DIRECTORY_MODE: Kind<number> = {
  expected: 'an octal mode such as 750 that gives the owner all permissions',
  parse: (word) => parseMode(word, 0o700),
}

export const PUBLIC_URL: Kind<string> = {
  expected: 'a path or an http URL, such as https://example.com/files/',
  parse: parsePublicUrl,
}

export const ALLOWED_HOST: Kind<string> = {
  expected: 'a host name without a port, such as example.com, or * for any',
  parse: (word) => (word === '*' ? word : word.includes(':') ? undefined : parseHost(word)),
}

export const CORS_ORIGIN: Kind<string> = {
  expected: 'an origin such as https://example.com, or * for any, pages opened from files included',
  parse: parseOrigin,
}

export const INTEROP_VERSIONS: Kind<readonly InteropVersion[]> = {
  expected: 'draft versions from 3 to 99, such as 8,9',
  parse: parseVersions,
}

/** One of a few words. */
export function oneOf<T extends string>(first: T, second: T, ...others: readonly T[]): Kind<T> {
  const words = [first, second, ...others]
  return {
    expected: `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`,
    parse: (word) => words.find((each) => each === word),
  }
}

function parseName(word: string): string | undefined {
  return word === '' ? undefined : word
}

function parsePort(word: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(word) ? Number(word) : NaN
  return port <= 65535 ? port : undefined
}

function parseCount(word: string): number | undefined {
  return /^[1-9][0-9]{0,5}$/.test(word) ? Number(word) : undefined
}

/**
 * A path of unreserved characters (RFC 3986 section 2.3). The segments "." and ".." are refused, as
 * clients resolve them. The slashes at both ends may be left out.
 */
function parsePath(word: string): string | undefined {
  if (!/^[A-Za-z0-9._~/-]*$/.test(word) || /\/\/|(?:^|\/)\.{1,2}(?:\/|$)/.test(word)) return undefined
  const inner = word.replace(/^\/|\/$/g, '')
  return inner === '' ? '/' : `/${inner}/`
}

function parseTimeout(word: string): number | undefined {
  const durationMs = parseDuration(word)
  return durationMs !== undefined && durationMs >= 1 && durationMs <= MAX_TIMER_MS ? durationMs : undefined
}

/** Permissions in octal, which must give the owner those of `least`. */
function parseMode(word: string, least: number): number | undefined {
  const mode = /^0?[0-7]{3}$/.test(word) ? Number.parseInt(word, 8) : 0
  return (mode & least) === least ? mode : undefined
}

/**
 * An http URL without a query, or a path. Segments that clients resolve are refused. The slash at
 * the end may be left out.
 */
function parsePublicUrl(word: string): string | undefined {
  if (word === '') return undefined
  const publicUrl = word.endsWith('/') ? word : `${word}/`
  if (/\/(?:\.|%2e){1,2}\//i.test(publicUrl) || !URL.canParse(publicUrl, 'http://localhost')) return undefined
  try {
    toAddresses('/', publicUrl, [])
    return publicUrl
  } catch {
    return undefined
  }
}

/**
 * An origin as browsers and the web views of apps send it (RFC 6454 section 6.2): scheme and
 * authority, and nothing after them. A scheme that browsers do not know has no `URL.origin`; such
 * an origin is kept as it is.
 */
function parseOrigin(word: string): string | undefined {
  if (word === '*') return word
  if (!/^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9.:[\]-]+$/.test(word) || !URL.canParse(word)) return undefined
  const { origin, href, protocol } = new URL(word)
  if (protocol === 'file:') return undefined // browsers send "null"
  return word === (origin === 'null' ? href : origin) ? word : undefined
}

function parseVersions(word: string): readonly InteropVersion[] | undefined {
  const numbers = word.split(',').map((each) => (/^[1-9][0-9]?$/.test(each) ? Number(each) : undefined))
  const versions = numbers.map((number) => dialectOf(number)?.version)
  return versions.every((version) => version !== undefined) ? versions : undefined
}
