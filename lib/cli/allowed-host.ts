// SPDX-License-Identifier: MIT

/**
 * The hosts that the program answers for.
 *
 * After it has loaded, a web page can make its own name resolve to this machine ("DNS rebinding").
 * The browser then takes the program for the page's own server. The page could read and write
 * uploads, even if the program can be reached only from this machine or this network.
 *
 * Design. The requests of such a page carry the page's name, so unknown names are refused. IP
 * addresses are all accepted: nobody can make an address resolve to something else. That keeps
 * health checks, tunnels and mapped ports working. Ports are not compared, as they say nothing
 * about who chose the name. `X-Forwarded-Host` is not read: anybody can send it.
 *
 * @module
 */

import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { EarlyResponse } from '../early-response.ts'

/** The options that name hosts. */
export interface AllowedHostOptions {
  /** The address or name to listen on. */
  readonly host: string
  /** The creation URL as clients see it. If it is a path, it names no host. */
  readonly publicUrl: string | undefined
  /** More names, without ports; `*` accepts every name. */
  readonly allowedHosts: readonly string[]
}

/** The two parts of a request that name a host. */
export type HostRequest = Pick<IncomingMessage, 'url' | 'rawHeaders'>

/**
 * `uri-host [ ":" port ]` (RFC 9110 section 7.2): a name, an IPv4 address, or `[` IPv6 address `]`.
 */
const AUTHORITY = /^(?:([A-Za-z0-9_-][A-Za-z0-9._-]{0,253})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{0,5})?$/

/** `absolute-form` of a request target (RFC 9112 section 3.2.2), down to its authority. */
const ABSOLUTE = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/

const headers = {
  'Content-Type': 'text/plain; charset=utf-8',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
}
const MALFORMED: EarlyResponse = { status: 400, headers, body: 'The request must have exactly one valid Host header\n' }
const MISDIRECTED: EarlyResponse = {
  status: 421,
  headers,
  body: 'This server does not serve this host name. Its operator can allow the name with --allowed-host\n',
}

/**
 * Returns a function that checks a request and returns the response if it must be refused: 421 if
 * it is for another host, 400 if its host is malformed or given twice.
 *
 * It accepts IP addresses, `localhost`, names that end with `.localhost`, the names in the options,
 * and HTTP/1.0 requests without a host, which no browser sends.
 */
export function hostCheck(options: AllowedHostOptions): (request: HostRequest) => EarlyResponse | undefined {
  const { host, publicUrl = '', allowedHosts } = options
  if (allowedHosts.includes('*')) return () => undefined
  const names = new Set([host, authorityOf(publicUrl) ?? host, ...allowedHosts].map(parseHost))
  return ({ url = '', rawHeaders }) => {
    const hosts = hostsIn(rawHeaders)
    const authority = authorityOf(url) ?? hosts[0] // the target wins (RFC 9112 section 3.2.2)
    if (authority === undefined) return undefined
    const name = parseHost(authority)
    if (name === undefined || hosts.length > 1) return MALFORMED
    const isSafe = isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || names.has(name)
    return isSafe ? undefined : MISDIRECTED
  }
}

/** All values of the header, of which Node keeps only the first in `headers`. */
function hostsIn(rawHeaders: readonly string[]): string[] {
  const hosts: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length === 4 && name.toLowerCase() === 'host') hosts.push(rawHeaders[i + 1]!)
  }
  return hosts
}

/**
 * Reads the host of `example.com:8080`, `127.0.0.1` or `[::1]:1080`: in lower case, without
 * brackets and without a dot at the end. Returns `undefined` for anything else.
 */
export function parseHost(authority: string): string | undefined {
  const [, name, address] = AUTHORITY.exec(authority) ?? []
  if (address !== undefined) return isIP(address) === 6 ? address.toLowerCase() : undefined
  return name?.toLowerCase().replace(/\.$/, '')
}

function authorityOf(target: string): string | undefined {
  return ABSOLUTE.exec(target)?.[1]
}
