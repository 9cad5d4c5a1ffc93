// SPDX-License-Identifier: MIT

/** A small body that has arrived is stored as a whole: nobody sees a difference to one that comes in pieces. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type { UploadHooks } from '../../lib/upload/hooks.ts'
import type { Locker, NewUpload, Upload, UploadStore } from '../../lib/upload/types.ts'
import { I8, serve } from '../rufh/support.ts'
import { Gate } from '../support/gate.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { WireClient } from '../support/wire.ts'
import * as tus from '../tus/support.ts'

const sum = (algorithm: string, text: string): string => createHash(algorithm).update(text).digest('base64')
const CHECKSUM = { right: `Upload-Checksum: sha1 ${sum('sha1', 'hello')}`, wrong: `Upload-Checksum: sha1 ${sum('sha1', 'hallo')}` }
const DIGEST = { right: `sha-256=:${sum('sha256', 'hello')}:`, wrong: `sha-256=:${sum('sha256', 'hallo')}:` }
const TUS = [tus.V, tus.OCT, 'Upload-Length: 5']
const RUFH = [...Object.entries(I8).map(([name, value]) => `${name}: ${value}`), 'Upload-Complete: ?1']
const refuse = (status: number) => (): never => { throw Object.assign(new Error(), { status, body: 'no' }) }

const rows: readonly {
  readonly what: string
  readonly headers: readonly string[]
  readonly hooks?: UploadHooks
  readonly status: number
  /** Whether it is not made as a whole, even if it is here. */
  readonly ordinary?: true
}[] = [
  { what: 'a creation of tus', headers: TUS, status: 201 },
  { what: 'one with metadata', headers: [...TUS, 'Upload-Metadata: filename YS50eHQ=,empty'], status: 201 },
  { what: 'one of a part', headers: [...TUS, 'Upload-Concat: partial'], hooks: { onFinish: refuse(500) }, status: 201 },
  { what: 'one with a checksum', headers: [...TUS, CHECKSUM.right], status: 201 },
  { what: 'one with a wrong checksum', headers: [...TUS, CHECKSUM.wrong], status: 460, ordinary: true },
  { what: 'one whose length is put off', headers: [tus.V, tus.OCT, 'Upload-Defer-Length: 1'], status: 201, ordinary: true },
  { what: 'one of more bytes', headers: [tus.V, tus.OCT, 'Upload-Length: 6'], status: 201, ordinary: true },
  { what: 'one with a hook', headers: TUS, hooks: { onFinish: () => ({ status: 202, headers: { X: '7' }, body: 'ok' }) }, status: 202 },
  { what: 'one that the hook rejects', headers: TUS, hooks: { onFinish: refuse(403) }, status: 403 },
  { what: 'one whose hook fails', headers: TUS, hooks: { onFinish: refuse(500) }, status: 500 },
  { what: 'one of other metadata', headers: TUS, hooks: { onCreate: () => ({ metadata: new Map([['a', 'b']]) }) }, status: 201 },
  { what: 'one that is too large', headers: TUS, hooks: { onCreate: () => ({ maxSize: 4 }) }, status: 413, ordinary: true },
  { what: 'one of a chosen id', headers: TUS, hooks: { onCreate: () => ({ id: 'a'.repeat(32) }) }, status: 201, ordinary: true },
  { what: 'a creation of the draft', headers: RUFH, status: 200 },
  { what: 'one to be continued', headers: [...RUFH.slice(0, 1), 'Upload-Complete: ?0', 'Upload-Length: 5'], status: 201, ordinary: true },
  { what: 'one of another length', headers: [...RUFH, 'Upload-Length: 6'], status: 400, ordinary: true },
  { what: 'one with a digest of its content', headers: [...RUFH, `Content-Digest: ${DIGEST.right}`], status: 200 },
  { what: 'one of wrong content', headers: [...RUFH, `Content-Digest: ${DIGEST.wrong}`], status: 400, ordinary: true },
  { what: 'one with a digest of the whole', headers: [...RUFH, `Repr-Digest: ${DIGEST.right}`], status: 200 },
  { what: 'one with a wrong digest of the whole', headers: [...RUFH, `Repr-Digest: ${DIGEST.wrong}`], status: 400, ordinary: true },
  { what: 'one that wants a digest', headers: [...RUFH, 'Want-Repr-Digest: sha-256=1'], status: 200 },
  { what: 'one of the draft with a hook', headers: RUFH, hooks: { onFinish: () => ({ body: 'thank you' }) }, status: 200 },
  { what: 'one of the draft that the hook rejects', headers: RUFH, hooks: { onFinish: refuse(422) }, status: 422 },
  { what: 'one of the draft whose hook fails', headers: RUFH, hooks: { onFinish: () => { throw new Error() } }, status: 500 },
]

/** How the store and the body come: at once; to a store that makes no whole uploads; in two packets. */
const WAYS = ['whole', 'store without createWhole', 'two packets'] as const

