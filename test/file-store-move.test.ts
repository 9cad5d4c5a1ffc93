// SPDX-License-Identifier: MIT

/** Finished uploads whose bytes leave the store: where they are at every moment, and what is said of them then. */

import assert from 'node:assert/strict'
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { FileStore, type StoredUpload } from '../lib/file-store/file-store.ts'
import { OpenFile } from '../lib/file-store/open-file.ts'
import { MountedFolder } from './fault/mounted-folder.ts'
import { fileSystem } from './support/file-calls.ts'
import { filesIn } from './support/files.ts'
import { temporaryFolder } from './support/temporary.ts'

const SYNCS = ['none', 'finish', 'append'] as const
const { rename } = fileSystem

/** An upload of `hello` that its application is about to finish. */
async function finishing(store: FileStore): Promise<StoredUpload> {
  const upload = await store.create({ id: 'a', length: 5, metadata: new Map([['filename', 'hello.txt']]) })
  await store.append(upload, Readable.from([Buffer.from('hello')], { objectMode: false }))
  await store.setState(await find(store), 'finishing')
  return find(store)
}

async function find(store: FileStore): Promise<StoredUpload> {
  return (await store.find('a')) ?? assert.fail('there is no such upload')
}

/** Has every rename of data to another folder fail: by default as it does between two file systems. */
function separate(t: TestContext, code = 'EXDEV'): void {
  t.mock.method(fileSystem, 'rename', async (from: string, to: string) => {
    if (from.endsWith('/a')) throw Object.assign(new Error(code), { code })
    return rename(from, to)
  })
  t.after(() => {
    t.mock.restoreAll() // which would come later than this by itself
    fileSystem.rename = rename // mocks of a mock are not restored in order
  })
}

for (const sync of SYNCS) {
  for (const where of ['on one file system', 'across two'] as const) {
    test(`moveTo takes the bytes away and leaves a record that is finished, ${where}, with sync ${sync}`, async (t) => {
      if (where === 'across two') separate(t)
      const store = new FileStore(temporaryFolder(t), { sync })
      const folder = temporaryFolder(t)
      const path = join(folder, 'hello')
      const upload = await finishing(store)
      assert.equal(upload.movedAt, undefined)
      await store.moveTo(upload, path)
      assert.equal(readFileSync(path, 'utf8'), 'hello')
      assert.deepEqual([filesIn(store.directory), filesIn(folder)], [['a.info'], ['hello']])
      await store.setState(await find(store), 'finished')
      for (const each of [store, new FileStore(store.directory)]) {
        const { state, offset, length, metadata, movedAt } = await find(each)
        assert.deepEqual(
          { state, offset, length, metadata },
          { state: 'finished', offset: 5, length: 5, metadata: new Map([['filename', 'hello.txt']]) },
        )
        assert.ok(movedAt instanceof Date && Math.abs(Date.now() - movedAt.getTime()) < 60_000)
      }
      await store.moveTo(await find(store), join(folder, 'again')) // nothing is left to move
      assert.deepEqual(filesIn(folder), ['hello'])
      await store.terminate(await find(store))
      assert.deepEqual([filesIn(store.directory), await store.find('a')], [[], undefined])
      assert.equal(readFileSync(path, 'utf8'), 'hello', 'what was moved is not removed with the record')
    })
  }
}

for (const where of ['on one file system', 'across two'] as const) {
  test(`a crash at any moment of moveTo leaves the bytes whole in one place at least, and the next call completes it, ${where}`, async (t) => {
    for (let moment = 1, isDone = false; !isDone; moment++) {
      const store = new FileStore(temporaryFolder(t), { sync: 'finish' })
      const folder = temporaryFolder(t)
      const path = join(folder, 'hello')
      const upload = await finishing(store)
      if (where === 'across two') separate(t)
      let calls = 0
      for (const name of ['rename', 'copyFile', 'open', 'rm'] as const) {
        const real = fileSystem[name] as (...args: unknown[]) => Promise<unknown>
        t.mock.method(fileSystem, name, async (...args: unknown[]) => {
          if (++calls >= moment) throw new Error('the process has died') // and does nothing more, not even tidy up
          return real(...args)
        })
      }
      isDone = await store.moveTo(upload, path).then(() => true, () => false)
      t.mock.restoreAll()
      if (isDone) assert.ok(calls >= (where === 'across two' ? 9 : 6), `it made ${calls} calls`)
      const contents = [join(store.directory, 'a'), path].filter((each) => existsSync(each)).map((each) => readFileSync(each, 'utf8'))
      assert.ok(contents.length > 0 && contents.every((content) => content === 'hello'), `after call ${moment}: ${contents}`)
      if (where === 'across two') separate(t)
      const restarted = new FileStore(store.directory)
      const found = await find(restarted)
      assert.deepEqual([found.state, found.offset], ['finishing', 5])
      await restarted.moveTo(found, path)
      t.mock.restoreAll()
      assert.equal(readFileSync(path, 'utf8'), 'hello')
      assert.deepEqual(filesIn(store.directory).filter((name) => !name.endsWith('.tmp')), ['a.info'])
      assert.deepEqual(filesIn(folder), ['hello'])
    }
  })
}

