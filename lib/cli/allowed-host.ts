// SPDX-License-Identifier: MIT

/**
 * Which hosts the program answers for.
 *
 * A web page can have its own name resolve to this machine once it is loaded ("DNS rebinding"). The
 * browser then takes the program for the page's own server, and the page may read and write uploads,
 * although the program listens where only this machine, or this network, can reach it.
 *
 * Design. The requests of such a page carry the name of the page, so names that are not known are
 * refused. IP addresses are all accepted: nobody can make an address resolve to something else. That
 * keeps health checks, tunnels and mapped ports working. Ports are not compared, as they say nothing
 * about who chose the name. `X-Forwarded-Host` is not read: anybody can send it.
 *
 * @module
 */

import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { EarlyResponse } from '../early-response.ts'

/** Where the names come from. */
export interface AllowedHostOptions {
  /** The address or name to listen on. */
  readonly host: string
  /** The creation URL as clients see it; a path has no host. */
  readonly publicUrl: string | undefined
  /** Further names, without ports; `*` stands for every name. */
  readonly allowedHosts: readonly string[]
}

/** The two parts of a request that name a host. */
export type HostRequest = Pick<IncomingMessage, 'url' | 'rawHeaders'>

/** `uri-host [ ":" port ]` (RFC 9110 section 7.2): a name or an IPv4 address, or an IPv6 address in brackets. */
const AUTHORITY = /^(?:([A-Za-z0-9_-][A-Za-z0-9._-]{0,253})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{0,5})?$/

/** `absolute-form` of a request target (RFC 9112 section 3.2.2), down to its authority. */
const ABSOLUTE = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/

const headers = {
  'Content-Type': 'text/plain; charset=utf-8',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
}
const MALFORMED: EarlyResponse = { status: 400, headers, body: 'There must be one Host, and it must be valid\n' }
const MISDIRECTED: EarlyResponse = {
  status: 421,
  headers,
  body: 'This server does not answer for this host name. Its operator can add the name with --allowed-host\n',
}

/**
 * Returns a check of requests, which gives the answer to a request that must be refused: 421 if it is
 * for another host, 400 if its host is malformed or given twice.
 *
 * Accepted are IP addresses, `localhost` and names that end with `.localhost`, the names in the
 * options, and requests of HTTP/1.0 that name no host: no browser sends those.
 */
export function hostCheck(options: AllowedHostOptions): (request: HostRequest) => EarlyResponse | undefined {
  const { host, publicUrl = '', allowedHosts } = options
  if (allowedHosts.includes('*')) return () => undefined
  const names = new Set([host, authorityOf(publicUrl) ?? host, ...allowedHosts].map(parseHost))
  return ({ url = '', rawHeaders }) => {
    const hosts = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'host')
    const authority = authorityOf(url) ?? hosts[0] // the target wins (RFC 9112 section 3.2.2)
    if (authority === undefined) return undefined
    const name = parseHost(authority)
    if (name === undefined || hosts.length > 1) return MALFORMED
    const isSafe = isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') || names.has(name)
    return isSafe ? undefined : MISDIRECTED
  }
}

/**
 * Reads `example.com:8080`, `127.0.0.1` or `[::1]:1080` as the host alone: in lower case, without
 * brackets and without the dot that may end a name. `undefined` for anything else.
 */
export function parseHost(authority: string): string | undefined {
  const [, name, address] = AUTHORITY.exec(authority) ?? []
  if (address !== undefined) return isIP(address) === 6 ? address.toLowerCase() : undefined
  return name?.toLowerCase().replace(/\.$/, '')
}

function authorityOf(target: string): string | undefined {
  return ABSOLUTE.exec(target)?.[1]
}
