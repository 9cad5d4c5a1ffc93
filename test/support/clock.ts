// SPDX-License-Identifier: MIT

/**
 * The monotonic clock, in the hands of a test. The mock timers of `node:test` have none.
 *
 * @module
 */

import type { TestContext } from 'node:test'

/** Stops `performance.now()` until the end of the test; the returned function moves it on, in milliseconds. */
export function stopClock(t: TestContext): (ms: number) => void {
  let nowMs = Math.ceil(performance.now()) // so that sums are exact
  t.mock.method(performance, 'now', () => nowMs)
  return (ms) => void (nowMs += ms)
}