test('two calls of moveTo at once across two file systems lose nothing: what one has not copied yet the other does not take for whole', async (t) => {
  separate(t)
  const store = new FileStore(temporaryFolder(t))
  const path = join(temporaryFolder(t), 'hello')
  const upload = await finishing(store)
  const { copyFile } = fileSystem
  let begin!: () => void
  let end!: () => void
  const begun = new Promise<void>((resolve) => (begin = resolve))
  const ended = new Promise<void>((resolve) => (end = resolve))
  let second: Promise<void> | undefined
  t.mock.method(fileSystem, 'copyFile', async (from: string, to: string, mode: number) => {
    if (!second) {
      await copyFile(from, to, mode)
      second = assert.rejects(store.moveTo(upload, path))
      return begun
    }
    writeFileSync(to, 'hel', { flag: 'wx' })
    begin()
    await ended
    throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  })
  await assert.rejects(store.moveTo(upload, path), /another call/)
  end()
  await second
  assert.deepEqual([readFileSync(join(store.directory, 'a'), 'utf8'), existsSync(path)], ['hello', false])
  t.mock.restoreAll()
  await store.moveTo(upload, path)
  assert.deepEqual([filesIn(store.directory), readFileSync(path, 'utf8')], [['a.info'], 'hello'])
})

test('moveTo at the same time as other changes of the record takes none of them back, nor do they take back that the bytes were moved', async (t) => {
  for (const sync of SYNCS) {
    const store = new FileStore(temporaryFolder(t), { sync })
    const upload = await finishing(store)
    const digest = { algorithm: 'sha256', value: 'x' }
    await Promise.all([
      store.setDigest(upload, digest),
      store.moveTo(upload, join(temporaryFolder(t), 'hello')),
      store.setState(upload, 'finished'),
    ])
    for (const each of [store, new FileStore(store.directory)]) {
      const { state, movedAt, digest: kept } = await find(each)
      assert.deepEqual([state, movedAt instanceof Date, kept], ['finished', true, digest])
    }
  }
})

test('an upload that is removed while its bytes are being moved does not come back', async (t) => {
  for (let turns = 0; turns < 40; turns++) {
    const store = new FileStore(temporaryFolder(t), { sync: 'none' })
    const upload = await finishing(store)
    const moved = store.moveTo(upload, join(temporaryFolder(t), 'hello')).catch(() => {})
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
    await Promise.all([store.terminate(upload), moved])
    assert.deepEqual([await store.find('a'), filesIn(store.directory)], [undefined, []])
  }
})

test('moveTo flushes the record, a copy, and both directories; with sync none nothing', async (t) => {
  for (const [where, sync, flushes] of [
    ['one', 'none', 0],
    ['one', 'finish', 4],
    ['one', 'append', 4],
    ['two', 'finish', 5],
    ['two', 'none', 0],
  ] as const) {
    const store = new FileStore(temporaryFolder(t), { sync })
    const upload = await finishing(store)
    fileSystem.rename = rename // whatever tests before have left
    if (where === 'two') separate(t)
    const { mock } = t.mock.method(OpenFile.prototype, 'sync')
    await store.moveTo(upload, join(temporaryFolder(t), 'hello'))
    assert.equal(mock.callCount(), flushes, `${where}, ${sync}`)
    t.mock.restoreAll()
  }
})

test('moveTo does not write through a link that is planted in the place of its copy at the last moment', async (t) => {
  separate(t)
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'precious'), 'precious')
  const { copyFile } = fileSystem
  t.mock.method(fileSystem, 'copyFile', (from: string, to: string, mode: number) => {
    symlinkSync('precious', to)
    return copyFile(from, to, mode)
  })
  await assert.rejects(store.moveTo(upload, join(folder, 'target')), { code: 'EEXIST' })
  assert.deepEqual(
    [readFileSync(join(folder, 'precious'), 'utf8'), readFileSync(join(store.directory, 'a'), 'utf8')],
    ['precious', 'hello'],
  )
})

