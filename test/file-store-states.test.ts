// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { FileStore, type StoredUpload } from '../lib/file-store/file-store.ts'
import { OpenFile } from '../lib/file-store/open-file.ts'
import { stopClock } from './support/clock.ts'
import { fileSystem } from './support/file-calls.ts'
import { filesIn } from './support/files.ts'
import { temporaryFolder } from './support/temporary.ts'

const HOUR_MS = 3_600_000

const bytes = (text: string): Readable => Readable.from([Buffer.from(text)], { objectMode: false })

async function found(store: FileStore, id: string): Promise<StoredUpload> {
  return (await store.find(id)) ?? assert.fail('there is no such upload')
}

const sidecarOf = (store: FileStore, id: string): string => join(store.directory, `${id}.info`)
const contentOf = (store: FileStore, id: string): string => readFileSync(join(store.directory, id), 'utf8')

describe('bytes that wait for a verdict', () => {
  test('do not count before it, and all of them do after a yes', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const upload = await store.create({ length: 11 })
    const seen: number[] = []
    const verify = async (): Promise<boolean> => {
      assert.equal(contentOf(store, upload.id), 'hello')
      seen.push((await found(store, upload.id)).offset)
      return true
    }
    assert.equal(await store.appendVerified(upload, bytes('hello'), { verify }), 5)
    assert.deepEqual(seen, [0])
    assert.equal((await found(store, upload.id)).offset, 5)
  })

  test('are taken away after a no', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const upload = await store.create({ length: 11 })
    await store.append(upload, bytes('hello'))
    assert.equal(await store.appendVerified(await found(store, upload.id), bytes(' worse'), { verify: () => false }), 5)
    assert.equal(contentOf(store, upload.id), 'hello')
    assert.equal(await store.appendVerified(await found(store, upload.id), bytes(' world'), { verify: () => true }), 11)
    assert.equal(contentOf(store, upload.id), 'hello world')
  })

  for (const next of ['append', 'appendVerified'] as const) {
    test(`do not count when the process died before the verdict, and ${next} drops them`, async (t) => {
      const store = new FileStore(temporaryFolder(t))
      const { id } = await store.create({ length: 11 })
      await store.appendVerified(await found(store, id), bytes('hello'), { verify: () => true })
      appendFileSync(join(store.directory, id), ' w0') // what a process leaves that dies before its verdict
      const upload = await found(store, id)
      assert.equal(upload.offset, 5)
      const offset =
        next === 'append'
          ? await store.append(upload, bytes(' world'))
          : await store.appendVerified(upload, bytes(' world'), { verify: () => true })
      assert.equal(offset, 11)
      assert.equal(contentOf(store, id), 'hello world')
      assert.equal((await found(store, id)).offset, 11)
    })
  }

  test('however verified and other appends follow each other, with crashes between, only what was acknowledged counts', async (t) => {
    const directory = temporaryFolder(t)
    const step = fc.record({
      kind: fc.constantFrom('append', 'verified', 'mismatch', 'crash'),
      text: fc.stringMatching(/^[a-z]{0,9}$/),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        const { id } = await new FileStore(directory).create({ length: undefined })
        let expected = ''
        for (const { kind, text } of steps) {
          const store = new FileStore(directory) // nothing may depend on what a process remembers
          const upload = await found(store, id)
          assert.equal(upload.offset, expected.length)
          if (kind === 'append') {
            assert.equal(await store.append(upload, bytes(text)), expected.length + text.length)
            expected += text
          } else if (kind === 'verified') {
            assert.equal(await store.appendVerified(upload, bytes(text), { verify: () => true }), expected.length + text.length)
            expected += text
          } else if (kind === 'mismatch') {
            assert.equal(await store.appendVerified(upload, bytes(text), { verify: () => false }), expected.length)
          } else {
            const died = new Error('died')
            await assert.rejects(store.appendVerified(upload, bytes(text), { verify: () => Promise.reject(died) }), died)
          }
        }
        const store = new FileStore(directory)
        const { offset } = await found(store, id)
        assert.equal(contentOf(store, id).slice(0, offset), expected)
      }),
      { numRuns: 60 },
    )
  })
})

