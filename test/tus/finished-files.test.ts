// SPDX-License-Identifier: MIT

/** What an application does with a file that is complete: it moves it away, removes it, changes it. The client must not notice. */

import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type { FinishAnswer, UploadHooks } from '../../lib/upload/hooks.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { addressOf } from '../support/address-of.ts'
import { filesIn } from '../support/files.ts'
import { published } from '../support/published.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, type WireResponse } from '../support/wire.ts'
import { concatenate, idOf, makePartial, patch, post } from './steps.ts'
import { ask, assertPlainRefusal, head, make, OCT, serve, V, type Site, type SiteOptions } from './support.ts'

/** What the hook of a test is given. */
interface Bench {
  readonly store: FileStore
  /** Where finished files go. */
  readonly target: string
}

type Hook = (upload: Upload, bench: Bench) => FinishAnswer | void | Promise<FinishAnswer | void>

/** A server with such a hook, and the runs of it by their keys. */
async function serveWith(
  t: TestContext,
  hook: Hook,
  options: Omit<SiteOptions, 'store' | 'onFinish'> = {},
): Promise<{ readonly site: Site; readonly keys: string[]; readonly target: string }> {
  let files!: FileStore
  const target = temporaryFolder(t)
  const keys: string[] = []
  const onFinish: UploadHooks['onFinish'] = (upload, { idempotencyKey }) => {
    keys.push(idempotencyKey)
    return hook(upload, { store: files, target })
  }
  const site = await serve(t, { download: {}, ...options, onFinish, store: (store) => (files = store) })
  return { site, keys, target }
}

const get = (site: Site, upload: string): Promise<WireResponse> => ask(site, request(`GET ${upload}`))
const names = (site: Site): readonly string[] => filesIn(site.folder)

const moveAway: Hook = (upload, { store, target }) => store.moveTo(upload, join(target, upload.id))
const remove: Hook = (upload, { store }) => store.terminate(upload)
const renameBoth: Hook = ({ id }, { store, target }) => {
  for (const name of [id, `${id}.info`]) renameSync(join(store.directory, name), join(target, name))
}
const renameData: Hook = ({ id }, { store, target }) => renameSync(join(store.directory, id), join(target, id))
const removeSidecar: Hook = ({ id }, { store }) => rmSync(join(store.directory, `${id}.info`))

/** Ways to complete an upload of `helloworld`; each answers with its address. */
const ways: readonly (readonly [way: string, complete: (site: Site) => Promise<string>])[] = [
  ['PATCH', async (site) => {
    const upload = await make(site, 10, 'hello')
    const answer = await patch(site, upload, 5, 'world')
    assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [204, '10'])
    return upload
  }],
  ['POST with all bytes', (site) => make(site, 10, 'helloworld')],
  ['concatenation', async (site) => {
    const parts = [await makePartial(site, 'hello'), await makePartial(site, 'world')]
    const upload = addressOf(await concatenate(site, parts))
    for (const part of parts) assert.equal((await ask(site, request(`DELETE ${part}`, [V]))).status, 204)
    return upload
  }],
]

/** What a hook may do, and what is there afterwards: the files of the store, with `ID` for the id, and what GET and HEAD answer. */
const hooks: readonly (readonly [what: string, hook: Hook, left: readonly string[], head: number, get: number])[] = [
  ['moves it away', moveAway, ['ID.info'], 200, 410],
  ['removes it', remove, [], 404, 404],
  ['renames its two files', renameBoth, [], 404, 404],
  ['renames its data alone', renameData, ['ID.info'], 200, 410],
  ['removes its sidecar alone', removeSidecar, ['ID'], 404, 404],
]

