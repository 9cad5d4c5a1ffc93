// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { LockFiles, type LockFilesHold } from '../lib/lock-files/lock-files.ts'
import { stopClock } from './support/clock.ts'
import { startLockProcess } from './support/lock-process.ts'
import { temporaryFolder } from './support/temporary.ts'

const UNIQUE = '0123456789abcdef01234567'
const SECOND_MS = 1000

test('holds that follow each other in one process are one tenure, and all but the first cost no call of the file system', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  stopClock(t)
  const { locks } = await openLocks(t)
  const first = await locks.acquire('a')
  await first.release()
  const calls = countCalls(t)
  for (let round = 0; round < 5; round++) {
    const hold = round % 2 ? await locks.acquire('a') : await locks.tryAcquire('a')
    assert.equal(hold?.tenure, first.tenure)
    assert.equal(await hold?.isHeld(), true)
    await hold?.release()
  }
  assert.equal(first.tenure.ended, false)
  assert.equal(calls(), 0)
})

test('a tenure ends before its link is removed, and the next one is another', async (t) => {
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const first = await here.acquire('a')
  await first.release()
  let endedAtUnlink: boolean | undefined
  const { unlink } = promises
  replaceBuiltin(t, 'unlink', (path) => {
    if (String(path) === join(folder, 'a.lock')) endedAtUnlink ??= first.tenure.ended
    return unlink(path)
  })
  const second = await there!.acquire('a')
  assert.deepEqual([endedAtUnlink, first.tenure.ended, second.tenure.ended], [true, true, false])
  await second.release()
  const third = await here.acquire('a')
  assert.notEqual(third.tenure, first.tenure)
  assert.deepEqual([second.tenure.ended, third.tenure.ended], [true, false])
  await third.release()
})

test('a link that was to be removed while its directory was away, and that comes back with it, is free when its process has ended', async (t) => {
  const home = temporaryFolder(t)
  const [folder, elsewhere] = [join(home, 'locks'), join(home, 'elsewhere')]
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const here = await LockFiles.open(folder)
  await (await here.acquire('a')).release()
  let tried: Promise<unknown> | undefined
  const { unlink } = promises
  replaceBuiltin(t, 'unlink', (path) => {
    const removed = unlink(path)
    if (String(path) === join(folder, 'a.lock')) tried = removed.catch(() => {})
    return removed
  })
  renameSync(folder, elsewhere)
  for (let period = 0; period < 2; period++) t.mock.timers.tick(500)
  while (!tried) await turn()
  await tried
  renameSync(elsewhere, folder)
  await here.close()
  assert.deepEqual(filesIn(folder), ['a.lock'])
  const there = await LockFiles.open(folder)
  t.after(() => there.close())
  const hold = await there.tryAcquire('a')
  assert.ok(hold, 'the lock is free')
  await hold.release()
})

test('a released lock lingers for half a second at least and for a second at most', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { folder, locks } = await openLocks(t)
  const a = await locks.acquire('a')
  await a.release()
  t.mock.timers.tick(499)
  const b = await locks.acquire('b')
  await b.release()
  t.mock.timers.tick(1)
  assert.deepEqual([a.tenure.ended, b.tenure.ended], [false, false])
  await (await locks.acquire('a')).release() // which begins its time again
  t.mock.timers.tick(500)
  assert.deepEqual([a.tenure.ended, b.tenure.ended], [false, true])
  t.mock.timers.tick(500)
  assert.equal(a.tenure.ended, true)
  await emptied(folder)
})

test('at most 256 locks linger, and the oldest goes first', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { folder, locks } = await openLocks(t)
  const holds: LockFilesHold[] = []
  for (let key = 0; key < 256; key++) {
    const hold = await locks.acquire(`key-${key}`)
    holds.push(hold)
    await hold.release()
  }
  assert.ok(holds.every(({ tenure }) => !tenure.ended))
  await (await locks.acquire('key-0')).release() // now it is the youngest
  await (await locks.acquire('another')).release()
  assert.deepEqual(holds.filter(({ tenure }) => tenure.ended), [holds[1]])
  while (filesIn(folder).length > 256) await turn()
  assert.ok(!filesIn(folder).includes('key-1.lock'))
  await (await locks.acquire('key-1')).release()
})

