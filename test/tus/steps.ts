// SPDX-License-Identifier: MIT

/** Steps that the tests of the extensions of tus have in common. @module */

import { addressOf } from '../support/address-of.ts'
import { request, type WireResponse } from '../support/wire.ts'
import { ask, OCT, V, type Site } from './support.ts'

/** Appends text at an offset. */
export function patch(site: Site, upload: string, offset: number, content = '', headers: readonly string[] = []): Promise<WireResponse> {
  const all = [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${content.length}`, ...headers]
  return ask(site, request(`PATCH ${upload}`, all, content))
}

/** Creates an upload without bytes, as the headers say; whatever the answer. */
export function post(site: Site, headers: readonly string[]): Promise<WireResponse> {
  return ask(site, request('POST /files/', [V, 'Content-Length: 0', ...headers]))
}

/** Creates a partial upload with its first bytes; `length` may be one that is to come later. */
export async function makePartial(site: Site, content: string, length: number | 'later' = content.length): Promise<string> {
  const size = length === 'later' ? 'Upload-Defer-Length: 1' : `Upload-Length: ${length}`
  const headers = [V, OCT, size, 'Upload-Concat: partial', `Content-Length: ${content.length}`]
  return addressOf(await ask(site, request('POST /files/', headers, content)))
}

/** Asks for the concatenation of the uploads at these addresses; whatever the answer. */
export function concatenate(site: Site, addresses: readonly string[], headers: readonly string[] = []): Promise<WireResponse> {
  return post(site, [`Upload-Concat: final;${addresses.join(' ')}`, ...headers])
}

/** The id in an address. */
export function idOf(upload: string): string {
  return upload.slice(upload.lastIndexOf('/') + 1)
}
