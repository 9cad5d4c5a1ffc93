// SPDX-License-Identifier: MIT

/** Uploads that are made with all of their bytes at once. */

import assert from 'node:assert/strict'
import fs, { readFileSync, utimesSync, writeFileSync } from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { FileStore } from '../lib/file-store/file-store.ts'
import { filesIn } from './support/files.ts'
import { temporaryFolder } from './support/temporary.ts'

const HOUR_MS = 3_600_000
const SYNCS = ['none', 'finish', 'append'] as const
const HELLO = Buffer.from('hello')

/** What uploads say besides their length. */
const DESCRIPTIONS = [
  {},
  { metadata: new Map([['filename', 'a.txt']]), encodedMetadata: 'filename YS50eHQ=', maxSize: 7 },
  { partial: true },
  { completion: 'explicit', digest: { algorithm: 'sha256' } },
] as const

/** What is in the files of an upload, but for the moment at which it was created. */
function filesOf({ directory }: FileStore, id: string): readonly unknown[] {
  const sidecar = JSON.parse(readFileSync(join(directory, `${id}.info`), 'utf8')) as { ID: string; Longhaul: { createdAt: string } }
  return [readFileSync(join(directory, id), 'utf8'), { ...sidecar, ID: '', Longhaul: { ...sidecar.Longhaul, createdAt: '' } }]
}

/** Looks at a directory as it is some hours from now. */
async function later<T>(t: TestContext, look: () => Promise<T>): Promise<T> {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * HOUR_MS })
  try {
    return await look()
  } finally {
    t.mock.timers.reset()
  }
}

/** Lets each call of the file system that changes something pass `step` first, which may wait or throw. */
function watchCalls(t: TestContext, step: (name: string, path: string) => Promise<void> | void): void {
  const paths = new Map<unknown, string>()
  for (const name of ['open', 'rename', 'writev', 'writeFile', 'fdatasync', 'fsync'] as const) {
    const real = fs[name] as (...args: unknown[]) => void
    t.mock.method(fs, name, (subject: unknown, ...others: unknown[]) => {
      const done = others.pop() as (error: unknown, result?: unknown) => void
      const path = paths.get(subject) ?? String(subject)
      const call = async (): Promise<void> => step(name.endsWith('sync') ? 'sync' : name, path)
      call().then(() => real(subject, ...others, (error: unknown, result: unknown) => {
        if (name === 'open') paths.set(result, path)
        done(error, result)
      }), done)
    })
  }
  const rm = fsPromises.rm
  t.mock.method(fsPromises, 'rm', async (path: string, options: object) => {
    await step('rm', path)
    return rm(path, options)
  })
  syncBuiltinESMExports()
}

function unwatchCalls(t: TestContext): void {
  t.mock.restoreAll()
  syncBuiltinESMExports()
}

for (const sync of SYNCS) {
  test(`an upload that is created as a whole is on the disk what one is that came in pieces; sync ${sync}`, async (t) => {
    for (const description of DESCRIPTIONS) {
      for (const state of ['finishing', 'finished'] as const) {
        const store = new FileStore(temporaryFolder(t), { sync })
        const created = await store.create({ ...description, id: 'pieces', length: 5 })
        const offset = await store.append(created, Readable.from([HELLO], { objectMode: false }))
        await store.setState({ ...created, offset }, state)
        const whole = await store.createWhole({ ...description, id: 'whole', length: 5 }, HELLO, state)
        assert.deepEqual(filesOf(store, 'whole'), filesOf(store, 'pieces'))
        const { updatedAt, ...found } = (await new FileStore(store.directory, { sync }).find('whole'))!
        const { updatedAt: now, ...made } = whole
        assert.deepEqual(made, found)
        assert.ok(Math.abs(updatedAt.getTime() - now.getTime()) < 60_000)
      }
    }
  })
}

