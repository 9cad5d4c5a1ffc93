// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import {
  lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, utimesSync,
  writeFileSync,
} from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { LockFiles, type LockFilesHold, type LockFilesOptions } from '../lib/lock-files/lock-files.ts'
import { stopClock } from './support/clock.ts'
import { temporaryFolder } from './support/temporary.ts'

const LINUX = process.platform === 'linux'
const UNIQUE = '0123456789abcdef01234567'
const OTHER_UNIQUE = 'fedcba9876543210fedcba98'

test('a free key is granted at once, and again after its release', async (t) => {
  const { folder, locks } = await openLocks(t)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // what waits for a timer waits for ever
  for (let round = 0; round < 3; round++) {
    await using _hold = await locks.acquire('a')
    assert.deepEqual(filesIn(folder), ['a.lock'])
  }
  endLingering(t)
  await emptied(folder)
})

test('a key is free whatever is held of others, and their holders are not asked', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // what waits for a timer waits for ever
  const onReleaseRequest = t.mock.fn()
  await using _a = await here.acquire('a', { onReleaseRequest })
  await using _b = await here.acquire('b', { onReleaseRequest })
  await using _c = await there!.acquire('A-b_9', { onReleaseRequest })
  assert.deepEqual(filesIn(folder), ['A-b_9.lock', 'a.lock', 'b.lock'])
  await turn()
  assert.equal(onReleaseRequest.mock.callCount(), 0)
})

test('a holder with nobody behind it is not asked to release, neither a first one nor the last of a line', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const asked: string[] = []
  const first = await here.acquire('a', { onReleaseRequest: () => asked.push('first') })
  await turn()
  assert.equal(asked.length, 0)
  const arrived = arrival()
  const [second, last] = [here.acquire('a'), there!.acquire('a', { onReleaseRequest: () => asked.push('last') })]
  await arrived
  await first.release()
  await (await second).release()
  const hold = await last
  await turn()
  assert.deepEqual(asked, ['first'])
  await hold.release()
})

test('a newcomer in the same process reaches the holder within a turn, and gets the lock when that lets go', async (t) => {
  const { locks } = await openLocks(t)
  let asked = 0
  const first = await locks.acquire('a', { onReleaseRequest: () => asked++ })
  const second = locks.acquire('a')
  await turn()
  assert.equal(asked, 1)
  await first.release()
  await (await second).release()
})

test('a newcomer elsewhere reaches the holder, which is asked once, however many come', async (t) => {
  const { locks: here, others } = await openLocks(t, 4)
  let asked = 0
  const request = deferred()
  const first = await here.acquire('a', { onReleaseRequest: () => (asked++, request.resolve()) })
  const all = []
  for (const there of others) {
    const arrived = arrival()
    all.push(there.acquire('a'))
    await arrived
  }
  await request.promise
  assert.equal(asked, 1)
  await first.release()
  await Promise.all(all.map(async (one) => (await one).release()))
})

test('one who gets the lock while others wait is asked for it when it has the hold in hand', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const hold = await here.acquire('a')
  const order: string[] = []
  const arrived = arrival()
  const claims = ['second', 'third'].map(async (name) => {
    const granted: LockFilesHold = await there!.acquire('a', {
      onReleaseRequest: () => {
        order.push(`${name} asked`)
        void granted.release()
      },
    })
    order.push(`${name} has it`)
  })
  await arrived
  await hold.release()
  await (await here.acquire('a')).release()
  await Promise.all(claims)
  assert.deepEqual(order, ['second has it', 'second asked', 'third has it', 'third asked'])
})

test('those who come in one turn and release when asked all get the key, behind however many async functions', async (t) => {
  const { locks } = await openLocks(t)
  const acquire = async (onReleaseRequest: () => void): Promise<LockFilesHold> => locks.acquire('a', { onReleaseRequest })
  const guarded = async (onReleaseRequest: () => void): Promise<LockFilesHold> => await acquire(onReleaseRequest)
  const claim = async (): Promise<void> => {
    const hold: LockFilesHold = await guarded(() => void hold.release())
  }
  await Promise.all([claim(), claim(), claim(), locks.acquire('a').then((hold) => hold.release())])
  assert.ok(await locks.tryAcquire('a'))
})

test('what onReleaseRequest and onLost throw is an uncaught exception, and reaches no promise, no release and no line', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const thrown: string[] = []
  const others = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[]
  process.removeAllListeners('uncaughtException') // the test runner would fail the test
  process.on('uncaughtException', ({ message }) => thrown.push(message))
  t.after(() => {
    process.removeAllListeners('uncaughtException')
    for (const listener of others) process.on('uncaughtException', listener)
  })
  const fail = (word: string) => (): void => {
    throw new Error(word)
  }
  const first = await here.acquire('a', { onReleaseRequest: fail('asked'), onLost: fail('lost') })
  const [second, third] = [here.acquire('a'), there!.acquire('a')]
  while (thrown.length === 0) await turn()
  await first.release()
  await (await second).release()
  await (await third).release()
  const pass = stopClock(t)
  const hold = await here.acquire('a', { onLost: fail('lost') })
  rmSync(join(folder, 'a.lock'))
  const robber = await there!.acquire('a')
  pass(51)
  assert.equal(await hold.isHeld(), false)
  while (thrown.length === 1) await turn()
  await Promise.all([hold.release(), robber.release()])
  assert.deepEqual(thrown, ['asked', 'lost'])
  assert.ok(await here.tryAcquire('a'))
})

test('one who has released is not asked any more', async (t) => {
  const { locks } = await openLocks(t)
  const onReleaseRequest = t.mock.fn()
  const first = await locks.acquire('a', { onReleaseRequest })
  const [second, third] = [locks.acquire('a'), locks.acquire('a')]
  void first.release()
  const hold = await second
  await turn()
  assert.equal(onReleaseRequest.mock.callCount(), 0)
  await hold.release()
  await (await third).release()
})

test('a holder may release while it is being asked', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const released: string[] = []
  const onReleaseRequest = (name: string, hold: () => LockFilesHold) => (): void => {
    void hold().release().then(() => released.push(name))
  }
  const first: LockFilesHold = await here.acquire('a', { onReleaseRequest: onReleaseRequest('first', () => first) })
  const second: LockFilesHold = await there!.acquire('a', { onReleaseRequest: onReleaseRequest('second', () => second) })
  const third = await here.acquire('a')
  assert.deepEqual([await first.isHeld(), await second.isHeld(), await third.isHeld()], [false, false, true])
  await third.release()
  assert.deepEqual(released.sort(), ['first', 'second'])
})

test('one holder per key, in the order of arrival, wherever they are', async (t) => {
  const { locks: a, others: [b, c] } = await openLocks(t, 3)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const order: string[] = []
  const enter = async (name: string, locks: LockFiles, work: () => Promise<void>): Promise<void> => {
    const hold = await locks.acquire('key')
    order.push(`${name} in`)
    await work()
    order.push(`${name} out`)
    await hold.release()
  }
  const othersMoved = (): Promise<void> => arrival().then(arrival)
  const hold = await a.acquire('key')
  const all: Promise<void>[] = []
  for (const [name, locks, work] of [['b', b!, othersMoved], ['c', c!, turn]] as const) {
    const arrived = arrival()
    all.push(enter(name, locks, work))
    await arrived
  }
  all.push(enter('a', a, turn))
  await hold.release()
  await Promise.all(all)
  assert.deepEqual(order, ['b in', 'b out', 'c in', 'c out', 'a in', 'a out'])
})

