// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { FileStore, type StoredUpload } from '../lib/file-store/file-store.ts'
import { OpenFile } from '../lib/file-store/open-file.ts'
import { fileSystem } from './support/file-calls.ts'
import { filesIn } from './support/files.ts'
import { temporaryFolder } from './support/temporary.ts'

const bytes = (text: string): Readable => Readable.from([Buffer.from(text)], { objectMode: false })

/** A body that brings its bytes and then fails. */
function failing(text: string): Readable {
  return Readable.from((async function* () {
    yield Buffer.from(text)
    await turn()
    throw new Error('The body failed')
  })(), { objectMode: false })
}

/** Which descriptors of this process lead to files of the upload. */
function openFiles(id: string): string[] {
  return readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // the descriptor that listed the others
    }
  }).filter((path) => path.includes(id))
}

test('an upload that was created is found, with everything that was said of it', async (t) => {
  const directory = temporaryFolder(t)
  const metadata = new Map([['filename', 'plan.pdf'], ['__proto__', 'a key like any other'], ['empty', '']])
  const created = await new FileStore(directory).create({ length: 11, metadata, encodedMetadata: 'filename cGxhbi5wZGY=' })
  assert.match(created.id, /^[0-9a-f]{32}$/)
  const found = await new FileStore(directory).find(created.id)
  assert.deepEqual({ ...found, updatedAt: created.updatedAt }, created)
  assert.ok(Math.abs(found!.updatedAt.getTime() - created.createdAt.getTime()) < 60_000)
  const { createdAt, updatedAt, ...rest } = created
  assert.deepEqual(rest, {
    id: created.id, offset: 0, length: 11, metadata, encodedMetadata: 'filename cGxhbi5wZGY=', state: 'receiving', outcome: undefined,
    partial: false, parts: undefined, encodedParts: undefined, maxSize: undefined, completion: undefined, digest: undefined,
    mark: undefined, foreign: false,
  })
})

test('however a body is split into appends, the file is the body and each offset is exact', async (t) => {
  const directory = temporaryFolder(t)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 6 }),
      fc.constantFrom('none', 'finish', 'append'),
      async (parts, sync) => {
        const store = new FileStore(directory, { sync: sync as 'none' })
        const body = Buffer.concat(parts)
        let upload: StoredUpload | undefined = await store.create({ length: body.length })
        for (const part of parts) {
          const offset = await store.append(upload!, Readable.from([Buffer.from(part)], { objectMode: false }))
          assert.equal(offset, upload!.offset + part.length)
          upload = await store.find(upload!.id)
          assert.equal(upload?.offset, offset)
        }
        assert.deepEqual(readFileSync(join(directory, upload!.id)), body)
      },
    ),
    { numRuns: 40 },
  )
})

test('a large body goes through in bounded pieces and arrives whole', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const piece = randomBytes(100_003)
  const upload = await store.create({ length: piece.length * 300 })
  const body = Readable.from((function* () { for (let i = 0; i < 300; i++) yield piece })(), { objectMode: false })
  assert.equal(await store.append(upload, body), piece.length * 300)
  const stored = readFileSync(join(directory, upload.id))
  for (let i = 0; i < 300; i++) assert.ok(stored.subarray(i * piece.length, (i + 1) * piece.length).equals(piece))
})

test('bytes that reached the file stay when the body fails, and the upload goes on behind them', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: 100 })
  const failing = new Readable({ read() {} })
  failing.push('hello ')
  const appended = store.append(upload, failing)
  while ((await store.find(upload.id))?.offset !== 6) await new Promise((resolve) => setImmediate(resolve))
  failing.destroy(new Error('connection reset'))
  await assert.rejects(appended, { message: 'connection reset' })
  const found = await store.find(upload.id)
  assert.equal(await store.append(found!, bytes('world')), 11)
})

test('once the signal has aborted nothing more is written, what was taken from the body neither', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: undefined })
  const body = new Readable({ read() {} })
  body.push('a')
  const controller = new AbortController()
  const onProgress = (): void => {
    body.push('b') // it is flowing, so it is taken now
    assert.equal(body.readableLength, 0)
    controller.abort(new Error('the lock is lost'))
  }
  await assert.rejects(store.append(upload, body, { signal: controller.signal, onProgress }), { message: 'the lock is lost' })
  assert.equal((await store.find(upload.id))?.offset, 1)
})

