// SPDX-License-Identifier: MIT

/**
 * Directories of other versions of the store. `fixtures/longhaul-1` was written by version 1 of the
 * sidecar, in each state that it knew; in it `boot-of-the-fixture` stands for the boot of the machine.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  FileStore,
  type FileStoreOptions,
  type StoredMark,
  type StoredUpload,
  type StoredUploadState,
} from '../lib/file-store/file-store.ts'
import { fileSystem } from './support/file-calls.ts'
import { filesIn } from './support/files.ts'
import { temporaryFolder } from './support/temporary.ts'
import { exchange, request } from './support/wire.ts'
import { head, OCT, serve, V } from './tus/support.ts'

const FIXTURE = fileURLToPath(new URL('fixtures/longhaul-1', import.meta.url))
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
const BOOT = existsSync(BOOT_ID) ? readFileSync(BOOT_ID, 'utf8').trim() : undefined
const SYNCS = ['none', 'finish', 'append'] as const
const HOUR_MS = 3_600_000

const bytes = (content: string): Readable => Readable.from([Buffer.from(content)], { objectMode: false })

async function found(store: FileStore, id: string): Promise<StoredUpload> {
  return (await store.find(id)) ?? assert.fail(`there is no upload ${id}`)
}

/** A copy of the fixture, or of one upload of it, written in this boot of the machine or in another one. */
function copyOfVersion1(t: TestContext, written: 'in this boot' | 'in another boot', id?: string): string {
  const directory = temporaryFolder(t)
  for (const name of readdirSync(FIXTURE).filter((each) => id === undefined || each === id || each === `${id}.info`)) {
    const content = readFileSync(join(FIXTURE, name), 'utf8')
    writeFileSync(join(directory, name), written === 'in this boot' ? content.replaceAll('boot-of-the-fixture', BOOT ?? 'none') : content)
  }
  return directory
}

function longhaulOf(directory: string, id: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(directory, `${id}.info`), 'utf8')).Longhaul
}

type Row = readonly [id: string, state: StoredUploadState, offset: number, mark: Omit<StoredMark, 'boot'> | undefined]

/** Two offsets where they differ: in the boot in which it was written, and in another. */
const UPLOADS: readonly (Row | readonly [...Row, offsetInAnotherBoot: number])[] = [
  ['receiving', 'receiving', 5, undefined],
  ['deferred', 'receiving', 5, undefined],
  ['verified', 'receiving', 5, { offset: 5 }],
  ['unverified', 'receiving', 5, { offset: 5 }],
  ['flushed', 'receiving', 5, { offset: 5, flushed: true }],
  ['unflushed', 'receiving', 8, { offset: 5, flushed: true }, 5],
  ['flushed-verified', 'receiving', 5, { offset: 5, flushed: true }],
  ['flushed-unverified', 'receiving', 5, { offset: 5, flushed: true }],
  ['doubtful', 'receiving', 5, { offset: 5, flushed: true }],
  ['lost', 'deactivated', 3, { offset: 5, flushed: true }],
  ['part', 'finished', 5, undefined],
  ['final', 'finished', 5, undefined],
  ['finishing', 'finishing', 11, undefined],
  ['finished', 'finished', 11, undefined],
  ['flushed-finished', 'finished', 11, { offset: 11, flushed: true }],
  ['rejected', 'rejected', 11, undefined],
  ['deactivated', 'deactivated', 11, undefined],
  ['moved', 'finished', 5, undefined],
]

