// SPDX-License-Identifier: MIT

/** What a store remembers of sidecars, keeps open of data, and flushes for several callers at once. @module */

import assert from 'node:assert/strict'
import {
  mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, truncateSync, writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { FileStore, type StoredUpload } from '../lib/file-store/file-store.ts'
import { OpenFile } from '../lib/file-store/open-file.ts'
import { fileSystem } from './support/file-calls.ts'
import { filesIn } from './support/files.ts'
import { Gate } from './support/gate.ts'
import { temporaryFolder } from './support/temporary.ts'

const bytes = (text: string): Readable => Readable.from([Buffer.from(text)], { objectMode: false })

async function found(store: FileStore, id = 'a'): Promise<StoredUpload> {
  return (await store.find(id)) ?? assert.fail(`there is no ${id}`)
}

/** How often files are opened, and looked at, while `act` runs. */
async function callsOf(t: TestContext, act: () => Promise<unknown>): Promise<{ readonly opens: number; readonly looks: number }> {
  const [open, lstat] = [t.mock.method(fileSystem, 'open'), t.mock.method(fileSystem, 'lstat')]
  await act()
  const calls = { opens: open.mock.callCount(), looks: lstat.mock.callCount() }
  open.mock.restore()
  lstat.mock.restore()
  return calls
}

/** Two stores on one directory, as two processes have them, and an upload of nine bytes with three. */
async function shared(t: TestContext): Promise<{ readonly here: FileStore; readonly there: FileStore }> {
  const directory = temporaryFolder(t)
  const [here, there] = [new FileStore(directory, { shared: true }), new FileStore(directory, { shared: true })]
  await here.append(await here.create({ id: 'a', length: 9 }), bytes('abc'))
  return { here, there }
}

describe('while a tenure lasts, a shared store', () => {
  test('finds an upload with one look at its data, once it has read or written its sidecar', async (t) => {
    const { here } = await shared(t)
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 1, looks: 1 })
    const tenure = { ended: false }
    here.trust('a', tenure)
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 1, looks: 1 })
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 0, looks: 1 })
    here.trust('a', tenure) // the next holder, without a break
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 0, looks: 1 })
    await here.setLength(await found(here), 8)
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 0, looks: 1 })
    assert.equal((await found(here)).length, 8)
  })

  test('reads again what another store of the process has changed in the same tenure', async (t) => {
    const { here, there } = await shared(t)
    const tenure = { ended: false }
    for (const [length, store] of [[8, there], [7, here], [6, there]] as const) {
      const other = store === here ? there : here
      other.trust('a', tenure)
      await other.find('a')
      store.trust('a', tenure)
      await store.setLength(await found(store), length)
      assert.equal((await found(other)).length, length)
      other.trust('a', tenure)
      assert.equal((await found(other)).length, length)
    }
  })

  test('keeps a digest without forgetting that another process, without the lock, has moved the bytes', async (t) => {
    const { here, there } = await shared(t)
    await here.append(await found(here), bytes('defghi'))
    here.trust('a', { ended: false })
    await here.setState(await found(here), 'finished')
    const finished = await found(here)
    await there.moveTo(await found(there), join(temporaryFolder(t), 'moved'))
    await here.setDigest(finished, { algorithm: 'sha256', value: 'of nine bytes' })
    assert.ok((await found(here)).movedAt)
    assert.equal((await found(here)).digest?.value, 'of nine bytes')
  })

  test('notices that data were cut or removed behind its back', async (t) => {
    const { here } = await shared(t)
    here.trust('a', { ended: false })
    await here.find('a')
    truncateSync(join(here.directory, 'a'), 1)
    assert.equal((await found(here)).offset, 1)
    rmSync(join(here.directory, 'a.info'))
    rmSync(join(here.directory, 'a'))
    assert.equal(await here.find('a'), undefined)
  })

  test('reads again what an application may move or remove, and what another server has written', async (t) => {
    const { here } = await shared(t)
    here.trust('a', { ended: false })
    await here.append(await found(here), bytes('defghi'))
    await here.setState(await found(here), 'finishing')
    for (let look = 0; look < 2; look++) assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 1, looks: 1 })
    await here.setState(await found(here), 'finished')
    assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 0, looks: 1 })
    writeFileSync(join(here.directory, 'node.json'), JSON.stringify({ id: 'node', size: 3 }))
    writeFileSync(join(here.directory, 'node'), 'ab')
    here.trust('node', { ended: false })
    for (let look = 0; look < 2; look++) assert.deepEqual(await callsOf(t, () => here.find('node')), { opens: 2, looks: 1 })
  })

  for (const moment of ['before', 'during'] as const) {
    test(`does not remember a sidecar that was removed after a read that began ${moment} the removal`, async (t) => {
      const { here, there } = await shared(t)
      const upload = await found(there)
      here.trust('a', { ended: false })
      if (moment === 'during') await here.find('a') // or the removal would read it
      const [reading, renaming] = [new Gate(), new Gate()]
      const { rename } = fileSystem
      t.mock.method(fileSystem, 'rename', async (from: string, to: string) => {
        await renaming.pass()
        return rename(from, to)
      })
      let terminated = moment === 'during' ? here.terminate(upload) : undefined
      if (terminated) await renaming.arrived
      const { read } = OpenFile.prototype
      t.mock.method(OpenFile.prototype, 'read', async function (this: OpenFile, buffer: Buffer) {
        const count = await read.call(this, buffer)
        await reading.pass()
        return count
      }, { times: 1 })
      const slow = here.find('a')
      await reading.arrived
      terminated ??= here.terminate(upload)
      reading.open()
      await slow
      renaming.open()
      await terminated
      await there.create({ id: 'a', length: 1 })
      assert.equal((await found(here)).length, 1)
    })
  }
})