test('within a process the lock changes hands without touching the disk', async (t) => {
  const { folder, locks } = await openLocks(t)
  const first = await locks.acquire('a')
  const token = readlinkSync(join(folder, 'a.lock'))
  const second = locks.acquire('a')
  await first.release()
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  await (await second).release()
  await (await locks.acquire('a')).release()
})

test('releasing twice does not take the lock from the next holder', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const first = await here.acquire('a')
  const arrived = arrival()
  const second = there!.acquire('a')
  await arrived
  await Promise.all([first.release(), first.release()])
  const hold = await second
  await first.release()
  assert.equal(await here.tryAcquire('a'), undefined)
  assert.equal(await hold.isHeld(), true)
  const third = there!.acquire('a')
  await hold.release()
  const last = await third
  await hold.release()
  assert.equal(await last.isHeld(), true, 'in the same process as well')
  await last.release()
})

test('a release leaves a lock that has become another process\'s, though the holder has not noticed', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const pass = stopClock(t)
  const hold = await here.acquire('a')
  rmSync(join(folder, 'a.lock'))
  const robber = await there!.acquire('a')
  const token = readlinkSync(join(folder, 'a.lock'))
  pass(1001)
  await hold.release()
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  assert.equal(await robber.isHeld(), true)
  await robber.release()
  await emptied(folder)
})

test('tryAcquire takes what is free, and asks nobody for what is not', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const hold = await here.tryAcquire('a')
  assert.ok(hold)
  assert.equal(await here.tryAcquire('a'), undefined)
  assert.equal(await there!.tryAcquire('a'), undefined)
  await hold.release()

  const onReleaseRequest = t.mock.fn()
  const asked = await here.acquire('a', { onReleaseRequest })
  assert.equal(await here.tryAcquire('a'), undefined)
  assert.equal(await there!.tryAcquire('a'), undefined)
  assert.equal(onReleaseRequest.mock.callCount(), 0)
  await asked.release()
  await (await there!.tryAcquire('a'))?.release()
  assert.ok(await here.tryAcquire('a'))
})

test('a tryAcquire that fails leaves the line as it was: the next claim waits in it', async (t) => {
  const { folder, locks } = await openLocks(t)
  const request = deferred()
  const hold = await locks.acquire('a', { onReleaseRequest: request.resolve })
  const token = readlinkSync(join(folder, 'a.lock'))
  assert.equal(await locks.tryAcquire('a'), undefined)
  const waiting = locks.acquire('a')
  await request.promise
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  assert.equal(await hold.isHeld(), true)
  await hold.release()
  await (await waiting).release()
})

test('a holder is not asked for a newcomer that has given up at once, but for the next one', async (t) => {
  const { locks } = await openLocks(t)
  const onReleaseRequest = t.mock.fn()
  const hold = await locks.acquire('a', { onReleaseRequest })
  const controller = new AbortController()
  const impatient = locks.acquire('a', { signal: controller.signal })
  await Promise.resolve() // it stands in the line
  controller.abort(new Error('given up'))
  await assert.rejects(impatient, { message: 'given up' })
  await turn()
  assert.equal(onReleaseRequest.mock.callCount(), 0)
  const next = locks.acquire('a')
  await turn()
  assert.equal(onReleaseRequest.mock.callCount(), 1)
  await hold.release()
  await (await next).release()
})

test('one who waits behind a tryAcquire that fails waits for the holder', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  const [tried, waiting] = [there!.tryAcquire('a'), there!.acquire('a')]
  assert.equal(await tried, undefined)
  await request.promise
  await hold.release()
  await (await waiting).release()
})

test('an aborted signal is refused before it queues, and without effect once the lock is held', async (t) => {
  const { folder, locks } = await openLocks(t)
  await assert.rejects(locks.acquire('a', { signal: AbortSignal.abort(new Error('too late')) }), { message: 'too late' })
  await emptied(folder)
  const controller = new AbortController()
  const removed = t.mock.method(controller.signal, 'removeEventListener')
  await using _hold = await locks.acquire('a', { signal: controller.signal })
  assert.equal(removed.mock.callCount(), 1)
  controller.abort()
  assert.equal(await locks.tryAcquire('a'), undefined)
})

test('one who gives up in another process loses its place and leaves no listener', async (t) => {
  const { locks: a, others: [b, c] } = await openLocks(t, 3)
  const hold = await a.acquire('key')
  const controller = new AbortController()
  const removed = t.mock.method(controller.signal, 'removeEventListener')
  let arrived = arrival()
  const second = b!.acquire('key', { signal: controller.signal })
  await arrived
  arrived = arrival()
  const third = c!.acquire('key')
  await arrived
  controller.abort(new Error('client went away'))
  await assert.rejects(second, { message: 'client went away' })
  assert.equal(removed.mock.callCount(), 1)
  await hold.release()
  await (await third).release()
})

test('one who gives up does not cost the next in its process the place in the line', async (t) => {
  const { locks: a, others: [b, c] } = await openLocks(t, 3)
  const hold = await a.acquire('key')
  const controller = new AbortController()
  let arrived = arrival()
  const leaving = b!.acquire('key', { signal: controller.signal })
  const staying = b!.acquire('key')
  await arrived
  arrived = arrival()
  const last = c!.acquire('key')
  await arrived
  controller.abort(new Error('left'))
  await assert.rejects(leaving, { message: 'left' })
  for (let round = 0; round < 3; round++) await (await b!.acquire('other')).release() // time enough to come anew
  await hold.release()
  const first = await Promise.race([staying.then(() => 'staying'), last.then(() => 'last')])
  assert.equal(first, 'staying')
  await (await staying).release()
  await (await last).release()
})

test('one who gives up while its file is being made leaves no file', async (t) => {
  const { folder, locks } = await openLocks(t)
  for (const turns of [0, 1, 2, 3, 5, 8]) {
    const controller = new AbortController()
    const acquired = locks.acquire(`key-${turns}`, { signal: controller.signal })
    for (let round = 0; round < turns; round++) await turn()
    controller.abort(new Error('left'))
    await acquired.then((hold) => hold.release(), (error: Error) => assert.equal(error.message, 'left'))
  }
  await locks.close()
  assert.deepEqual(readdirSync(folder), [])
})

test('close waits for all files that are being made, and leaves none', async (t) => {
  const { folder, locks } = await openLocks(t)
  const { symlink } = promises
  const reached = deferred()
  let made = 0
  replaceBuiltin(t, 'symlink', async (...args) => {
    const mine = ++made
    if (mine === 8) reached.resolve()
    await reached.promise
    for (let round = 0; round < mine; round++) await turn() // one after the other
    return symlink(...args)
  })
  const all = Array.from({ length: 8 }, (_, key) => assert.rejects(locks.acquire(`key-${key}`), { code: 'LOCKS_CLOSED' }))
  await reached.promise
  await Promise.all([locks.close(), ...all])
  assert.deepEqual(readdirSync(folder), [])
})