describe('the state of an upload', () => {
  test('is kept with its outcome, and whatever else the sidecar says stays', async (t) => {
    const directory = temporaryFolder(t)
    const { id } = await new FileStore(directory).create({
      length: 5,
      metadata: new Map([['a', 'b']]),
      encodedMetadata: 'a Yg==',
      maxSize: 7,
    })
    const store = new FileStore(directory)
    const sidecar = JSON.parse(readFileSync(sidecarOf(store, id), 'utf8'))
    writeFileSync(sidecarOf(store, id), JSON.stringify({ ...sidecar, Storage: { Type: 'filestore', Path: '/elsewhere' }, Future: [1] }))
    await store.append(await found(store, id), bytes('hello'))
    const outcome = { status: 201, headers: { 'X-Result': '7' }, body: 'done' }
    for (const [state, said] of [['finishing', undefined], ['finished', outcome]] as const) {
      await store.setState(await found(store, id), state, said)
      const upload = await found(new FileStore(store.directory), id)
      assert.deepEqual([upload.state, upload.outcome, upload.encodedMetadata, upload.maxSize], [state, said, 'a Yg==', 7])
    }
    const { Longhaul, ...others } = JSON.parse(readFileSync(sidecarOf(store, id), 'utf8'))
    const { Longhaul: _, ...before } = sidecar
    assert.deepEqual(others, { ...before, Storage: { Type: 'filestore', Path: '/elsewhere' }, Future: [1] })
    assert.equal(Longhaul.state, 'finished')
  })

  test('a length that comes later is kept', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const upload = await store.create({ length: undefined })
    await store.setLength(upload, 0)
    assert.equal((await found(store, upload.id)).length, 0)
  })

  test('partial and final uploads are kept as tusd keeps them', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const part = await store.create({ length: 5, partial: true })
    const whole = await store.create({ length: 10, parts: [part.id, part.id], encodedParts: 'final;/a /a' })
    assert.equal((await found(store, part.id)).partial, true)
    const { parts, encodedParts, partial } = await found(store, whole.id)
    assert.deepEqual({ parts, encodedParts, partial }, { parts: [part.id, part.id], encodedParts: 'final;/a /a', partial: false })
    const { IsFinal, IsPartial, PartialUploads } = JSON.parse(readFileSync(sidecarOf(store, whole.id), 'utf8'))
    assert.deepEqual({ IsFinal, IsPartial, PartialUploads }, { IsFinal: true, IsPartial: false, PartialUploads: [part.id, part.id] })
  })

  test('hostile sidecars are an error of their own: other ids, other states, parts and marks that are none, what is no file', async (t) => {
    const store = new FileStore(temporaryFolder(t), { shared: true }) // or it would trust its own memory of them
    const { id } = await store.create({ length: 11 })
    const sidecar = JSON.parse(readFileSync(sidecarOf(store, id), 'utf8'))
    const ours = sidecar.Longhaul
    const hostile: object[] = [
      { ID: '../elsewhere' }, { ID: 'other' }, { IsPartial: 'yes' }, { PartialUploads: ['../x'] }, { PartialUploads: 'x' },
      { PartialUploads: [7] },
      ...[
        { version: 0 },
        { version: '3' },
        { version: undefined },
        { state: 'done' },
        { createdAt: 'yesterday' },
        { createdAt: 7 },
        { mark: { offset: -1 } },
        { mark: { offset: 1.5 } },
        { mark: 5 },
        { mark: null },
        { mark: {} },
        { maxSize: '9' },
        { encodedParts: {} },
        { outcome: 7 },
        { outcome: { status: 'x', headers: {}, body: '' } },
        { outcome: { headers: { a: 7 }, body: '' } },
        { outcome: { headers: [], body: '' } },
        { outcome: { headers: {}, body: 7 } },
        { state: 'finished' },
      ].map((change) => ({ Longhaul: { ...ours, ...change } })),
    ]
    for (const change of hostile) {
      writeFileSync(sidecarOf(store, id), JSON.stringify({ ...sidecar, ...change }))
      await assert.rejects(store.find(id), { code: 'UPLOAD_CORRUPT' }, JSON.stringify(change))
    }
    writeFileSync(sidecarOf(store, id), `${JSON.stringify(sidecar)}${' '.repeat(5_000_000)}`)
    await assert.rejects(store.find(id), { code: 'UPLOAD_CORRUPT' })
    execFileSync('mkfifo', [sidecarOf(store, 'pipe'), join(store.directory, 'pipe')]) // whoever opens it must not wait
    await assert.rejects(store.find('pipe'), { code: 'UPLOAD_CORRUPT' })
  })

  test('a sidecar of many pages is read whole', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const metadata = new Map(Array.from({ length: 500 }, (_, i) => [`key ${i}`, 'é'.repeat(i)]))
    const { id } = await store.create({ length: 1, metadata })
    assert.deepEqual((await found(store, id)).metadata, metadata)
  })
})

