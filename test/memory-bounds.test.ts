// SPDX-License-Identifier: MIT

/** What bodies may take of memory, whatever the size of their chunks, the speed of the disk and their number. @module */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { FileStore } from '../lib/file-store/file-store.ts'
import { OpenFile } from '../lib/file-store/open-file.ts'
import { HappyReader } from '../lib/happy-reader.ts'
import { HashingReader } from '../lib/upload/verify.ts'
import { temporaryFolder } from './support/temporary.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** A body of so many chunks, and how many of them were asked for. */
function bodyOf(chunks: number, make: (index: number) => Buffer): { readonly body: Readable; readonly made: () => number } {
  let made = 0
  const read = function (this: Readable): void {
    for (let more = true; more; ) more = this.push(made < chunks ? make(made++) : null) && made <= chunks
  }
  return { body: new Readable({ read, highWaterMark: 1 }), made: () => made }
}

const oneByteEach = (chunks: number): ReturnType<typeof bodyOf> => bodyOf(chunks, (index) => Buffer.from([index % 251]))

/** The disk, as slow as a test wants it: what it was given, and how to let calls through. */
async function slowDisk(t: TestContext): Promise<{ readonly calls: (readonly Uint8Array[])[]; pass(calls?: number): void }> {
  const real = OpenFile.prototype.writev
  const calls: (readonly Uint8Array[])[] = []
  const held: (() => void)[] = []
  let passes = 0
  t.mock.method(OpenFile.prototype, 'writev', async function (this: OpenFile, ...args: Parameters<OpenFile['writev']>) {
    calls.push(args[0] as readonly Uint8Array[])
    if (passes-- <= 0) await new Promise<void>((resolve) => held.push(resolve))
    return real.apply(this, args)
  })
  return {
    calls,
    pass: (count = Infinity) => {
      passes = count - held.length
      for (const release of held.splice(0, count)) release()
      passes = Math.max(passes, 0)
    },
  }
}