test('each of its files is opened, written and flushed once, and the directory is flushed after the rename', async (t) => {
  t.after(() => unwatchCalls(t))
  const expected = {
    none: 'open tmp, writeFile tmp, open data, writev data, rename tmp',
    finish: 'open tmp, writeFile tmp, sync tmp, open data, writev data, sync data, rename tmp, open folder, sync folder',
  }
  for (const sync of SYNCS) {
    const store = new FileStore(temporaryFolder(t), { sync })
    await store.createWhole({ length: 5 }, HELLO, 'finished') // which reads the number of the boot
    const calls: string[] = []
    watchCalls(t, (name, path) => {
      const what = path === store.directory ? 'folder' : path.endsWith('.tmp') ? 'tmp' : 'data'
      calls.push(`${name} ${what}`)
    })
    const { id } = await store.createWhole({ length: 5 }, HELLO, 'finished')
    unwatchCalls(t)
    assert.match(id, /^[0-9a-f]{32}$/)
    assert.equal(calls.join(', '), sync === 'none' ? expected.none : expected.finish)
  }
})

test('wherever the process dies it is there as a whole or not at all, and what is left is removed', async (t) => {
  t.after(() => unwatchCalls(t))
  const [kinds, outcomes] = [new Set<string>(), new Set<boolean>()]
  for (const fault of ['none', 'full'] as const) {
    for (let moment = 1, isDone = false; !isDone; moment++) {
      const store = new FileStore(temporaryFolder(t), { sync: 'finish' })
      let calls = 0
      watchCalls(t, (name, path) => {
        if (++calls >= moment) throw new Error('the process has died') // and tidies nothing up
        if (fault === 'full' && name === 'writev') {
          writeFileSync(path, 'hel')
          throw Object.assign(new Error(), { code: 'ENOSPC' })
        }
      })
      const created = store.createWhole({ id: 'a', length: 5 }, HELLO, 'finished')
      isDone = await created.then(() => true, ({ code }) => code === 'STORE_FULL' && calls < moment)
      unwatchCalls(t)
      const left = filesIn(store.directory)
      for (const file of left) kinds.add(file.replace(/[0-9a-f]{12}/, '#'))
      const found = await new FileStore(store.directory).find('a')
      assert.ok(!found || (found.state === 'finished' && found.offset === 5))
      outcomes.add(found !== undefined)
      for (let hours = 0; hours < 3; hours++) await later(t, () => store.removeLeftovers()) // a marker goes after the data it marks
      assert.deepEqual(filesIn(store.directory), found ? ['a', 'a.info'] : [], `call ${moment} left ${left.join()}`)
    }
  }
  assert.deepEqual([...kinds].sort(), ['a', 'a.info', 'a.info.#.tmp', 'a.info.gone'])
  assert.deepEqual(outcomes, new Set([false, true]))
})

test('wherever its process is stopped for hours it completes or fails, and nothing is damaged or left', async (t) => {
  t.after(() => unwatchCalls(t))
  const completed = new Set<boolean>()
  for (let call = 1; call <= 9; call++) {
    for (const again of [false, true]) {
      const store = new FileStore(temporaryFolder(t), { sync: 'finish' })
      let [calls, stop, go] = [0, (): void => {}, (): void => {}]
      const stopped = new Promise<void>((resolve) => (stop = resolve))
      const going = new Promise<void>((resolve) => (go = resolve))
      watchCalls(t, async () => {
        if (++calls !== call) return
        stop()
        await going
      })
      const done = store.createWhole({ id: 'a', length: 5 }, HELLO, 'finished').then(() => true, () => false)
      await stopped
      calls = Infinity
      await later(t, () => new FileStore(store.directory).removeLeftovers())
      const other = new FileStore(store.directory)
      const create = () => other.createWhole({ id: 'a', length: 3 }, Buffer.from('bye'), 'finished').catch(() => undefined)
      const second = again ? await create() : undefined
      go()
      const isCreated = await done
      completed.add(isCreated)
      unwatchCalls(t)
      const where = `stopped at call ${call}, ${again ? 'created again' : 'alone'}, ${isCreated ? 'completed' : 'failed'}`
      assert.ok(!(isCreated && second), where)
      const upload = await new FileStore(store.directory).find('a')
      assert.equal(upload?.offset, isCreated ? 5 : second?.offset, where)
      if (upload) assert.equal(readFileSync(join(store.directory, 'a'), 'utf8'), isCreated ? 'hello' : 'bye', where)
      for (let hours = 0; hours < 3; hours++) await later(t, () => store.removeLeftovers())
      assert.deepEqual(filesIn(store.directory), upload ? ['a', 'a.info'] : [], where)
    }
  }
  assert.deepEqual(completed, new Set([true, false]))
})