test('reading gives exactly the bytes of a range', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const content = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251))
  const upload = await store.create({ length: 1000 })
  await store.append(upload, Readable.from([content], { objectMode: false }))
  await fc.assert(
    fc.asyncProperty(fc.nat(1000), fc.nat(1000), async (start, end) => {
      assert.deepEqual(await buffer(store.read(upload, { start, end })), content.subarray(start, Math.max(start, end)))
    }),
    { numRuns: 50 },
  )
})

test('a reader from whom nobody takes anything holds no more than 128 KiB', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ id: 'a', length: 1024 * 1024 })
  await store.append(upload, Readable.from([Buffer.alloc(1024 * 1024)], { objectMode: false }))
  const reader = store.read(upload, { start: 0, end: 1024 * 1024 })
  await once(reader, 'readable')
  assert.ok(reader.readableLength > 0 && reader.readableLength <= 128 * 1024, `${reader.readableLength} bytes are held`)
  reader.destroy()
})

test('progress is told while bytes come, and never more than is in the file', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: undefined })
  const offsets: number[] = []
  const body = Readable.from((function* () { for (let i = 0; i < 100; i++) yield Buffer.alloc(100_000) })(), { objectMode: false })
  await store.append(upload, body, {
    onProgress: (offset) => {
      assert.ok(offset <= readFileSync(join(store.directory, upload.id)).length)
      offsets.push(offset)
    },
  })
  assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b))
  assert.ok(offsets.at(-1)! > 1_000_000)
})

test("where appends are flushed, progress is told of bytes that were, once a second at most: nobody is told of what a power failure takes", async (t) => {
  const advance = stopClock(t)
  const store = new FileStore(temporaryFolder(t), { sync: 'append' })
  const upload = await store.create({ id: 'a', length: 40 })
  const told: [offset: number, flushed: number][] = []
  const flushedOffset = (): number => JSON.parse(readFileSync(sidecarOf(store, 'a'), 'utf8')).Longhaul.mark.offset
  async function* body(): AsyncGenerator<Buffer> {
    for (let written = 10; written <= 40; written += 10) {
      yield Buffer.alloc(10)
      while (contentOf(store, 'a').length < written) await new Promise(setImmediate)
      advance(600)
    }
  }
  const onProgress = (offset: number): void => void told.push([offset, flushedOffset()])
  assert.equal(await store.append(upload, Readable.from(body(), { objectMode: false }), { onProgress }), 40)
  assert.ok(told.length >= 1, 'nothing was told')
  for (const [offset, flushed] of told) assert.ok(flushed >= offset, `${offset} was told when ${flushed} was flushed`)
  assert.ok(told.length <= 2, `${told.length} times in 2.4 seconds`)
})

test('if the flush for a message about progress fails, what earlier ones told stays', async (t) => {
  const advance = stopClock(t)
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const store = new FileStore(temporaryFolder(t), { sync: 'append' })
  const upload = await store.create({ id: 'a', length: 30 })
  const failure = Object.assign(new Error('EIO'), { code: 'EIO' })
  const told: number[] = []
  async function* body(): AsyncGenerator<Buffer> {
    for (let written = 10; written <= 30; written += 10) {
      advance(1001)
      t.mock.timers.setTime(Date.now() - 3_600_000) // the time of day does not matter
      yield Buffer.alloc(10, written)
      while (contentOf(store, 'a').length < written) await new Promise(setImmediate)
    }
  }
  const onProgress = (offset: number): void => {
    told.push(offset)
    t.mock.method(OpenFile.prototype, 'sync', () => Promise.reject(failure), { times: 1 })
  }
  await assert.rejects(store.append(upload, Readable.from(body(), { objectMode: false }), { onProgress }), failure)
  assert.deepEqual(told, [10])
  assert.equal((await found(store, 'a')).offset, 10)
  assert.equal((await found(new FileStore(store.directory, { sync: 'append' }), 'a')).offset, 10)
})

test('an upload whose client says its end, with a digest, and one that is deactivated are found again as they were', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const digest = { algorithm: 'sha256', value: 'LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=' }
  const upload = await store.create({ id: 'a', length: undefined, completion: 'explicit', digest })
  await store.append(upload, bytes('foo'))
  await store.setState(await found(store, 'a'), 'deactivated')
  const { completion, digest: kept, state, offset } = await found(new FileStore(store.directory), 'a')
  assert.deepEqual({ completion, kept, state, offset }, { completion: 'explicit', kept: digest, state: 'deactivated', offset: 3 })
  const sidecar = readFileSync(sidecarOf(store, 'a'), 'utf8')
  for (const [from, to] of [['"explicit"', '"perhaps"'], ['"sha256"', '1'], ['"deactivated"', '"retired"']] as const) {
    writeFileSync(sidecarOf(store, 'a'), sidecar.replace(from, to))
    await assert.rejects(new FileStore(store.directory).find('a'), { code: 'UPLOAD_CORRUPT' })
  }
})