test('one who gives up on the way to the holder is not stuck there', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  await using _hold = await here.acquire('a')
  for (let turns = 0; turns < 60; turns++) {
    const controller = new AbortController()
    const acquired = assert.rejects(there!.acquire('a', { signal: controller.signal }), { message: 'left' })
    for (let round = 0; round < turns; round++) await turn()
    controller.abort(new Error('left'))
    await acquired
  }
  await there!.close() // which waits for what is under way, while the lock is still held
})

test('one who gives up before it has seen that the key is held does not wait for the holder', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  await using _hold = await here.acquire('a')
  const [reached, gate] = [deferred(), deferred()]
  const { symlink } = promises
  replaceBuiltin(t, 'symlink', async (...args) => {
    reached.resolve()
    await gate.promise
    return symlink(...args)
  })
  const controller = new AbortController()
  const acquired = assert.rejects(there!.acquire('a', { signal: controller.signal }), { message: 'left' })
  await reached.promise
  controller.abort(new Error('left'))
  await acquired
  gate.resolve()
  await there!.close() // which waits for what is in progress, while the lock is still held
})

test('the wait ends at timeoutMs with a code, and no timer outlives a grant', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const first = await here.acquire('a', { timeoutMs: 1000 })
  let arrived = arrival()
  const second = there!.acquire('a', { timeoutMs: 1000 })
  await arrived
  t.mock.timers.tick(999)
  const third = here.acquire('a', { timeoutMs: 1000 })
  t.mock.timers.tick(1)
  await assert.rejects(second, { name: 'LockFilesError', code: 'LOCK_TIMEOUT', message: /1000 ms/ })
  arrived = arrival()
  const fourth = there!.acquire('a', { timeoutMs: 1000 })
  await arrived
  await first.release()
  const held = await third
  t.mock.timers.tick(900)
  await held.release()
  const last = await fourth
  t.mock.timers.tick(10_000)
  await last.release()
})

test('a timeoutMs of Infinity is never, and no duration is taken for another', async (t) => {
  const { locks } = await openLocks(t)
  const first = await locks.acquire('a', { timeoutMs: Infinity })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const second = locks.acquire('a', { timeoutMs: Infinity })
  t.mock.timers.tick(2 ** 31)
  for (const timeoutMs of [-1, NaN, -Infinity, 2 ** 31]) {
    const message = `Cannot wait as timeoutMs must be 0 to 2147483647 milliseconds or Infinity: received ${timeoutMs}`
    await assert.rejects(locks.acquire('a', { timeoutMs }), { name: 'RangeError', message })
  }
  await assert.rejects(locks.acquire('a', { timeoutMs: '1000' as never }), TypeError)
  await first.release()
  await (await second).release()
})

test('a key that could name another file is refused', async (t) => {
  const { locks } = await openLocks(t)
  for (const key of ['', '..', 'a/b', 'a.b', 'ä', 'a\0', 'a\n', 'x'.repeat(129), undefined as unknown as string]) {
    await assert.rejects(locks.acquire(key), { name: 'TypeError', message: /^Cannot lock a key as it must match/ })
    await assert.rejects(locks.tryAcquire(key), TypeError)
  }
  await using _hold = await locks.acquire('x'.repeat(128))
})

test('a lock that is not one of ours is an error, and is left as it is', async (t) => {
  const { folder, locks } = await openLocks(t)
  writeFileSync(join(folder, 'file.lock'), 'somebody')
  mkdirSync(join(folder, 'folder.lock'))
  symlinkSync('elsewhere', join(folder, 'link.lock'))
  symlinkSync('01234567-0123456789abcdef.sock/nearly', join(folder, 'dead.lock'))
  for (const key of ['file', 'folder', 'link', 'dead']) {
    await assert.rejects(locks.acquire(key), { name: 'LockFilesError', code: 'LOCK_CORRUPT' })
    await assert.rejects(locks.tryAcquire(key), { code: 'LOCK_CORRUPT' })
  }
  assert.equal(readFileSync(join(folder, 'file.lock'), 'utf8'), 'somebody')
  await (await LockFiles.open(folder)).close() // nor does it keep a process from starting
  assert.equal(readdirSync(folder).filter((name) => name.endsWith('.lock')).length, 4)
  rmSync(join(folder, 'file.lock'))
  await (await locks.acquire('file')).release()
})

test('no token leads out of the directory', async (t) => {
  const { folder, locks } = await openLocks(t)
  const [own] = socketsIn(folder)
  let connections = 0
  const server = createServer(() => connections++)
  const evil = `${own!.slice(0, 8)}-0123456789abcdef.sock`
  const outside = temporaryFolder(t)
  await listen(t, server, join(outside, evil))
  symlinkSync(outside, join(folder, 'inside'))
  const name = `inside/${evil}`
  for (const token of [
    `../${outside.split('/').at(-1)}/${evil}/${UNIQUE}`,
    `${outside}/${evil}/${UNIQUE}`,
    `${name}/${UNIQUE}`,
    `./${own}/${UNIQUE}`,
    `${own}/${UNIQUE}0`,
    `${own}/${UNIQUE.toUpperCase()}`,
    `${own}/${UNIQUE}\n`,
    `${own}`,
    `x${own}/${UNIQUE}`,
    `\n${own}/${UNIQUE}`,
  ]) {
    symlinkSync(token, join(folder, 'a.lock'))
    await assert.rejects(locks.acquire('a'), { code: 'LOCK_CORRUPT' }, token)
    rmSync(join(folder, 'a.lock'))
  }
  assert.equal(connections, 0)
})

test('a lock takes no block of an ext4 disk, so that a full one can still be locked and cleared', async (t) => {
  const { folder, locks } = await openLocks(t)
  await using _hold = await locks.acquire('a')
  assert.ok(Buffer.byteLength(readlinkSync(join(folder, 'a.lock'))) < 60)
})

test('a stranger on the socket disturbs nobody', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  const path = join(folder, dirname(readlinkSync(join(folder, 'a.lock'))))
  for (const words of ['\n', 'a'.repeat(100_000), `${UNIQUE}\n`, `${readlinkSync(join(folder, 'a.lock'))}`]) {
    const stranger = connect(path)
    stranger.end(words)
    let answer = ''
    stranger.on('data', (chunk) => (answer += chunk))
    stranger.on('error', () => {})
    await once(stranger, 'close')
    assert.ok('?'.startsWith(answer))
  }
  const waiting = there!.acquire('a')
  await request.promise
  await hold.release()
  await (await waiting).release()
})

test('what a dead process held is taken over at once', async (t) => {
  const { folder, locks } = await openLocks(t)
  const dead = await deadSocket(folder)
  symlinkSync(`${dead}/${UNIQUE}`, join(folder, 'a.lock'))
  symlinkSync(`${dead}/${OTHER_UNIQUE}`, join(folder, 'b.lock'))
  const a = await locks.acquire('a')
  const b = await locks.tryAcquire('b')
  assert.ok(b)
  for (const name of filesIn(folder)) assert.notEqual(dirname(readlinkSync(join(folder, name))), dead)
  assert.deepEqual(filesIn(folder), ['a.lock', 'b.lock'])
  await Promise.all([a.release(), b.release()])
  await emptied(folder)
})