test('a key that another process wants after its first hold shows that lingering is of no use: for 10 s none does', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const pass = stopClock(t)
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const a = await here.acquire('a')
  const b = await here.acquire('b')
  await Promise.all([a.release(), b.release()])
  const taken = await there!.acquire('a')
  assert.equal(b.tenure.ended, true)
  await taken.release()
  pass(9999)
  const c = await here.acquire('c')
  await c.release()
  assert.equal(c.tenure.ended, true)
  assert.ok(!filesIn(folder).includes('c.lock'), 'it is gone when the release resolves')
  pass(1)
  const d = await here.acquire('d')
  await d.release()
  assert.equal(d.tenure.ended, false)
})

test('a key that another process wants after it was of use goes alone', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const { locks: here, others: [there] } = await openLocks(t, 2)
  const [a, b] = [await here.acquire('a'), await here.acquire('b')]
  await Promise.all([a.release(), b.release()])
  await (await here.acquire('a')).release()
  await (await there!.acquire('a')).release()
  assert.deepEqual([a.tenure.ended, b.tenure.ended], [true, false])
})

test('tryAcquire gets what lingers elsewhere, and disturbs nobody who holds or waits', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] }) // nobody has to be given up on
  const { locks: here, others: [there] } = await openLocks(t, 2)
  for (const [one, other] of [[here, there!], [there!, here], [here, there!]] as const) {
    const onReleaseRequest = t.mock.fn()
    const hold = await one.acquire('a', { onReleaseRequest })
    assert.equal(await other.tryAcquire('a'), undefined)
    assert.equal(await other.tryAcquire('a'), undefined)
    for (let round = 0; round < 20; round++) await turn()
    assert.equal(onReleaseRequest.mock.callCount(), 0)
    await hold.release()
    const taken = await other.tryAcquire('a')
    assert.ok(taken)
    assert.equal(await one.tryAcquire('a'), undefined)
    assert.equal(await taken.isHeld(), true)
    await taken.release()
  }
})

test('tryAcquire waits for no answer longer than a moment', async (t) => {
  const { folder, locks } = await openLocks(t)
  const silent = createServer(() => {}).listen(join(folder, `${ownHost(folder)}-0123456789abcdef.sock`))
  await once(silent, 'listening')
  t.after(() => silent.close())
  symlinkSync(`${ownHost(folder)}-0123456789abcdef.sock/${UNIQUE}`, join(folder, 'a.lock'))
  assert.equal(await locks.tryAcquire('a'), undefined)
  assert.match(readlinkSync(join(folder, 'a.lock')), new RegExp(UNIQUE))
})

test('visitors of the version before find what they know: a turn for what lingers, a place for what is held', async (t) => {
  const { folder, locks } = await openLocks(t)
  const hold = await locks.acquire('a')
  const token = readlinkSync(join(folder, 'a.lock'))
  const visitor = say(t, folder, `${token}\n`)
  assert.equal(await visitor.answer, '!')
  await hold.release()
  await once(visitor.socket, 'end')
  assert.deepEqual(filesIn(folder), [], 'the file is gone when the visitor has its turn')
  visitor.socket.destroy()

  await (await locks.acquire('b')).release()
  const second = say(t, folder, `${readlinkSync(join(folder, 'b.lock'))}\n`)
  await once(second.socket, 'end')
  assert.ok(!filesIn(folder).includes('b.lock'))
  second.socket.destroy()
  assert.equal(await say(t, folder, `${token}\n`).answer, '?')
})

test('a process of the version before does not know the question of a tryAcquire, and is not robbed', async (t) => {
  const { folder, locks } = await openLocks(t)
  const name = `${ownHost(folder)}-0123456789abcdef.sock`
  const heard: string[] = []
  const old = createServer((socket) => {
    socket.once('data', (request) => {
      heard.push(String(request))
      socket.end('?') // as it does with every token that is not one of its own
    })
  }).listen(join(folder, name))
  await once(old, 'listening')
  t.after(() => old.close())
  symlinkSync(`${name}/${UNIQUE}`, join(folder, 'a.lock'))
  assert.equal(await locks.tryAcquire('a'), undefined)
  assert.deepEqual(heard, [`?${name}/${UNIQUE}\n`])
  assert.equal(readlinkSync(join(folder, 'a.lock')), `${name}/${UNIQUE}`)
})

