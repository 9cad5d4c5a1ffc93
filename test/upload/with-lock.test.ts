// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test, type TestContext } from 'node:test'
import type { Locker, LockOptions } from '../../lib/upload/types.ts'
import { whileFree, withLock, type Held } from '../../lib/upload/with-lock.ts'
import { surroundings } from './support.ts'

/** A locker that grants every lock, whatever its caller's signal says, and keeps what it was given. */
class Recorder implements Locker {
  options: LockOptions = {}
  held = 0
  isHeld: (() => Promise<boolean>) | undefined
  onAcquire = (): void => {}

  async acquire(_id: string, options: LockOptions) {
    this.options = options
    this.held++
    this.onAcquire()
    return { release: () => void this.held--, ...(this.isHeld && { isHeld: this.isHeld }) }
  }

  tryAcquire(id: string) {
    return this.held > 0 ? Promise.resolve(undefined) : this.acquire(id, {})
  }
}

for (const ends of ['resolves', 'rejects'] as const) {
  test(`when work under a lock ${ends}, the lock is released and nothing of it is left at the signals`, async (t) => {
    const [shutdown, client] = [new AbortController(), new AbortController()]
    const locker = new Recorder()
    const context = { ...surroundings(t, { shutdownSignal: shutdown.signal }), locker }
    const work = async (): Promise<string> => {
      assert.equal(locker.held, 1)
      if (ends === 'rejects') throw new Error('failed')
      return 'done'
    }
    const done = withLock(context, { id: 'a', requester: client }, work).catch((error: Error) => error.message)
    assert.equal(await done, ends === 'rejects' ? 'failed' : 'done')
    const free = await whileFree(context, 'a', work).catch((error: Error) => error.message)
    assert.equal(free, await done)
    assert.equal(locker.held, 0)
    for (const { signal } of [shutdown, client]) assert.equal(getEventListeners(signal, 'abort').length, 0)
  })
}

/** How both signals of the work stand after something happened. */
async function after(t: TestContext, happen: (parts: {
  readonly locker: Recorder
  readonly shutdown: AbortController
  readonly client: AbortController
}) => void, when: 'before' | 'meanwhile') {
  const [shutdown, client, locker] = [new AbortController(), new AbortController(), new Recorder()]
  const context = { ...surroundings(t, { shutdownSignal: shutdown.signal }), locker }
  if (when === 'before') locker.onAcquire = () => happen({ locker, shutdown, client })
  return withLock(context, { id: 'a', requester: client }, async ({ stop, signal }: Held) => {
    const seen: string[] = []
    stop.addEventListener('abort', () => seen.push('stop'))
    signal.addEventListener('abort', () => seen.push('signal'))
    if (when === 'meanwhile') happen({ locker, shutdown, client })
    return { stop: stop.aborted, signal: signal.aborted, seen, reason: signal.reason as { readonly code?: string } | undefined }
  })
}

test('work is asked to stop by another request and by a shutdown, also if that came while it waited; it may store then', async (t) => {
  for (const when of ['before', 'meanwhile'] as const) {
    const stopped = { stop: true, signal: false }
    const another = await after(t, ({ locker }) => locker.options.onReleaseRequest?.(), when)
    assert.deepEqual({ stop: another.stop, signal: another.signal }, stopped)
    const shut = await after(t, ({ shutdown }) => shutdown.abort(), when)
    assert.deepEqual({ stop: shut.stop, signal: shut.signal }, stopped)
    const gone = await after(t, ({ client }) => client.abort('gone'), when)
    assert.deepEqual({ ...gone, seen: [] }, { stop: false, signal: true, seen: [], reason: 'gone' })
  }
})

test('when a lock is lost, storing ends before the body does', async (t) => {
  const lost = await after(t, ({ locker }) => locker.options.onLost?.(), 'meanwhile')
  assert.deepEqual(lost.seen, ['signal', 'stop'])
  assert.equal(lost.reason?.code, 'LOCK_LOST')
})

test('work under a lock gets a store that changes nothing once the lock is lost', async (t) => {
  const locker = new Recorder()
  locker.isHeld = async () => false
  const context = { ...surroundings(t), locker }
  const create = ({ store }: typeof context) => store.create({ id: 'a', length: 1 })
  const requester = new AbortController()
  const work = withLock(context, { id: 'a', requester }, (held) => create({ ...held.context, locker }))
  await assert.rejects(work, { code: 'LOCK_LOST' })
  await assert.rejects(whileFree(context, 'a', (held) => create({ ...held, locker })), { code: 'LOCK_LOST' })
})

test('work for a free lock is not begun if it is held, and its holder is not disturbed', async (t) => {
  const context = surroundings(t)
  let asks = 0
  await context.locker.acquire('a', { onReleaseRequest: () => asks++ })
  assert.equal(await whileFree(context, 'a', async () => assert.fail('it was begun')), undefined)
  assert.equal(asks, 0)
})

test('a lock is waited for as long as the limit says; a locker never hears of Infinity', async (t) => {
  const locker = new Recorder()
  const waits = async (lockTimeoutMs: number): Promise<number | undefined> => {
    const context = { ...surroundings(t, { limits: { lockTimeoutMs } }), locker }
    return withLock(context, { id: 'a', requester: new AbortController() }, async () => locker.options.timeoutMs)
  }
  assert.deepEqual([await waits(7), await waits(Infinity)], [7, undefined])
})
