// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { lutimesSync, mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { LockFiles } from '../lib/lock-files/lock-files.ts'
import { startLockProcess, type LockProcess } from './support/lock-process.ts'
import { temporaryFolder } from './support/temporary.ts'

test('the newcomer reaches a holder in another process, and has the lock when that lets go', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  const locks = await LockFiles.open(folder)
  const waiting = locks.acquire('a')
  assert.equal(await holder.said(), 'asked')
  assert.equal(await locks.tryAcquire('a'), undefined)
  holder.tell('release')
  await (await waiting).release()
  await locks.close()
  assert.deepEqual(filesIn(folder), [])
})

test('a killed holder is replaced: by who waited for it, and by who comes later', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  const locks = await LockFiles.open(folder)
  const waiting = locks.acquire('a', { timeoutMs: 5000 })
  assert.equal(await holder.said(), 'asked')
  holder.process.kill('SIGKILL')
  await (await waiting).release()

  const later = await holderOf(t, 'b', folder)
  later.holder.process.kill('SIGKILL')
  await later.holder.exit
  await (await locks.acquire('b', { timeoutMs: 5000 })).release()

  const last = await holderOf(t, 'c', folder)
  last.holder.process.kill('SIGKILL')
  await last.holder.exit
  await (await locks.tryAcquire('c'))?.release()
  await locks.close()

  await (await LockFiles.open(folder)).close()
  assert.deepEqual(readdirSync(folder), [])
})

test('many who wait for a killed holder all get the lock, one after the other', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  const all = await Promise.all(Array.from({ length: 8 }, () => LockFiles.open(folder)))
  let inside = 0
  const turns = all.map(async (locks) => {
    const hold = await locks.acquire('a')
    assert.equal(++inside, 1)
    await new Promise((resolve) => setImmediate(resolve))
    inside--
    await hold.release()
  })
  assert.equal(await holder.said(), 'asked')
  holder.process.kill('SIGKILL')
  await Promise.all(turns)
  await Promise.all(all.map((locks) => locks.close()))
  assert.deepEqual(filesIn(folder), [])
})

test('a stopped holder is not robbed, and lets go when it runs again', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  const locks = await LockFiles.open(folder)
  const token = readlinkSync(join(folder, 'a.lock'))
  holder.process.kill('SIGSTOP')
  await assert.rejects(locks.acquire('a', { timeoutMs: 300 }), { code: 'LOCK_TIMEOUT' })
  assert.equal(await locks.tryAcquire('a'), undefined)
  const another = await LockFiles.open(folder) // its sweep waits for no answer
  const waiting = another.acquire('a')
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  holder.process.kill('SIGCONT')
  assert.equal(await holder.said(), 'asked')
  holder.tell('release')
  await (await waiting).release()
  await Promise.all([locks.close(), another.close()])
})

test('a stopped holder is not robbed by one that takes it for another host, however long ago it was seen', async (t) => {
  const { folder, holder } = await holderOf(t, 'a', temporaryFolder(t), ['anonymous'])
  const locks = await LockFiles.open(folder, { leaseMs: 1000 })
  assert.equal(new Set(readdirSync(folder).filter((name) => name.endsWith('.sock')).map((name) => name.slice(0, 8))).size, 2)
  const token = readlinkSync(join(folder, 'a.lock'))
  holder.process.kill('SIGSTOP')
  for (const name of readdirSync(folder)) lutimesSync(join(folder, name), 1, 1)
  assert.equal(await locks.tryAcquire('a'), undefined)
  await assert.rejects(locks.acquire('a', { timeoutMs: 300 }), { code: 'LOCK_TIMEOUT' })
  await (await LockFiles.open(folder, { leaseMs: 1000 })).close() // its sweep takes nothing either
  assert.equal(readlinkSync(join(folder, 'a.lock')), token)
  const waiting = locks.acquire('a')
  holder.process.kill('SIGCONT')
  assert.equal(await holder.said(), 'asked')
  holder.tell('release')
  await (await waiting).release()
  await locks.close()
})

test('a holder that was stopped for longer than the lease, without a socket, learns that it has lost its lock', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  holder.process.kill('SIGSTOP')
  const locks = await LockFiles.open(folder)
  const [socketName = ''] = readlinkSync(join(folder, 'a.lock')).split('/')
  rmSync(join(folder, socketName))
  assert.equal(await locks.tryAcquire('a'), undefined)
  lutimesSync(join(folder, 'a.lock'), 1, 1)
  const hold = await locks.acquire('a')
  holder.process.kill('SIGCONT')
  holder.tell('check')
  assert.deepEqual([await holder.said(), await holder.said()].sort(), ['false', 'lost'])
  holder.tell('release')
  assert.equal(await holder.said(), 'released')
  assert.equal(await hold.isHeld(), true)
  await hold.release()
  await locks.close()
})

test('a holder that finds the directory removed keeps its lock, and hands it over or dies as before', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  for (const what of ['directory', 'files']) {
    if (what === 'directory') rmSync(folder, { recursive: true })
    else for (const name of readdirSync(folder)) rmSync(join(folder, name))
    holder.tell('check')
    assert.equal(await holder.said(), 'true')
  }
  const locks = await LockFiles.open(folder)
  assert.equal(await locks.tryAcquire('a'), undefined)
  const waiting = locks.acquire('a', { timeoutMs: 5000 })
  assert.equal(await holder.said(), 'asked')
  holder.process.kill('SIGKILL')
  await (await waiting).release()
  await locks.close()
})