test('tryAcquire gets what its process let go of between the look at the link and the question', async (t) => {
  const { folder, locks } = await openLocks(t)
  const name = `${ownHost(folder)}-0123456789abcdef.sock`
  const quick = createServer((socket) => {
    socket.once('data', () => {
      rmSync(join(folder, 'a.lock'))
      socket.end('?')
    })
  }).listen(join(folder, name))
  await once(quick, 'listening')
  t.after(() => quick.close())
  symlinkSync(`${name}/${UNIQUE}`, join(folder, 'a.lock'))
  const hold = await locks.tryAcquire('a')
  assert.equal(await hold?.isHeld(), true)
  await hold?.release()
})

test('a question is answered with yes by a turn, with no by a mark, and not knowing has a mark of its own', async (t) => {
  const { folder, locks } = await openLocks(t)
  const onReleaseRequest = t.mock.fn()
  const hold = await locks.acquire('a', { onReleaseRequest })
  const token = readlinkSync(join(folder, 'a.lock'))
  assert.equal(await say(t, folder, `?${token}\n`).answer, '!')
  assert.equal(await say(t, folder, `?${token.slice(0, -1)}x\n`).answer, '?')
  assert.equal(await say(t, folder, `??${token}\n`).answer, '?')
  assert.equal(onReleaseRequest.mock.callCount(), 0)
  await hold.release()
  const { socket } = say(t, folder, `?${token}\n`)
  await once(socket, 'end')
  assert.deepEqual(filesIn(folder), [])
  socket.destroy()
})

test('close removes what lingers', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { folder, locks } = await openLocks(t)
  const holds = await Promise.all(Array.from({ length: 20 }, (_, key) => locks.acquire(String(key))))
  await Promise.all(holds.map((hold) => hold.release()))
  await locks.close()
  assert.ok(holds.every(({ tenure }) => tenure.ended))
  assert.deepEqual(readdirSync(folder), [])
})

test('a lock that was not looked at for more than a second is looked at before it is granted', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const pass = stopClock(t)
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const first = await here.acquire('a')
  await first.release()
  pass(SECOND_MS + 1) // as if it had been stopped
  const second = await here.acquire('a')
  assert.equal(second.tenure, first.tenure, 'the link is still the same')
  await second.release()
  pass(SECOND_MS + 1)
  rmSync(join(folder, 'a.lock'))
  const robber = await there!.acquire('a')
  const waiting = here.acquire('a')
  while (!first.tenure.ended) await turn()
  assert.equal(await robber.isHeld(), true)
  await robber.release()
  const third = await waiting
  assert.notEqual(third.tenure, first.tenure)
  await third.release()
})

test('a lock whose file was removed while it lingered begins another tenure, at the latest when its holder looks', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const pass = stopClock(t)
  const { folder, locks } = await openLocks(t)
  const first = await locks.acquire('a')
  await first.release()
  rmSync(folder, { recursive: true })
  const second = await locks.acquire('a') // within the second for which it is believed
  assert.equal(second.tenure, first.tenure)
  pass(51)
  assert.equal(await second.isHeld(), true)
  assert.equal(second.tenure.ended, true)
  assert.deepEqual(filesIn(folder), ['a.lock'])
  await second.release()
  const third = await locks.acquire('a')
  assert.deepEqual([third.tenure === second.tenure, third.tenure.ended], [false, false])
  await third.release()
  rmSync(folder, { recursive: true })
  pass(SECOND_MS + 1)
  const fourth = await locks.acquire('a')
  assert.deepEqual([third.tenure.ended, fourth.tenure.ended], [true, false])
  assert.deepEqual(filesIn(folder), ['a.lock'])
  await fourth.release()
})

test('a holder whose link was removed and taken learns it by a look that is 50 ms old at most', async (t) => {
  const pass = stopClock(t)
  const { folder, locks: here, others: [there] } = await openLocks(t, 2)
  const hold = await here.acquire('a')
  pass(30)
  rmSync(join(folder, 'a.lock'))
  const robber = await there!.acquire('a')
  pass(20)
  assert.equal(await hold.isHeld(), true)
  pass(1)
  assert.equal(await hold.isHeld(), false)
  assert.deepEqual([hold.tenure.ended, robber.tenure.ended], [true, false])
  await Promise.all([hold.release(), robber.release()])
})

test('what is believed of a file is believed for a quarter of a short lease only', async (t) => {
  const pass = stopClock(t)
  const { folder, locks } = await openLocks(t, 1, { leaseMs: 100 })
  const hold = await locks.acquire('a')
  rmSync(join(folder, 'a.lock'))
  pass(26)
  assert.equal(await hold.isHeld(), true)
  assert.equal(hold.tenure.ended, true)
  await hold.release()
})