for (const written of ['in this boot', 'in another boot'] as const) {
  const skip = BOOT === undefined && 'the system does not tell its boots'
  test(`each upload that version 1 wrote ${written} is found as it was, and finding changes nothing`, { skip }, async (t) => {
    const directory = copyOfVersion1(t, written)
    const before = filesIn(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')])
    const store = new FileStore(directory)
    assert.deepEqual(filesIn(directory).filter((name) => name.endsWith('.info')), UPLOADS.map(([id]) => `${id}.info`).sort())
    for (const [id, state, offset, mark, offsetInAnotherBoot = offset] of UPLOADS) {
      const upload = await found(store, id)
      const { boot, ...rest } = upload.mark ?? {}
      const expected = written === 'in this boot' ? offset : offsetInAnotherBoot
      assert.deepEqual([upload.state, upload.offset, upload.mark && rest], [state, expected, mark], id)
      const isPlain = mark?.flushed === true && !/verified|doubtful/.test(id)
      assert.equal(boot, isPlain ? (written === 'in this boot' ? BOOT : 'boot-of-the-fixture') : undefined, id)
      assert.deepEqual([upload.createdAt.toISOString(), upload.foreign], ['2026-11-30T12:00:00.000Z', false])
    }
    const { encodedMetadata, metadata } = await found(store, 'receiving')
    assert.deepEqual([encodedMetadata, metadata], ['filename YS50eHQ=', new Map([['filename', 'a.txt']])])
    assert.deepEqual((await found(store, 'finished')).outcome, { status: 201, headers: { 'X-Row': '7' }, body: 'done' })
    assert.deepEqual((await found(store, 'final')).parts, ['part'])
    assert.ok((await found(store, 'moved')).movedAt)
    const { completion, digest, length } = await found(store, 'deferred')
    assert.deepEqual([completion, digest?.algorithm, length], ['explicit', 'sha256', undefined])
    assert.deepEqual(filesIn(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')]), before)
  })

  for (const sync of SYNCS) {
    test(`uploads that version 1 wrote ${written} are continued and finished with sync ${sync}, and are of version 2 then`, async (t) => {
      for (const [id, state] of UPLOADS) {
        if (state !== 'receiving') continue
        for (const kind of ['append', 'verified', 'mismatch'] as const) {
          const directory = copyOfVersion1(t, written, id)
          const store = new FileStore(directory, { sync })
          let upload = await found(store, id)
          await store.flush(upload)
          if (id === 'unflushed' && upload.offset === 8) await store.truncate(upload, 5) // as it holds wrong bytes
          upload = await found(new FileStore(directory, { sync }), id)
          assert.equal(upload.offset, 5)
          if (kind === 'mismatch') assert.equal(await store.appendVerified(upload, bytes(' worse'), { verify: () => false }), 5)
          upload = await found(store, id)
          const last = bytes(' world')
          assert.equal(
            await (kind === 'append' ? store.append(upload, last) : store.appendVerified(upload, last, { verify: () => true })),
            11,
          )
          if (upload.length === undefined) await store.setLength(await found(store, id), 11)
          await store.setState(await found(store, id), 'finishing')
          await store.setState(await found(store, id), 'finished', { headers: {}, body: '' })
          for (const each of [store, new FileStore(directory), new FileStore(directory, { sync: 'append' })]) {
            const finished = await found(each, id)
            assert.deepEqual([finished.state, finished.offset], ['finished', 11])
            assert.equal(await text(each.read(finished, { start: 0, end: 11 })), 'hello world', `${id}, ${kind}`)
          }
          const longhaul = longhaulOf(directory, id)
          assert.deepEqual([longhaul['version'], longhaul['verifiedOffset'], longhaul['flushed']], [2, undefined, undefined])
        }
      }
    })
  }
}

test('whatever changes an upload of version 1 makes it one of version 2, and nothing else is lost', async (t) => {
  const directory = copyOfVersion1(t, 'in this boot')
  const store = new FileStore(directory)
  for (const [id, state] of UPLOADS) {
    const before = await found(store, id)
    assert.equal(longhaulOf(directory, id)['version'], 1)
    if (state === 'receiving') await store.setLength(before, 11)
    else await store.setState(before, before.state, before.outcome)
    assert.equal(longhaulOf(directory, id)['version'], 2)
    const after = await found(new FileStore(directory), id)
    const same = { updatedAt: undefined, length: undefined, movedAt: undefined, mark: undefined }
    assert.deepEqual({ ...after, ...same }, { ...before, ...same }, id)
    if (state === 'receiving') assert.deepEqual({ boot: undefined, ...after.mark }, { boot: undefined, ...before.mark })
  }
})

/** Has every call of the file system from the `moment`th on fail, as if the process had died. */
function dieAt(t: TestContext, moment: number): { calls(): number; revive(): void } {
  let calls = 0
  for (const name of ['open', 'rename', 'rm'] as const) {
    const real = fileSystem[name] as (...args: unknown[]) => Promise<unknown>
    t.mock.method(fileSystem, name, async (...args: unknown[]) => {
      if (args[0] === BOOT_ID) return real(...args)
      if (++calls >= moment) throw new Error('the process has died')
      return real(...args)
    })
  }
  const revive = (): void => {
    t.mock.restoreAll()
  }
  return { calls: () => calls, revive }
}

for (const sync of ['finish', 'append'] as const) {
  test(`a crash at any moment of continuing an upload of version 1 leaves one that continues, with sync ${sync}`, async (t) => {
    for (const id of ['receiving', 'verified', 'unverified', 'flushed', 'flushed-verified', 'flushed-unverified', 'doubtful']) {
      for (let moment = 1, isDone = false; !isDone; moment++) {
        const directory = copyOfVersion1(t, 'in this boot', id)
        const upload = await found(new FileStore(directory), id)
        const { calls, revive } = dieAt(t, moment)
        const store = new FileStore(directory, { sync })
        const first =
          moment % 2 === 0 ? store.append(upload, bytes(' wor')) : store.appendVerified(upload, bytes(' wor'), { verify: () => true })
        isDone = await first.then(() => true, () => false)
        revive()
        assert.ok(!isDone || calls() < moment)
        const versions = ['1', '2'].map((digit) => `${id}.info.00000000000${digit}.tmp`)
        writeFileSync(join(directory, versions[0]!), readFileSync(join(FIXTURE, `${id}.info`))) // what a crash of either version leaves
        writeFileSync(join(directory, versions[1]!), '{"ID":"')
        const restarted = new FileStore(directory, { sync })
        const again = await found(restarted, id)
        const content = await text(restarted.read(again, { start: 0, end: again.offset }))
        assert.ok('hello wor'.startsWith(content) && content.startsWith('hello'), `${id}, after call ${moment}: ${content}`)
        assert.ok(!isDone || content === 'hello wor')
        assert.equal(await restarted.append(again, bytes('hello world'.slice(again.offset))), 11)
        assert.equal(readFileSync(join(directory, id), 'utf8'), 'hello world')
        t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * HOUR_MS })
        await restarted.removeLeftovers()
        t.mock.timers.reset()
        assert.deepEqual(filesIn(directory).filter((name) => name.endsWith('.tmp')), [])
        assert.equal((await found(new FileStore(directory), id)).offset, 11)
      }
    }
  })
}

/** An upload whose sidecar a later version wrote, with the record that it had before. */
async function later(
  t: TestContext,
  options: FileStoreOptions = {},
): Promise<{ readonly directory: string; readonly upload: StoredUpload }> {
  const directory = temporaryFolder(t)
  const store = new FileStore(directory, options)
  await store.append(await store.create({ id: 'mine', length: 11 }), bytes('hello'))
  const upload = await found(store, 'mine')
  const path = join(directory, 'mine.info')
  const sidecar = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...sidecar, Size: '11 bytes', Longhaul: { version: 3, status: ['changed'] } }))
  return { directory, upload }
}