test('moveTo to a disk that is full rejects, the bytes stay, and it can be called again', async (t) => {
  const disk = MountedFolder.mount(t, { bytes: 4 * 1024 ** 2, names: 100 })
  if (!disk) return
  mkdirSync(disk.uploads)
  const store = new FileStore(temporaryFolder(t))
  const content = Buffer.alloc(1024 ** 2, 'x')
  const upload = await store.create({ id: 'a', length: content.length })
  await store.append(upload, Readable.from([content], { objectMode: false }))
  await store.setState(await find(store), 'finishing')
  const path = join(disk.uploads, 'x')
  disk.fillBytes(64 * 1024)
  await assert.rejects(store.moveTo(await find(store), path), { code: 'STORE_FULL' })
  assert.deepEqual(filesIn(disk.uploads), [])
  const { movedAt, offset } = await find(store)
  assert.deepEqual([movedAt, offset], [undefined, content.length])
  disk.clear()
  await store.moveTo(await find(store), path)
  assert.ok(readFileSync(path).equals(content))
  assert.deepEqual(filesIn(store.directory), ['a.info'])
})

test('moveTo refuses what is not complete, what others are made of, and a path in the store', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const path = join(temporaryFolder(t), 'a')
  const upload = await store.create({ id: 'a', length: 5 })
  const misuse = (name: string, message: RegExp) => ({ name, message })
  await assert.rejects(store.moveTo(upload, path), misuse('TypeError', /^Cannot move the upload a as it must be finishing or finished/))
  for (const state of ['rejected', 'deactivated'] as const) {
    await assert.rejects(store.moveTo({ ...upload, state }, path), misuse('TypeError', /is rejected|is deactivated/))
  }
  await store.append(upload, Readable.from([Buffer.from('hello')], { objectMode: false }))
  await store.setState(await find(store), 'finishing')
  await assert.rejects(store.moveTo({ ...(await find(store)), partial: true }, path), misuse('TypeError', /a part/))
  for (const inside of [join(store.directory, 'b'), join(store.directory, 'x', '..', 'c'), join(store.directory, 'a')]) {
    await assert.rejects(store.moveTo(await find(store), inside), misuse('TypeError', /outside of the store/))
  }
  await assert.rejects(store.moveTo(await find(store), join(path, 'no', 'folder')), { code: 'ENOENT' })
  await assert.rejects(store.moveTo({ ...(await find(store)), id: '../a' }, path), misuse('TypeError', /^Cannot name an upload/))
  assert.deepEqual(filesIn(store.directory), ['a', 'a.info'])
  assert.equal((await find(store)).movedAt, undefined)
})

test('moveTo refuses the directory of the store by whatever path: the bytes of others are not replaced, nor its own removed', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  await store.create({ id: 'b', length: 5 })
  const link = join(temporaryFolder(t), 'link')
  symlinkSync(store.directory, link)
  const refusal = { name: 'TypeError', message: /outside of the store/ }
  for (const name of ['a', 'b', 'c']) await assert.rejects(store.moveTo(upload, join(link, name)), refusal)
  separate(t) // as a second mount of the directory does
  for (const name of ['a', 'b', 'c']) await assert.rejects(store.moveTo(upload, join(link, name)), refusal)
  assert.deepEqual(filesIn(store.directory), ['a', 'a.info', 'b', 'b.info'])
  assert.deepEqual(['a', 'b'].map((name) => readFileSync(join(store.directory, name), 'utf8')), ['hello', ''])
})

test('moveTo takes the bytes away also if its target is a hard link to them, as an application may have made before', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  const path = join(temporaryFolder(t), 'hello')
  linkSync(join(store.directory, 'a'), path)
  await store.moveTo(upload, path)
  assert.deepEqual([filesIn(store.directory), readFileSync(path, 'utf8')], [['a.info'], 'hello'])
  assert.ok((await find(store)).movedAt)
})

test('moveTo says that there is no space also where only the folder takes no more', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  separate(t, 'EDQUOT')
  await assert.rejects(store.moveTo(upload, join(temporaryFolder(t), 'x')), { code: 'STORE_FULL' })
})

test('the id of an upload that was moved away stays taken', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  await store.moveTo(upload, join(temporaryFolder(t), 'hello'))
  await store.setState(await find(store), 'finished')
  for (const each of [store, new FileStore(store.directory)]) {
    await assert.rejects(each.create({ id: 'a', length: 7 }), { code: 'UPLOAD_EXISTS' })
    assert.deepEqual([(await find(each)).state, filesIn(store.directory)], ['finished', ['a.info']])
  }
  await store.terminate(await find(store))
  assert.equal((await store.create({ id: 'a', length: 7 })).offset, 0)
})

for (const before of ['none', 'finish'] as const) {
  test(`a store that flushes each append finishes and flushes what was moved away while sync was ${before}`, async (t) => {
    const store = new FileStore(temporaryFolder(t), { sync: before })
    await store.moveTo(await finishing(store), join(temporaryFolder(t), 'hello'))
    const restarted = new FileStore(store.directory, { sync: 'append' })
    await restarted.flush(await find(restarted))
    await restarted.setState(await find(restarted), 'finished')
    await restarted.flush(await find(restarted))
    const { state, offset, movedAt } = await find(restarted)
    assert.deepEqual([state, offset, movedAt instanceof Date], ['finished', 5, true])
  })
}