test('what a live process does not know any more is taken over by one who waits', async (t) => {
  const { folder, locks, others: [there] } = await openLocks(t, 2)
  const connections: Socket[] = []
  const onSocket = (message: unknown): void => void connections.push((message as { readonly socket: Socket }).socket)
  subscribe('net.server.socket', onSocket)
  t.after(() => unsubscribe('net.server.socket', onSocket))
  for (const socket of socketsIn(folder)) {
    symlinkSync(`${socket}/${UNIQUE}`, join(folder, 'a.lock'))
    assert.equal(await there!.tryAcquire('a'), undefined)
    await (await locks.acquire('a')).release()
    await emptied(folder)
  }
  assert.equal(connections.length, 4)
  while (!connections.every(({ destroyed }) => destroyed)) await turn() // none is left open
})

test('a take-over that died under way is finished by the next, however many died in it', async (t) => {
  const { folder, locks } = await openLocks(t)
  const dead = await deadSocket(folder)
  const uniques = ['1', '2', '3', '4'].map((digit) => digit.repeat(24))
  for (let depth = 1; depth < uniques.length; depth++) {
    symlinkSync(`${dead}/${uniques[0]}`, join(folder, 'a.lock'))
    for (let level = 0; level < depth; level++) {
      symlinkSync(`${dead}/${uniques[level + 1]}`, join(folder, `a.lock.${uniques[level]}`))
    }
    const hold = await locks.acquire('a')
    assert.deepEqual(filesIn(folder), ['a.lock'])
    await hold.release()
    await emptied(folder)
  }
})

test('while a live process takes over, others wait for it', async (t) => {
  const { folder, locks, others: [there] } = await openLocks(t, 2)
  const dead = await deadSocket(folder)
  const hold = await there!.acquire('other')
  const guard = join(folder, `a.lock.${UNIQUE}`)
  symlinkSync(`${dead}/${UNIQUE}`, join(folder, 'a.lock'))
  symlinkSync(readlinkSync(join(folder, 'other.lock')), guard) // a token that the other process knows
  assert.equal(await locks.tryAcquire('a'), undefined)
  await assert.rejects(locks.acquire('a', { timeoutMs: 50 }), { code: 'LOCK_TIMEOUT' })
  await (await LockFiles.open(folder)).close()
  assert.equal(readlinkSync(join(folder, 'a.lock')), `${dead}/${UNIQUE}`)
  assert.ok(readdirSync(folder).includes(dead), 'a socket that a lock names is not removed')
  const waiting = locks.acquire('a')
  rmSync(guard)
  await hold.release()
  await (await waiting).release()
  await emptied(folder)
})

test('one who comes late to a take-over does not take the lock from the one who finished it', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const dead = await deadSocket(folder)
  const { symlink } = promises
  for (const patient of [false, true]) {
    symlinkSync(`${dead}/${UNIQUE}`, join(folder, 'a.lock'))
    const request = deferred()
    let winner: LockFilesHold | undefined
    const restore = replaceBuiltin(t, 'symlink', async (...args) => {
      if (String(args[1]).endsWith(UNIQUE)) {
        restore()
        winner = await there!.acquire('a', { onReleaseRequest: request.resolve })
      }
      return symlink(...args)
    })
    const late = patient ? here.acquire('a') : here.tryAcquire('a')
    if (patient) await request.promise
    else assert.equal(await late, undefined)
    assert.equal(await winner!.isHeld(), true)
    await winner!.release()
    await (await late)?.release()
    await emptied(folder)
  }
})

test('one whose guard is removed under its hands has not taken over, and does so again', async (t) => {
  const { folder, locks } = await openLocks(t)
  const token = `${await deadSocket(folder)}/${UNIQUE}`
  symlinkSync(token, join(folder, 'a.lock'))
  const { rename } = promises
  const restore = replaceBuiltin(t, 'rename', (from, to) => {
    restore()
    rmSync(String(from))
    return rename(from, to)
  })
  assert.equal(await locks.tryAcquire('a'), undefined)
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  const hold = await locks.acquire('a')
  assert.equal(await hold.isHeld(), true)
  await hold.release()
  await emptied(folder)
})

test('a link that is ours though its making failed, as NFS may say, is a lock that we hold', async (t) => {
  const { folder, locks } = await openLocks(t)
  const { symlink } = promises
  replaceBuiltin(t, 'symlink', async (...args) => {
    await symlink(...args)
    throw Object.assign(new Error('once more'), { code: 'EEXIST' })
  })
  const hold = await locks.tryAcquire('a')
  assert.equal(await hold?.isHeld(), true)
  await hold?.release()
  await emptied(folder)
})

test('a take-over that failed and could not be cleared away is finished by the next, here or elsewhere', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const dead = await deadSocket(folder)
  for (const next of [here, there!]) {
    symlinkSync(`${dead}/${UNIQUE}`, join(folder, 'a.lock'))
    const restores = (['rename', 'unlink'] as const).map((call) => replaceBuiltin(t, call, () => Promise.reject(new Error('no'))))
    await assert.rejects(here.acquire('a'), { message: 'no' })
    for (const restore of restores) restore()
    assert.deepEqual(filesIn(folder), ['a.lock', `a.lock.${UNIQUE}`])
    assert.equal(await there!.tryAcquire('a'), undefined)
    await (await next.acquire('a')).release()
    await emptied(folder)
  }
})

test('one who reads a token before its maker knows that it is written stands in line all the same', async (t) => {
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const { symlink } = promises
  let second: Promise<LockFilesHold> | undefined
  replaceBuiltin(t, 'symlink', async (...args) => {
    await symlink(...args)
    if (second) return
    const arrived = arrival()
    second = there!.acquire('a')
    await arrived
  })
  const request = deferred()
  const first = await here.acquire('a', { onReleaseRequest: request.resolve })
  await request.promise
  assert.equal(await there!.tryAcquire('a'), undefined)
  await first.release()
  await (await second!).release()
})

test('a file that cannot be removed at its release is replaced by the next, here or elsewhere', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const { unlink } = promises
  for (const next of [here, there!]) {
    const hold = await here.acquire('a')
    const restore = replaceBuiltin(t, 'unlink', () => Promise.reject(new Error('no')))
    await hold.release()
    restore()
    assert.equal(promises.unlink, unlink)
    assert.deepEqual(filesIn(folder), ['a.lock'])
    await (await next.acquire('a')).release()
    await emptied(folder)
  }
})

test('a file that cannot be removed at its release is replaced by one that waits elsewhere already', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const hold = await here.acquire('a')
  const arrived = arrival()
  const waiting = there!.acquire('a')
  await arrived
  const restore = replaceBuiltin(t, 'unlink', () => Promise.reject(new Error('no')))
  await hold.release()
  restore()
  await (await waiting).release()
  endLingering(t)
  await emptied(folder)
})