for (const sync of SYNCS) {
  test(`an upload of a later version is refused by its code and left as it is, with sync ${sync}`, async (t) => {
    const { directory, upload } = await later(t, { sync })
    const old = new Date(Date.now() - 2 * HOUR_MS)
    for (const name of ['mine', 'mine.info']) utimesSync(join(directory, name), old, old)
    const contents = (): unknown => filesIn(directory).map((name) => [name, readFileSync(join(directory, name), 'utf8')])
    const before = contents()
    const target = join(temporaryFolder(t), 'target')
    const tooNew = { name: 'FileStoreError', code: 'UPLOAD_TOO_NEW' }
    for (const shared of [false, true]) {
      const store = new FileStore(directory, { sync, shared })
      const attempts: Readonly<Record<string, () => Promise<unknown>>> = {
        find: () => store.find('mine'),
        truncate: () => store.truncate(upload, 2),
        setLength: () => store.setLength(upload, 7),
        setState: () => store.setState(upload, 'finished'),
        setDigest: () => store.setDigest({ ...upload, state: 'finished' }, { algorithm: 'md5', value: 'x' }),
        moveTo: () => store.moveTo({ ...upload, state: 'finished' }, target),
        terminate: () => store.terminate(upload),
      }
      for (const [name, attempt] of Object.entries(attempts)) {
        await assert.rejects(attempt(), tooNew, name)
        assert.deepEqual(contents(), before, name)
      }
      // Nobody gets a record to append to. One from before is refused where the sidecar is to be changed.
      await assert.rejects(store.appendVerified({ ...upload, offset: 5 }, bytes(' world'), { verify: () => true }), tooNew)
      await assert.rejects(store.create({ id: 'mine', length: 5 }), { code: 'UPLOAD_EXISTS' })
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * HOUR_MS })
      assert.equal(await store.removeLeftovers(), 0)
      t.mock.timers.reset()
      const listed: string[] = []
      for await (const id of store.list()) listed.push(id)
      assert.deepEqual(listed, ['mine'])
      assert.deepEqual(contents(), before)
    }
  })
}

test('the error says which version it is, which are known, and what to do', async (t) => {
  const { directory } = await later(t)
  const actual = 'The sidecar of the upload mine is of version 3, and this store knows versions up to 2'
  const message = `${actual}; it was left as it is: run the version of longhaul that wrote it`
  await assert.rejects(new FileStore(directory).find('mine'), { message })
})

test('terminate removes what is merely damaged, as an application may want it to', async (t) => {
  const directory = temporaryFolder(t)
  const upload = await new FileStore(directory).create({ id: 'mine', length: 5 })
  writeFileSync(join(directory, 'mine.info'), '{')
  await new FileStore(directory).terminate(upload)
  assert.deepEqual(filesIn(directory), [])
})

test('over HTTP an upload of a later version is a 500 without detail, a sweep counts it as failed, and it stays', async (t) => {
  const { directory } = await later(t)
  const contents = (): unknown => ['mine', 'mine.info'].map((name) => readFileSync(join(directory, name), 'utf8'))
  const before = contents()
  const site = await serve(t, { folder: directory, expiration: { afterMs: 1 }, download: {} })
  const requests = {
    PATCH: request('PATCH /files/mine', [V, OCT, 'Upload-Offset: 5', 'Content-Length: 6'], ' world'),
    GET: request('GET /files/mine'),
    DELETE: request('DELETE /files/mine', [V]),
  }
  // As for each failure of the server: on any other answer to HEAD clients would forget the upload, which is whole.
  assert.equal((await head(site, '/files/mine')).status, 423)
  for (const [method, sent] of Object.entries(requests)) {
    const { status, body } = await exchange(site.port, sent)
    assert.deepEqual([status, body.toString()], [500, 'The server failed\n'], method)
  }
  const { examined, expired, failed } = await site.tus.sweep()
  assert.deepEqual({ examined, expired, failed }, { examined: 1, expired: 0, failed: 1 })
  assert.deepEqual(contents(), before)
})
