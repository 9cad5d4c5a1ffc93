// SPDX-License-Identifier: MIT

/** What is done with an upload that is complete: at least once, and said only after. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import type { FinishAnswer } from '../../lib/upload/hooks.ts'
import { addressOf } from '../support/address-of.ts'
import { startFinishProcess } from '../support/finish-process.ts'
import { Gate } from '../support/gate.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { chunked, exchange, request, WireClient, type WireResponse, withBody } from '../support/wire.ts'
import { idOf, patch, post } from './steps.ts'
import { ask, assertNoSecrets, assertPlainRefusal, head, make, OCT, serve, V, type Site } from './support.ts'

/** One run of `onFinish`, as it saw the upload. */
interface Run {
  readonly id: string
  readonly key: string
  readonly content: string
  readonly state: string
  readonly stored: string | undefined
}

/** Ways to complete an upload of `helloworld`, or of nothing. */
const ways: readonly (readonly [way: string, length: number, complete: (site: Site) => Promise<string>])[] = [
  ['PATCH', 10, async (site) => {
    const upload = await make(site, 10, 'hello')
    assert.equal((await patch(site, upload, 5, 'world')).status, 204)
    return upload
  }],
  ['PATCH in chunks', 10, async (site) => {
    const upload = await make(site, 10, 'hello')
    const text = withBody(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Transfer-Encoding: chunked']), chunked('world', 2))
    assert.equal((await ask(site, text)).status, 204)
    return upload
  }],
  ['POST with all bytes', 10, async (site) => make(site, 10, 'helloworld')],
  ['POST with all bytes in chunks', 10, async (site) => {
    return addressOf(
      await ask(
        site,
        withBody(request('POST /files/', [V, OCT, 'Upload-Length: 10', 'Transfer-Encoding: chunked']), chunked('helloworld', 3)),
      ),
    )
  }],
  ['POST of length 0', 0, async (site) => addressOf(await post(site, ['Upload-Length: 0']))],
  ['POST of length 0 with the content type of bytes', 0, async (site) => addressOf(await post(site, ['Upload-Length: 0', OCT]))],
  ['PATCH that says the length with the last bytes', 10, async (site) => {
    const upload = addressOf(await post(site, ['Upload-Defer-Length: 1']))
    await patch(site, upload, 0, 'hello')
    assert.equal((await patch(site, upload, 5, 'world', ['Upload-Length: 10'])).status, 204)
    return upload
  }],
  ['PATCH that says the length after the last bytes', 10, async (site) => {
    const upload = addressOf(await post(site, ['Upload-Defer-Length: 1']))
    await patch(site, upload, 0, 'helloworld')
    assert.equal((await patch(site, upload, 10, '', ['Upload-Length: 10'])).status, 204)
    return upload
  }],
]

for (const [way, length, complete] of ways) {
  test(`T45, T62, T70 · onFinish runs once when ${way} completes an upload, with all its bytes stored, and never again`, async (t) => {
    const runs: Run[] = []
    const site: Site = await serve(t, {
      onFinish: async ({ id, state }, { idempotencyKey: key }) => {
        const stored = (await new FileStore(site.folder).find(id))?.state
        runs.push({ id, key, state, stored, content: readFileSync(join(site.folder, id), 'latin1') })
      },
    })
    const finished = published(t, 'longhaul:finish')
    const upload = await complete(site)
    assert.equal(runs.length, 1)
    assert.deepEqual(
      { ...runs[0], key: '' },
      { id: idOf(upload), key: '', state: 'finishing', stored: 'finishing', content: 'helloworld'.slice(0, length) },
    )
    const restarted = await serve(t, { folder: site.folder, onFinish: () => assert.fail('it ran again') })
    for (const server of [site, restarted]) {
      assert.equal((await head(server, upload)).headers.get('upload-offset'), String(length))
      assert.equal((await patch(server, upload, length, '')).status, 204)
      assert.equal((await patch(server, upload, length, 'x')).status, 413)
      assert.equal((await patch(server, upload, length + 1, '')).status, 409)
      assert.deepEqual(await server.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
    }
    assert.equal(runs.length, 1)
    assert.deepEqual(finished.map(({ upload }) => [upload.id, upload.state, upload.offset]), [[idOf(upload), 'finished', length]])
  })
}

test('onFinish does not run for an upload that lacks a byte, whatever is asked', async (t) => {
  const site = await serve(t, { onFinish: () => assert.fail('it ran') })
  const upload = await make(site, 10, 'helloworl')
  const later = addressOf(await post(site, ['Upload-Defer-Length: 1']))
  await patch(site, later, 0, 'helloworld')
  for (const [address, offset] of [[upload, 9], [later, 10]] as const) {
    assert.equal((await patch(site, address, offset, '')).status, 204)
    assert.equal((await patch(site, upload, 9, 'xx')).status, 413)
    assert.equal((await head(site, address)).headers.get('upload-offset'), String(offset))
  }
  assert.equal((await site.tus.sweep()).settled, 0)
})

/** Each of these has a complete upload whose `onFinish` failed be finished. */
const retries: readonly (readonly [
  retry: string,
  run: (site: Site, upload: string) => Promise<WireResponse | undefined>,
  status: number,
])[] = [
  ['an empty PATCH at the end', (site, upload) => patch(site, upload, 10, ''), 204],
  ['HEAD', (site, upload) => ask(site, request(`HEAD ${upload}`, [V]), { toHead: true }), 200],
  ['a sweep', async (site) => void (await site.tus.sweep()), 0],
]

for (const [retry, run, status] of retries) {
  for (const where of ['in the same process', 'after a restart'] as const) {
    test(`an onFinish that fails is 500 (423 to HEAD) without detail and published; ${retry} runs it again ${where}, with the same key, until it does not fail`, async (t) => {
      const keys: string[] = []
      let fails = true
      const onFinish = (_: unknown, { idempotencyKey }: { readonly idempotencyKey: string }): void => {
        keys.push(idempotencyKey)
        if (fails) throw new Error('secret: postgres://user:password@db')
      }
      const first = await serve(t, { onFinish })
      const upload = await make(first, 10, 'hello')
      const errors = published(t, 'longhaul:error')
      const refused = await patch(first, upload, 5, 'world')
      assert.equal(refused.status, 500)
      assert.equal(refused.body, 'The server failed\n')
      assert.equal(refused.headers.has('upload-offset'), false)
      assertPlainRefusal(refused, first)

      const site = where === 'after a restart' ? await serve(t, { folder: first.folder, onFinish }) : first
      const again = await run(site, upload)
      if (again) assert.equal(again.status, retry === 'HEAD' ? 423 : 500)
      assert.equal(keys.length, 2)
      assert.equal(errors.length, 2)
      for (const { error } of errors) assert.match((error.cause as Error).message, /^secret/)
      const told = await head(site, upload)
      assert.equal(told.status, 423, 'HEAD never says complete')
      assert.equal(told.headers.has('upload-offset'), false)

      fails = false
      const done = await run(site, upload)
      if (done) {
        assert.equal(done.status, status)
        assert.equal(done.headers.get('upload-offset'), '10')
      }
      assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
      assert.equal((await patch(site, upload, 10, '')).status, 204)
      assert.equal(keys.length, 4, 'two that failed, one for HEAD, one that did not fail')
      assert.deepEqual(keys, Array.from(keys, () => keys[0]))
      assert.equal(contentOf(site, upload).toString(), 'helloworld')
    })
  }
}

test('two uploads have different keys, also two of the same id one after the other', async (t) => {
  const keys = new Set<string>()
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  const site = await serve(t, { onCreate: () => ({ id: 'chosen' }), onFinish: (_, { idempotencyKey }) => void keys.add(idempotencyKey) })
  for (let n = 1; n <= 2; n++) {
    const upload = await make(site, 5, 'hello')
    assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
    assert.equal(keys.size, n)
    t.mock.timers.setTime(Date.now() + 5)
  }
})

test('an onFinish that fails at a creation with all bytes is 500; the upload stays, and a sweep finishes it', async (t) => {
  let fails = true
  const site = await serve(t, {
    onFinish: () => {
      if (fails) throw new Error('secret')
    },
  })
  for (const text of [
    request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'),
    request('POST /files/', [V, 'Upload-Length: 0', 'Content-Length: 0']),
  ]) {
    const refused = await ask(site, text)
    assert.equal(refused.status, 500)
    assertPlainRefusal(refused, site)
  }
  assert.deepEqual(await site.tus.sweep(), { examined: 2, expired: 0, settled: 0, failed: 2 })
  fails = false
  assert.deepEqual(await site.tus.sweep(), { examined: 2, expired: 0, settled: 2, failed: 0 })
})

test('an upload that could not be finished can be deleted', async (t) => {
  const site = await serve(t, { onFinish: () => Promise.reject(new Error('secret')) })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 500)
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal(snapshot(site.folder).size, 0)
})

test('an onFinish that refuses with a status from 500 has failed: that status is sent and published, and it runs again', async (t) => {
  let runs = 0
  const site = await serve(t, {
    onFinish: () => {
      if (++runs < 3) {
        throw Object.assign(new Error('secret'), { status: 503, body: 'The archive is closed', headers: { 'Retry-After': '60' } })
      }
    },
  })
  const errors = published(t, 'longhaul:error')
  const upload = await make(site, 10, 'hello')
  for (const answer of [await patch(site, upload, 5, 'world'), await patch(site, upload, 10, '')]) {
    assert.equal(answer.status, 503)
    assert.equal(answer.body, 'The archive is closed\n')
    assert.equal(answer.headers.get('retry-after'), '60')
  }
  assert.equal(errors.length, 2)
  assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
  assert.equal(runs, 3)
})

test('a rejection by onFinish is remembered: PATCH and HEAD answer it again, also after a restart, and DELETE still works', async (t) => {
  let runs = 0
  const onFinish = (): never => {
    runs++
    throw Object.assign(new Error('secret'), { status: 422, body: 'No virus, please', headers: { 'X-Virus': 'eicar' } })
  }
  const site = await serve(t, { onFinish })
  const rejected = published(t, 'longhaul:reject')
  const finished = published(t, 'longhaul:finish')
  const errors = published(t, 'longhaul:error')
  const upload = await make(site, 10, 'hello')
  const answers = [await patch(site, upload, 5, 'world')]
  const restarted = await serve(t, { folder: site.folder, onFinish: () => assert.fail('it ran again') })
  for (const server of [site, restarted]) {
    answers.push(await patch(server, upload, 10, ''), await patch(server, upload, 0, ''), await patch(server, upload, 10, 'x'))
    const told = await ask(server, request(`HEAD ${upload}`, [V]), { toHead: true })
    assert.equal(told.status, 422)
    assert.equal(told.headers.get('x-virus'), 'eicar')
    assert.equal(told.headers.has('upload-offset'), false)
    assert.deepEqual(await server.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
  }
  for (const answer of answers) {
    assert.equal(answer.status, 422)
    assert.equal(answer.body, 'No virus, please\n')
    assert.equal(answer.headers.get('x-virus'), 'eicar')
    assert.equal(answer.headers.has('upload-offset'), false)
    assertNoSecrets(answer, site)
  }
  assert.equal(runs, 1)
  assert.deepEqual(rejected.map(({ upload }) => [upload.id, upload.state]), [[idOf(upload), 'rejected']])
  assert.deepEqual([finished, errors], [[], []])
  assert.equal((await ask(restarted, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal((await head(site, upload)).status, 404)
  assert.equal(snapshot(site.folder).size, 0)
})

test('an upload that is rejected cannot be downloaded: its rejection is answered', async (t) => {
  const onFinish = (): never => {
    throw Object.assign(new Error('secret'), { status: 451 })
  }
  const site = await serve(t, { download: {}, onFinish })
  const upload = await make(site, 10, 'hello')
  await patch(site, upload, 5, 'world')
  const answer = await ask(site, request(`GET ${upload}`))
  assert.equal(answer.status, 451)
  assert.equal(answer.body, 'Unavailable For Legal Reasons\n')
})

test('an upload that is not finished cannot be downloaded, however complete it is', async (t) => {
  const site = await serve(t, { download: {}, onFinish: () => Promise.reject(new Error('secret')) })
  const upload = await make(site, 10, 'hello')
  assert.equal((await patch(site, upload, 5, 'world')).status, 500)
  assert.equal((await ask(site, request(`GET ${upload}`))).status, 404)
})

test('a rejection of a creation with all bytes is answered, and nothing is left of it', async (t) => {
  const onFinish = (): never => {
    throw Object.assign(new Error('secret'), { status: 422, body: 'No' })
  }
  const site = await serve(t, { onFinish })
  for (const text of [
    request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'),
    request('POST /files/', [V, 'Upload-Length: 0', 'Content-Length: 0']),
  ]) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 422)
    assert.equal(answer.body, 'No\n')
    assert.equal(answer.headers.has('location'), false)
    assert.equal(snapshot(site.folder).size, 0)
  }
})

/** What `onFinish` may answer, and what PATCH and POST make of it. */
const answered: readonly (readonly [answer: FinishAnswer | undefined, patched: number, posted: number, body: string])[] = [
  [undefined, 204, 201, ''],
  [{}, 204, 201, ''],
  [{ headers: { 'X-Archive': 'a/1' } }, 204, 201, ''],
  [{ body: 'stored as a/1', headers: { 'X-Archive': 'a/1' } }, 200, 201, 'stored as a/1\n'],
  [{ status: 202, headers: { 'X-Archive': 'a/1' } }, 202, 202, ''],
  [{ status: 200, headers: { 'Content-Type': 'application/json', 'X-Archive': 'a/1' }, body: '{"é":1}\n' }, 200, 200, '{"é":1}\n'],
  [{ status: 200, headers: { 'content-type': 'text/html' }, body: '<p>' }, 200, 200, '<p>\n'],
  [{ status: 204 }, 204, 204, ''],
]

for (const [answer, patched, posted, body] of answered) {
  test(`the answer ${JSON.stringify(answer)} of onFinish is sent, and again to an empty PATCH at the end, without a second run`, async (t) => {
    let runs = 0
    const site = await serve(t, { onFinish: () => (runs++, answer) })
    const upload = await make(site, 10, 'hello')
    const created = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))
    const restarted = await serve(t, { folder: site.folder, onFinish: () => assert.fail('it ran again') })
    const answers = [await patch(site, upload, 5, 'world'), await patch(site, upload, 10, ''), await patch(restarted, upload, 10, '')]
    for (const { status, headers } of answers) {
      assert.equal(status, patched)
      assert.equal(headers.get('upload-offset'), '10')
    }
    assert.equal(created.status, posted)
    assert.match(created.headers.get('location') ?? '', /^\/files\/[\da-f]{32}$/)
    assert.equal(created.headers.get('upload-offset'), '5')
    for (const { headers, body: sent } of [created, ...answers]) {
      assert.equal(sent, body)
      assert.equal(headers.get('x-archive'), answer?.headers?.['X-Archive'])
      assert.equal(headers.get('tus-resumable'), '1.0.0')
      const type = answer?.headers?.['Content-Type'] ?? answer?.headers?.['content-type']
      assert.equal(headers.get('content-type'), type ?? (body === '' ? undefined : 'text/plain; charset=utf-8'))
    }
    assert.equal(runs, 2)
    assert.equal((await head(site, upload)).status, 200)
  })
}

const nonsense: readonly (readonly [what: string, answer: unknown])[] = [
  ['a status in words', { status: 'x' }],
  ['a status as text', { status: '200' }],
  ['a status below 200', { status: 100 }],
  ['a status above 599', { status: 600 }],
  ['a status with a fraction', { status: 200.5 }],
  ['a header with a line break', { headers: { 'X-A': 'a\r\nSet-Cookie: b=1' } }],
  ['a header with a line feed', { headers: { 'X-A': 'a\nb' } }],
  ['a header with a letter that no header can hold', { headers: { 'X-A': '名' } }],
  ['a header without a name', { headers: { '': 'a' } }],
  ['a header whose name is none', { headers: { 'X A': 'a' } }],
  ['a header that is a number', { headers: { 'X-A': 7 } }],
  ['a header that is a list', { headers: { 'X-A': ['a', 'b'] } }],
  ['headers that are a list', { headers: ['X-A: a'] }],
  ['headers that are text', { headers: 'X-A: a' }],
  ['headers that are null', { headers: null }],
  ['a body that is a number', { body: 7 }],
  ['a body that is an object', { body: { a: 1 } }],
  ['a body that is bytes', { body: Buffer.from('a') }],
  ['a body that is too large to be kept', { body: 'é'.repeat(5_000_000) }],
  ['null', null],
]

for (const [what, answer] of nonsense) {
  test(`an answer of onFinish that has ${what} is 500 and published, and it runs again`, async (t) => {
    let sensible = false
    const site = await serve(t, { onFinish: () => (sensible ? undefined : answer) as FinishAnswer })
    const errors = published(t, 'longhaul:error')
    const upload = await make(site, 10, 'hello')
    for (const refused of [await patch(site, upload, 5, 'world'), await patch(site, upload, 10, '')]) {
      assert.equal(refused.status, 500)
      assert.equal(refused.body, 'The server failed\n')
      assertPlainRefusal(refused, site)
    }
    assert.equal((await head(site, upload)).status, 423)
    assert.equal(errors.length, 3)
    sensible = true
    assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
  })
}

for (const how of ['HEAD', 'a sweep'] as const) {
  test(`after SIGKILL while onFinish runs, ${how} runs it again, with the same key, and the upload is complete`, async (t) => {
    const folder = temporaryFolder(t)
    const killed = await startFinishProcess(t, folder, 'hang')
    const created = await exchange(killed.port, request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0']))
    const upload = addressOf(created)
    const client = await WireClient.connect(killed.port)
    await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'hello'))
    const line = await killed.said()
    assert.match(line, new RegExp(`^finishing ${idOf(upload)} .`))
    await killed.kill()
    assert.equal(await client.closed(), '', 'the client was not told anything')

    const restarted = await startFinishProcess(t, folder, 'answer')
    if (how === 'a sweep') restarted.sweep()
    else assert.equal((await head(restarted, upload)).headers.get('upload-offset'), '5')
    assert.equal(await restarted.said(), line)
    if (how === 'a sweep') assert.deepEqual(JSON.parse(await restarted.said()), { examined: 1, expired: 0, settled: 1, failed: 0 })
    assert.equal((await head(restarted, upload)).headers.get('upload-offset'), '5')
    restarted.sweep()
    assert.deepEqual(JSON.parse(await restarted.said()), { examined: 1, expired: 0, settled: 0, failed: 0 }, 'it did not run once more')
    assert.equal(contentOf({ folder }, upload).toString(), 'hello')
  })
}

