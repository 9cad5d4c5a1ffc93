// SPDX-License-Identifier: MIT

/** Servers in a group that a test shuts down. @module */

import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import { ShutdownGroup, type ShutdownGroupOptions, type ShutdownServer } from '../../lib/shutdown-group.ts'
import { listen } from './listen.ts'

/** A broken guarantee often shows as an event that never comes. */
export const LIMIT = { timeout: 20_000 }
/** Later than any test may last: what ends before was not forced. */
export const DEADLINE_MS = 60_000

/** Those of HTTP/2 are of other classes, and have what the tests use of these. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

export interface ServeOptions extends ShutdownGroupOptions {
  readonly group?: ShutdownGroup
  /** `none` leaves requests to the test's own listeners. Default: they are handed out by `next`. */
  readonly handler?: RequestListener | 'none'
}

export interface Served<S extends ShutdownServer = ShutdownServer> {
  readonly group: ShutdownGroup
  readonly server: S
  readonly port: number
  /** The next request, in the order of their arrival. */
  readonly next: () => Promise<Exchange>
}

/** Adds a server to a group, and has it listen. */
export async function serve<S extends ShutdownServer>(t: TestContext, server: S, options: ServeOptions = {}): Promise<Served<S>> {
  const { group = new ShutdownGroup({ deadlineMs: DEADLINE_MS, ...options }) } = options
  const arrived: Exchange[] = []
  let wake: (() => void) | undefined
  const enqueue: RequestListener = (req, res) => {
    arrived.push({ req, res })
    wake?.()
  }
  const { handler = enqueue } = options
  if (handler !== 'none') (server as Server).on('request', handler)
  group.add(server)
  const next = async (): Promise<Exchange> => {
    for (;;) {
      const exchange = arrived.shift()
      if (exchange) return exchange
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  return { group, server, port: await listen(t, server as Server), next }
}

/** A promise, and whether it has settled. */
export function observe<T>(promise: Promise<T>): { readonly promise: Promise<T>; settled: boolean } {
  const outcome = { promise, settled: false }
  void promise.finally(() => (outcome.settled = true))
  return outcome
}

/** Lets everything happen that is ready to. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}
