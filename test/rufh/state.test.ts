// SPDX-License-Identifier: MIT

/** Checklist R.1: what is said of an upload, and that it stays true. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { rufhHandler } from '../../lib/rufh/handler.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { Random } from '../fault/random.ts'
import { addressOf, locationOf } from '../support/address-of.ts'
import { pattern } from '../support/pattern.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { append, ask, assertInconsistentLength, assertState, begin, head, interimOf, make } from './checked.ts'
import { I8, overBoth, PU, serve, type Answer, type Exchange, type Head, type Site, type SiteOptions, type Version } from './support.ts'

const TUS = { 'Tus-Resumable': '1.0.0' }
const TUS_APPEND = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }

/** The file that holds the bytes of an upload. */
function fileOf({ folder }: Pick<Site, 'folder'>, path: string): string {
  return join(folder, path.slice('/files/'.length))
}

function digestOf(content: Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(content).digest('base64')}:`
}

/** Starts a server that counts how often an upload was finished. */
async function serveCounting(
  t: TestContext,
  version: Version,
  options: SiteOptions = {},
): Promise<Site & { readonly finished: readonly Upload[] }> {
  const finished: Upload[] = []
  const site = await serve(t, version, { ...options, onFinish: (upload) => void finished.push(upload) })
  return { ...site, finished }
}

/** Resolves with nothing, when the clock that progress is measured by has moved on. */
async function nextMillisecond(): Promise<undefined> {
  const atMs = Date.now()
  while (Date.now() === atMs) await new Promise((resolve) => setImmediate(resolve))
}

// R1

test('R1 · of 1500 uploads, 500 of which were deleted meanwhile, no two have the same address', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const makeMany = async (count: number): Promise<string[]> => {
    const paths: string[] = []
    for (let made = 0; made < count; made += 20) paths.push(...(await Promise.all(Array.from({ length: 20 }, () => make(site)))))
    return paths
  }
  const first = await makeMany(1000)
  const deleted = first.filter((_, index) => index % 2 === 0)
  for (const path of deleted) assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
  const addresses = new Set([...first, ...(await makeMany(500))])
  assert.equal(addresses.size, 1500)
})

// R2

/** One upload that is sent in many ways, and what was told of its offset. Byte `n` is always the same one. */
class Run {
  readonly source = pattern(4 * 1024 * 1024)
  readonly #t: TestContext
  readonly #version: Version
  readonly #sync: 'none' | 'append'
  readonly #folder: string
  #shutdown = new AbortController()
  #site!: Site
  #path = ''
  #step = ''
  #sent = 0
  #told = 0
  /** How often an offset was told, by the status of what told it. */
  readonly tellings = new Map<number, number>()

  constructor(t: TestContext, version: Version, sync: 'none' | 'append') {
    this.#t = t
    this.#version = version
    this.#sync = sync
    this.#folder = temporaryFolder(t)
  }

  async begin(): Promise<void> {
    await this.restart()
    this.#path = await make(this.#site)
  }

  /** A new server over the same folder; the one before is of no more use. */
  async restart(): Promise<void> {
    this.#shutdown = new AbortController()
    this.#site = await serve(this.#t, this.#version, { folder: this.#folder, files: { sync: this.#sync }, signal: this.#shutdown.signal })
  }

  async take(step: string, random: Random): Promise<void> {
    this.#step = step
    const size = random.integer(1, random.pick([10, 1000, 50_000]))
    switch (step) {
      case 'HEAD':
      case 'GET':
        return this.#hear(await ask(this.#site, step, this.#path, I8), 204)
      case 'HEAD of tus':
        return this.#hear(await ask(this.#site, 'HEAD', this.#path, TUS), 200)
      case 'append':
        return this.#append(size, 204)
      case 'append nothing':
        return this.#append(0, 204)
      case 'append with a digest':
        return this.#append(size, 204, digestOf)
      case 'append with a wrong digest':
        return this.#append(size, 400, () => digestOf(Buffer.from('other')))
      case 'append elsewhere':
        this.#hear(await head(this.#site, this.#path), 204)
        return this.#hear(await append(this.#site, this.#path, this.#told + random.pick([-1, 1, 1000]), false, 'elsewhere'), 409)
      case 'append in pieces': {
        const exchange = await this.#stall(size)
        await this.#write(exchange, size)
        exchange.end()
        return this.#hear(await exchange.answer, 204)
      }
      case 'append until told how far': {
        const exchange = await this.#stall(size)
        const heard = exchange.interim()
        do await this.#write(exchange, 1)
        while ((await Promise.race([heard, nextMillisecond()])) === undefined)
        exchange.end()
        return this.#hear(await exchange.answer, 204)
      }
      case 'cut with fin':
      case 'cut with rst': {
        const exchange = await this.#stall(size)
        exchange.cut(step === 'cut with fin' ? 'fin' : 'rst')
        for (const interim of await interimOf(exchange)) this.#hear(interim, 104)
        return random.chance(0.5) ? this.#site.settled() : undefined
      }
      case 'cut with a digest': {
        const exchange = await this.#stall(size, { 'Content-Digest': digestOf(Buffer.from('whatever')) })
        exchange.cut(random.pick(['fin', 'rst']))
        await exchange.closed
        this.#sent = this.#told // nothing of it may count
        return random.chance(0.5) ? this.#site.settled() : undefined
      }
      case 'taken over': {
        const exchange = await this.#stall(size)
        const answer = await head(this.#site, this.#path)
        this.#hear(await exchange.answer, 409)
        exchange.cut('fin')
        return this.#hear(answer, 204)
      }
      case 'shut down': {
        const exchange = await this.#stall(size)
        this.#shutdown.abort()
        this.#hear(await exchange.answer, 503)
        exchange.cut('fin')
        await this.#site.settled()
        return this.restart()
      }
      case 'restart':
        return this.restart()
      default:
        assert.fail(step)
    }
  }

  /** Completes the upload; resolves with its content. */
  async complete(): Promise<Buffer> {
    this.#step = 'complete'
    this.#hear(await head(this.#site, this.#path), 204)
    this.#hear(await append(this.#site, this.#path, this.#told, true), 200)
    this.#hear(await head(this.#site, this.#path), 204)
    return contentOf(this.#site, this.#path)
  }

  /** An append of a known size. If it is refused, nothing of it may count. */
  async #append(size: number, status: 204 | 400, digest?: (content: Uint8Array) => string): Promise<void> {
    this.#hear(await head(this.#site, this.#path), 204) // more may be there than was told
    const content = this.source.subarray(this.#told, this.#told + size)
    this.#sent = this.#told + (status === 204 ? size : 0)
    this.#hear(
      await append(this.#site, this.#path, this.#told, false, content, digest ? { 'Content-Digest': digest(content) } : {}),
      status,
    )
    assert.equal(this.#told, this.#sent)
  }

  /** An append that has sent its first bytes, some of which are stored, and is not at its end. */
  async #stall(size: number, fields: Readonly<Record<string, string>> = {}): Promise<Exchange> {
    this.#hear(await head(this.#site, this.#path), 204)
    this.#sent = this.#told
    const headers = { ...I8, ...PU, 'Upload-Offset': String(this.#told), 'Upload-Complete': '?0', ...fields }
    const exchange = await begin(this.#site, { method: 'PATCH', path: this.#path, headers }, 'unknown')
    await this.#write(exchange, size)
    await stored(this.#site, this.#path, this.#told + 1)
    return exchange
  }

  async #write(exchange: Exchange, size: number): Promise<void> {
    const from = this.#sent
    this.#sent += size
    await exchange.write(this.source.subarray(from, this.#sent))
  }

  /** Notes what an answer tells, and what came before it. */
  #hear(answer: Answer | Head, status: number): void {
    assert.equal(answer.status, status, this.#step)
    for (const each of [...('interim' in answer ? answer.interim : []), answer]) {
      const field = each.headers.get('upload-offset')
      if (field === undefined) continue
      assert.ok(Number(field) >= this.#told, `${this.#step}: ${each.status} tells of ${field} bytes when ${this.#told} had been told`)
      assert.ok(Number(field) <= this.#sent, `${this.#step}: ${each.status} tells of ${field} bytes when ${this.#sent} were sent`)
      this.#told = Number(field)
      this.tellings.set(each.status, (this.tellings.get(each.status) ?? 0) + 1)
    }
  }
}