/** Many turns of the event loop: long enough for all that does not wait for the disk. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 300; turns++) await turn()
}

async function until(isSo: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + 20_000; !isSo(); await turn()) assert.ok(Date.now() < untilMs, 'it does not come about')
  await settle()
}

test('HappyReader holds 1,024 chunks at most for a consumer that takes none, and loses nothing, however it is read then', async () => {
  const consumers: Readonly<Record<string, (reader: HappyReader) => Promise<Buffer>>> = {
    'all at once': async (reader) => Buffer.concat(await reader.toArray()),
    'a hundred bytes at a time': async (reader) => {
      const pieces: Buffer[] = []
      while (!reader.readableEnded) {
        const piece = reader.read(100) as Buffer | null
        if (piece) pieces.push(piece)
        else await Promise.race([once(reader, 'readable'), once(reader, 'end')])
      }
      return Buffer.concat(pieces)
    },
    'more than it holds at a time': async (reader) => {
      const pieces: Buffer[] = []
      while (!reader.readableEnded) {
        const piece = reader.read(3000) as Buffer | null
        if (piece) pieces.push(piece)
        else await Promise.race([once(reader, 'readable'), once(reader, 'end')])
      }
      return Buffer.concat(pieces)
    },
    'one chunk a turn': async (reader) => {
      const pieces: Buffer[] = []
      reader.on('data', (piece: Buffer) => {
        pieces.push(piece)
        if (pieces.length % 50 > 0) return
        reader.pause()
        setImmediate(() => reader.resume())
      })
      await once(reader, 'end')
      return Buffer.concat(pieces)
    },
  }
  for (const [how, consume] of Object.entries(consumers)) {
    const { body } = oneByteEach(10_000)
    const reader = new HappyReader(body)
    reader.read(0)
    await settle()
    assert.ok(reader.bytesRead > 0 && reader.bytesRead <= 1024, `${reader.bytesRead} chunks were taken`)
    const all = await consume(reader)
    assert.equal(all.length, 10_000, how)
    assert.ok(all.every((byte, index) => byte === index % 251), how)
    assert.equal(reader.error, undefined)
  }
})

test('a body with a checksum is held once: hashing it needs no stream of its own', async () => {
  const { body } = bodyOf(64, () => Buffer.alloc(16 * KIB))
  const reader = new HashingReader(body, { algorithms: ['sha1'] }, {})
  reader.read(0)
  await settle()
  assert.equal(reader.bytesRead, 64 * KIB)
  assert.equal(Buffer.concat(await reader.toArray()).length, MIB)
  assert.equal(reader.hashes.get('sha1')!.digest('hex'), '3b71f43ff30f4b15b5cd85dd9e95ebc7e84eb5a3')
})

for (const [what, chunks, make] of [
  ['one byte each', 200_000, (index: number) => Buffer.from([index % 251])],
  ['small and large by turns', 20_000, (index: number) => Buffer.alloc(index % 2 === 0 ? 1 : 1024, index % 251)],
  ['of 1 KiB, each from a read of 64 KiB', 3000, (index: number) => Buffer.alloc(64 * KIB).fill(index % 251, 0, KIB).subarray(0, KIB)],
] as const) {
  test(`what waits for a slow disk is bounded as it is held, not by its bytes alone: chunks ${what}`, async (t) => {
    const store = new FileStore(temporaryFolder(t))
    const disk = await slowDisk(t)
    const { body } = bodyOf(chunks, make)
    const append = store.append(await store.create({ id: 'a', length: undefined }), body)
    await until(() => disk.calls.length === 1)
    disk.pass()
    const expected = Buffer.concat(Array.from({ length: chunks }, (_, index) => make(index)))
    assert.equal(await append, expected.length)
    assert.ok(readFileSync(join(store.directory, 'a')).equals(expected))
    for (const buffers of disk.calls) {
      const memory = new Set(buffers.map(({ buffer }) => buffer)) // one by one, as slabs are shared
      const held = buffers.length * 300 + Array.from(memory).reduce((sum, { byteLength }) => sum + byteLength, 0)
      assert.ok(held < 2.5 * MIB && buffers.length <= 1025, `${buffers.length} buffers hold ${held} bytes`)
    }
  })
}

test('however many appends wait for a slow disk, they hold what the store allows, and one chunk more each', async (t) => {
  const store = new FileStore(temporaryFolder(t), { maxBufferedBytes: 2 * MIB })
  const disk = await slowDisk(t)
  const bodies = Array.from({ length: 20 }, (_, index) => bodyOf(48, () => Buffer.alloc(64 * KIB, index)))
  const appends = bodies.map(async ({ body }, index) => store.append(await store.create({ id: `${index}`, length: undefined }), body))
  const taken = (): number => bodies.reduce((sum, { made }) => sum + made(), 0) * 64 * KIB
  await until(() => taken() >= 2 * MIB)
  // one waits in the body, as it does in a request
  assert.ok(taken() <= 2 * MIB + 20 * 2 * 64 * KIB, `${taken()} bytes were taken of 20 bodies`)
  disk.pass()
  assert.deepEqual(await Promise.all(appends), bodies.map(() => 3 * MIB))
  for (const index of bodies.keys()) assert.ok(readFileSync(join(store.directory, `${index}`)).every((byte) => byte === index))
})

test('an append that comes when nothing more may be held gets its turn, however much another has to bring', async (t) => {
  const store = new FileStore(temporaryFolder(t), { maxBufferedBytes: MIB })
  const disk = await slowDisk(t)
  const endless = bodyOf(Infinity, () => Buffer.alloc(64 * KIB))
  const [greedy, modest] = [await store.create({ id: 'greedy', length: undefined }), await store.create({ id: 'modest', length: 3 })]
  const ending = new AbortController()
  const never = assert.rejects(store.append(greedy, endless.body, { signal: ending.signal }), { name: 'AbortError' })
  await until(() => disk.calls.length === 1)
  const { body, made } = bodyOf(1, () => Buffer.from('foo'))
  let stored: number | undefined
  void store.append(modest, body).then((offset) => (stored = offset))
  await settle()
  assert.ok(made() <= 1)
  let calls = 0
  for (; stored === undefined && calls < 6; calls++) {
    const before = disk.calls.length
    disk.pass(1)
    await until(() => disk.calls.length > before || stored !== undefined)
  }
  assert.equal(stored, 3, `it was not stored after ${calls} writes`)
  ending.abort()
  disk.pass()
  await never
})

test('no append waits for ever for what may be held, whatever becomes of the others', async (t) => {
  const store = new FileStore(temporaryFolder(t), { maxBufferedBytes: MIB })
  const disk = await slowDisk(t)
  let names = 0
  const appendOf = fc.record({
    pieces: fc.array(fc.constantFrom(1, 900, 5000, 64 * KIB, MIB, 2 * MIB), { maxLength: 5 }),
    ending: fc.constantFrom('end', 'end', 'fail', 'abort'),
    delays: fc.nat(6),
  })
  await fc.assert(fc.asyncProperty(fc.array(appendOf, { minLength: 1, maxLength: 8 }), async (appends) => {
    let left = appends.length
    const settled = appends.map(async ({ pieces, ending, delays }) => {
      const body = Readable.from((async function* () {
        for (const bytes of pieces) {
          for (let turns = 0; turns < delays; turns++) await turn()
          yield Buffer.alloc(bytes)
        }
        if (ending === 'fail') throw new Error('The body failed')
      })(), { objectMode: false })
      const abort = new AbortController()
      if (ending === 'abort') for (let turns = 0; turns < delays; turns++) setImmediate(() => setImmediate(() => abort.abort()))
      const upload = await store.create({ id: `${names++}`, length: undefined })
      const [result] = await Promise.allSettled([store.append(upload, body, { signal: abort.signal })])
      if (result.status === 'fulfilled') assert.equal(result.value, pieces.reduce((sum, bytes) => sum + bytes, 0))
      else assert.notEqual(ending, 'end')
      left--
    })
    for (const untilMs = Date.now() + 20_000; left > 0; await turn()) {
      assert.ok(Date.now() < untilMs, 'an append waits')
      disk.pass(1)
    }
    await Promise.all(settled)
  }), { numRuns: 60 })
})

test('what may be held must be a whole number of bytes from 1 MiB', (t) => {
  const directory = temporaryFolder(t)
  for (const maxBufferedBytes of [0, -1, MIB - 1, MIB + 0.5, NaN, Infinity]) {
    assert.throws(() => new FileStore(directory, { maxBufferedBytes }), { name: 'RangeError', message: /maxBufferedBytes .* received / })
  }
  new FileStore(directory, { maxBufferedBytes: MIB })
})

test('a body of what is no bytes is refused, and the next append can have all that may be held', async (t) => {
  const store = new FileStore(temporaryFolder(t), { maxBufferedBytes: MIB })
  const upload = await store.create({ id: 'a', length: undefined })
  await assert.rejects(store.append(upload, Readable.from([{ not: 'bytes' }])), TypeError)
  assert.equal(await store.append(upload, Readable.from([Buffer.alloc(3 * MIB)])), 3 * MIB)
})

for (const checksum of [false, true]) {
  test(`a client that sends chunks of one byte to a slow disk${checksum ? ', with a checksum,' : ''} takes no more than a hundred megabytes or so`, async (t) => {
    const path = fileURLToPath(new URL('./support/slow-disk-server.ts', import.meta.url))
    const server = fork(path, [temporaryFolder(t)], { execArgv: ['--import', 'tsx'] })
    t.after(() => server.kill('SIGKILL'))
    const [port] = (await once(server, 'message')) as [number]
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.after(() => socket.destroy())
    const fields = checksum ? 'Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n' : ''
    socket.write(`PATCH /files/a HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n${fields}\r\n`)
    const chunks = Buffer.from('1\r\nx\r\n'.repeat(10_000))
    const send = (): void => {
      while (socket.write(chunks));
      socket.once('drain', send)
    }
    send()
    const [peakMiB] = (await once(server, 'message')) as [number]
    assert.ok(peakMiB < 350, `the server took ${peakMiB} MiB`)
  })
}