test('a digest that was computed is kept with what else is known of the upload; while bytes may still come, it is refused', async (t) => {
  for (const sync of ['none', 'finish', 'append'] as const) {
    const store = new FileStore(temporaryFolder(t), { sync })
    const upload = await store.create({ id: 'a', length: 3, digest: { algorithm: 'sha256' } })
    await store.append(upload, bytes('foo'))
    const digest = { algorithm: 'sha512', value: createHash('sha512').update('foo').digest('base64') }
    await assert.rejects(store.setDigest(await found(store, 'a'), digest), TypeError)
    assert.deepEqual((await found(store, 'a')).digest, { algorithm: 'sha256' })
    await store.setState(await found(store, 'a'), 'finished', { headers: { a: 'b' }, body: 'done' })
    const finished = await found(store, 'a')
    await store.setDigest(finished, digest)
    const again = await found(new FileStore(store.directory, { sync }), 'a')
    assert.deepEqual({ ...again, outcome: finished.outcome }, { ...finished, digest })
    assert.deepEqual(again.outcome, { headers: { a: 'b' }, body: 'done' })
  }
})

test('where appends are flushed, an upload that has lost flushed bytes is deactivated, whoever looks at it and when', async (t) => {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, { sync: 'append' })
  await store.append(await store.create({ id: 'a', length: 9 }), bytes('abcdef'))
  truncateSync(join(directory, 'a'), 5)
  for (const each of [store, new FileStore(directory, { sync: 'append' }), new FileStore(directory)]) {
    const { offset, state } = await found(each, 'a')
    assert.deepEqual([offset, state], [5, 'deactivated'])
  }
})