const STEPS = [
  'HEAD', 'GET', 'HEAD of tus', 'append', 'append nothing', 'append with a digest', 'append with a wrong digest', 'append elsewhere',
  'append in pieces', 'cut with fin', 'cut with rst', 'cut with a digest', 'taken over', 'shut down', 'restart',
]

for (const [sync, more] of [['none', ['append until told how far']], ['append', []]] as const) {
  overBoth(`R2 · in 150 steps of appends, cuts, restarts and looks no answer tells of fewer bytes than one before (sync '${sync}')`, async (t, version) => {
    const random = new Random(8)
    const run = new Run(t, version, sync)
    await run.begin()
    const steps = [...STEPS, ...more]
    for (let n = 0; n < 150; n++) await run.take(n < steps.length ? (steps[n] as string) : random.pick(steps), random)

    const content = await run.complete()
    assert.ok(content.equals(run.source.subarray(0, content.length)), 'what is stored is what was sent, without gaps')
    for (const status of [200, 204, 409, 503, ...(sync === 'none' ? [104] : [])]) {
      assert.ok(run.tellings.has(status), `no ${status} told an offset`)
    }
  })
}

// R3

/** What asks for an upload of which 10 bytes were acknowledged. */
const REQUESTS: readonly (readonly [name: string, send: (site: Site, path: string) => Promise<Answer>])[] = [
  ['HEAD', (site, path) => head(site, path)],
  ['GET', (site, path) => ask(site, 'GET', path, I8)],
  ['PATCH where it was', (site, path) => append(site, path, 10, false, 'more')],
  ['PATCH where it is', (site, path) => append(site, path, 4, false, 'more')],
  ['PATCH that completes it', (site, path) => append(site, path, 4, true)],
  ['HEAD of tus', (site, path) => ask(site, 'HEAD', path, TUS)],
  ['PATCH of tus', (site, path) => ask(site, 'PATCH', path, { ...TUS_APPEND, 'Upload-Offset': '4' }, 'more')],
]