/** Fields that depend on whether all of a refused body is here. */
const OF_THE_CONNECTION = ['date', 'connection', 'keep-alive']

/** What an upload was made with. */
type Maker = 'create' | 'createWhole'

/** A store that says how uploads are made. */
function telling(files: FileStore, made: Maker[], makes: 'all' | 'no whole ones'): UploadStore {
  return new Proxy(files, {
    get(target, name) {
      if (name === 'createWhole' && makes === 'no whole ones') return undefined
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        if (name === 'create' || name === 'createWhole') made.push(name)
        return member.apply(target, args)
      }
    },
  })
}

function eventsOf(t: TestContext): { readonly seen: string[]; stop(): void } {
  const seen: string[] = []
  const stops = ['create', 'append', 'interrupt', 'finish', 'reject', 'terminate', 'error'].map((name) => {
    const listener = (message: unknown): void => {
      const { upload, code } = message as { readonly upload?: Upload; readonly code?: string }
      seen.push([name, code, upload && `${upload.state} ${upload.offset} of ${upload.length}`].filter(Boolean).join(' '))
    }
    subscribe(`longhaul:${name}`, listener)
    return () => unsubscribe(`longhaul:${name}`, listener)
  })
  const stop = (): void => stops.forEach((each) => each())
  t.after(stop)
  return { seen, stop }
}