test('a client that leaves while onFinish runs does not stop it; the next HEAD reports a complete upload', async (t) => {
  const gate = new Gate()
  let runs = 0
  const responses: ServerResponse[] = []
  const site = await serve(t, {
    before: (_, res) => void responses.push(res),
    onFinish: async (_, { signal }) => {
      runs++
      await gate.pass()
      assert.equal(signal?.aborted ?? false, false)
      return { body: 'done' }
    },
  })
  const upload = await make(site, 10, 'hello')
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world'))
  await gate.arrived
  const closed = once(responses.at(-1)!, 'close')
  client.socket.resetAndDestroy()
  await closed
  gate.open()
  await site.settled()
  assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
  assert.equal((await patch(site, upload, 10, '')).body, 'done\n')
  assert.equal(runs, 1)
})

test('HEAD waits while onFinish runs and reports its outcome; onFinish does not run twice at once', async (t) => {
  const gate = new Gate()
  let runs = 0
  const site = await serve(t, { onFinish: () => (runs++, gate.pass()) })
  const upload = await make(site, 10, 'hello')
  const patched = patch(site, upload, 5, 'world')
  await gate.arrived
  const answers = [head(site, upload), head(site, upload), patch(site, upload, 10, '')]
  assert.deepEqual(await site.tus.sweep(), { examined: 1, expired: 0, settled: 0, failed: 0 })
  gate.open()
  assert.deepEqual((await Promise.all([patched, ...answers])).map(({ status }) => status), [204, 200, 200, 204])
  for (const answer of answers) assert.equal((await answer).headers.get('upload-offset'), '10')
  assert.equal(runs, 1)
})

