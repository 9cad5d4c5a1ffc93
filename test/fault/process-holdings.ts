// SPDX-License-Identifier: MIT

/**
 * What a process holds on to, so that what it held before an attack can be compared with what it
 * holds after it.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Inspection, Subject } from './subject.ts'

/** Numbers by kind. */
export interface Holdings {
  readonly descriptors: Readonly<Record<string, number>>
  readonly resources: Readonly<Record<string, number>>
  readonly signalListeners: number
}

/** How long a process may take to let go of what it does not need any more, in milliseconds. */
const SETTLING_MS = 20_000
const POLL_MS = 50
/** Longer than anything is kept that may be used again soon, such as an open file. */
const REST_MS = 1500

/** What the process holds that has nothing to do: looked at until two looks agree that are far enough apart. */
export async function holdingsAtRest(subject: Subject): Promise<Holdings> {
  let before = toHoldings(await subject.inspect())
  for (;;) {
    await delay(REST_MS)
    const now = toHoldings(await subject.inspect())
    if (isSame(before, now)) return now
    before = now
  }
}

/** Waits until the process holds what it held before, and nothing more; rejects if it does not get there. */
export async function assertSettles(subject: Subject, before: Holdings): Promise<void> {
  const deadlineMs = performance.now() + SETTLING_MS
  for (;;) {
    const now = toHoldings(await subject.inspect())
    if (isSame(before, now)) return
    if (performance.now() > deadlineMs) return assert.deepEqual(now, before, 'The process did not let go of everything')
    await delay(POLL_MS)
  }
}

function toHoldings({ descriptors, resources, signalListeners }: Inspection): Holdings {
  const byKind: Record<string, number> = {}
  for (const target of descriptors) {
    const kind = target.replace(/\[\d+\]$/, '')
    byKind[kind] = (byKind[kind] ?? 0) + 1
  }
  // A call of the file system that the permission model refuses is counted until it is collected.
  const { FSReqCallback: _, ...others } = resources
  return { descriptors: byKind, resources: others, signalListeners }
}

function isSame(one: Holdings, other: Holdings): boolean {
  try {
    assert.deepEqual(one, other)
    return true
  } catch {
    return false
  }
}