describe('the mark behind which bytes do not count', () => {
  const readMark = (store: FileStore, id: string): unknown => JSON.parse(readFileSync(sidecarOf(store, id), 'utf8')).Longhaul.mark

  test('says that bytes with a verdict were flushed only where each append is: elsewhere a power failure may take them', async (t) => {
    for (const [sync, state] of [['none', 'receiving'], ['finish', 'receiving'], ['append', 'deactivated']] as const) {
      const store = new FileStore(temporaryFolder(t), { sync })
      await store.appendVerified(await store.create({ id: 'a', length: 9 }), bytes('abcdef'), { verify: () => true })
      assert.deepEqual(readMark(store, 'a'), sync === 'append' ? { offset: 6, flushed: true } : { offset: 6 })
      truncateSync(join(store.directory, 'a'), 5)
      for (const each of [store, new FileStore(store.directory), new FileStore(store.directory, { sync: 'append' })]) {
        const upload = await found(each, 'a')
        assert.deepEqual([upload.offset, upload.state], [5, state])
      }
      if (state === 'deactivated') continue
      const upload = await found(new FileStore(store.directory), 'a')
      assert.equal(await new FileStore(store.directory).append(upload, bytes('fghi')), 9)
      assert.equal(contentOf(store, 'a'), 'abcdefghi')
    }
  })

  test('of a store that does not flush is no proof for one that does: it flushes before an offset is acknowledged', async (t) => {
    const directory = temporaryFolder(t)
    const before = new FileStore(directory)
    await before.appendVerified(await before.create({ id: 'a', length: 9 }), bytes('abc'), { verify: () => true })
    appendFileSync(join(directory, 'a'), 'xyz') // of a process that died before its verdict
    const store = new FileStore(directory, { sync: 'append' })
    const upload = await found(store, 'a')
    const sync = t.mock.method(OpenFile.prototype, 'sync')
    await store.flush(upload)
    assert.equal(sync.mock.callCount(), 3) // the data, the sidecar, the directory
    assert.deepEqual(readMark(store, 'a'), { offset: 3, flushed: true }, 'what had no verdict does not count in this boot either')
    for (const each of [store, new FileStore(directory)]) assert.equal((await found(each, 'a')).offset, 3)
    sync.mock.resetCalls()
    await store.flush(await found(store, 'a'))
    assert.equal(sync.mock.callCount(), 0, 'once is enough')
  })

  test('is lowered by a cut, whoever set it and whoever cuts: what was cut off is not taken for lost', async (t) => {
    for (const before of ['none', 'append'] as const) {
      for (const next of ['none', 'append'] as const) {
        const directory = temporaryFolder(t)
        const first = new FileStore(directory, { sync: before })
        await first.appendVerified(await first.create({ id: 'a', length: 9 }), bytes('abcdef'), { verify: () => true })
        const store = new FileStore(directory, { sync: next })
        await store.truncate(await found(store, 'a'), 2)
        for (const each of [store, new FileStore(directory, { sync: 'append' })]) {
          const { offset, state } = await found(each, 'a')
          assert.deepEqual([offset, state], [2, 'receiving'])
        }
      }
    }
  })

  test('that was read just before a cut is read again: what was cut off meanwhile is not taken for lost', async (t) => {
    const directory = temporaryFolder(t)
    const options = { sync: 'append', shared: true } as const
    const [here, there] = [new FileStore(directory, options), new FileStore(directory, options)]
    await here.append(await here.create({ id: 'a', length: 9 }), bytes('abcdef'))
    const upload = await found(here, 'a')
    const { lstat } = fileSystem
    const mocked = t.mock.method(fileSystem, 'lstat', async (path: string) => {
      mocked.mock.restore()
      await there.truncate(upload, 2) // by whoever holds the lock, between the two looks of whoever does not
      return lstat(path)
    })
    const { offset, state } = await found(here, 'a')
    assert.deepEqual([offset, state], [2, 'receiving'])
  })

  test('is enough where the boot is not known: only flushed bytes count, in the next process too', async (t) => {
    t.after(() => {
      t.mock.restoreAll() // which would come later than this by itself
    })
    const { open: realOpen } = fileSystem
    t.mock.method(fileSystem, 'open', (path: string, ...more: [number, number?]) =>
      path.startsWith('/proc/') ? Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' })) : realOpen(path, ...more))
    const directory = temporaryFolder(t)
    const store = new FileStore(directory, { sync: 'append' })
    await store.append(await store.create({ id: 'a', length: 9 }), bytes('abc'))
    assert.deepEqual(readMark(store, 'a'), { offset: 3, flushed: true })
    appendFileSync(join(directory, 'a'), 'xyz') // by a process that was killed before it could flush
    const next = new FileStore(directory, { sync: 'append' })
    const upload = await found(next, 'a')
    assert.equal(upload.offset, 3)
    assert.equal(await next.append(upload, bytes('def')), 6)
    assert.equal(contentOf(next, 'a'), 'abcdef')
  })

  test('of an upload that is completed is that of the sidecar, whatever record is at hand, and its bytes are flushed', async (t) => {
    const directory = temporaryFolder(t)
    const before = new FileStore(directory)
    await before.appendVerified(await before.create({ id: 'a', length: 3 }), bytes('abc'), { verify: () => true })
    const store = new FileStore(directory, { sync: 'append' })
    const upload = await store.create({ id: 'b', length: 3 })
    const offset = await store.append(upload, bytes('abc'))
    const sync = t.mock.method(OpenFile.prototype, 'sync')
    await store.setState({ ...upload, offset }, 'finishing') // with the record from before the append
    assert.equal(sync.mock.callCount(), 2, 'the sidecar and the directory; the data were flushed')
    sync.mock.resetCalls()
    await store.setState(await found(store, 'a'), 'finishing')
    assert.equal(sync.mock.callCount(), 3, 'the data as well: whoever appended them did not flush')
    for (const id of ['a', 'b']) assert.equal((readMark(store, id) as { flushed: boolean }).flushed, true)
  })

  test('stays at the end of an upload that is completed: what has no verdict behind it does not come back', async (t) => {
    for (const sync of ['none', 'finish', 'append'] as const) {
      const store = new FileStore(temporaryFolder(t), { sync })
      const { id } = await store.create({ length: undefined })
      await store.appendVerified(await found(store, id), bytes('abc'), { verify: () => true })
      appendFileSync(join(store.directory, id), 'xyz')
      await store.setLength(await found(store, id), 3)
      await store.setState(await found(store, id), 'finishing')
      await store.setState(await found(store, id), 'finished', { headers: {}, body: '' })
      for (const each of [store, new FileStore(store.directory), new FileStore(store.directory, { sync: 'append' })]) {
        const { offset, state } = await found(each, id)
        assert.deepEqual([offset, state], [3, 'finished'])
      }
    }
  })

  for (const state of ['finishing', 'finished'] as const) {
    test(`bytes without a verdict are not in the file of an upload that is ${state}`, async (t) => {
      for (const sync of ['none', 'finish', 'append'] as const) {
        const store = new FileStore(temporaryFolder(t), { sync })
        const { id } = await store.create({ length: undefined })
        await store.appendVerified(await found(store, id), bytes('abc'), { verify: () => true })
        appendFileSync(join(store.directory, id), 'xyz') // of a process that died before its verdict
        await store.setLength(await found(store, id), 3) // a last request may bring no bytes
        await store.setState(await found(store, id), state)
        assert.equal(contentOf(store, id), 'abc')
        const path = join(temporaryFolder(t), 'moved')
        await store.moveTo(await found(store, id), path)
        assert.equal(readFileSync(path, 'utf8'), 'abc')
      }
    })
  }

  test('changes with the kind of append without a needless flush; bytes of a killed process are flushed first', async (t) => {
    const store = new FileStore(temporaryFolder(t), { sync: 'append' })
    const sync = t.mock.method(OpenFile.prototype, 'sync')
    const { id } = await store.create({ length: undefined })
    const flushesOf = async (act: () => Promise<unknown>): Promise<number> => {
      sync.mock.resetCalls()
      await act()
      return sync.mock.callCount()
    }
    const upload = (): Promise<StoredUpload> => found(store, id)
    // Each change of the sidecar flushes it and the directory; each append flushes the data once.
    assert.equal(await flushesOf(async () => store.append(await upload(), bytes('a'))), 3)
    assert.equal(await flushesOf(async () => store.append(await upload(), bytes(''))), 0)
    assert.equal(await flushesOf(async () => store.appendVerified(await upload(), bytes('b'), { verify: () => true })), 5)
    assert.equal(await flushesOf(async () => store.appendVerified(await upload(), bytes('c'), { verify: () => true })), 3)
    assert.equal(await flushesOf(async () => store.append(await upload(), bytes('d'))), 5)
    appendFileSync(join(store.directory, id), 'e')
    assert.equal(await flushesOf(async () => store.append(await upload(), bytes('f'))), 6)
    assert.equal(contentOf(store, id), 'abcdef')
  })
})

test('an upload that another server began has a state of its own before its size can suggest that it is finished', async (t) => {
  for (const sync of ['none', 'finish', 'append'] as const) {
    const store = new FileStore(temporaryFolder(t), { sync })
    writeFileSync(sidecarOf(store, 'tusd'), JSON.stringify({ ID: 'tusd', Size: 5 }))
    writeFileSync(join(store.directory, 'tusd'), 'ab')
    await store.append(await found(store, 'tusd'), bytes('cde'))
    for (const each of [store, new FileStore(store.directory)]) {
      const { state, offset, foreign } = await found(each, 'tusd')
      assert.deepEqual([state, offset, foreign], ['receiving', 5, false])
    }
  }
})

test('an upload that was handed over is looked at again each time: its application may remove it, the sidecar first', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ id: 'a', length: 0 })
  await store.setState(upload, 'finishing')
  rmSync(sidecarOf(store, 'a'))
  assert.equal(await store.find('a'), undefined)
})