/** That nobody can use an upload any more, and nobody is told an offset. */
async function assertUseless(site: Site, path: string, status: 404 | 410 | 500): Promise<void> {
  for (const [name, send] of REQUESTS) {
    const answer = await send(site, path)
    assert.equal(answer.status, status, name)
    assert.equal(answer.headers.has('upload-offset'), false, name)
    assert.deepEqual(answer.interim, [], name)
  }
}

for (const [name, send] of REQUESTS) {
  overBoth(`R3 · an upload whose data were cut behind the server's back is 410 for good, whoever asks first: ${name}`, async (t, version) => {
    const site = await serve(t, version)
    const path = await make(site, {}, 'helloworld')
    truncateSync(fileOf(site, path), 4)
    const answer = await send(site, path)
    assert.equal(answer.status, 410)
    assert.equal(answer.headers.has('upload-offset'), false)
    await assertUseless(site, path, 410)
    assert.equal(contentOf(site, path).toString(), 'hell')
    await assertUseless(await serve(t, version, { folder: site.folder }), path, 410)
  })
}

overBoth('R3 · an upload whose data were cut stays 410 when the bytes come back, and DELETE removes it', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'helloworld')
  truncateSync(fileOf(site, path), 0)
  assert.equal((await head(site, path)).status, 410)
  writeFileSync(fileOf(site, path), 'helloworld')
  await assertUseless(site, path, 410)

  assert.equal((await ask(site, 'DELETE', path, I8)).status, 204)
  assert.equal(snapshot(site.folder).size, 0)
  await assertUseless(site, path, 404)
})

overBoth("R3 · an upload of tus whose data were cut behind the server's back is 410 for good, in both protocols", async (t, version) => {
  const site = await serve(t, version)
  const path = addressOf(await ask(site, 'POST', '/files/', { ...TUS_APPEND, 'Upload-Length': '20' }, 'helloworld'))
  truncateSync(fileOf(site, path), 4)
  await assertUseless(site, path, 410)
  await assertUseless(await serve(t, version, { folder: site.folder }), path, 410)
})

/** The ways in which a server that has just begun tells of an offset of 10. */
const ACKNOWLEDGMENTS: readonly (readonly [name: string, send: (site: Site, path: string) => Promise<Answer>])[] = [
  ['HEAD', (site, path) => head(site, path)],
  ['HEAD of tus', (site, path) => ask(site, 'HEAD', path, TUS)],
  ['an append', (site, path) => append(site, path, 10, false)],
  ['409', (site, path) => append(site, path, 9, false, 'x')],
  ['413', (site, path) => append(site, path, 10, false, 'x'.repeat(100))],
  ['400 for a wrong digest', (site, path) => append(site, path, 10, false, 'x', { 'Content-Digest': digestOf(Buffer.from('y')) })],
]