test('another tenure, or one that has ended, has a shared store read what others may have written', async (t) => {
  for (const next of ['ended', 'another', 'ended and another'] as const) {
    const { here, there } = await shared(t)
    const tenure = { ended: false }
    here.trust('a', tenure)
    await here.find('a')
    if (next !== 'another') tenure.ended = true
    await there.setLength(await found(there), 7)
    if (next !== 'ended') here.trust('a', { ended: false })
    assert.equal((await found(here)).length, 7, next)
  }
})

test('without shared: true, a tenure changes nothing: what was only read is read again', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  await store.create({ id: 'a', length: 9 })
  const restarted = new FileStore(store.directory)
  restarted.trust('a', { ended: false })
  for (let look = 0; look < 2; look++) assert.deepEqual(await callsOf(t, () => restarted.find('a')), { opens: 1, looks: 1 })
  restarted.trust('a', { ended: true })
  await restarted.setLength(await found(restarted), 8)
  assert.deepEqual(await callsOf(t, () => restarted.find('a')), { opens: 0, looks: 1 })
})

for (const moment of ['before the write', 'while it is written'] as const) {
  test(`a read that began ${moment} is not remembered after it`, async (t) => {
    const { here } = await shared(t)
    here.trust('a', { ended: false })
    const upload = await found(here)
    here.trust('a', { ended: false }) // so that it must be read again
    const [reading, renaming] = [new Gate(), new Gate()]
    const { read } = OpenFile.prototype
    const holdRead = (): unknown =>
      t.mock.method(OpenFile.prototype, 'read', async function (this: OpenFile, buffer: Buffer) {
        const count = await read.call(this, buffer)
        await reading.pass()
        return count
      }, { times: 1 })
    if (moment === 'while it is written') {
      const { rename } = fileSystem
      await here.find('a') // or the change would read it
      t.mock.method(fileSystem, 'rename', async (from: string, to: string) => {
        await renaming.pass()
        return rename(from, to)
      }, { times: 1 })
    } else {
      holdRead()
    }
    let slow = moment === 'before the write' ? here.find('a') : undefined
    if (slow) await reading.arrived
    const written = here.setLength(upload, 7)
    if (!slow) {
      await renaming.arrived
      holdRead()
      slow = here.find('a')
      await reading.arrived
      renaming.open()
    }
    await written
    reading.open()
    assert.equal((await slow)?.length, 9)
    assert.equal((await found(here)).length, 7)
  })
}

test('a write that fails after its rename leaves nothing in memory that is not on the disk', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, { shared: true, sync: 'append' })
  const upload = await store.create({ id: 'a', length: 9 })
  store.trust('a', { ended: false })
  const { sync } = OpenFile.prototype
  const flushing = new Gate()
  t.mock.method(OpenFile.prototype, 'sync', async function (this: OpenFile, what: 'data' | 'names') {
    if (what === 'data') return sync.call(this, what)
    await flushing.pass()
    throw new Error('EIO')
  })
  const failed = assert.rejects(store.setLength(upload, 7), /EIO/)
  await flushing.arrived
  flushing.open()
  await failed
  assert.equal((await found(store)).length, 7)
})

test('a thousand uploads are remembered, and no more', async (t) => {
  const { here } = await shared(t)
  here.trust('a', { ended: false })
  await here.find('a')
  for (let index = 1; index < 1000; index++) here.trust(`${index}`, { ended: false })
  assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 0, looks: 1 })
  here.trust('1000', { ended: false })
  assert.deepEqual(await callsOf(t, () => here.find('a')), { opens: 1, looks: 1 })
})