test('an abort rejects with its reason once nothing is written any more', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: undefined })
  const controller = new AbortController()
  const endless = new Readable({ read() { this.push(Buffer.alloc(64 * 1024)) } })
  const appended = store.append(upload, endless, { signal: controller.signal })
  while (((await store.find(upload.id))?.offset ?? 0) < 5_000_000) await new Promise((resolve) => setImmediate(resolve))
  controller.abort(new Error('took too long'))
  await assert.rejects(appended, { message: 'took too long' })
  const { offset } = (await store.find(upload.id))!
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await store.find(upload.id))?.offset, offset)
})

test('when an append has failed, however it did, no file of the upload is open any more', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)

  const upload = await store.create({ length: undefined })
  const controller = new AbortController()
  const endless = new Readable({ read() { this.push(Buffer.alloc(64 * 1024)) } })
  const appended = store.append(upload, endless, { signal: controller.signal })
  while (((await store.find(upload.id))?.offset ?? 0) < 5_000_000) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(openFiles(upload.id).length, 1)
  controller.abort()
  await appended.catch(() => {})
  assert.deepEqual(openFiles(upload.id), [])
  await store.append((await store.find(upload.id))!, bytes('x'))
  await assert.rejects(store.append(upload, bytes('x')))
  assert.deepEqual(openFiles(upload.id), [])
})

test('sync decides what is flushed to the device, and when', async (t) => {
  const sync = t.mock.method(OpenFile.prototype, 'sync')
  const flushes = async (mode: 'none' | 'finish' | 'append'): Promise<number[]> => {
    const store = new FileStore(temporaryFolder(t), { sync: mode })
    const counts: number[] = []
    const count = (): void => {
      counts.push(sync.mock.callCount())
      sync.mock.resetCalls()
    }
    const upload = await store.create({ length: 6 })
    count()
    await store.append(upload, bytes('abc'))
    count()
    await store.append((await store.find(upload.id))!, bytes('def'))
    count()
    for (const state of ['finishing', 'finished'] as const) {
      await store.setState((await store.find(upload.id))!, state)
      count()
    }
    return counts
  }
  assert.deepEqual(await flushes('none'), [0, 0, 0, 0, 0])
  // Data, directory, sidecar, directory; the data do not change any more.
  assert.deepEqual(await flushes('finish'), [0, 0, 0, 4, 2])
  assert.deepEqual(await flushes('append'), [2, 3, 3, 2, 2]) // sidecar and directory, and before them the data each time that they change
})

test('bytes whose flush fails are taken back, as the next flush would succeed without them; those of earlier appends stay', async (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'append' })
  const upload = await store.create({ length: 9 })
  await store.append(upload, bytes('abc'))
  const sync = t.mock.method(OpenFile.prototype, 'sync')
  const failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  sync.mock.mockImplementationOnce(() => Promise.reject(failure), sync.mock.callCount())
  await assert.rejects(store.append((await store.find(upload.id))!, bytes('def')), failure)
  assert.equal((await store.find(upload.id))!.offset, 3)

  await assert.rejects(store.append((await store.find(upload.id))!, failing('def')))
  assert.equal((await store.find(upload.id))!.offset, 6)
  sync.mock.mockImplementationOnce(() => Promise.reject(failure), sync.mock.callCount())
  await assert.rejects(store.flush((await store.find(upload.id))!), failure)
  assert.equal((await store.find(upload.id))!.offset, 3)
  assert.equal(await store.append((await store.find(upload.id))!, bytes('defghi')), 9)
})

for (const [refusal, calls, restarted] of [
  ['a disk that refuses all else', ['sync', 'truncate', 'writeFile'], false],
  ['a disk that refuses to truncate', ['sync', 'truncate'], true],
  ['a disk that refuses sidecars', ['sync', 'writeFile'], true],
] as const) test(`bytes whose flush failed do not come back, on ${refusal} either`, async (t) => {
  const directory = temporaryFolder(t)
  let store = new FileStore(directory, { sync: 'append' })
  const upload = await store.create({ id: 'a', length: 9 })
  await store.append(upload, bytes('abc'))
  const failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  const mocks = calls.map((call) =>
    t.mock.method(OpenFile.prototype, call, () => Promise.reject(failure), { times: call === 'sync' && restarted ? 1 : 100 }),
  )
  await assert.rejects(store.append((await store.find('a'))!, bytes('def')), failure)
  for (const mock of mocks) mock.mock.restore()
  assert.equal(statSync(join(directory, 'a')).size, refusal.endsWith('sidecars') ? 3 : 6)
  if (restarted) store = new FileStore(directory, { sync: 'append' })
  const found = (await store.find('a'))!
  assert.equal(found.offset, 3)
  await store.flush(found)
  assert.equal(await store.append(found, bytes('xyz')), 6)
  assert.equal(readFileSync(join(directory, 'a'), 'utf8'), 'abcxyz')
  assert.equal((await new FileStore(directory).find('a'))!.offset, 6)
})