for (const [name, send] of ACKNOWLEDGMENTS) {
  overBoth(`R3 · an offset that ${name} reported is never followed by a smaller one`, async (t, version) => {
    const { folder, ...before } = await serve(t, version)
    const path = await make({ folder, ...before }, {}, 'helloworld')
    const site = await serve(t, version, { folder, maxAppendSize: 50 })
    assert.equal((await send(site, path)).headers.get('upload-offset'), '10')
    truncateSync(fileOf(site, path), 4)
    await assertUseless(site, path, 410)
  })
}

overBoth('R3 · an offset that only a 104 reported is never followed by a smaller one', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site)
  const exchange = await begin(
    site,
    { method: 'PATCH', path, headers: { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?0' } },
    'unknown',
  )
  const heard = exchange.interim()
  await exchange.write('hello')
  await stored(site, path, 5)
  let told: Head | undefined
  while (!told) {
    await exchange.write('hello')
    told = await Promise.race([heard, nextMillisecond()])
  }
  exchange.cut('fin')
  await exchange.closed
  await site.settled()
  truncateSync(fileOf(site, path), Number(told.headers.get('upload-offset')) - 1)
  await assertUseless(site, path, 410)
})

overBoth('R3 · bytes that were never acknowledged may be lost: the upload is resumed from what is left', async (t, version) => {
  const before = await serve(t, version)
  const path = await make(before, {}, 'helloworld')
  truncateSync(fileOf(before, path), 4)
  const site = await serve(t, version, { folder: before.folder })
  await assertState(site, path, 4, '?0')
  assert.equal((await append(site, path, 4, true, 'o')).status, 200)
  assert.equal(contentOf(site, path).toString(), 'hello')
})

overBoth("R3 · an upload whose data were removed behind the server's back is 500 for good, in both protocols", async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'helloworld')
  rmSync(fileOf(site, path))
  await assertUseless(site, path, 500)
  await assertUseless(await serve(t, version, { folder: site.folder }), path, 500)
  assert.equal(existsSync(fileOf(site, path)), false)
})

overBoth('R3 · a complete upload whose data were cut or removed is 500, and is not finished again', async (t, version) => {
  const site = await serveCounting(t, version)
  const [short, lost] = [await make(site, {}, 'helloworld'), await make(site, {}, 'helloworld')]
  for (const path of [short, lost]) assert.equal((await append(site, path, 10, true)).status, 200)
  truncateSync(fileOf(site, short), 4)
  rmSync(fileOf(site, lost))
  for (const path of [short, lost]) await assertUseless(site, path, 500)
  assert.equal(site.finished.length, 2)
})

overBoth('R3 · an upload whose record is gone is still at its offset for the server that wrote it, and unknown to any other', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, {}, 'helloworld')
  rmSync(`${fileOf(site, path)}.info`)
  await assertState(site, path, 10, '?0')
  await assertUseless(await serve(t, version, { folder: site.folder }), path, 404)
})

overBoth('R3 · an upload whose record is damaged is 500 for a server that reads it', async (t, version) => {
  const before = await serve(t, version)
  const path = await make(before, {}, 'helloworld')
  truncateSync(`${fileOf(before, path)}.info`, 20)
  await assertUseless(await serve(t, version, { folder: before.folder }), path, 500)
})

// R4 to R7

/** Values of a field, each as a list of lines. */
type Lines = readonly string[]

overBoth('R4 · an Upload-Offset that is no integer counts as missing: 400, never taken as 0, and nothing changes', async (t, version) => {
  const site = await serve(t, version)
  const [fresh, begun] = [await make(site), await make(site, {}, 'hello')]
  const before = snapshot(site.folder)
  const values: readonly Lines[] = [
    ['abc'], ['-1'], ['1.0'], ['"0"'], ['?0'], ['0 0'], ['0, 0'], ['0', '0'], ['0', '5'], ['1000000000000000'], [''], ['+0'], ['0x0'],
    ['1e1'],
    ['(0)'], [':AA==:'], ['@0'], ['0;'], ['0,'], [],
  ]
  for (const path of [fresh, begun]) {
    for (const lines of values) {
      const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': lines, 'Upload-Complete': '?0' }, 'world')
      assert.equal(answer.status, 400, lines.join(' and '))
      assert.match(answer.body, /^Upload-Offset must be /)
      assert.deepEqual(answer.interim, [])
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
  await assertState(site, fresh, 0, '?0')
  await assertState(site, begun, 5, '?0')
})

overBoth('R5 · parameters of items are ignored', async (t, version) => {
  const site = await serve(t, version)
  const path = await make(site, { 'Upload-Complete': '?0;x', 'Upload-Length': '10;a=1' })
  await assertState(site, path, 0, '?0', 10)
  const first = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '0;foo=bar', 'Upload-Complete': '?0; x="?1"' }, 'hello')
  assert.equal(first.status, 204)
  await assertState(site, path, 5, '?0', 10)
  const second = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '5; a; b=1.5', 'Upload-Complete': '?1;x=?0' }, 'world')
  assert.equal(second.status, 200)
  await assertState(site, path, 10, '?1', 10)
})