test('the list names every upload, and nothing that is none', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const ids = await Promise.all(Array.from({ length: 50 }, async () => (await store.create({ length: 1 })).id))
  for (const name of ['orphan', 'x.info.0123456789ab.tmp', 'y.info.gone', 'no id.info', '.locks', 'a.txt']) {
    writeFileSync(join(store.directory, name), '')
  }
  const listed: string[] = []
  for await (const id of store.list()) listed.push(id)
  assert.deepEqual(listed.sort(), ids.sort())
})

describe('what crashes left behind', () => {
  /** Runs `act` as if it were two hours later. */
  async function later<T>(t: TestContext, act: () => Promise<T>): Promise<T> {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * HOUR_MS })
    try {
      return await act()
    } finally {
      t.mock.timers.reset()
    }
  }

  test('is removed when it is old, and nothing else is, whatever lies in the directory', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const { id } = await store.create({ length: 5 })
    const empty = await store.create({ length: 0 })
    const kept = ['data-without-a-sidecar', 'a.txt', '.hidden', 'again.info.gone', 'again.info', 'again']
    for (const name of kept) writeFileSync(join(store.directory, name), name === 'again.info.gone' ? '' : 'somebody put this here')
    writeFileSync(join(store.directory, 'foreign'), '')
    writeFileSync(join(store.directory, 'foreign.json'), '{}')
    const left = ['created', 'x.info.0123456789ab.tmp', 'removed', 'removed.info.gone']
    for (const name of left) writeFileSync(join(store.directory, name), name === 'removed' ? 'bytes' : '')

    assert.equal(await store.removeLeftovers(), 0, 'what is young may still be at work')
    await later(t, () => store.removeLeftovers())
    await later(t, () => store.removeLeftovers()) // a marker goes after the data it marks
    const expected = [
      id,
      `${id}.info`,
      empty.id,
      `${empty.id}.info`,
      'foreign',
      'foreign.json',
      ...kept.filter((name) => name !== 'again.info.gone'),
    ]
    assert.deepEqual(filesIn(store.directory), expected.sort())
  })

  test('of a removal that was cut short, the upload is gone at once, and its id can be used when the rest is', async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const upload = await store.create({ id: 'mine', length: 5 })
    await store.append(upload, bytes('hello'))
    execFileSync('mv', [sidecarOf(store, 'mine'), `${sidecarOf(store, 'mine')}.gone`]) // as far as the first step
    assert.equal(await new FileStore(store.directory).find('mine'), undefined)
    await assert.rejects(store.create({ id: 'mine', length: 1 }), { code: 'UPLOAD_EXISTS' })
    await later(t, () => store.removeLeftovers())
    await store.create({ id: 'mine', length: 1 })
    await later(t, () => store.removeLeftovers())
    assert.equal((await found(store, 'mine')).length, 1)
  })

  test('are found under the names that are really made: wherever create, a change or a removal was cut short, nothing stays', async (t) => {
    const acts: Readonly<Record<string, (store: FileStore) => Promise<unknown>>> = {
      create: (store) => store.create({ id: 'new', length: 5 }),
      change: async (store) => store.setState(await found(store, 'old'), 'finished'),
      removal: async (store) => store.terminate(await found(store, 'old')),
    }
    const kinds = new Set<string>()
    for (const [name, act] of Object.entries(acts)) {
      for (let moment = 1, isDone = false; !isDone; moment++) {
        const store = new FileStore(temporaryFolder(t), { sync: 'finish' })
        await store.create({ id: 'old', length: 0 })
        writeFileSync(join(store.directory, 'old.json'), '{"id":"old","size":0}') // as of one that @tus/server began
        let calls = 0
        for (const call of ['open', 'rename', 'rm'] as const) {
          const real = fileSystem[call] as (...args: unknown[]) => Promise<unknown>
          t.mock.method(fileSystem, call, async (...args: unknown[]) => {
            if (++calls >= moment) throw new Error('the process has died') // and tidies nothing up
            return real(...args)
          })
        }
        isDone = await act(store).then(() => true, () => false)
        t.mock.restoreAll()
        const restarted = new FileStore(store.directory)
        const left = filesIn(store.directory)
        assert.notEqual((await restarted.find('old'))?.foreign, true, 'the record of another server came back')
        for (const file of left) kinds.add(file.replace(/[0-9a-f]{12}/, '#'))
        await later(t, () => restarted.removeLeftovers())
        await later(t, () => restarted.removeLeftovers()) // a marker goes after the data it marks
        const uploads: string[] = []
        for (const id of ['new', 'old']) if (await restarted.find(id)) uploads.push(id, `${id}.info`)
        const remaining = filesIn(store.directory).filter((file) => file !== 'old.json' || !uploads.includes('old'))
        assert.deepEqual(remaining, uploads, `${name}, cut short at call ${moment}, left ${left.join()}`)
      }
    }
    assert.deepEqual([...kinds].sort(), [
      'new', 'new.info', 'new.info.#.tmp', 'old', 'old.info', 'old.info.#.tmp', 'old.info.gone', 'old.json',
    ])
  })

  test('goes in the order in which no process that wakes up can complete what was taken: temporary sidecars first', async (t) => {
    t.after(() => {
      t.mock.restoreAll() // which would come later than this by itself
    })
    const store = new FileStore(temporaryFolder(t))
    for (let index = 0; index < 20; index++) {
      for (const name of [`${index}`, `${index}.info.0123456789ab.tmp`]) writeFileSync(join(store.directory, name), '')
    }
    const removed: boolean[] = []
    const { rm } = fileSystem
    t.mock.method(fileSystem, 'rm', (path: string, options: object) => {
      removed.push(path.endsWith('.tmp'))
      return rm(path, options)
    })
    assert.equal(await later(t, () => store.removeLeftovers()), 40)
    assert.deepEqual(removed, [...Array<boolean>(20).fill(true), ...Array<boolean>(20).fill(false)])
  })

  /** Stops what `act` does at a call of the file system, and resolves when it is stopped or done. */
  async function stopAt(
    t: TestContext,
    call: number,
    act: () => Promise<unknown>,
  ): Promise<{ readonly done: Promise<boolean>; go(): void }> {
    let calls = 0
    let go = (): void => {}
    const going = new Promise<void>((resolve) => (go = resolve))
    const { promise: stopped, resolve: stop } = promiseOf()
    for (const name of ['open', 'rename', 'rm'] as const) {
      const real = fileSystem[name] as (...args: unknown[]) => Promise<unknown>
      t.mock.method(fileSystem, name, async (...args: unknown[]) => {
        if (++calls === call) {
          stop()
          await going
        }
        return real(...args)
      })
    }
    const done = act().then(() => true, () => false)
    await Promise.race([stopped, done])
    calls = Infinity
    return { done, go }
  }

  function promiseOf(): { readonly promise: Promise<void>; resolve(): void } {
    let resolve = (): void => {}
    return { promise: new Promise<void>((done) => (resolve = done)), resolve: () => resolve() }
  }

  for (const sync of ['finish', 'append'] as const) {
    test(`are not the files of a create that was stopped for hours: it completes or fails, with nothing damaged, wherever it was; sync ${sync}`, async (t) => {
      const completed = new Set<boolean>()
      for (let call = 1; call <= 7; call++) {
        for (const again of [false, true]) {
          const store = new FileStore(temporaryFolder(t), { sync })
          const { done, go } = await stopAt(t, call, () => store.create({ id: 'mine', length: 5 }))
          await later(t, () => new FileStore(store.directory, { sync }).removeLeftovers())
          const second = again
            ? await new FileStore(store.directory, { sync }).create({ id: 'mine', length: 7 }).catch(() => undefined)
            : undefined
          go()
          const isCreated = await done
          completed.add(isCreated)
          t.mock.restoreAll()
          const where = `stopped at call ${call}, ${again ? 'created again' : 'alone'}, ${isCreated ? 'completed' : 'failed'}`
          const upload = await new FileStore(store.directory, { sync }).find('mine')
          assert.ok(!(isCreated && second), where)
          assert.equal(upload?.length, isCreated ? 5 : second?.length, where)
          if (upload) assert.equal(await store.append(upload, bytes('12345')), 5, where)
          await later(t, () => store.removeLeftovers())
          assert.deepEqual(filesIn(store.directory), upload ? ['mine', 'mine.info'] : [], where)
        }
      }
      assert.deepEqual(completed, new Set([true, false]))
    })
  }
})