for (const call of ['unlink', 'readlink'] as const) {
  test(`a process that closes after its ${call} failed leaves its socket, so that others take at once what it left`, async (t) => {
    const { folder, locks: here, others: [there] } = await openLocks(t, 2)
    t.mock.timers.enable({ apis: ['setTimeout'] }) // what waits for a timer waits for ever
    const pass = stopClock(t)
    const hold = await here.acquire('a')
    pass(51)
    const restore = replaceBuiltin(t, call, () => Promise.reject(new Error('no')))
    assert.equal(await hold.isHeld(), call === 'unlink')
    await hold.release()
    await here.close()
    restore()
    assert.deepEqual(filesIn(folder), ['a.lock'])
    await (await there!.acquire('a')).release()
    endLingering(t)
  await emptied(folder)
  })
}

test('an error of the file system goes to the one whose turn it is, and the next tries for itself', async (t) => {
  const { locks } = await openLocks(t)
  const restore = replaceBuiltin(t, 'symlink', async () => {
    restore()
    throw new Error('no space')
  })
  const [first, second] = [locks.acquire('a'), locks.acquire('a')]
  await assert.rejects(first, { message: 'no space' })
  await (await second).release()
})

test('a directory that is removed while a dead holder is replaced is made again, and the key is granted', async (t) => {
  const { folder, locks } = await openLocks(t)
  symlinkSync(`${await deadSocket(folder)}/${UNIQUE}`, join(folder, 'a.lock'))
  const { symlink } = promises
  const { mock } = t.mock.method(promises, 'symlink', async (target: string, path: string) => {
    if (path.endsWith(UNIQUE)) rmSync(folder, { recursive: true, force: true })
    return symlink(target, path)
  })
  syncBuiltinESMExports()
  t.after(() => {
    mock.restore()
    syncBuiltinESMExports()
  })
  await using hold = await locks.acquire('a')
  assert.equal(await hold.isHeld(), true)
  assert.deepEqual(filesIn(folder), ['a.lock'])
})

test('of many who find a dead holder one gets the lock at a time', async (t) => {
  const { folder, locks, others } = await openLocks(t, 8)
  const dead = await deadSocket(folder)
  for (let round = 0; round < 5; round++) {
    symlinkSync(`${dead}/${String(round).repeat(24)}`, join(folder, 'a.lock'))
    let inside = 0
    await Promise.all(
      [locks, ...others].map(async (one) => {
        const hold = await one.acquire('a')
        assert.equal(++inside, 1)
        await turn()
        inside--
        await hold.release()
      }),
    )
    await emptied(folder)
  }
})

test("another host's lock is held while its process was seen within the lease", async (t) => {
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 30_000 })
  const foreign = 'deadbeef-0123456789abcdef.sock'
  const seen = (secondsAgo: number): void => {
    const time = Date.now() / 1000 - secondsAgo
    utimesSync(join(folder, foreign), time, time)
  }
  writeFileSync(join(folder, foreign), '')
  for (const [secondsAgo, held] of [[0, true], [20, true], [-20, true], [40, false], [-40, false]] as const) {
    symlinkSync(`${foreign}/${UNIQUE}`, join(folder, 'a.lock'))
    seen(secondsAgo)
    const hold = await locks.tryAcquire('a')
    assert.equal(hold === undefined, held, `seen ${secondsAgo} s ago`)
    await hold?.release()
    if (held) rmSync(join(folder, 'a.lock'))
    else await emptied(folder)
  }

  symlinkSync(`${foreign}/${UNIQUE}`, join(folder, 'a.lock'))
  seen(0)
  await assert.rejects(locks.acquire('a', { timeoutMs: 50 }), { code: 'LOCK_TIMEOUT' })
  const waiting = locks.acquire('a', { timeoutMs: 10_000 })
  seen(40)
  await (await waiting).release()
  await emptied(folder)

  symlinkSync(`${foreign}/${UNIQUE}`, join(folder, 'a.lock'))
  seen(0)
  const patient = locks.acquire('a', { timeoutMs: 10_000 })
  rmSync(join(folder, 'a.lock')) // as its holder would
  await (await patient).release()
  await emptied(folder)

  symlinkSync(`${foreign}/${UNIQUE}`, join(folder, 'a.lock'))
  rmSync(join(folder, foreign))
  assert.equal(await locks.tryAcquire('a'), undefined, 'its socket may be made again')
  lutimesSync(join(folder, 'a.lock'), 1, 1)
  await (await locks.acquire('a')).release()
})

test('a process of this host that gave itself another name is asked, and is not robbed when it is stopped', async (t) => {
  const { folder, locks: here } = await openLocks(t)
  const { mock } = t.mock.method(promises, 'readFile', () => Promise.reject(new Error('not allowed')))
  syncBuiltinESMExports()
  const there = await LockFiles.open(folder)
  t.after(() => there.close())
  mock.restore()
  syncBuiltinESMExports()
  assert.equal(new Set(socketsIn(folder).map((name) => name.slice(0, 8))).size, 2)
  for (const [holding, wanting] of [[here, there], [there, here]] as const) {
    const request = deferred()
    const hold = await holding.acquire('a', { onReleaseRequest: request.resolve })
    for (const name of socketsIn(folder)) utimesSync(join(folder, name), 1, 1) // as if no time had been theirs for long
    assert.equal(await wanting.tryAcquire('a'), undefined)
    const waiting = wanting.acquire('a')
    await request.promise
    await hold.release()
    await (await waiting).release()
  }
})

test('a lock whose process has no socket is held as long as it is young', async (t) => {
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 30_000 })
  const missing = `${socketsIn(folder)[0]!.slice(0, 8)}-0000000000000000.sock`
  for (const [secondsAgo, held] of [[0, true], [20, true], [-20, true], [40, false], [-40, false]] as const) {
    const path = join(folder, 'a.lock')
    symlinkSync(`${missing}/${UNIQUE}`, path)
    const time = Date.now() / 1000 - secondsAgo
    lutimesSync(path, time, time)
    const hold = await locks.tryAcquire('a')
    assert.equal(hold === undefined, held, `made ${secondsAgo} s ago`)
    await (await LockFiles.open(folder, { leaseMs: 30_000 })).close()
    assert.equal(isThere(path), held || hold !== undefined, 'a sweep sees it in the same way')
    await hold?.release()
    if (held) rmSync(path)
    else await emptied(folder)
  }
})

test('a process is seen by the time of its socket, at each file it makes and between', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const pass = stopClock(t)
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 40_000 })
  const socket = join(folder, socketsIn(folder)[0]!)
  const age = (): number => Date.now() - statSync(socket).mtimeMs
  utimesSync(socket, 1, 1)
  await using _hold = await locks.acquire('a')
  assert.ok(age() < 30_000)
  utimesSync(socket, 1, 1)
  pass(1001) // more often than once a second would only cost time
  await using _other = await locks.tryAcquire('b')
  assert.ok(age() < 30_000)
  utimesSync(socket, 1, 1)
  t.mock.timers.tick(10_000)
  while (age() > 30_000) await turn()
})

