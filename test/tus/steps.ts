// SPDX-License-Identifier: MIT

/** Steps that the tests of the extensions have in common, and ways to watch a server and to hold it in a moment. @module */

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { TestContext } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'
import { request, type WireResponse } from '../support/wire.ts'
import { ask, OCT, V, type Site } from './support.ts'

/** What is published on `longhaul:error`. */
export interface PublishedError {
  readonly error: Error & { readonly code?: string; readonly status?: number; readonly cause?: unknown }
  readonly req: unknown
}

/** Collects what is published on a channel until the test has ended. */
export function published(t: TestContext, channel: 'longhaul:error'): readonly PublishedError[]
export function published(t: TestContext, channel: string): readonly { readonly upload: Upload }[]
export function published(t: TestContext, channel: string): readonly unknown[] {
  const messages: unknown[] = []
  const listener = (message: unknown): unknown => messages.push(message)
  subscribe(channel, listener)
  t.after(() => unsubscribe(channel, listener))
  return messages
}

/** A place at which the code under test waits until its test lets it go on. */
export class Gate {
  #arrive!: () => void
  #open!: () => void
  /** Resolves when somebody waits at the gate. */
  readonly arrived = new Promise<void>((resolve) => (this.#arrive = resolve))
  readonly #opened = new Promise<void>((resolve) => (this.#open = resolve))

  /** Waits until the gate is open. */
  pass(): Promise<void> {
    this.#arrive()
    return this.#opened
  }

  /** Lets everybody through, now and from now on. */
  open(): void {
    this.#open()
  }
}

/** Appends text at an offset. */
export function patch(site: Site, upload: string, offset: number, content = '', headers: readonly string[] = []): Promise<WireResponse> {
  const all = [V, OCT, `Upload-Offset: ${offset}`, `Content-Length: ${content.length}`, ...headers]
  return ask(site, request(`PATCH ${upload}`, all, content))
}

/** Creates an upload without bytes, as the headers say; whatever the answer. */
export function post(site: Site, headers: readonly string[]): Promise<WireResponse> {
  return ask(site, request('POST /files/', [V, 'Content-Length: 0', ...headers]))
}

/** The address that a creation led to. */
export function addressOf(created: WireResponse): string {
  assert.equal(created.status, 201)
  return created.headers.get('location') ?? assert.fail('no Location')
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