test('another process has a lock that lingers within milliseconds', async (t) => {
  const { folder } = await lingererOf(t, 1)
  const locks = await LockFiles.open(folder)
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }) // what waits for a timer waits for ever
  await using hold = await locks.acquire('0')
  assert.equal(hold.tenure.ended, false)
})

test('locks that linger keep no process alive, and one that ends so leaves what others take at once', async (t) => {
  const { folder, lingerer } = await lingererOf(t, 3)
  lingerer.tell('leave')
  assert.deepEqual(await lingerer.exit, { code: 0, signal: null })
  const locks = await LockFiles.open(folder)
  assert.deepEqual(filesIn(folder), [])
  await locks.close()
})

test('a stopped process blocks what lingers in it until it goes on, and nothing else', async (t) => {
  const { folder, lingerer } = await lingererOf(t, 1)
  const locks = await LockFiles.open(folder)
  lingerer.tell('again')
  assert.equal(await lingerer.said(), 'true')
  lingerer.process.kill('SIGSTOP')
  assert.equal(await locks.tryAcquire('0'), undefined)
  await assert.rejects(locks.acquire('0', { timeoutMs: 100 }), { code: 'LOCK_TIMEOUT' })
  await (await locks.acquire('another')).release()
  const waiting = locks.acquire('0')
  lingerer.process.kill('SIGCONT')
  await (await waiting).release()
  lingerer.tell('again')
  assert.equal(await lingerer.said(), 'false')
  await locks.close()
})

test('what 300 released locks of a killed process left is cleared by the next that opens the directory', async (t) => {
  const { folder, lingerer } = await lingererOf(t, 300)
  lingerer.process.kill('SIGKILL')
  await lingerer.exit
  const left = filesIn(folder).length
  assert.ok(left > 0)
  t.diagnostic(`${left} links were left`)
  const locks = await LockFiles.open(folder)
  assert.deepEqual(filesIn(folder), [])
  await locks.close()
  assert.deepEqual(readdirSync(folder), [])
})

/** Opens one directory as so many processes would; closed after the test. */
async function openLocks(t: TestContext, count = 1, options = {}) {
  const folder = join(temporaryFolder(t), 'locks')
  const all: LockFiles[] = []
  for (let index = 0; index < count; index++) all.push(await LockFiles.open(folder, options))
  t.after(() => Promise.all(all.map((locks) => locks.close())))
  const [locks, ...others] = all
  return { folder, locks: locks!, others }
}

/** A process in which so many locks linger. */
async function lingererOf(t: TestContext, count: number) {
  const folder = temporaryFolder(t)
  const lingerer = startLockProcess(t, 'lingerer', [folder, String(count)])
  assert.equal(await lingerer.said(), 'released')
  return { folder, lingerer }
}

/** Says something to the only process of a folder, and resolves with the first that it answers. */
function say(t: TestContext, folder: string, words: string): { readonly socket: Socket; readonly answer: Promise<string> } {
  const [name = ''] = readdirSync(folder).filter((name) => name.endsWith('.sock'))
  const socket = connect({ path: join(folder, name), allowHalfOpen: true })
  t.after(() => socket.destroy())
  socket.write(words)
  const answer = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk))))
  socket.resume()
  return { socket, answer }
}

/** How this host names itself in a folder. */
function ownHost(folder: string): string {
  return readdirSync(folder).find((name) => name.endsWith('.sock'))!.slice(0, 8)
}

/** Counts what is asked of the file system from now on. */
function countCalls(t: TestContext): () => number {
  const names = ['lstat', 'lutimes', 'readlink', 'rename', 'symlink', 'unlink', 'utimes'] as const
  const mocks = names.map((name) => t.mock.method(promises, name).mock)
  syncBuiltinESMExports()
  t.after(() => {
    for (const mock of mocks) mock.restore()
    syncBuiltinESMExports()
  })
  return () => mocks.reduce((sum, mock) => sum + mock.callCount(), 0)
}

/** Has the library call something else until the test is over. */
function replaceBuiltin<Name extends 'unlink'>(t: TestContext, name: Name, replacement: (typeof promises)[Name]): void {
  const { mock } = t.mock.method(promises, name, replacement as never)
  syncBuiltinESMExports()
  t.after(() => {
    mock.restore()
    syncBuiltinESMExports()
  })
}

async function emptied(folder: string): Promise<void> {
  while (filesIn(folder).length > 0) await turn()
}

/** All but the sockets. */
function filesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => !name.endsWith('.sock')).sort()
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