test('HEAD that has waited longer than lockTimeoutMs for onFinish is 423, and never says complete', async (t) => {
  const gate = new Gate()
  const site = await serve(t, { lockTimeoutMs: 20, onFinish: () => gate.pass() })
  const upload = await make(site, 10, 'hello')
  const patched = patch(site, upload, 5, 'world')
  await gate.arrived
  const answer = await ask(site, request(`HEAD ${upload}`, [V]), { toHead: true })
  assert.equal(answer.status, 423)
  assert.equal(answer.headers.get('retry-after'), '1')
  assert.equal(answer.headers.has('upload-offset'), false)
  gate.open()
  assert.equal((await patched).status, 204)
  assert.equal((await head(site, upload)).headers.get('upload-offset'), '10')
})

test('onFinish is told when the server shuts down; what it leaves undone then is done after the restart', async (t) => {
  const controller = new AbortController()
  const gate = new Gate()
  const keys: string[] = []
  const site = await serve(t, {
    signal: controller.signal,
    onFinish: async (_, { signal, idempotencyKey }) => {
      keys.push(idempotencyKey)
      signal?.addEventListener('abort', () => gate.open())
      await gate.pass()
      signal?.throwIfAborted()
    },
  })
  const upload = await make(site, 10, 'hello')
  const patched = patch(site, upload, 5, 'world')
  await gate.arrived
  controller.abort(new Error('secret'))
  const answer = await patched
  assert.ok(answer.status >= 500, String(answer.status))
  assertPlainRefusal(answer, site)
  const restarted = await serve(t, { folder: site.folder, onFinish: (_, { idempotencyKey }) => void keys.push(idempotencyKey) })
  assert.equal((await restarted.tus.sweep()).settled, 1)
  assert.equal(keys.length, 2)
  assert.equal(keys[0], keys[1])
})

test('HEAD of a finished or rejected upload neither waits for the lock nor disturbs its holder', async (t) => {
  const locker = new KeyedLock()
  const site = await serve(t, {
    locker,
    onFinish: ({ length }) => {
      if (length === 5) throw Object.assign(new Error('secret'), { status: 422 })
    },
  })
  const finished = await make(site, 10, 'helloworld')
  const rejected = await make(site, 5)
  assert.equal((await patch(site, rejected, 0, 'hello')).status, 422)
  for (const [upload, status] of [[finished, 200], [rejected, 422]] as const) {
    let asked = 0
    const hold = await locker.acquire(idOf(upload), { onReleaseRequest: () => void asked++ })
    const answer = await ask(site, request(`HEAD ${upload}`, [V]), { toHead: true })
    assert.equal(answer.status, status)
    assert.equal(asked, 0)
    hold.release()
  }
})