for (const [what, hook, left, headStatus, getStatus] of hooks) {
  for (const [way, complete] of ways) {
    test(`an onFinish that ${what} runs once, the client of a ${way} is answered as usual, and nothing comes back`, async (t) => {
      const { site, keys, target } = await serveWith(t, async (upload, bench) => {
        assert.equal(readFileSync(join(bench.store.directory, upload.id), 'utf8'), 'helloworld')
        await hook(upload, bench)
      })
      const errors = published(t, 'longhaul:error')
      const finished = published(t, 'longhaul:finish')
      const upload = await complete(site)
      const id = idOf(upload)
      assert.deepEqual(finished.filter((each) => each.upload.id === id).map((each) => each.upload.state), ['finished'])
      const restarted = await serve(t, { folder: site.folder, download: {}, onFinish: () => assert.fail('it ran again') })
      for (const server of [site, restarted]) {
        const told = await head(server, upload)
        assert.equal(told.status, headStatus)
        if (headStatus === 200) assert.deepEqual([told.headers.get('upload-offset'), told.headers.get('upload-length')], ['10', '10'])
        const refused = await get(server, upload)
        assert.equal(refused.status, getStatus)
        assertPlainRefusal(refused, site)
        if (headStatus === 200 && way !== 'concatenation') {
          assert.equal((await patch(server, upload, 10)).status, 204)
          assert.equal((await patch(server, upload, 5, 'world')).status, 409)
        }
        assert.deepEqual(await server.tus.sweep(), { examined: left.includes('ID.info') ? 1 : 0, expired: 0, settled: 0, failed: 0 })
      }
      assert.deepEqual(names(site), left.map((name) => name.replace('ID', id)))
      if (existsSync(join(target, id))) assert.equal(readFileSync(join(target, id), 'utf8'), 'helloworld')
      assert.equal(keys.length, 1)
      assert.deepEqual(errors, [])
      assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, headStatus === 200 ? 204 : 404)
    })
  }
}

test('an onFinish that does not wait until its file is moved leaves a record that is complete', async (t) => {
  const moves: unknown[] = []
  const { site, target } = await serveWith(t, (upload, bench) => void moves.push(moveAway(upload, bench)))
  for (let count = 0; count < 10; count++) {
    const upload = await make(site, 10, 'helloworld')
    await Promise.all(moves)
    assert.equal(readFileSync(join(target, idOf(upload)), 'utf8'), 'helloworld')
    assert.deepEqual([(await head(site, upload)).status, (await get(site, upload)).status], [200, 410])
  }
})

test('an answer of onFinish goes out and is kept, though the bytes are away', async (t) => {
  const { site } = await serveWith(t, async (upload, bench) => {
    await moveAway(upload, bench)
    return { status: 200, headers: { 'X-Stored-As': 'photo-7' }, body: 'thank you' }
  })
  const upload = await make(site, 10, 'hello')
  for (const [offset, content] of [[5, 'world'], [10, '']] as const) {
    const answer = await patch(site, upload, offset, content)
    assert.deepEqual([answer.status, answer.headers.get('x-stored-as'), answer.body], [200, 'photo-7', 'thank you\n'])
  }
})

for (const [what, result] of [
  ['throws', () => { throw new Error('secret: no database') }],
  ['returns nonsense', () => ({ status: 7, body: 12 }) as never],
] as const) {
  for (const ask of ['HEAD', 'PATCH', 'sweep'] as const) {
    test(`an onFinish that moves the bytes and then ${what} runs again with the same key, by ${ask}, until it succeeds, and the client gets a complete upload`, async (t) => {
      let fails = true
      const { site, keys, target } = await serveWith(t, async (upload, bench) => {
        await moveAway(upload, bench)
        if (fails) return result()
      })
      const errors = published(t, 'longhaul:error')
      const upload = await make(site, 10, 'hello')
      const refused = await patch(site, upload, 5, 'world')
      assert.equal(refused.status, 500)
      assertPlainRefusal(refused, site)
      assert.equal(errors.length, 1)
      fails = false
      if (ask === 'PATCH') assert.equal((await patch(site, upload, 10)).status, 204)
      if (ask === 'sweep') assert.equal((await site.tus.sweep()).settled, 1)
      const told = await head(site, upload)
      assert.deepEqual([told.status, told.headers.get('upload-offset')], [200, '10'])
      assert.deepEqual([keys.length, new Set(keys).size], [2, 1])
      assert.equal(readFileSync(join(target, idOf(upload)), 'utf8'), 'helloworld')
    })
  }
}

