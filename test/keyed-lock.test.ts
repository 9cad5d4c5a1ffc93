// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { KeyedLock, type KeyedLockHold } from '../lib/keyed-lock.ts'

test('a free key is granted before the next turn, and again after its release', async () => {
  const locks = new KeyedLock()
  for (let round = 0; round < 3; round++) {
    const acquired = locks.acquire('a')
    assert.equal(await isGranted(acquired), true)
    using _hold = await acquired
    assert.equal(await locks.tryAcquire('a'), undefined)
  }
})

test('a key is free whatever is held of others, and their holders are not asked', async () => {
  const locks = new KeyedLock()
  let asked = 0
  using _a = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const acquired = locks.acquire('b')
  assert.equal(await isGranted(acquired), true)
  using _b = await acquired
  assert.equal(asked, 0)
})

test('a holder with nobody behind it is not asked to release, neither a first one nor the last of a line', async () => {
  const locks = new KeyedLock()
  const asked: string[] = []
  const first = await locks.acquire('a', { onReleaseRequest: () => asked.push('first') })
  await turn()
  assert.equal(asked.length, 0)
  const last = locks.acquire('a', { onReleaseRequest: () => asked.push('last') })
  await turn()
  first.release()
  const hold = await last
  await turn()
  assert.deepEqual(asked, ['first'])
  hold.release()
})

test('a newcomer reaches the holder within a turn, and gets the lock when the holder releases', async () => {
  const locks = new KeyedLock()
  let asked = 0
  const first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const second = locks.acquire('a')
  assert.equal(await isGranted(second), false)
  assert.equal(asked, 1)
  first.release()
  assert.equal(await isGranted(second), true)
})

test('a holder is asked once, however many come', async () => {
  const locks = new KeyedLock()
  let asked = 0
  const first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const others = Array.from({ length: 5 }, () => locks.acquire('a'))
  await turn()
  void locks.acquire('a').then((hold) => hold.release())
  await turn()
  assert.equal(asked, 1)
  first.release()
  for (const other of others) (await other).release()
})

test('one who gets the lock while others wait is asked for it after the grant', async () => {
  const locks = new KeyedLock()
  const first = await locks.acquire('a')
  let asked = false
  const second = locks.acquire('a', { onReleaseRequest: () => (asked = true) })
  const third = locks.acquire('a')
  await turn()
  assert.equal(asked, false)
  first.release()
  await turn()
  assert.equal(asked, true)
  ;(await second).release()
  ;(await third).release()
})

for (const count of [2, 3]) {
  test(`${count} who come in one turn and release when asked all get the key, one after the other`, async () => {
    const locks = new KeyedLock()
    const order: number[] = []
    const claim = async (me: number): Promise<void> => {
      const hold: KeyedLockHold = await locks.acquire('a', { onReleaseRequest: () => hold.release() })
      order.push(me)
      if (me === count - 1) hold.release() // nobody asks the last
    }
    await Promise.all(Array.from({ length: count }, (_, me) => claim(me)))
    assert.deepEqual(order, Array.from({ length: count }, (_, me) => me))
    assert.ok(await locks.tryAcquire('a'))
  })
}

test('a holder is asked when it has the hold, behind however many async functions', async () => {
  const locks = new KeyedLock()
  const acquire = async (onReleaseRequest: () => void): Promise<KeyedLockHold> => locks.acquire('a', { onReleaseRequest })
  const guarded = async (onReleaseRequest: () => void): Promise<KeyedLockHold> => await acquire(onReleaseRequest)
  const claim = async (): Promise<void> => {
    const hold: KeyedLockHold = await guarded(() => hold.release())
  }
  const [, , hold] = await Promise.all([claim(), claim(), locks.acquire('a')])
  assert.equal(await locks.tryAcquire('a'), undefined)
  hold.release()
  assert.ok(await locks.tryAcquire('a'))
})

test('what onReleaseRequest throws is an uncaught exception, and reaches no promise, no release and no line', async (t) => {
  const locks = new KeyedLock()
  const thrown = uncaught(t)
  const onReleaseRequest = (): void => {
    throw new Error('the holder failed')
  }
  const first = await locks.acquire('a', { onReleaseRequest })
  const second = locks.acquire('a', { onReleaseRequest })
  const third = locks.acquire('a')
  await turn()
  first.release()
  ;(await second).release()
  ;(await third).release()
  assert.ok(await locks.tryAcquire('a'))
  assert.deepEqual(thrown, ['the holder failed'], 'the second had released before it could be asked')
})