test('terminate removes every file of an upload, in whichever state and layout it is', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: 0 })
  await store.setState(upload, 'finished')
  await store.terminate(upload)
  writeFileSync(join(store.directory, 'node.json'), JSON.stringify({ id: 'node', size: 3 }))
  writeFileSync(join(store.directory, 'node'), 'abc')
  const foreign = await found(store, 'node')
  assert.equal(foreign.state, 'finished')
  await store.setState(foreign, 'finished')
  assert.ok(existsSync(sidecarOf(store, 'node')))
  await store.terminate(foreign)
  await store.terminate(foreign)
  assert.deepEqual(filesIn(store.directory), [])
})

test('what would make a sidecar that cannot be read again is refused before it is written', async (t) => {
  const store = new FileStore(temporaryFolder(t))
  await assert.rejects(store.create({ length: 1, metadata: new Map([['a', 'x'.repeat(2 ** 19)]]) }), RangeError)
  assert.deepEqual(filesIn(store.directory), [])
  const upload = await store.create({ length: 0, metadata: new Map([['a', '€'.repeat(2 ** 19 - 1000)]]) })
  await assert.rejects(store.setState(upload, 'finished', { headers: {}, body: 'x'.repeat(2 ** 20) }), RangeError)
  assert.equal((await found(store, upload.id)).state, 'receiving')
})