test('one who is stopped in the line does not hold up those behind', async (t) => {
  const folder = temporaryFolder(t)
  const locks = await LockFiles.open(folder)
  let asked = (): void => {}
  const request = new Promise<void>((resolve) => (asked = resolve))
  const hold = await locks.acquire('a', { onReleaseRequest: asked })
  const stopped = startLockProcess(t, 'holder', [folder, 'a'])
  assert.equal(await stopped.said(), 'open')
  stopped.tell('acquire')
  await request
  stopped.process.kill('SIGSTOP')
  const behind = locks.acquire('a', { timeoutMs: 5000 })
  await hold.release()
  await (await behind).release()
  stopped.process.kill('SIGCONT')
  assert.deepEqual([await stopped.said(), await stopped.said()], ['acquiring', 'held'])
  await locks.close()
})

test('locks keep no process alive, held or not, and one that ends so is as good as dead', async (t) => {
  const { folder, holder } = await holderOf(t, 'a')
  const locks = await LockFiles.open(folder)
  const waiting = locks.acquire('a')
  assert.equal(await holder.said(), 'asked')
  holder.tell('leave')
  assert.deepEqual(await holder.exit, { code: 0, signal: null })
  await (await waiting).release()
  await locks.close()
})

test('the workers of a cluster are processes like others', async (t) => {
  const primary = startLockProcess(t, 'cluster', [temporaryFolder(t)])
  const said = [await primary.said(), await primary.said(), await primary.said()]
  assert.deepEqual(said, ['first held', 'first released', 'second held'])
  assert.deepEqual(await primary.exit, { code: 0, signal: null })
})

/** How many faults there are at least. `LOCK_FAULTS=1200` is a campaign of some minutes. */
const FAULTS = Number(process.env['LOCK_FAULTS'] ?? 1)

test('no two processes are in a critical section while one after the other is killed or stopped, and all get on', async (t) => {
  const folder = temporaryFolder(t)
  const marks = join(folder, 'marks')
  mkdirSync(marks)
  const directory = join(folder, 'locks')
  const keys = 3
  const seed = Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`seed ${seed}`)

  const killed = new Set<number>()
  const met: number[] = []
  const faults: string[] = []
  const sections = [0, 0, 0, 0]
  const deadline = Date.now() + 5000
  let kills = 0
  let stops = 0
  let continued = 0
  let sectionsToFault = 20

  /** Runs the process of a slot to its end, and another one in its place if it was killed. */
  const occupy = async (slot: number, generation = 0): Promise<void> => {
    const words = [directory, marks, String(seed + slot * 1000 + generation), String(keys)]
    const worker: LockProcess = startLockProcess(t, 'critical-sections', words)
    const { pid = 0 } = worker.process
    let told = false
    let timer: NodeJS.Timeout | undefined
    worker.process.on('message', (line: string) => {
      if (line.startsWith('met ')) met.push(Number.parseInt(line.slice(4), 10))
      else if (line.startsWith('fault ')) faults.push(line)
      else if (line.startsWith('continued ')) continued += Number(line.slice(10))
      else sections[slot] = (sections[slot] ?? 0) + 1
      if (killed.has(pid)) return
      if (Date.now() > deadline && kills > 0 && kills + stops >= FAULTS) {
        if (!told) worker.tell('stop')
        told = true // it says more before it ends, and hears no more then
      } else if (--sectionsToFault === 0) {
        const chance = (seed + (kills + stops) * 7919) % 60
        sectionsToFault = 20 + chance
        if ((kills + stops) % 11 < 6) {
          kills++
          killed.add(pid)
          worker.process.kill('SIGKILL')
        } else {
          stops++
          worker.process.kill('SIGSTOP')
          clearTimeout(timer)
          timer = setTimeout(() => worker.process.kill('SIGCONT'), chance % 3 === 0 ? 1200 : 10 + chance)
        }
      }
    })
    const { code } = await worker.exit
    if (killed.has(pid)) return occupy(slot, generation + 1)
    assert.equal(code, 0)
  }
  await Promise.all(sections.map((_, slot) => occupy(slot)))

  const counts = `${kills} kills, ${stops} stops, ${continued} sections continued a tenure, ${met.length} marks of the dead`
  t.diagnostic(`${sections.join(' + ')} sections, ${counts}`)
  assert.deepEqual(met.filter((pid) => !killed.has(pid)), [], 'a live process was in the section')
  assert.deepEqual(faults, [])
  assert.ok(sections.every((count) => count > 0))
  assert.ok(kills > 0)

  const locks = await LockFiles.open(directory)
  for (let key = 0; key < keys; key++) {
    const hold = await locks.tryAcquire(String(key))
    assert.ok(hold, 'the dead hold nothing')
    await hold.release()
  }
  await locks.close()
  assert.deepEqual(readdirSync(directory), [])
})

/** A process that holds a key, and the folder of its locks. */
async function holderOf(t: TestContext, key: string, folder: string = temporaryFolder(t), more: readonly string[] = []) {
  const holder = startLockProcess(t, 'holder', [folder, key, ...more])
  assert.equal(await holder.said(), 'open')
  holder.tell('acquire')
  assert.equal(await holder.said(), 'acquiring')
  assert.equal(await holder.said(), 'held')
  return { folder, holder }
}

/** All but the sockets. */
function filesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => !name.endsWith('.sock'))
}
