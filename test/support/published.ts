// SPDX-License-Identifier: MIT

/** What the code under test publishes on its diagnostics channels. @module */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { TestContext } from 'node:test'
import type { Upload } from '../../lib/upload/types.ts'

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