test('bytes whose flush failed do not come back if nothing can be read either, and lost ones are not made up', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, { sync: 'append', shared: true }) // so that the sidecar is read each time
  await store.append(await store.create({ id: 'a', length: 9 }), bytes('abc'))
  const upload = (await store.find('a'))!
  const failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  const calls = ['sync', 'truncate', 'writeFile', 'read'] as const
  let mocks = calls.map((call) => t.mock.method(OpenFile.prototype, call, () => Promise.reject(failure)))
  await assert.rejects(store.append(upload, bytes('def')), failure)
  for (const mock of mocks) mock.mock.restore()
  assert.equal((await store.find('a'))!.offset, 3)

  truncateSync(join(directory, 'a'), 2)
  const lost = (await store.find('a'))!
  mocks = [t.mock.method(OpenFile.prototype, 'sync', () => Promise.reject(failure))]
  await assert.rejects(store.flush(lost), failure)
  for (const mock of mocks) mock.mock.restore()
  assert.equal(readFileSync(join(directory, 'a'), 'utf8'), 'ab')
})

test('of a finished upload nothing is in doubt, whatever of it was flushed when', async (t) => {
  for (const next of ['append', 'finish', 'none'] as const) {
    const directory = temporaryFolder(t)
    const upload = await new FileStore(directory, { sync: 'append' }).create({ id: 'a', length: 6 })
    await new FileStore(directory, { sync: 'append' }).append(upload, bytes('abc'))
    appendFileSync(join(directory, 'a'), 'def') // as by a process that was killed before it could flush
    const store = new FileStore(directory, { sync: next })
    await store.setState((await store.find('a'))!, 'finishing')
    await store.setState((await store.find('a'))!, 'finished', { headers: {}, body: '' })
    const sidecar = readFileSync(join(directory, 'a.info'), 'utf8')
    writeFileSync(join(directory, 'a.info'), sidecar.replace(/"boot":"[^"]*"/, '"boot":"another"'))
    const { offset, state } = (await store.find('a'))!
    assert.deepEqual([offset, state], [6, 'finished'], next)
  }
})

test('what was cut off stays away, also where a power failure takes back the cut', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, { sync: 'append' })
  const upload = await store.create({ id: 'a', length: 6 })
  await store.append(upload, bytes('abc'))
  const found = (await store.find('a'))!
  await store.append(found, bytes('def'))
  await store.truncate({ ...found, offset: 6 }, 3)
  writeFileSync(join(directory, 'a'), 'abcdef')
  const sidecar = readFileSync(join(directory, 'a.info'), 'utf8')
  writeFileSync(join(directory, 'a.info'), sidecar.replace(/"boot":"[^"]*"/, '"boot":"another"'))
  assert.equal((await new FileStore(directory, { sync: 'append' }).find('a'))!.offset, 3)
})

test('an append of what is no body rejects, and leaves no file open', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: 3 })
  await assert.rejects(store.append(upload, 'abc' as unknown as Readable, { signal: {} as AbortSignal }))
  assert.deepEqual(openFiles(upload.id), [])
  assert.equal(await store.append(upload, bytes('abc')), 3)
})

test('what the system leaves over of a write goes where it belongs, and a write of nothing is an error', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const content = randomBytes(300_000)
  const upload = await store.create({ id: 'a', length: content.length })
  const { writev } = OpenFile.prototype
  let left = Infinity
  t.mock.method(OpenFile.prototype, 'writev', function (this: OpenFile, buffers: Buffer[], position: number) {
    const some = Buffer.concat(buffers).subarray(0, Math.min(left, 1 + position % 50_000))
    left -= some.length
    return some.length === 0 ? Promise.resolve({ bytesWritten: 0, buffers }) : writev.call(this, [some], position)
  })
  const pieces = Array.from({ length: 30 }, (_, index) => content.subarray(index * 10_000, (index + 1) * 10_000))
  left = 120_000
  await assert.rejects(store.append(upload, Readable.from(pieces, { objectMode: false })), /wrote nothing/)
  assert.deepEqual(readFileSync(join(directory, 'a')), content.subarray(0, 120_000))
  left = Infinity
  const rest = Readable.from(pieces.slice(12), { objectMode: false })
  assert.equal(await store.append((await store.find('a'))!, rest), content.length)
  assert.ok(readFileSync(join(directory, 'a')).equals(content))
})