test('a holder is not asked for a newcomer that has given up at once, but for the next one', async () => {
  const locks = new KeyedLock()
  let asked = 0
  using first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const impatient = new AbortController()
  const given = locks.acquire('a', { signal: impatient.signal })
  impatient.abort(new Error('given up'))
  await assert.rejects(given, /given up/)
  await turn()
  assert.equal(asked, 0)
  const second = locks.acquire('a')
  await turn()
  assert.equal(asked, 1)
  first.release()
  void (await second).release()
})

test('one who has released is not asked any more', async () => {
  const locks = new KeyedLock()
  let asked = 0
  const first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const [second, third] = [locks.acquire('a'), locks.acquire('a')]
  first.release()
  const hold = await second
  await turn()
  assert.equal(asked, 0)
  hold.release()
  ;(await third).release()
})

test('a holder may release while it is being asked', async () => {
  const locks = new KeyedLock()
  const first: KeyedLockHold = await locks.acquire('a', { onReleaseRequest: () => first.release() })
  const second = locks.acquire('a')
  assert.equal(await isGranted(second), true)
  assert.equal(await locks.tryAcquire('a'), undefined)
  ;(await second).release()
})

test('one who was granted a lock that was released while it was asked for does not time out any more', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const locks = new KeyedLock()
  const first: KeyedLockHold = await locks.acquire('a', { onReleaseRequest: () => first.release() })
  await locks.acquire('a', { timeoutMs: 1000 })
  t.mock.timers.tick(1000)
  assert.equal(await locks.tryAcquire('a'), undefined)
})

test('releasing twice does not take the lock from the next holder', async () => {
  const locks = new KeyedLock()
  const first = await locks.acquire('a')
  const second = locks.acquire('a')
  first.release()
  first.release()
  await second
  assert.equal(await isGranted(locks.acquire('a')), false)
})

test('one who gives up loses its place and leaves no listener', async (t) => {
  const locks = new KeyedLock()
  const first = await locks.acquire('a')
  const controller = new AbortController()
  const removed = t.mock.method(controller.signal, 'removeEventListener')
  const second = locks.acquire('a', { signal: controller.signal })
  const third = locks.acquire('a')
  controller.abort(new Error('client went away'))
  await assert.rejects(second, { message: 'client went away' })
  assert.equal(removed.mock.callCount(), 1)
  assert.equal(await isGranted(third), false)
  first.release()
  assert.equal(await isGranted(third), true)
})

test('an aborted signal is refused before it queues, and without effect once the lock is held', async (t) => {
  const locks = new KeyedLock()
  await assert.rejects(locks.acquire('a', { signal: AbortSignal.abort(new Error('too late')) }), { message: 'too late' })
  const controller = new AbortController()
  const listened = t.mock.method(controller.signal, 'addEventListener')
  const timed = t.mock.method(globalThis, 'setTimeout')
  using _hold = await locks.acquire('a', { signal: controller.signal, timeoutMs: 1000 })
  controller.abort()
  assert.deepEqual([listened.mock.callCount(), timed.mock.callCount()], [0, 0], 'there was nothing to wait for')
  await assert.rejects(locks.acquire('a', { signal: AbortSignal.abort(new Error('held')) }), { message: 'held' })
})

test('the wait ends at timeoutMs with a code, and no timer outlives a grant', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const locks = new KeyedLock()
  const first = await locks.acquire('a', { timeoutMs: 1000 })
  const second = locks.acquire('a', { timeoutMs: 1000 })
  t.mock.timers.tick(999)
  const third = locks.acquire('a', { timeoutMs: 1000 })
  t.mock.timers.tick(1)
  await assert.rejects(second, { name: 'KeyedLockError', code: 'LOCK_TIMEOUT', message: 'The lock was not released within 1000 ms' })
  first.release()
  const held = await third
  t.mock.timers.tick(10_000)
  held.release()
})