test('open sweeps what the dead left, and nothing else', async (t) => {
  const { folder, locks } = await openLocks(t)
  const dead = await deadSocket(folder)
  const host = dead.slice(0, 8)
  const files = {
    swept: ['deadbeef-0000000000000000.sock', `${host}-0000000000000000.new`, `a.lock.${'0'.repeat(24)}`],
    young: ['deadbeef-1111111111111111.sock', `${host}-1111111111111111.new`],
    notOurs: [
      'notes.txt', 'x.sock', 'x.new', `${host}-111.new`, `${dead}.bak`, `x${dead}`, 'key.lock.bak', `key.lock.${'0'.repeat(23)}`,
      `a.b.lock.${'0'.repeat(24)}`, `x ${host}-1111111111111111.new`,
    ],
  }
  for (const name of Object.values(files).flat()) writeFileSync(join(folder, name), '')
  for (const name of [...files.swept, ...files.notOurs]) utimesSync(join(folder, name), 1, 1)
  symlinkSync(`${dead}/${OTHER_UNIQUE}`, join(folder, 'b.lock'))
  symlinkSync(`${dead}/${UNIQUE}`, join(folder, `b.lock.${OTHER_UNIQUE}`))
  await using _hold = await locks.acquire('held')
  const before = socketsIn(folder)

  const next = await LockFiles.open(folder)
  t.after(() => next.close())
  for (const name of [...files.swept, dead, 'b.lock', `b.lock.${OTHER_UNIQUE}`]) assert.ok(!readdirSync(folder).includes(name), name)
  for (const name of [...files.young, ...files.notOurs, 'held.lock']) assert.ok(readdirSync(folder).includes(name), name)
  assert.ok(before.filter((name) => name !== dead && !files.swept.includes(name)).every((name) => readdirSync(folder).includes(name)))
  await (await next.acquire('b')).release()
})

test('the directory and its sockets are for their owner alone', async (t) => {
  const folder = join(temporaryFolder(t), 'made', 'here')
  const locks = await LockFiles.open(folder)
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  assert.equal(statSync(join(folder, socketsIn(folder)[0]!)).mode & 0o777, 0o600)
  await locks.close()
})

test('a directory whose path is too long for a socket serves as well', { skip: !LINUX }, async (t) => {
  const folder = join(temporaryFolder(t), 'x'.repeat(200))
  const { locks: here, others: [there] } = await openLocks(t, 2, {}, folder)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  const waiting = there!.acquire('a')
  await request.promise
  await hold.release()
  const second = await waiting
  symlinkSync(`${await deadSocket(folder)}/${UNIQUE}`, join(folder, 'b.lock'))
  await (await here.acquire('b')).release()
  await second.release()
  await Promise.all([here.close(), there!.close()])
  assert.deepEqual(socketsIn(folder), [socketsIn(folder)[0]])
})

test('elsewhere than on Linux such a path is refused with the reason', async (t) => {
  const folder = join(temporaryFolder(t), 'x'.repeat(200))
  const platform = Object.getOwnPropertyDescriptor(process, 'platform')!
  t.after(() => Object.defineProperty(process, 'platform', platform))
  Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' })
  await assert.rejects(LockFiles.open(folder), { code: 'LOCKS_UNSUPPORTED', message: /at most 100 bytes/ })
})

test('a directory that cannot have sockets is refused with the reason', { skip: !LINUX }, async () => {
  await assert.rejects(LockFiles.open('/proc'), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'LOCKS_UNSUPPORTED')
    assert.match(error.message, /^Cannot keep locks in \/proc as it must allow Unix sockets and symbolic links: /)
    return error.cause instanceof Error
  })
})

for (const call of ['symlink', 'readlink', 'unlink'] as const) {
  test(`a directory in which ${call} fails is refused when it is opened`, async (t) => {
    const folder = temporaryFolder(t)
    replaceBuiltin(t, call, () => Promise.reject(Object.assign(new Error('not here'), { code: 'EPERM' })))
    await assert.rejects(LockFiles.open(folder), { code: 'LOCKS_UNSUPPORTED', message: /not here$/ })
  })
}

test('a holder that cannot be asked is looked at again after pauses that grow to a second', async (t) => {
  const { folder, locks } = await openLocks(t)
  writeFileSync(join(folder, 'deadbeef-0123456789abcdef.sock'), '')
  symlinkSync(`deadbeef-0123456789abcdef.sock/${UNIQUE}`, join(folder, 'a.lock'))
  const pauses: number[] = []
  const enough = deferred()
  const waitLong = globalThis.setTimeout
  t.mock.method(globalThis, 'setTimeout', ((callback: () => void, ms: number) => {
    pauses.push(ms)
    if (pauses.length === 12) enough.resolve()
    return waitLong(callback, 0)
  }) as typeof setTimeout)
  const controller = new AbortController()
  const waiting = assert.rejects(locks.acquire('a', { signal: controller.signal }), { message: 'left' })
  await enough.promise
  controller.abort(new Error('left'))
  await waiting
  assert.deepEqual(pauses.slice(0, 12), [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000])
})

test('a lease that is no duration is refused', async (t) => {
  for (const leaseMs of [0, -1, NaN, Infinity, 2 ** 31]) {
    const opened = LockFiles.open(temporaryFolder(t), { leaseMs })
    await assert.rejects(opened, { name: 'RangeError', message: /leaseMs must be 1 to 2147483647/ })
  }
})

for (const what of ['directory', 'directory with a long path', 'socket', 'locks'] as const) {
  test(`what was removed (${what}) is made again by the next heartbeat, and newcomers reach the holder`, { skip: !LINUX }, async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const folder = join(temporaryFolder(t), what.endsWith('path') ? 'x'.repeat(200) : 'locks')
    const { locks: here } = await openLocks(t, 1, { leaseMs: 40_000 }, folder)
    const request = deferred()
    const onLost = t.mock.fn()
    const hold = await here.acquire('a', { onReleaseRequest: request.resolve, onLost })
    const before = [readdirSync(folder), readlinkSync(join(folder, 'a.lock'))]
    const [own] = socketsIn(folder)
    if (what.startsWith('directory')) rmSync(folder, { recursive: true })
    else for (const name of what === 'socket' ? socketsIn(folder) : filesIn(folder)) rmSync(join(folder, name))
    // As if an attempt to make the socket again had ended in the middle.
    if (what === 'socket') writeFileSync(join(folder, own!.replace('.sock', '.new')), '')
    t.mock.timers.tick(10_000)
    while (!isThere(join(folder, 'a.lock')) || socketsIn(folder).length === 0) await turn()
    assert.deepEqual([readdirSync(folder), readlinkSync(join(folder, 'a.lock'))], before)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(descriptorsOf(folder), what.endsWith('path') ? 1 : 0, 'none of the directory before is left')

    const { locks: there } = await openLocks(t, 1, { leaseMs: 40_000 }, folder)
    const waiting = there.acquire('a')
    await request.promise
    assert.equal(await hold.isHeld(), true)
    await hold.release()
    await (await waiting).release()
    assert.equal(onLost.mock.callCount(), 0)
    await Promise.all([here.close(), there.close()])
    assert.deepEqual(readdirSync(folder), [])
    assert.equal(descriptorsOf(folder), 0)
  })
}

test('a close while the socket is being made again leaves none', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 40_000 }, join(temporaryFolder(t), 'locks'))
  const [reached, gate] = [deferred(), deferred()]
  const { mkdir } = promises
  replaceBuiltin(t, 'mkdir', (async (...args: Parameters<typeof mkdir>) => {
    reached.resolve()
    await gate.promise
    return mkdir(...args)
  }) as typeof mkdir)
  rmSync(folder, { recursive: true })
  t.mock.timers.tick(10_000)
  await reached.promise
  const closing = locks.close()
  for (let round = 0; round < 20; round++) await turn() // time enough to close without it
  gate.resolve()
  await closing
  for (let round = 0; round < 20; round++) await turn()
  assert.deepEqual(readdirSync(folder), [])
})