/** Which files of the directory are open in this process. */
function openIn(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`)
      return path.startsWith(`${directory}/`) ? [path.slice(directory.length + 1)] : []
    } catch {
      return [] // the descriptor that listed the others
    }
  })
}

describe('the data file of an upload that is being received', () => {
  const one = async (t: TestContext): Promise<{ readonly store: FileStore; readonly path: string }> => {
    const store = new FileStore(temporaryFolder(t))
    await store.append(await store.create({ id: 'a', length: 9 }), bytes('abc'))
    return { store, path: join(store.directory, 'a') }
  }

  test('stays open for a second at most, and the next append needs not open it', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { store } = await one(t)
    assert.deepEqual(openIn(store.directory), ['a'])
    assert.deepEqual(await callsOf(t, async () => store.append(await found(store), bytes('def'))), { opens: 0, looks: 2 })
    t.mock.timers.tick(500)
    assert.deepEqual(openIn(store.directory), ['a'])
    t.mock.timers.tick(500)
    while (openIn(store.directory).length > 0) await turn()
    assert.equal(await store.append(await found(store), bytes('ghi')), 9)
  })

  test('is kept by a timer that keeps no process alive', async (t) => {
    const timers: NodeJS.Timeout[] = []
    const { setTimeout } = globalThis
    t.mock.method(globalThis, 'setTimeout', (...args: Parameters<typeof setTimeout>) => {
      timers.push(setTimeout(...args))
      return timers.at(-1)
    })
    await one(t)
    assert.deepEqual(timers.map((timer) => timer.hasRef()), [false])
  })

  test('is open once, however many appends there were, and 64 of them are at most', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] }) // or the first would be closed again on a slow machine
    const store = new FileStore(temporaryFolder(t))
    const upload = await store.create({ id: 'twice', length: 9 })
    await Promise.all([store.append(upload, bytes('')), store.append(upload, bytes(''))])
    while (openIn(store.directory).length > 1) await turn()
    await store.terminate(upload)
    assert.deepEqual(openIn(store.directory), [])
    for (let index = 0; index < 70; index++) {
      await store.append(await store.create({ id: `${index}`, length: 9 }), bytes('abc'))
      if (index % 7 === 0) await store.append(await found(store, `${index}`), bytes('def'))
    }
    while (openIn(store.directory).length > 64) await turn()
    assert.deepEqual(openIn(store.directory).sort(), Array.from({ length: 64 }, (_, index) => `${index + 6}`).sort())
  })

  test('is closed when the upload is not received any more, or is removed', async (t) => {
    for (const sync of ['none', 'finish', 'append'] as const) {
      for (const end of ['finishing', 'rejected', 'terminate'] as const) {
        const store = new FileStore(temporaryFolder(t), { sync })
        await store.append(await store.create({ id: 'a', length: 3 }), bytes('abc'))
        if (end === 'terminate') await store.terminate(await found(store))
        else await store.setState(await found(store), end)
        assert.deepEqual(openIn(store.directory), [], `${sync}, ${end}`)
      }
    }
  })

  test('is the one that is there now: what somebody has put in its place is continued', async (t) => {
    for (const old of ['removed', 'moved away'] as const) {
      const { store, path } = await one(t)
      if (old === 'moved away') renameSync(path, `${path}-old`)
      else rmSync(path)
      writeFileSync(path, 'ABC')
      assert.equal(await store.append(await found(store), bytes('def')), 6)
      assert.equal(readFileSync(path, 'utf8'), 'ABCdef')
      if (old === 'moved away') assert.equal(readFileSync(`${path}-old`, 'utf8'), 'abc')
    }
  })

  test('is not continued in the place where somebody has put another at the last moment', async (t) => {
    const { store, path } = await one(t)
    const upload = await found(store)
    renameSync(path, `${path}-old`)
    writeFileSync(path, 'ABCDEF')
    await assert.rejects(store.append(upload, bytes('def')), { code: 'UPLOAD_CORRUPT' })
    assert.equal(readFileSync(path, 'utf8'), 'ABCDEF')
    assert.equal(await store.append(await found(store), bytes('ghi')), 9)
    assert.deepEqual([readFileSync(path, 'utf8'), openIn(store.directory)], ['ABCDEFghi', ['a']])
  })

  test('gets no hole when somebody has cut it', async (t) => {
    const { store, path } = await one(t)
    const upload = await found(store)
    truncateSync(path, 1)
    await assert.rejects(store.append(upload, bytes('def')), { code: 'UPLOAD_MOVED_ON' })
    assert.equal(readFileSync(path, 'utf8'), 'a')
    assert.equal(await store.append(await found(store), bytes('bc')), 3)
    await store.truncate(await found(store), 2)
    assert.equal(await store.append(await found(store), bytes('x')), 3)
    assert.equal(readFileSync(path, 'utf8'), 'abx')
  })

  test('is the new one when another process has removed the upload and made one of the same name', async (t) => {
    const { here, there } = await shared(t)
    await there.terminate(await found(there))
    await there.append(await there.create({ id: 'a', length: 9 }), bytes('ABC'))
    assert.equal(await here.append(await found(here), bytes('def')), 6)
    assert.equal(readFileSync(join(here.directory, 'a'), 'utf8'), 'ABCdef')
  })

  test('is the new one when another process has removed the upload and this one makes one of the same name', async (t) => {
    for (const make of ['create', 'createWhole'] as const) {
      const { here, there } = await shared(t)
      await there.terminate(await found(there))
      const made = make === 'create'
        ? await here.create({ id: 'a', length: 9 })
        : await here.createWhole({ id: 'a', length: 3 }, Buffer.from('ABC'), 'finishing')
      assert.deepEqual(openIn(here.directory), [])
      if (make === 'create') assert.equal(await here.append(made, bytes('ABC')), 3)
      assert.equal(readFileSync(join(here.directory, 'a'), 'utf8'), 'ABC')
    }
  })

  test('is flushed by the descriptor that wrote it, and is not kept when that fails', async (t) => {
    const { store } = await one(t)
    await store.append(await found(store), bytes('defghi'))
    const failure = new Error('EIO')
    t.mock.method(OpenFile.prototype, 'sync', () => Promise.reject(failure), { times: 1 })
    const upload = await found(store)
    assert.deepEqual(await callsOf(t, () => assert.rejects(store.setState(upload, 'finished'), failure)), { opens: 0, looks: 0 })
    assert.deepEqual(openIn(store.directory), [])
    await store.setState(upload, 'finished')
    assert.equal((await found(store)).state, 'finished')
  })
})

describe('the names in the directory', () => {
  /** Holds the first flush of names, and tells how many there were. */
  function holdFirst(t: TestContext, onFlush = async (_: OpenFile): Promise<void> => {}): { readonly gate: Gate; flushes(): number } {
    const gate = new Gate()
    let flushes = 0
    const { sync } = OpenFile.prototype
    t.mock.method(OpenFile.prototype, 'sync', async function (this: OpenFile, what: 'data' | 'names') {
      if (what === 'names') {
        if (++flushes === 1) await gate.pass()
        await onFlush(this)
      }
      return sync.call(this, what)
    })
    return { gate, flushes: () => flushes }
  }

  const renamed = async (directory: string, count: number): Promise<void> => {
    while (filesIn(directory).filter((name) => name.endsWith('.info')).length < count) await turn()
  }

  test('are flushed once for all that came while a flush was in progress, and that one does not count for them', async (t) => {
    const store = new FileStore(temporaryFolder(t), { sync: 'append' })
    const { gate, flushes } = holdFirst(t)
    let settled = 0
    const create = (id: string): Promise<unknown> => store.create({ id, length: 1 }).then(() => settled++)
    const first = create('first')
    await gate.arrived
    const others = Array.from({ length: 5 }, (_, index) => create(`${index}`))
    await renamed(store.directory, 6)
    assert.deepEqual([settled, flushes()], [0, 1])
    gate.open()
    await Promise.all([first, ...others])
    assert.equal(flushes(), 2)
    await create('last')
    assert.equal(flushes(), 3)
  })

  test('that cannot be flushed are an error for each that waited, none of which leaves anything; then all goes on', async (t) => {
    const store = new FileStore(temporaryFolder(t), { sync: 'append' })
    const { gate, flushes } = holdFirst(t, () => (flushes() === 2 ? Promise.reject(new Error('EIO')) : Promise.resolve()))
    const first = store.create({ id: 'first', length: 1 })
    await gate.arrived
    const others = Array.from({ length: 3 }, (_, index) => assert.rejects(store.create({ id: `${index}`, length: 1 }), /EIO/))
    await renamed(store.directory, 4)
    gate.open()
    await Promise.all([first, ...others])
    assert.deepEqual(filesIn(store.directory), ['first', 'first.info'])
    await store.create({ id: '1', length: 1 })
  })

  test('are those of the directory that is there now, also after somebody removed it and made it again', async (t) => {
    const directory = join(temporaryFolder(t), 'uploads')
    const store = new FileStore(directory, { sync: 'append' })
    const flushed: number[] = []
    const { gate } = holdFirst(t, async (file) => void flushed.push((await file.stat()).ino))
    gate.open()
    await store.create({ id: 'a', length: 1 })
    renameSync(directory, `${directory}-old`)
    await assert.rejects(store.create({ id: 'b', length: 1 }), { code: 'ENOENT' })
    mkdirSync(directory)
    await store.create({ id: 'b', length: 1 })
    assert.deepEqual(flushed, [statSync(`${directory}-old`).ino, statSync(directory).ino])
    assert.deepEqual(filesIn(directory), ['b', 'b.info'])
  })
})