test('moveTo of bytes that are lost rejects, and makes no record of a move', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await finishing(store)
  rmSync(join(store.directory, 'a'))
  await assert.rejects(store.moveTo(upload, join(temporaryFolder(t), 'a')), { code: 'UPLOAD_CORRUPT' })
  rmSync(join(store.directory, 'a.info'))
  await assert.rejects(store.moveTo(upload, join(temporaryFolder(t), 'a')), { code: 'UPLOAD_CORRUPT' })
  assert.deepEqual(filesIn(store.directory), [])
})

test('moveTo replaces a file, and a link as such: what that points to is not written', async (t) => {
  separate(t)
  const store = new FileStore(temporaryFolder(t))
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'precious'), 'precious')
  symlinkSync('precious', join(folder, 'target'))
  symlinkSync('precious', join(folder, '.a.tmp'))
  await store.moveTo(await finishing(store), join(folder, 'target'))
  assert.equal(readFileSync(join(folder, 'precious'), 'utf8'), 'precious')
  assert.equal(readFileSync(join(folder, 'target'), 'utf8'), 'hello')
  assert.deepEqual(filesIn(folder), ['precious', 'target'])
})

test('an upload whose data are gone while it is being finished was taken by its application; one that is finished is damaged', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  await finishing(store)
  rmSync(join(store.directory, 'a'))
  const taken = await find(store)
  assert.ok(taken.movedAt instanceof Date)
  await store.setState(taken, 'finished')
  assert.equal((await find(new FileStore(store.directory))).state, 'finished')

  const other = new FileStore(temporaryFolder(t))
  await other.setState(await finishing(other), 'finished')
  rmSync(join(other.directory, 'a'))
  await assert.rejects(other.find('a'), { code: 'UPLOAD_CORRUPT' })
})

test('files and the directory have the permissions that were asked for, and only their owner has any by default', async (t) => {
  const umask = process.umask(0)
  t.after(() => process.umask(umask))
  const modeOf = (path: string): number => statSync(path).mode & 0o777
  for (const [options, file, directory] of [[{}, 0o600, 0o700], [{ fileMode: 0o640, directoryMode: 0o750 }, 0o640, 0o750]] as const) {
    const store = new FileStore(join(temporaryFolder(t), 'new'), options)
    await finishing(store)
    assert.deepEqual(
      [modeOf(join(store.directory, 'a')), modeOf(join(store.directory, 'a.info')), modeOf(store.directory)],
      [file, file, directory],
    )
    assert.equal(modeOf(join(store.directory, '.in-use')), directory, 'a process of another user is to find this one')
  }
  const folder = temporaryFolder(t)
  for (const fileMode of [0o400, 0, 0o1600, -1, 0.5, NaN, '600' as never]) {
    assert.throws(() => new FileStore(folder, { fileMode }), {
      name: 'RangeError',
      message: /fileMode must be permissions from 0o600 to 0o777/,
    })
  }
  for (const directoryMode of [0o600, 0o1777]) assert.throws(() => new FileStore(folder, { directoryMode }), { name: 'RangeError' })
})

test('a sidecar whose answer, metadata or dates cannot be sent is damaged', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({
    id: 'a',
    length: 0,
    metadata: new Map([['k', 'v']]),
    encodedMetadata: 'k dg==',
    encodedParts: 'final;/files/b',
  })
  await store.setState(upload, 'finished', { status: 200, headers: { 'X-Good': 'yes' }, body: '' })
  const path = join(store.directory, 'a.info')
  const sidecar = readFileSync(path, 'utf8')
  assert.equal((await find(new FileStore(store.directory))).outcome?.headers['X-Good'], 'yes')
  for (const [from, to] of [
    ['"X-Good"', '"X Good"'], ['"X-Good"', '""'], ['"yes"', '"y\\r\\nSet-Cookie: a"'], ['"yes"', '"\\u2026"'],
    ['"status":200', '"status":99'], ['"status":200', '"status":100'],
    ['"k dg=="', '"k dg==\\n"'], ['"k dg=="', '"\\u2026 dg=="'], ['"final;/files/b"', '"final;\\u0000"'],
    ['"state"', '"movedAt":"never","state"'],
  ] as const) {
    const changed = sidecar.replace(from, to)
    assert.notEqual(changed, sidecar, from)
    writeFileSync(path, changed)
    await assert.rejects(new FileStore(store.directory).find('a'), { code: 'UPLOAD_CORRUPT' }, `${from} ${to}`)
  }
})