test('R5 · spaces around items are ignored (HTTP/1.1)', async (t) => {
  const site = await serve(t, 'HTTP/1.1')
  const path = await make(site, { 'Upload-Complete': ' ?0 ', 'Upload-Length': '  5  ' })
  const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': ' 0 ', 'Upload-Complete': '  ?1 ' }, 'hello')
  assert.equal(answer.status, 200)
  await assertState(site, path, 5, '?1', 5)
})

const NO_BOOLEANS: readonly Lines[] = [['true'], ['1'], ['?2'], ['"?1"'], ['?1, ?1'], ['?1', '?1'], [''], ['?'], ['?1;'], ['?10'], ['?T']]

overBoth('R6 · a POST whose Upload-Complete is no boolean begins no upload: no 104, nothing created', async (t, version) => {
  const [both, alone] = [await serve(t, version), await serve(t, version, { handler: rufhHandler })]
  for (const lines of [...NO_BOOLEANS, []]) {
    for (const [site, status] of [[both, 412], [alone, 400]] as const) {
      const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': lines }, 'hello')
      assert.equal(answer.status, status, lines.join(' and '))
      assert.deepEqual(answer.interim, [])
      assert.equal(answer.headers.has('location'), false)
      assert.notEqual(answer.headers.get('upload-complete'), '?1')
      assert.equal(snapshot(site.folder).size, 0)
    }
  }
})

overBoth('R7 · an append whose Upload-Complete is no boolean is 400, as one without it, and changes nothing', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, { 'Upload-Length': '10' }, 'hello')
  const before = snapshot(site.folder)
  for (const lines of [...NO_BOOLEANS, []]) {
    const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': lines }, 'world')
    assert.equal(answer.status, 400, lines.join(' and '))
    assert.match(answer.body, /^Upload-Complete must be /)
    assert.deepEqual(answer.interim, [])
  }
  assert.deepEqual(snapshot(site.folder), before)
  assert.equal(site.finished.length, 0)
})

// R8 to R12

overBoth('R8 · a creation whose Upload-Length is no length is one of unknown length', async (t, version) => {
  const site = await serve(t, version)
  const values: readonly Lines[] = [['abc'], ['-1'], ['1.5'], ['"5"'], ['?1'], ['5, 5'], ['5', '5'], ['1000000000000000'], ['']]
  for (const lines of values) await assertState(site, await make(site, { 'Upload-Length': lines }, 'hello'), 5, '?0')
})

overBoth('R9 · a creation of another size than it says is 400, and creates nothing', async (t, version) => {
  const site = await serveCounting(t, version)
  for (const length of [10, 6, 4, 3, 0]) {
    const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', 'Upload-Length': String(length) }, 'hello')
    assertInconsistentLength(answer)
    assert.deepEqual(answer.interim, [])
    assert.equal(answer.headers.has('location'), false)
    assert.equal(snapshot(site.folder).size, 0)
  }
  assert.equal(site.finished.length, 0)
})

overBoth('R10 · an append with another Upload-Length than the known one is 400, and changes nothing', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, { 'Upload-Length': '100' })
  const before = snapshot(site.folder)
  for (const length of [50, 99, 101, 0]) {
    for (const content of ['', 'hello']) {
      assertInconsistentLength(await append(site, path, 0, false, content, { 'Upload-Length': String(length) }))
    }
  }
  assertInconsistentLength(await append(site, path, 0, true, 'x'.repeat(50), { 'Upload-Length': '50' }))
  assert.deepEqual(snapshot(site.folder), before)
  await assertState(site, path, 0, '?0', 100)
  assert.equal(site.finished.length, 0)
})

overBoth('R11 · an append that would complete an upload short of its length is 400, and changes nothing', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, { 'Upload-Length': '100' })
  const before = snapshot(site.folder)
  for (const size of [50, 99, 0]) {
    assertInconsistentLength(await append(site, path, 0, true, 'x'.repeat(size)))
    assertInconsistentLength(await append(site, path, 0, true, 'x'.repeat(size), { 'Upload-Length': '100' }))
  }
  assert.deepEqual(snapshot(site.folder), before)
  await assertState(site, path, 0, '?0', 100)
  assert.equal(site.finished.length, 0)
})