test('what completes without its append being told is flushed before it is called finished', async (t) => {
  const sync = t.mock.method(OpenFile.prototype, 'sync')
  for (const [mode, flushes] of [['finish', 3], ['none', 0]] as const) { // the data, the sidecar, the directory
    const store = new FileStore(temporaryFolder(t), { sync: mode })
    const upload = await store.create({ length: 5 })
    writeFileSync(join(store.directory, upload.id), 'hello') // by a process that died before it could flush
    sync.mock.resetCalls()
    await store.setState(upload, 'finished')
    assert.equal(sync.mock.callCount(), flushes)
  }
})

test('a removal that was cut short brings back neither the upload nor bytes that never got their verdict', async (t) => {
  const store = new FileStore(temporaryFolder(t), { shared: true })
  writeFileSync(join(store.directory, 'node.json'), JSON.stringify({ id: 'node', size: 5 }))
  writeFileSync(join(store.directory, 'node'), 'ab')
  const died = new Error('died')
  await assert.rejects(store.appendVerified(await found(store, 'node'), bytes('cde'), { verify: () => Promise.reject(died) }), died)
  execFileSync('mv', [join(store.directory, 'node.json'), join(store.directory, 'node.info.gone')]) // the first step
  assert.equal((await found(store, 'node')).offset, 2)
  execFileSync('mv', [join(store.directory, 'node.info'), join(store.directory, 'node.info.gone')]) // the second
  assert.equal(await store.find('node'), undefined)
})