/** What a client, an observer and the disk have of a creation with `hello`. */
async function outcome(t: TestContext, way: (typeof WAYS)[number], { headers, hooks = {} }: (typeof rows)[number]) {
  const made: Maker[] = []
  const events = eventsOf(t)
  let hear = (): void => {}
  const asked = new Promise<void>((resolve) => (hear = resolve))
  const onCreate: UploadHooks['onCreate'] = async (...details) => {
    hear()
    return hooks.onCreate?.(...details)
  }
  const site = await serve(t, 'HTTP/1.1', {
    ...hooks, onCreate, progressIntervalMs: 60_000, maxSize: 1000,
    store: (files) => telling(files, made, way === 'store without createWhole' ? 'no whole ones' : 'all'),
  })
  const client = await WireClient.connect(site.port)
  const head = ['POST /files/ HTTP/1.1', 'Host: test', ...headers, 'Content-Length: 5', '', ''].join('\r\n')
  if (way === 'two packets') {
    await client.send(`${head}he`)
    await Promise.race([asked, once(client.socket, 'data')])
    await client.send('llo')
  } else {
    await client.send(`${head}hello`)
  }
  const answers = []
  for (;;) {
    const { status, headers, body } = await client.response()
    answers.push([status, ...[...headers].filter(([name]) => !OF_THE_CONNECTION.includes(name)).sort(), body])
    if (status >= 200) break
  }
  await client.send(`OPTIONS /files/ HTTP/1.1\r\nHost: test\r\n\r\n`).catch(() => {})
  await site.settled()
  client.destroy()
  events.stop()
  const files = [...snapshot(site.folder)]
  const text = JSON.stringify({ answers, events: events.seen, files })
  const dateless = text.replaceAll(/createdAt\\":\\"[^"\\]*/g, 'createdAt')
  const same = dateless.replaceAll(/[0-9a-f]{32}/g, 'ID').replaceAll(String(site.port), 'PORT')
  return { made, answers, same: JSON.parse(same) as unknown }
}

for (const row of rows) {
  test(`${row.what} (${row.status}) is answered, published and stored the same as a whole or in pieces`, async (t) => {
    const whole = await outcome(t, 'whole', row)
    assert.equal(whole.answers.at(-1)?.[0], row.status)
    if (!row.ordinary) assert.deepEqual(whole.made, ['createWhole'])
    else assert.ok(!whole.made.includes('createWhole'))
    for (const way of WAYS.slice(1)) {
      const ordinary = await outcome(t, way, row)
      assert.deepEqual(ordinary.same, whole.same, way)
      if (way === 'store without createWhole' || row.status !== 200) assert.ok(!ordinary.made.includes('createWhole'), way)
    }
  })
}

const post = (headers: readonly string[], body: string | number): string => {
  const length = typeof body === 'number' ? body : body.length
  const lines = ['POST /files/ HTTP/1.1', 'Host: test', tus.V, tus.OCT, `Upload-Length: ${length}`, `Content-Length: ${length}`, ...headers]
  return [...lines, '', typeof body === 'number' ? 'x'.repeat(body) : body].join('\r\n')
}

test('a body of one byte is a whole one, so is one of some pages, and one that does not fit into a packet is not', async (t) => {
  for (const [bytes, expected] of [[0, 'create'], [1, 'createWhole'], [20_000, 'createWhole'], [65_537, 'create']] as const) {
    const made: Maker[] = []
    const site = await tus.serve(t, { store: (files) => telling(files, made, 'all') })
    const answer = await tus.ask(site, post([], bytes))
    assert.equal(answer.status, 201)
    assert.deepEqual(made, [expected], String(bytes))
    const address = new URL(answer.headers.get('location') ?? '', 'http://test').pathname
    assert.equal(await tus.offsetOf(site, address), bytes)
  }
})

test('bodies of pipelined requests are whole when it is their turn', async (t) => {
  const made: Maker[] = []
  const site = await tus.serve(t, { store: (files) => telling(files, made, 'all') })
  const client = await WireClient.connect(site.port)
  await client.send(post([], 'one') + post([], 'three') + post([], 'five'))
  for (const length of ['3', '5', '4']) assert.equal((await client.response()).headers.get('upload-offset'), length)
  client.destroy()
  assert.deepEqual(made, ['createWhole', 'createWhole', 'createWhole'])
})

test('a client that waits for 100 Continue gets it, even if its body is here, and its connection goes on', async (t) => {
  const made: Maker[] = []
  const site = await tus.serve(t, { store: (files) => telling(files, made, 'all') })
  const client = await WireClient.connect(site.port)
  await client.send(post(['Expect: 100-continue'], 'hello'))
  assert.deepEqual([(await client.response()).status, (await client.response()).status, made], [100, 201, ['create']])
  await client.send(post([], 'hello'))
  assert.equal((await client.response()).status, 201)
  client.destroy()
})

for (const [what, meddle] of [
  ['has an encoding', (req: IncomingMessage) => void req.setEncoding('utf8')],
  ['was read in part', (req: IncomingMessage) => void req.read(1)],
] as const) {
  test(`a body that ${what} by a hook is not taken as a whole: all is as it would be without that`, async (t) => {
    const answers = []
    for (const makes of ['all', 'no whole ones'] as const) {
      const made: Maker[] = []
      const site = await tus.serve(t, {
        store: (files) => telling(files, made, makes),
        onCreate: async (_, request) => {
          await turn() // until the packet is parsed
          meddle(request as IncomingMessage)
        },
      })
      const { status, body } = await tus.ask(site, post([], 'hello'))
      assert.deepEqual(made, ['create'])
      answers.push([status, body, snapshot(site.folder).size])
    }
    assert.deepEqual(answers[0], answers[1])
  })
}

test('during a shutdown a body that is here is simply stored', async (t) => {
  const shutdown = new AbortController()
  const made: Maker[] = []
  const options = { signal: shutdown.signal, onCreate: () => shutdown.abort(), store: (files: FileStore) => telling(files, made, 'all') }
  const site = await tus.serve(t, options)
  const client = await WireClient.connect(site.port)
  await client.send(post([], 'hello'))
  const answer = await client.response()
  client.destroy()
  assert.deepEqual([answer.status, answer.headers.get('upload-offset'), made], [201, '5', ['createWhole']])
})

/** A store whose whole uploads take as long as a test wants. */
class SlowStore extends StoreBehind {
  readonly gate = new Gate()

  async createWhole(upload: NewUpload, body: Uint8Array, state: 'finishing' | 'finished'): Promise<Upload> {
    await this.gate.pass()
    return this.files.createWhole(upload, body, state)
  }
}

test('a client that is answered 503 while the disk hangs may try again: what comes of it is removed, and no hook runs', async (t) => {
  for (const hook of [undefined, () => assert.fail('it ran')]) {
    const site = await tus.serve(t, { answerTimeoutMs: 30, onFinish: hook, store: (files) => new SlowStore(files) })
    const client = await WireClient.connect(site.port)
    await client.send(post([], 'hello'))
    await site.store.gate.arrived
    assert.equal((await client.response()).status, 503)
    client.destroy()
    site.store.gate.open()
    await site.settled()
    assert.deepEqual([...snapshot(site.folder).keys()], [])
  }
})

test('whole bodies take a slot each while they are stored, and one more is refused before anything is made', async (t) => {
  const site = await tus.serve(t, { maxConcurrent: 1, store: (files) => new SlowStore(files) })
  const client = await WireClient.connect(site.port)
  await client.send(post([], 'hello'))
  await site.store.gate.arrived
  assert.equal((await tus.ask(site, post([], 'hello'))).status, 503)
  site.store.gate.open()
  assert.equal((await client.response()).status, 201)
  client.destroy()
  assert.equal([...snapshot(site.folder).keys()].length, 2)
})

test('with a hook the lock is held while the upload is made and the hook runs; without one, none is taken', async (t) => {
  for (const [onFinish, expected] of [
    [() => {}, ['lock', 'createWhole', 'release']],
    [undefined, ['createWhole']],
  ] as const) {
    const steps: string[] = []
    const locker: Locker = {
      acquire: async () => (steps.push('lock'), { release: () => void steps.push('release') }),
      tryAcquire: async () => undefined,
    }
    const site = await tus.serve(t, { locker, onFinish, store: (files) => telling(files, steps as Maker[], 'all') })
    assert.equal((await tus.ask(site, post([], 'hello'))).status, 201)
    await site.settled()
    assert.deepEqual(steps, expected)
  }
})