test('an append whose write fails lets go of its body and of its memory: others go on', async (t) => {
  const MIB = 1024 ** 2
  const store = new FileStore(temporaryFolder(t), { maxBufferedBytes: MIB })
  const [first, second] = [await store.create({ id: 'a', length: undefined }), await store.create({ id: 'b', length: 5 * MIB })]
  const failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  let fail!: () => void
  const written = new Promise<void>((resolve) => {
    t.mock.method(OpenFile.prototype, 'writev', () => {
      resolve()
      return new Promise((_, reject) => (fail = () => reject(failure)))
    }, { times: 1 })
  })
  const body = new Readable({ read() { this.push(Buffer.alloc(64 * 1024)) } }) // fills the memory while its write takes time
  const failed = assert.rejects(store.append(first, body), failure)
  await written
  while (!body.isPaused()) await turn()
  const waiting = store.append(second, Readable.from(Array.from({ length: 5 }, () => Buffer.alloc(MIB)), { objectMode: false }))
  await turn()
  fail()
  await failed
  assert.deepEqual([body.destroyed, body.listenerCount('data')], [true, 0])
  assert.equal(await waiting, 5 * MIB)
  const again = Readable.from(Array.from({ length: 20 }, () => Buffer.alloc(MIB)), { objectMode: false })
  assert.equal(await store.append((await store.find('a'))!, again), 20 * MIB)
})

test('what was written here is remembered: to find it takes one look at the data, unless others use the directory too', async (t) => {
  const calls = { open: 0, lstat: 0 }
  const { open: realOpen, lstat } = fileSystem
  t.after(() => {
    Object.assign(fileSystem, { open: realOpen, lstat })
  })
  Object.assign(fileSystem, {
    open: (...args: Parameters<typeof realOpen>) => (calls.open++, realOpen(...args)),
    lstat: (path: string) => (calls.lstat++, lstat(path)),
  })
  for (const [shared, opens] of [[false, 0], [true, 1]] as const) {
    const store = new FileStore(temporaryFolder(t), { shared })
    await store.append(await store.create({ id: 'a', length: 9 }), bytes('abc'))
    Object.assign(calls, { open: 0, lstat: 0 })
    await store.find('a')
    assert.deepEqual(calls, { open: opens, lstat: 1 })
  }
})

test('a sidecar that cannot be written, renamed or flushed leaves no file behind and none open; then all goes on', async (t) => {
  t.after(() => {
    t.mock.restoreAll() // which would come later than this by itself
  })
  const store = new FileStore(temporaryFolder(t), { sync: 'append' })
  const failure = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
  const upload = await store.create({ id: 'old', length: 5 })
  const attempts = [() => store.create({ id: 'new', length: 5 }), () => store.setLength(upload, 7)]
  for (const attempt of attempts) {
    t.mock.method(OpenFile.prototype, 'writeFile', () => Promise.reject(failure))
    await assert.rejects(attempt(), { code: 'STORE_FULL' })
    t.mock.restoreAll()
    t.mock.method(fileSystem, 'rename', () => Promise.reject(failure))
    await assert.rejects(attempt(), { code: 'STORE_FULL' })
    t.mock.restoreAll()
    assert.deepEqual([filesIn(store.directory), openFiles('old'), openFiles('new')], [['old', 'old.info'], [], []])
  }
  const { sync } = OpenFile.prototype
  let calls = 0
  t.mock.method(OpenFile.prototype, 'sync', function (this: OpenFile, what: 'data' | 'names') {
    return ++calls === 2 ? Promise.reject(failure) : sync.call(this, what) // that of the directory
  })
  await assert.rejects(attempts[0]!(), failure)
  t.mock.restoreAll()
  assert.deepEqual(filesIn(store.directory), ['old', 'old.info'])
  assert.equal((await store.create({ id: 'new', length: 5 })).offset, 0)
  assert.equal((await store.find('old'))!.length, 5)
})