test('a timeoutMs of Infinity is never, and no duration is taken for another', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const locks = new KeyedLock()
  const first = await locks.acquire('a', { timeoutMs: Infinity })
  const second = locks.acquire('a', { timeoutMs: Infinity })
  t.mock.timers.tick(2 ** 31)
  for (const timeoutMs of [-1, NaN, -Infinity, 2 ** 31]) {
    const message = `Cannot wait as timeoutMs must be 0 to 2147483647 milliseconds or Infinity: received ${timeoutMs}`
    await assert.rejects(locks.acquire('a', { timeoutMs }), { name: 'RangeError', message })
    await assert.rejects(locks.acquire('free', { timeoutMs }), RangeError, 'even if there is nothing to wait for')
  }
  await assert.rejects(locks.acquire('a', { timeoutMs: '1000' as never }), TypeError)
  first.release()
  ;(await second).release()
  assert.ok(await locks.tryAcquire('free'))
})

test('tryAcquire gets a free key at once, and again after its release', async () => {
  const locks = new KeyedLock()
  for (let round = 0; round < 3; round++) {
    using hold = await locks.tryAcquire('a')
    assert.ok(hold)
  }
})

test('tryAcquire of a key that is held is undefined, does not ask its holder, and leaves no place in the line', async () => {
  const locks = new KeyedLock()
  let asked = 0
  const first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  assert.equal(await locks.tryAcquire('a'), undefined)
  assert.ok(await locks.tryAcquire('b'), 'other keys are free')
  assert.equal(asked, 0)
  first.release()
  assert.ok(await locks.tryAcquire('a'))
})

test('tryAcquire does not overtake: as long as others wait it is undefined', async () => {
  const locks = new KeyedLock()
  const first = await locks.acquire('a')
  const second = locks.acquire('a')
  first.release()
  assert.equal(await locks.tryAcquire('a'), undefined)
  ;(await second).release()
  assert.ok(await locks.tryAcquire('a'))
})

test('a claim behind a tryAcquire gets the lock when that one releases', async () => {
  const locks = new KeyedLock()
  const first = await locks.tryAcquire('a')
  const second = locks.acquire('a')
  assert.equal(await isGranted(second), false)
  first?.release()
  assert.equal(await isGranted(second), true)
})

test('of two tryAcquire at once one gets the key', async () => {
  const locks = new KeyedLock()
  const holds = await Promise.all([locks.tryAcquire('a'), locks.tryAcquire('a')])
  assert.equal(holds.filter((hold) => hold !== undefined).length, 1)
})

test('whatever happens, there is one holder per key, in the order of arrival among those who stayed', async () => {
  type Step = { readonly kind: 'acquire' | 'release' | 'giveUp'; readonly which: number }
  const kind = fc.constantFrom<Step['kind']>('acquire', 'release', 'giveUp')
  const steps = fc.array(fc.record({ kind, which: fc.nat(20) }), { maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const locks = new KeyedLock()
      const model: number[] = [] // who holds, then who waits
      const holds = new Map<number, KeyedLockHold>()
      const controllers = new Map<number, AbortController>()
      let arrivals = 0
      for (const { kind, which } of sequence) {
        if (kind === 'acquire') {
          const me = arrivals++
          const controller = new AbortController()
          controllers.set(me, controller)
          model.push(me)
          locks.acquire('key', { signal: controller.signal }).then((hold) => holds.set(me, hold), () => {})
        } else if (kind === 'release' && model.length > 0) {
          holds.get(model[0]!)?.release()
          holds.delete(model.shift()!)
        } else if (kind === 'giveUp' && model.length > 1) {
          const place = 1 + (which % (model.length - 1))
          const [leaver] = model.splice(place, 1)
          controllers.get(leaver!)?.abort(new Error('left'))
        }
        await turn()
        assert.deepEqual([...holds.keys()], model.slice(0, 1))
      }
    }),
    { numRuns: 100 },
  )
})

/** Whether an `acquire` has resolved by the next turn of the event loop. */
async function isGranted(acquired: Promise<KeyedLockHold>): Promise<boolean> {
  let granted = false
  void acquired.then(() => (granted = true))
  await turn()
  return granted
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Catches during the test what nobody else does, and says what it was. */
function uncaught(t: TestContext): readonly string[] {
  const messages: string[] = []
  const others = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[]
  process.removeAllListeners('uncaughtException') // the test runner would fail the test
  process.on('uncaughtException', ({ message }) => messages.push(message))
  t.after(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of others) process.on('uncaughtException', listener)
  })
  return messages
}