for (const [what, name, isIt] of [
  ['its sidecar', 'writeFile', (path: string) => path.endsWith('.tmp')],
  ['its data', 'writev', () => true],
  ['a flush of its data', 'sync', (path: string) => path.endsWith('/a')],
  ['the rename', 'rename', () => true],
  ['a flush of the directory', 'sync', (path: string) => !path.includes('a.') && !path.endsWith('/a')],
] as const) {
  test(`a disk that is full at ${what} leaves nothing behind, and the id can be used`, async (t) => {
    t.after(() => unwatchCalls(t))
    const store = new FileStore(temporaryFolder(t), { sync: 'finish' })
    let failed = false
    watchCalls(t, (call, path) => {
      const relevant = path.startsWith(store.directory)
      if (failed || !relevant || call !== name || !isIt(path.slice(store.directory.length))) return
      failed = true
      throw Object.assign(new Error(), { code: 'ENOSPC' })
    })
    await assert.rejects(store.createWhole({ id: 'a', length: 5 }, HELLO, 'finished'), { code: 'STORE_FULL' })
    unwatchCalls(t)
    assert.deepEqual(filesIn(store.directory), [])
    assert.equal((await store.createWhole({ id: 'a', length: 5 }, HELLO, 'finished')).offset, 5)
  })
}

test('an id that is taken is refused, and what it names stays as it is', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ id: 'a', length: 5 })
  const random = await store.create({ length: 5 })
  writeFileSync(join(store.directory, 'foreign'), 'somebody put this here')
  const moved = await store.createWhole({ id: 'moved', length: 5 }, HELLO, 'finished')
  await store.moveTo(moved, join(temporaryFolder(t), 'moved'))
  const before = filesIn(store.directory)
  for (const id of [upload.id, random.id, 'foreign', 'moved']) {
    await assert.rejects(store.createWhole({ id, length: 5 }, HELLO, 'finished'), { code: 'UPLOAD_EXISTS' })
  }
  await assert.rejects(store.createWhole({ id: '../a', length: 5 }, HELLO, 'finished'), TypeError)
  assert.deepEqual(filesIn(store.directory), before)
  assert.equal(readFileSync(join(store.directory, 'foreign'), 'utf8'), 'somebody put this here')
})

test('data that are older than a temporary sidecar are not of its upload, and stay; so do those of an upload', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  await store.createWhole({ id: 'whole', length: 5 }, HELLO, 'finished')
  writeFileSync(join(store.directory, 'node.json'), JSON.stringify({ id: 'node', size: 5 }))
  for (const id of ['foreign', 'node']) writeFileSync(join(store.directory, id), 'hello')
  utimesSync(join(store.directory, 'foreign'), 1, 1)
  for (const id of ['foreign', 'whole', 'node']) writeFileSync(join(store.directory, `${id}.info.0123456789ab.tmp`), '{}')
  for (const id of ['whole', 'node']) writeFileSync(join(store.directory, id), 'hello')
  for (let hours = 0; hours < 3; hours++) await later(t, () => store.removeLeftovers())
  assert.deepEqual(filesIn(store.directory), ['foreign', 'node', 'node.json', 'whole', 'whole.info'])
})