test('nothing that is said of an upload after its removal brings it back', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ id: 'a', length: 5 })
  await store.terminate(upload)
  await assert.rejects(store.setLength(upload, 7), { code: 'UPLOAD_CORRUPT' })
  assert.deepEqual(filesIn(store.directory), [])
})

test('an append at another offset than the stored one is refused and changes nothing', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const upload = await store.create({ length: 10 })
  await store.append(upload, bytes('hello'))
  await assert.rejects(store.append(upload, bytes('HELLO')), { code: 'UPLOAD_MOVED_ON' })
  assert.equal(readFileSync(join(directory, upload.id), 'utf8'), 'hello')
})

test('an append stops when the upload moves on without it, and overwrites nothing', async (t) => {
  const directory = temporaryFolder(t)
  const [here, there] = [new FileStore(directory, { shared: true }), new FileStore(directory, { shared: true })]
  const upload = await here.create({ length: 10 })
  const body = new PassThrough()
  const begun = new Promise<void>((resolve) => body.once('resume', resolve))
  const slow = here.append(upload, body)
  await begun
  assert.equal(await there.append(upload, bytes('HELLO')), 5) // the lock was lost, and nobody knows it yet
  body.end('hey')
  await assert.rejects(slow, { code: 'UPLOAD_MOVED_ON' })
  assert.equal(readFileSync(join(directory, upload.id), 'utf8'), 'HELLO')
})

test('no offset is told of bytes whose file was removed or replaced while they came', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  for (const [id, harm] of [
    ['removed', (path: string) => rmSync(path)],
    [
      'replaced',
      (path: string) => {
        rmSync(path)
        writeFileSync(path, '')
      },
    ],
  ] as const) {
    const upload = await store.create({ id, length: 11 })
    const body = Readable.from((async function* () {
      yield Buffer.from('hello')
      await turn()
      harm(join(directory, id))
      yield Buffer.from(' ')
    })(), { objectMode: false })
    await assert.rejects(store.append(upload, body), { code: 'UPLOAD_CORRUPT' })
  }
})

test('truncate takes back what was appended, and no more', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const upload = await store.create({ length: 10 })
  await store.append(upload, bytes('hello'))
  await store.truncate(upload, 2)
  assert.equal((await store.find(upload.id))?.offset, 2)
  assert.equal(readFileSync(join(directory, upload.id), 'utf8'), 'he')
})

test('a terminated upload is gone with all its files, and may be terminated again', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const upload = await store.create({ length: 10 })
  await store.append(upload, bytes('hello'))
  await store.terminate(upload)
  await store.terminate(upload)
  assert.equal(await store.find(upload.id), undefined)
  assert.deepEqual(filesIn(directory), [])
})

test('an id is taken once, and the upload that has it is not touched by a second create', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ id: 'mine', length: 5 })
  await store.append(upload, bytes('hello'))
  await assert.rejects(store.create({ id: 'mine', length: 7 }), { code: 'UPLOAD_EXISTS' })
  const found = await store.find('mine')
  assert.deepEqual(found, { ...upload, offset: 5, updatedAt: found?.updatedAt })
})

test('every method refuses an id that could be a path', async (t) => {
  const folder = temporaryFolder(t)
  const store = new FileStore(join(folder, 'uploads'))
  writeFileSync(join(folder, 'secret'), 'secret')
  writeFileSync(join(folder, 'secret.info'), JSON.stringify({ ID: 'secret', Size: 6 }))
  const upload = await store.create({ length: 1 })
  for (const id of ['../secret', '..', '.', '', 'a/b', 'a\\b', 'a\0', `${upload.id}.info`, 'é', 'a'.repeat(129), ' a', 'a\n']) {
    await assert.rejects(store.create({ id, length: 1 }), TypeError)
    await assert.rejects(store.find(id), TypeError)
    await assert.rejects(store.append({ ...upload, id }, bytes('x')), TypeError)
    await assert.rejects(store.truncate({ ...upload, id }, 0), TypeError)
    await assert.rejects(store.terminate({ ...upload, id }), TypeError)
  }
  assert.equal(readFileSync(join(folder, 'secret'), 'utf8'), 'secret')
})