test('an onFinish that moves the bytes and refuses rejects the upload for good; one that removes it leaves nothing', async (t) => {
  for (const [hook, later] of [[moveAway, 422], [remove, 404]] as const) {
    const { site, keys } = await serveWith(t, async (upload, bench) => {
      await hook(upload, bench)
      throw Object.assign(new Error('secret'), { status: 422, body: 'This is not a photo' })
    })
    const upload = await make(site, 10, 'hello')
    const refused = await patch(site, upload, 5, 'world')
    assert.deepEqual([refused.status, refused.body], [422, 'This is not a photo\n'])
    assert.equal((await head(site, upload)).status, later)
    assert.equal(keys.length, 1)
  }
})

test('an onFinish that changes the file in its place has its answer sent; from then on the upload is damaged, and the file stays', async (t) => {
  const { site, keys } = await serveWith(t, ({ id }, { store }) => appendFileSync(join(store.directory, id), ' and more'))
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 204)
  assert.equal((await head(site, upload)).status, 500)
  assert.equal(keys.length, 1)
  assert.equal(readFileSync(join(site.folder, idOf(upload)), 'utf8'), 'helloworld and more')
})

test('an onFinish that renames two files of three, as an upload of another server has, leaves a record that is complete', async (t) => {
  const { site, keys, target } = await serveWith(t, renameBoth)
  writeFileSync(join(site.folder, 'a'), 'hello')
  writeFileSync(join(site.folder, 'a.json'), JSON.stringify({ id: 'a', size: 10, offset: 0 }))
  assert.equal((await patch(site, '/files/a', 5, 'world')).status, 204)
  const told = await head(site, '/files/a')
  assert.deepEqual([told.status, told.headers.get('upload-offset')], [200, '10'])
  assert.equal((await get(site, '/files/a')).status, 410)
  assert.equal((await site.tus.sweep()).failed, 0)
  assert.equal(readFileSync(join(target, 'a'), 'utf8'), 'helloworld')
  assert.equal(keys.length, 1)
})

test('the record of an upload that was moved away expires by itself, without onTerminate, and the file stays where it is', async (t) => {
  const afterMs = 3_600_000
  for (const from of ['activity', 'creation'] as const) {
    const { site, target } = await serveWith(t, moveAway, { expiration: { afterMs, from }, onTerminate: () => assert.fail('it was asked') })
    const upload = await make(site, 10, 'helloworld')
    const expired = published(t, 'longhaul:expire')
    assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + afterMs + 60_000 })
    assert.equal((await head(site, upload)).status, 410)
    assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 1, settled: 0, failed: 0 })
    t.mock.timers.reset()
    assert.equal(expired.length, 1)
    assert.deepEqual(names(site), [])
    assert.equal(readFileSync(join(target, idOf(upload)), 'utf8'), 'helloworld')
  }
})

test('parts of a concatenation that is finished are removed by a sweep once they expire, and the whole stays', async (t) => {
  const afterMs = 3_600_000
  const site = await serve(t, { expiration: { afterMs }, download: {} })
  const parts = [await makePartial(site, 'hello'), await makePartial(site, 'world')]
  const upload = addressOf(await concatenate(site, parts))
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + afterMs + 60_000 })
  assert.deepEqual(await site.tus.sweep(), { examined: 3, expired: 2, settled: 0, failed: 0 })
  assert.deepEqual(names(site), [idOf(upload), `${idOf(upload)}.info`])
  assert.equal((await get(site, upload)).body, 'helloworld')
})

test('metadata that onCreate chooses must be valid in a header', async (t) => {
  for (const key of ['', 'a b', 'a,b', 'größe', 'a\n', '\u0000']) {
    const site = await serve(t, { onCreate: () => ({ metadata: new Map([[key, 'x']]) }) })
    const refused = await post(site, ['Upload-Length: 10'])
    assert.equal(refused.status, 500)
    assertPlainRefusal(refused, site)
    assert.deepEqual(names(site), [])
  }
  const site = await serve(t, { onCreate: () => ({ metadata: new Map([['__proto__', 'größe\r\n']]) }) })
  assert.equal(
    (await head(site, addressOf(await post(site, ['Upload-Length: 10', OCT])))).headers.get('upload-metadata'),
    `__proto__ ${btoa(String.fromCharCode(...new TextEncoder().encode('größe\r\n')))}`,
  )
})
