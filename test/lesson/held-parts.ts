// SPDX-License-Identifier: MIT

/**
 * Preloaded into a server of the lesson, so that no clock decides what its test measures: a part is under way
 * until the test lets it pass or its signal aborts, and the test can ask what the server has seen.
 *
 * @module
 */

import { subscribe } from 'node:diagnostics_channel'
import { syncBuiltinESMExports } from 'node:module'
import type { Socket } from 'node:net'
import timers from 'node:timers/promises'

/** What the server has seen. */
export interface Sight {
  /** Parts that are under way. */
  readonly heldParts: number
  /** Bytes that the process took from its latest connection, heads of requests included. */
  readonly receivedBytes: number
  /** Whether that connection is closed, and all who listen for that have been told. */
  readonly isClosed: boolean
}

const held = new Set<() => void>()
let latest: { readonly socket: Socket; isClosed: boolean } | undefined

timers.setTimeout = <T>(_delayMs?: number, value?: T, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<T> =>
  new Promise((resolve, reject) => {
    const abort = (): void => settle(() => reject(signal?.reason))
    const pass = (): void => settle(() => resolve(value as T))
    const settle = (end: () => void): void => {
      held.delete(pass)
      signal?.removeEventListener('abort', abort)
      end()
    }
    held.add(pass)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort)
  })
syncBuiltinESMExports() // the store imports it by name

subscribe('net.server.socket', (message) => {
  const connection = { socket: (message as { readonly socket: Socket }).socket, isClosed: false }
  connection.socket.once('close', () => (connection.isClosed = true))
  latest = connection
})

process.on('message', (command) => {
  if (command === 'pass') for (const pass of held) pass()
  else process.send?.(sight())
})
process.channel?.unref() // a server ends as it would without a test

function sight(): Sight {
  return { heldParts: held.size, receivedBytes: latest?.socket.bytesRead ?? 0, isClosed: latest?.isClosed ?? false }
}