test('the sidecar has the layout of tusd, and our keys under one name', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const { id } = await store.create({ length: 11, metadata: new Map([['filename', 'a.txt']]), encodedMetadata: 'filename YS50eHQ=' })
  const { Longhaul, ...tusd } = JSON.parse(readFileSync(join(directory, `${id}.info`), 'utf8'))
  assert.deepEqual(tusd, {
    ID: id, Size: 11, SizeIsDeferred: false, Offset: 0, MetaData: { filename: 'a.txt' },
    IsPartial: false, IsFinal: false, PartialUploads: null, Storage: { Type: 'filestore' },
  })
  const { createdAt, ...rest } = Longhaul
  assert.ok(Math.abs(Date.now() - Date.parse(createdAt)) < 60_000)
  assert.deepEqual(rest, { version: 2, state: 'receiving', encodedMetadata: 'filename YS50eHQ=' })
})

test('an upload that tusd wrote is found and continued; a path in its sidecar is not followed', async (t) => {
  const folder = temporaryFolder(t)
  const directory = join(folder, 'uploads')
  const store = new FileStore(directory)
  writeFileSync(join(folder, 'elsewhere'), 'not ours')
  writeFileSync(join(directory, '24e533e02ec3bc40c387f1a0e460e216'), 'hello')
  writeFileSync(
    join(directory, '24e533e02ec3bc40c387f1a0e460e216.info'),
    `{"ID":"24e533e02ec3bc40c387f1a0e460e216","Size":11,"SizeIsDeferred":false,"Offset":0,"MetaData":{"filename":"a.txt"},
      "IsPartial":false,"IsFinal":false,"PartialUploads":null,
      "Storage":{"InfoPath":"../elsewhere.info","Path":"../elsewhere","Type":"filestore"}}`,
  )
  const upload = await store.find('24e533e02ec3bc40c387f1a0e460e216')
  const { id, offset, length, metadata, encodedMetadata, state } = upload!
  assert.deepEqual({ id, offset, length, metadata, encodedMetadata, state }, {
    id: '24e533e02ec3bc40c387f1a0e460e216', offset: 5, length: 11, metadata: new Map([['filename', 'a.txt']]), encodedMetadata: undefined,
    state: 'receiving',
  })
  assert.equal(await store.append(upload!, bytes(' world')), 11)
  assert.equal(readFileSync(join(folder, 'elsewhere'), 'utf8'), 'not ours')
})

test('an upload of unknown length is found as such', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const { id } = await store.create({ length: undefined })
  assert.equal((await store.find(id))?.length, undefined)
})

test('every prefix of a sidecar, and whatever else is no sidecar, is an error of its own and not a missing upload', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, { shared: true }) // or it would trust its own memory of it
  const { id } = await store.create({ length: 11 })
  const path = join(directory, `${id}.info`)
  const whole = readFileSync(path, 'utf8')
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(path, whole.slice(0, length))
    await assert.rejects(store.find(id), { code: 'UPLOAD_CORRUPT' })
  }
  const hostile = [
    'null', '[]', '7', '"x"', '{}', '{"ID":7,"Size":1}', '{"ID":"x","Size":-1}', '{"ID":"x","Size":1.5}', '{"ID":"x","Size":"1"}',
    '{"ID":"x","Size":9007199254740993}', '{"ID":"x","Size":1,"SizeIsDeferred":"no"}', '{"ID":"x","Size":1,"MetaData":[]}',
    '{"ID":"x","Size":1,"MetaData":{"a":7}}', '{"ID":"x","Size":1,"Longhaul":7}', '{"ID":"x","Size":1,"Longhaul":{"encodedMetadata":7}}',
  ]
  for (const text of hostile) {
    writeFileSync(path, text)
    await assert.rejects(store.find(id), { code: 'UPLOAD_CORRUPT' }, text)
  }
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.json(), fc.string()), async (text) => {
      writeFileSync(path, text)
      await store.find(id).catch((error: { code?: string }) => assert.equal(error.code, 'UPLOAD_CORRUPT'))
    }),
  )
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

test('data that do not fit their sidecar are an error: missing, or more than the length', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  const upload = await store.create({ length: 3 })
  truncateSync(join(directory, upload.id), 4)
  await assert.rejects(store.find(upload.id), { code: 'UPLOAD_CORRUPT' })
  await store.terminate(upload)
  const lonely = await store.create({ length: 3 })
  await store.terminate(lonely)
  writeFileSync(join(directory, `${lonely.id}.info`), JSON.stringify({ ID: lonely.id, Size: 3 }))
  await assert.rejects(store.find(lonely.id), { code: 'UPLOAD_CORRUPT' })

  const finished = await store.create({ length: 3 })
  await store.append(finished, bytes('abc'))
  await store.setState(finished, 'finished')
  truncateSync(join(directory, finished.id), 2)
  await assert.rejects(store.find(finished.id), { code: 'UPLOAD_CORRUPT' })
})

