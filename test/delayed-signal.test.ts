// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { delayedSignal } from '../lib/delayed-signal.ts'

test('it aborts after the delay and not before, with the reason of the parent', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  using signal = delayedSignal(parent.signal, 10_000)
  t.mock.timers.tick(60_000)
  assert.equal(signal.aborted, false)

  const reason = new Error('client went away')
  parent.abort(reason)
  t.mock.timers.tick(9_999)
  assert.equal(signal.aborted, false)
  t.mock.timers.tick(1)
  assert.equal(signal.aborted, true)
  assert.equal(signal.reason, reason)
})

test('for any delay, the abort comes exactly then', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (delayMs) => {
      const parent = new AbortController()
      using signal = delayedSignal(parent.signal, delayMs)
      parent.abort()
      t.mock.timers.tick(delayMs - 1)
      assert.equal(signal.aborted, false)
      t.mock.timers.tick(1)
      assert.equal(signal.aborted, true)
    }),
  )
})

test('a parent that has aborted already starts the delay at the call', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const reason = new Error('gone before')
  using signal = delayedSignal(AbortSignal.abort(reason), 100)
  assert.equal(signal.aborted, false)
  t.mock.timers.tick(100)
  assert.equal(signal.reason, reason)
})

test('without a delay it aborts together with the parent, before abort() returns', () => {
  const parent = new AbortController()
  using signal = delayedSignal(parent.signal, 0)
  parent.abort('now')
  assert.equal(signal.reason, 'now')
  using late = delayedSignal(parent.signal, 0)
  assert.equal(late.aborted, true)
})

test('an infinite delay never aborts and does not listen', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  const added = t.mock.method(parent.signal, 'addEventListener')
  using signal = delayedSignal(parent.signal, Infinity)
  parent.abort()
  t.mock.timers.tick(2 ** 31 - 1)
  assert.equal(signal.aborted, false)
  assert.equal(added.mock.callCount(), 0)
})

test('listeners of the signal hear it once', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  using signal = delayedSignal(parent.signal, 5)
  let heard = 0
  signal.addEventListener('abort', () => heard++)
  parent.abort()
  t.mock.timers.tick(1000)
  assert.equal(heard, 1)
})

test('after dispose it does not abort, neither from the parent nor from a running delay', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  const waiting = delayedSignal(parent.signal, 100)
  const counting = delayedSignal(parent.signal, 100)
  waiting.dispose()
  parent.abort()
  counting.dispose()
  counting.dispose()
  t.mock.timers.tick(1000)
  assert.equal(waiting.aborted, false)
  assert.equal(counting.aborted, false)
})

test('disposing of one follower leaves the others', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  const followers = Array.from({ length: 5 }, () => delayedSignal(parent.signal, 10))
  followers[0]?.dispose()
  followers[3]?.dispose()
  parent.abort()
  t.mock.timers.tick(10)
  assert.deepEqual(followers.map(({ aborted }) => aborted), [false, true, true, false, true])
})

test('no listener outlives the last follower, and a new one is heard again', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const parent = new AbortController()
  const added = t.mock.method(parent.signal, 'addEventListener')
  const removed = t.mock.method(parent.signal, 'removeEventListener')
  const followers = Array.from({ length: 20 }, () => delayedSignal(parent.signal, 10))
  assert.equal(added.mock.callCount(), 1)
  for (const follower of followers) follower.dispose()
  assert.equal(removed.mock.callCount(), 1)
  using late = delayedSignal(parent.signal, 10)
  parent.abort()
  t.mock.timers.tick(10)
  assert.equal(late.aborted, true)
})

test('the running delay holds the process only if asked to', (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const parent = AbortSignal.abort()
  using _unref = delayedSignal(parent, 60_000)
  using _ref = delayedSignal(parent, 60_000, { ref: true })
  assert.deepEqual(timers.mock.calls.map(({ result }) => (result as NodeJS.Timeout).hasRef()), [false, true])
})

test('100 000 signals on one parent, one after the other or all at once, cause no warning and leave no heap', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => {
    if (warning.name === 'MaxListenersExceededWarning') warnings.push(warning)
  }
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  const parent = new AbortController()

  const oneAfterTheOther = (): void => {
    for (let i = 0; i < 100_000; i++) delayedSignal(parent.signal, 10_000).dispose()
  }
  const allAtOnce = (): void => {
    const followers = Array.from({ length: 100_000 }, () => delayedSignal(parent.signal, 10_000))
    for (const follower of followers) follower.dispose()
  }
  for (const round of [oneAfterTheOther, allAtOnce]) {
    round() // the first round warms up what is kept for good
    const before = await heapUsed()
    round()
    const leftPerSignal = ((await heapUsed()) - before) / 100_000
    assert.ok(leftPerSignal < 10, `${round.name}: ${leftPerSignal} bytes of heap are left for each signal`)
  }
  await new Promise((resolve) => setImmediate(resolve)) // warnings are emitted in a later turn
  assert.deepEqual(warnings, [])
})

async function heapUsed(): Promise<number> {
  const { setFlagsFromString } = await import('node:v8')
  const { runInNewContext } = await import('node:vm')
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
  return process.memoryUsage().heapUsed
}

test('what is not a signal or not a delay is refused, and the message says what was received', () => {
  const { signal } = new AbortController()
  for (const delayMs of [NaN, -1, -Infinity, 2 ** 31, 1e300]) {
    assert.throws(
      () => delayedSignal(signal, delayMs),
      (error: Error) => error instanceof RangeError && error.message.endsWith(`${delayMs}`),
    )
  }
  for (const delayMs of ['10s', undefined, null, {}, 10n, '10', [10]]) {
    assert.throws(() => delayedSignal(signal, delayMs as never), TypeError)
  }
  for (const parent of [undefined, null, {}, 'signal', new AbortController()]) {
    assert.throws(() => delayedSignal(parent as never, 10), TypeError)
  }
})