test('the first who misses the directory makes it again, and the locks that are held', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] }) // no heartbeat does
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  rmSync(folder, { recursive: true })
  const other = await here.acquire('b')
  while (!isThere(join(folder, 'a.lock'))) await turn()
  const waiting = there!.acquire('a')
  await request.promise
  await hold.release()
  await Promise.all([(await waiting).release(), other.release()])
})

test('in a directory that was moved away and back, a live process is not taken for a dead one', { skip: !LINUX }, async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const folder = join(temporaryFolder(t), 'locks')
  const { locks: here, others: [there] } = await openLocks(t, 2, { leaseMs: 40_000 }, folder)
  renameSync(folder, `${folder}-away`)
  t.mock.timers.tick(10_000) // both make their sockets again, in a new directory
  while (!isThere(folder) || socketsIn(folder).length < 2) await turn()
  rmSync(folder, { recursive: true })
  renameSync(`${folder}-away`, folder) // here are those of before, which nobody listens to
  await using hold = await here.acquire('a')
  assert.equal(await there!.tryAcquire('a'), undefined)
  assert.equal(await hold.isHeld(), true)
})

test('one who misses the directory between two steps makes it again', async (t) => {
  const pass = stopClock(t)
  const { folder, locks } = await openLocks(t)
  const { utimes } = promises
  const { mock } = t.mock.method(promises, 'utimes', async (...args: Parameters<typeof utimes>) => {
    mock.restore()
    syncBuiltinESMExports()
    await utimes(...args)
    rmSync(folder, { recursive: true })
  })
  syncBuiltinESMExports()
  await using hold = await locks.acquire('a')
  assert.equal(await hold.isHeld(), true)
  const { symlink } = promises
  const restore = replaceBuiltin(t, 'symlink', (...args) => {
    restore()
    rmSync(folder, { recursive: true })
    return symlink(...args)
  })
  await using other = await locks.acquire('b')
  pass(51)
  assert.deepEqual([await hold.isHeld(), await other.isHeld()], [true, true])
  assert.deepEqual(filesIn(folder), ['a.lock', 'b.lock'])
})

test('a live process whose socket was removed keeps its locks, and is waited for', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { folder, locks: here } = await openLocks(t, 1, { leaseMs: 40_000 })
  const [own] = socketsIn(folder)
  const { locks: there } = await openLocks(t, 1, { leaseMs: 40_000 }, folder)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  const token = readlinkSync(join(folder, 'a.lock'))
  rmSync(join(folder, own!))
  assert.equal(await there.tryAcquire('a'), undefined)
  await assert.rejects(there.acquire('a', { timeoutMs: 50 }), { code: 'LOCK_TIMEOUT' })
  await (await LockFiles.open(folder)).close() // nor does a sweep take it
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  const waiting = there.acquire('a')
  t.mock.timers.tick(10_000)
  await request.promise
  await hold.release()
  await (await waiting).release()
})

test('the heartbeat keeps the locks that are held young, until they are closed', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 40_000 })
  const hold = await locks.acquire('a')
  const path = join(folder, 'a.lock')
  lutimesSync(path, 1, 1)
  t.mock.timers.tick(10_000)
  while (Date.now() - lstatSync(path).mtimeMs > 30_000) await turn()
  await hold.release()
  await locks.close()
  let beats = 0
  replaceBuiltin(t, 'utimes', async () => void beats++)
  t.mock.timers.tick(40_000)
  await turn()
  assert.equal(beats, 0, 'a close ends it')
})

test('a holder whose lock was removed and taken is told once, and those behind it wait for the one who took it', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const { folder, locks: here, others: [there] } = await openLocks(t, 2, { leaseMs: 40_000 })
  const lost = deferred()
  const onLost = t.mock.fn(lost.resolve)
  const hold = await here.acquire('a', { onLost })
  const behind = here.acquire('a')
  assert.equal(await hold.isHeld(), true)
  rmSync(join(folder, 'a.lock'))
  const request = deferred()
  const robber = await there!.acquire('a', { onReleaseRequest: request.resolve })
  t.mock.timers.tick(10_000)
  await lost.promise
  assert.equal(await hold.isHeld(), false)
  assert.equal(await robber.isHeld(), true)
  await hold.release()
  assert.equal(await robber.isHeld(), true, 'the release has not touched it')
  await request.promise
  await robber.release()
  const next = await behind
  assert.equal(await next.isHeld(), true)
  await next.release()
  t.mock.timers.tick(10_000)
  await here.close()
  await turn()
  assert.equal(onLost.mock.callCount(), 1)
})

test('one who waits for a holder that loses its lock waits for the one who took it', async (t) => {
  const { folder, locks: here, others: [there, last] } = await openLocks(t, 3)
  const pass = stopClock(t)
  const hold = await here.acquire('a')
  const arrived = arrival()
  const waiting = last!.acquire('a')
  await arrived
  rmSync(join(folder, 'a.lock'))
  const request = deferred()
  const robber = await there!.acquire('a', { onReleaseRequest: request.resolve })
  pass(51)
  assert.equal(await hold.isHeld(), false)
  await request.promise
  await robber.release()
  await (await waiting).release()
  await hold.release()
})

test('a lock that cannot be made again is lost', async (t) => {
  const parent = temporaryFolder(t)
  const { locks } = await openLocks(t, 1, {}, join(parent, 'locks'))
  const onLost = t.mock.fn()
  const pass = stopClock(t)
  const hold = await locks.acquire('a', { onLost })
  rmSync(parent, { recursive: true })
  pass(51)
  assert.equal(await hold.isHeld(), false)
  await turn()
  assert.equal(onLost.mock.callCount(), 1)
  await locks.close()
  await turn()
  assert.equal(onLost.mock.callCount(), 1, 'once')
  await hold.release()
  assert.equal(isThere(parent), false, 'a folder that was not ours is not made')
})

test('a hold that was released is not held, and makes no file', async (t) => {
  const pass = stopClock(t)
  const { folder, locks } = await openLocks(t)
  const hold = await locks.acquire('a')
  const released = hold.release()
  assert.equal(await hold.isHeld(), false)
  await released
  for (let round = 0; round < 20; round++) {
    const again = await locks.acquire('a')
    rmSync(join(folder, 'a.lock'), { force: true })
    pass(51)
    const [held] = await Promise.all([again.isHeld(), again.release()])
    assert.equal(held, false)
  }
  await locks.close()
  assert.deepEqual(readdirSync(folder), [])
})

test('a file that is being made again when its lock is released is removed', async (t) => {
  const { folder, locks } = await openLocks(t)
  const [reached, gate] = [deferred(), deferred()]
  const pass = stopClock(t)
  const hold = await locks.acquire('a')
  pass(51)
  rmSync(join(folder, 'a.lock'))
  const { symlink } = promises
  replaceBuiltin(t, 'symlink', async (...args) => {
    reached.resolve()
    await gate.promise
    return symlink(...args)
  })
  const checked = hold.isHeld()
  await reached.promise
  const released = hold.release()
  for (let round = 0; round < 20; round++) await turn() // time enough to find no file
  gate.resolve()
  assert.equal(await checked, false)
  await released
  await emptied(folder)
})

