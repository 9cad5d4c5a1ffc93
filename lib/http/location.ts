// SPDX-License-Identifier: MIT

/**
 * Addresses of uploads: those that are given out, and those that come back.
 *
 * What is given out is a path, unless the options or a trusted proxy say more. No header of anybody
 * else is reflected, `Host` least of all.
 *
 * @module
 */

import { BlockList, isIP } from 'node:net'
import type { UploadRequest } from '../upload/hooks.ts'
import { header } from './request-headers.ts'
import { parseTarget } from './request-target.ts'

/** Where uploads are reachable. */
export interface Addresses {
  /** The path of the creation URL, as it arrives here. */
  readonly path: string
  /** The same as clients see it. */
  readonly publicPath: string
  /** Scheme and authority as clients see them; `undefined` if that is not known. */
  readonly publicOrigin: string | undefined
  /** Proxies whose `Forwarded` and `X-Forwarded-*` are believed. */
  readonly trustedProxies: BlockList
}

/** `path-absolute` (RFC 3986 section 3.3) that ends with a slash. */
const PATH = /^\/(?:[A-Za-z0-9\-._~%!$&'()*+,;=:@]+\/)*$/

/** `host [ ":" port ]`: a name, an IPv4 address, or `[IPv6]` (RFC 3986 section 3.2.2). */
const AUTHORITY = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/

/** `absolute-URI` of http or https, without a query: an origin and a path. */
const ABSOLUTE = /^(https?):\/\/([^/?#]+)(\/[^?#]*)$/i

/**
 * Checks the options that decide about addresses.
 *
 * @throws {TypeError} if one of them is not what it must be.
 */
export function toAddresses(path: string, publicUrl: string | undefined, trustedProxies: readonly string[]): Addresses {
  if (!PATH.test(path)) {
    const what = 'path must begin and end with a slash, with plain segments between'
    throw new TypeError(`Cannot mount uploads as ${what}: received ${JSON.stringify(path)}`)
  }
  const [, scheme, authority, publicPath = publicUrl ?? path] = ABSOLUTE.exec(publicUrl ?? '') ?? []
  if (!PATH.test(publicPath) || (authority !== undefined && !AUTHORITY.test(authority))) {
    const what = 'publicUrl must be a path or an http URL that ends with a slash'
    throw new TypeError(`Cannot address uploads as ${what}: received ${JSON.stringify(publicUrl)}`)
  }
  const publicOrigin = authority === undefined ? undefined : `${scheme}://${authority}`
  return { path, publicPath, publicOrigin, trustedProxies: toBlockList(trustedProxies) }
}

/** The address of an upload, for `Location`. */
export function locationOf(addresses: Addresses, req: UploadRequest, id: string): string {
  const { publicPath, publicOrigin = forwardedOrigin(addresses, req) ?? '' } = addresses
  return `${publicOrigin}${publicPath}${id}`
}

/**
 * The id of the upload at an address that a client named. `undefined` if the address is not ours:
 * on another host than the request came to, or outside of the path. Nothing is ever fetched.
 */
export function idAt(addresses: Addresses, req: UploadRequest, address: string): string | undefined {
  const [, , authority, path = address] = ABSOLUTE.exec(address) ?? []
  if (authority !== undefined) {
    const asked = `http://${header(req, ':authority') ?? header(req, 'host')}`
    const origins = [addresses.publicOrigin, forwardedOrigin(addresses, req), asked]
    const named = authorityOf(`http://${authority}`)
    if (!origins.some((origin) => origin !== undefined && authorityOf(origin) === named)) return undefined
  }
  if (!path.startsWith('/')) return undefined // an absolute URL of another kind, whose host was not looked at
  for (const base of [addresses.publicPath, addresses.path]) {
    const target = parseTarget(path, base)
    if (target.kind === 'upload') return target.id
  }
  return undefined
}

/** Without the ports that the schemes imply, as a client may have left them out. */
function authorityOf(origin: string): string {
  return origin.replace(/^https?:\/\//i, '').replace(/:(?:80|443)$/, '').toLowerCase()
}

/**
 * The origin that a trusted proxy says its client asked for. Of several values the last counts,
 * which is the proxy's own. A proxy may set one kind of header and pass on the other as a client
 * wrote it. So neither is believed where they differ.
 */
function forwardedOrigin({ trustedProxies }: Addresses, req: UploadRequest): string | undefined {
  const peer = req.socket.remoteAddress ?? ''
  const version = isIP(peer)
  if (trustedProxies.rules.length === 0 || version === 0) return undefined
  if (!trustedProxies.check(peer, version === 6 ? 'ipv6' : 'ipv4')) return undefined
  const forwarded = parseForwarded(header(req, 'forwarded'))
  const [standard, usual] = [
    toOrigin(forwarded.get('proto'), forwarded.get('host')),
    toOrigin(last(header(req, 'x-forwarded-proto')), last(header(req, 'x-forwarded-host'))),
  ]
  return standard !== undefined && usual !== undefined && standard !== usual ? undefined : (standard ?? usual)
}

function toOrigin(scheme: string | undefined, authority: string | undefined): string | undefined {
  if (authority === undefined || !AUTHORITY.test(authority) || !/^https?$/.test(scheme ?? 'http')) return undefined
  return `${scheme ?? 'http'}://${authority}`
}

/**
 * The pairs of the last element of `Forwarded` (RFC 7239 section 4). A comma or a semicolon in
 * quotes is taken for a separator, which does no harm: no authority and no scheme has one.
 */
function parseForwarded(text: string | undefined): Map<string, string> {
  const pairs = (last(text) ?? '').split(';').map((pair) => pair.trim().split('='))
  return new Map(pairs.map(([name = '', value = '']) => [name.toLowerCase(), value.replace(/^"(.*)"$/, '$1')]))
}

function last(list: string | undefined): string | undefined {
  return list?.split(',').at(-1)?.trim()
}

function toBlockList(entries: readonly string[]): BlockList {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', prefix, ...rest] = entry.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? (version === 6 ? 128 : 32) : /^[0-9]{1,3}$/.test(prefix) ? Number(prefix) : NaN
    if (version === 0 || rest.length > 0 || !(bits <= (version === 6 ? 128 : 32))) {
      const what = 'it must be an IP address or a network such as 10.0.0.0/8'
      throw new TypeError(`Cannot trust a proxy as ${what}: received ${JSON.stringify(entry)}`)
    }
    list.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