overBoth('R12 · the same in chunks is 400 at the end: what came is kept, and the upload can still be completed', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, { 'Upload-Length': '100' })
  const headers = { ...I8, ...PU, 'Upload-Offset': '0', 'Upload-Complete': '?1' }
  const answer = await ask(site, 'PATCH', path, headers, 'x'.repeat(50), 'unknown')
  assertInconsistentLength(answer)
  assert.equal(answer.headers.get('upload-offset'), '50')
  await assertState(site, path, 50, '?0', 100)
  assert.equal(site.finished.length, 0)

  assert.equal((await append(site, path, 50, true, 'y'.repeat(50))).status, 200)
  assert.equal(contentOf(site, path).toString(), 'x'.repeat(50) + 'y'.repeat(50))
  assert.equal(site.finished.length, 1)
})

overBoth('R12 · a creation in chunks that ends short of its length is 400: it is there with what came, and can be completed', async (t, version) => {
  const site = await serveCounting(t, version)
  const answer = await ask(site, 'POST', '/files/', { ...I8, 'Upload-Complete': '?1', 'Upload-Length': '10' }, 'hello', 'unknown')
  assertInconsistentLength(answer)
  assert.equal(answer.headers.get('upload-offset'), '5')
  const path = locationOf(answer)
  await assertState(site, path, 5, '?0', 10)
  assert.equal(site.finished.length, 0)
  assert.equal((await append(site, path, 5, true, 'world')).status, 200)
})

// R13 to R15

overBoth('R13 · an upload that has all its bytes is not complete until its client says so, whoever looks', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, { 'Upload-Length': '5' }, 'hello')
  await assertState(site, path, 5, '?0', 5)
  await site.uploads.sweep()
  await assertState(site, path, 5, '?0', 5)
  const appended = await make(site, { 'Upload-Length': '5' })
  assert.equal((await append(site, appended, 0, false, 'hello')).headers.get('upload-complete'), '?0')
  await assertState(site, appended, 5, '?0', 5)
  assert.equal(site.finished.length, 0)

  const after = await serveCounting(t, version, { folder: site.folder })
  await after.uploads.sweep()
  await assertState(after, path, 5, '?0', 5)
  assert.equal(after.finished.length, 0)
})

overBoth('R14 · an empty append at the end completes an upload, once', async (t, version) => {
  const site = await serveCounting(t, version)
  for (const headers of [{ 'Upload-Length': '5' }, {}]) {
    const path = await make(site, headers, 'hello')
    const answer = await append(site, path, 5, true)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('upload-complete'), '?1')
    assert.equal(answer.headers.get('upload-offset'), '5')
    assert.equal(answer.headers.get('upload-length'), '5')
    await assertState(site, path, 5, '?1', 5)
    assert.equal(site.finished.at(-1)?.id, path.slice('/files/'.length))
  }
  assert.equal(site.finished.length, 2)
})

overBoth('R15 · a complete upload takes no more: 400, and neither its bytes nor what became of them change', async (t, version) => {
  const site = await serveCounting(t, version)
  const path = await make(site, {}, 'hello')
  assert.equal((await append(site, path, 5, true)).status, 200)
  const before = snapshot(site.folder)
  for (const length of ['known', 'unknown'] as const) {
    for (const complete of ['?0', '?1']) {
      const answer = await ask(site, 'PATCH', path, { ...I8, ...PU, 'Upload-Offset': '5', 'Upload-Complete': complete }, '!', length)
      assert.equal(answer.status, 400, `${complete}, ${length}`)
      assert.equal(answer.headers.get('content-type'), 'application/problem+json')
      assert.deepEqual(answer.interim, [])
      await site.settled()
      assert.deepEqual(snapshot(site.folder), before)
    }
  }
  assert.equal((await append(site, path, 5, false)).status, 400)
  assert.equal((await append(site, path, 6, true, '!')).status, 409)
  assert.equal((await append(site, path, 0, true, 'hello')).status, 409)
  assert.deepEqual(snapshot(site.folder), before)
  await assertState(site, path, 5, '?1', 5)
  assert.equal(statSync(fileOf(site, path)).size, 5)
  assert.equal(site.finished.length, 1)
})