test('a file that is missing is not made again once the locks are closed', async (t) => {
  const { folder, locks } = await openLocks(t)
  const [reached, gate] = [deferred(), deferred()]
  const pass = stopClock(t)
  const hold = await locks.acquire('a')
  pass(51)
  rmSync(join(folder, 'a.lock'))
  const { utimes } = promises
  replaceBuiltin(t, 'utimes', async (...args) => {
    reached.resolve()
    await gate.promise
    return utimes(...args)
  })
  const checked = hold.isHeld()
  await reached.promise
  await locks.close()
  for (const name of readdirSync(folder)) rmSync(join(folder, name))
  gate.resolve()
  assert.equal(await checked, false)
  assert.deepEqual(readdirSync(folder), [], 'nor its socket')
})

test('after close nothing is granted, those who wait are told, and no file is left', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const request = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve })
  const waiting = assert.rejects(there!.acquire('a'), { name: 'LockFilesError', code: 'LOCKS_CLOSED' })
  const behind = assert.rejects(there!.acquire('a'), { code: 'LOCKS_CLOSED' })
  await request.promise
  await there![Symbol.asyncDispose]()
  await Promise.all([waiting, behind])
  await assert.rejects(there!.acquire('b'), { code: 'LOCKS_CLOSED' })
  await assert.rejects(there!.tryAcquire('b'), { code: 'LOCKS_CLOSED' })

  void hold.release()
  const late = assert.rejects(here.acquire('c'), { code: 'LOCKS_CLOSED' })
  await Promise.all([here.close(), here.close(), late])
  assert.deepEqual(readdirSync(folder), [])
})

test('what is held at close counts as a dead process holding it, and its late release harms nobody', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const request = deferred()
  const lost = deferred()
  const hold = await here.acquire('a', { onReleaseRequest: request.resolve, onLost: lost.resolve })
  const late = await here.acquire('b')
  const waiting = there!.acquire('a')
  await request.promise
  await here.close()
  await lost.promise
  assert.equal(await hold.isHeld(), false)
  const second = await waiting
  await (await there!.acquire('b')).release() // one who did not stand in its line knows as well
  await late.release()
  const token = readlinkSync(join(folder, 'a.lock'))
  await hold.release()
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  await second.release()
  await emptied(folder)
})

test('whatever happens, there is one holder per key, and all who stay get it', async (t) => {
  type Step = { readonly kind: 'acquire' | 'try' | 'release' | 'giveUp' | 'turn'; readonly which: number }
  const kinds = fc.constantFrom<Step['kind']>('acquire', 'acquire', 'try', 'release', 'release', 'giveUp', 'turn')
  const steps = fc.array(fc.record({ kind: kinds, which: fc.nat(20) }), { maxLength: 40 })
  const { folder, locks, others } = await openLocks(t, 3)
  const all = [locks, ...others]
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const held: LockFilesHold[] = []
      const waiting = new Map<Promise<void>, AbortController>()
      const take = (hold: LockFilesHold | undefined): void => {
        if (hold) held.push(hold)
        assert.ok(held.length <= 1)
        if (ending) void release()
      }
      let ending = false
      const release = async (): Promise<void> => held.pop()?.release()
      for (const { kind, which } of sequence) {
        const one = all[which % all.length]!
        if (kind === 'acquire') {
          const controller = new AbortController()
          const acquired = one.acquire('key', { signal: controller.signal }).then(take, () => {})
          const claim: Promise<void> = acquired.finally(() => waiting.delete(claim))
          waiting.set(claim, controller)
        } else if (kind === 'try') take(await one.tryAcquire('key'))
        else if (kind === 'release') void release()
        else if (kind === 'giveUp') [...waiting.values()][which]?.abort(new Error('left'))
        else await turn()
      }
      ending = true
      await release()
      await Promise.all(waiting.keys())
      await (await locks.acquire('key')).release()
      assert.deepEqual(filesIn(folder).filter((name) => name !== 'key.lock'), [])
    }),
    { numRuns: 60 },
  )
})

/** Opens one directory as so many processes would; closed after the test. */
async function openLocks(t: TestContext, count = 1, options: LockFilesOptions = {}, folder: string = temporaryFolder(t)) {
  const all: LockFiles[] = []
  for (let index = 0; index < count; index++) all.push(await LockFiles.open(folder, options))
  t.after(() => Promise.all(all.map((locks) => locks.close())))
  const [locks, ...others] = all
  return { folder, locks: locks!, others }
}

/** How many descriptors of this process lead into a folder. */
function descriptorsOf(folder: string): number {
  return readdirSync('/proc/self/fd').filter((name) => targetOf(`/proc/self/fd/${name}`).startsWith(folder)).length
}

/** What a link names; nothing if it is gone. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** A lock is a link that leads nowhere. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Resolves when a request from "another process" has come to a line. */
function arrival(): Promise<void> {
  return new Promise((resolve) => {
    const onSocket = (message: unknown): void => {
      const { socket } = message as { readonly socket: Socket }
      socket.once('data', () => {
        unsubscribe('net.server.socket', onSocket)
        resolve()
      })
    }
    subscribe('net.server.socket', onSocket)
  })
}

/** Has the library call something else until the test is over or the returned function is called. */
function replaceBuiltin<Name extends 'mkdir' | 'readlink' | 'rename' | 'symlink' | 'unlink' | 'utimes'>(
  t: TestContext,
  name: Name,
  replacement: (typeof promises)[Name],
): () => void {
  const { mock } = t.mock.method(promises, name, replacement as never)
  syncBuiltinESMExports()
  const restore = (): void => {
    mock.restore()
    syncBuiltinESMExports()
  }
  t.after(restore)
  return restore
}

/** Leaves the socket of a process of this host that is dead. */
async function deadSocket(folder: string): Promise<string> {
  const host = socketsIn(folder)[0]!.slice(0, 8)
  const name = `${host}-deaddeaddeaddead.sock`
  const maker = temporaryFolder({ after() {} } as unknown as TestContext)
  const server = createServer()
  server.listen(join(maker, 's'))
  await once(server, 'listening')
  renameSync(join(maker, 's'), join(folder, name))
  server.close()
  rmSync(maker, { recursive: true })
  return name
}

async function listen(t: TestContext, server: Server, path: string): Promise<void> {
  server.listen(path)
  await once(server, 'listening')
  t.after(() => server.close())
}

function socketsIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith('.sock')).sort()
}

/** All but the sockets. */
function filesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => !name.endsWith('.sock')).sort()
}

/** Has the second pass for which a lock that was released may linger, where timers are mocked. */
function endLingering(t: TestContext): void {
  for (let period = 0; period < 2; period++) t.mock.timers.tick(500)
}

/** Resolves when the locks that were released in a folder do not linger any more, and no other file is left. */
async function emptied(folder: string): Promise<void> {
  while (filesIn(folder).length > 0) await turn()
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => (resolve = settle))
  return { promise, resolve }
}