test('a data file without a sidecar, as a crash may leave it, is no upload', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  writeFileSync(join(directory, 'orphan'), 'bytes')
  assert.equal(await store.find('orphan'), undefined)
  await assert.rejects(store.create({ id: 'orphan', length: 1 }), { code: 'UPLOAD_EXISTS' })
  assert.deepEqual(filesIn(directory), ['orphan'])
})

test('links planted in the directory are not followed', async (t) => {
  const folder = temporaryFolder(t)
  const directory = join(folder, 'uploads')
  const store = new FileStore(directory)
  const secret = join(folder, 'secret')
  writeFileSync(secret, 'secret')
  writeFileSync(`${secret}.info`, JSON.stringify({ ID: 'x', Size: 100 }))

  symlinkSync(secret, join(directory, 'taken'))
  await assert.rejects(store.create({ id: 'taken', length: 100 }), { code: 'UPLOAD_EXISTS' })
  symlinkSync(`${secret}.info`, join(directory, 'described.info'))
  await assert.rejects(store.find('described'), { code: 'UPLOAD_CORRUPT' })
  const upload = { ...(await store.create({ length: 100 })), id: 'taken', offset: 6 }
  await assert.rejects(store.append(upload, bytes('x')), { code: 'ELOOP' })
  await assert.rejects(store.truncate(upload, 0), { code: 'ELOOP' })
  await once(store.read(upload, { start: 0, end: 6 }), 'error')
  writeFileSync(join(directory, 'taken.info'), JSON.stringify({ ID: 'taken', Size: 6 }))
  await assert.rejects(store.find('taken'), { code: 'UPLOAD_CORRUPT' })
  assert.equal(readFileSync(secret, 'utf8'), 'secret')
})

test('files are readable by their owner only', async (t) => {
  const directory = join(temporaryFolder(t), 'new', 'uploads')
  const { id } = await new FileStore(directory).create({ length: 1 })
  assert.equal(statSync(directory).mode & 0o777, 0o700)
  for (const name of [id, `${id}.info`]) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600)
})

test('a create whose sidecar cannot be written leaves nothing behind', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory)
  mkdirSync(join(directory, 'blocked.info'))
  await assert.rejects(store.create({ id: 'blocked', length: 1 }))
  assert.deepEqual(filesIn(directory), ['blocked.info'])
})

test('where the disk takes no more, the error says so, and what fitted is kept', async (t) => {
  const directory = temporaryFolder(t)
  // A limit on the size of files stands for a full disk: the system takes a part of a write, then refuses.
  const script = `
    import { Readable } from 'node:stream'
    import { FileStore } from '${new URL('../lib/file-store/file-store.ts', import.meta.url)}'
    const store = new FileStore(${JSON.stringify(directory)})
    const upload = await store.create({ id: 'large', length: 200_000 })
    const body = Readable.from(Array.from({ length: 20 }, (_, i) => Buffer.alloc(10_000, i)), { objectMode: false })
    await store.append(upload, body).then(console.log, (error) => console.log(error.code, error.cause.code))
    console.log((await store.find('large')).offset)`
  const shell = `ulimit -f 100 && exec "$0" --import tsx --input-type=module --eval "$1"`
  const { stdout } = await promisify(execFile)('sh', ['-c', shell, process.execPath, script])
  assert.equal(stdout, 'STORE_FULL EFBIG\n51200\n')
  const expected = Buffer.concat(Array.from({ length: 20 }, (_, i) => Buffer.alloc(10_000, i))).subarray(0, 51_200)
  assert.deepEqual(readFileSync(join(directory, 'large')), expected)
})

test('a word for sync that is none is told at once, as it would flush nothing', (t) => {
  const sync = 'always' as 'append'
  assert.throws(() => new FileStore(temporaryFolder(t), { sync }), {
    name: 'TypeError',
    message: 'Cannot flush data as sync must be none, finish or append: received always',
  })
})

test('a directory that cannot be used is told at once', (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'file'), '')
  assert.throws(() => new FileStore(join(folder, 'file')), { code: 'EEXIST' })
})
