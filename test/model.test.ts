// SPDX-License-Identifier: MIT

/**
 * The server against a model: whatever clients do, in whichever order, over whatever connection, the
 * server says and stores what the model says.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, utimesSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileStore } from '../lib/file-store/file-store.ts'
import type { UploadHandler } from '../lib/http/handler.ts'
import { tusHandler } from '../lib/tus/handler.ts'
import { listen } from './support/listen.ts'
import { temporaryFolder } from './support/temporary.ts'
import { chunked, exchange, request, WireClient, type WireResponse, withBody } from './support/wire.ts'
import { OCT, V } from './tus/support.ts'

const MAX_SIZE = 60
const HOUR_MS = 3_600_000

/** What the server should know of an upload. */
interface Expected {
  readonly path: string
  length: number | undefined
  content: Buffer
  readonly partial: boolean
  readonly parts: readonly Expected[] | undefined
  /** The answer of a concatenation that could not be made. */
  rejection: 410 | 413 | undefined
  /** Whether the server has given that answer, which it must not take back. */
  confirmed?: boolean
  /** The status that answers for it, if it was removed or has expired. */
  gone: 404 | 410 | undefined
}

/** All that the server should know. */
type Model = Expected[]

const isComplete = (upload: Expected): boolean => upload.content.length === upload.length
const sizeOf = (parts: readonly Expected[]): number => parts.reduce((sum, part) => sum + (part.length ?? part.content.length), 0)

/** What looking at an upload answers; a concatenation gets its bytes when it is looked at and its parts are complete. */
function look(upload: Expected): number {
  const { parts } = upload
  if (!upload.gone && !upload.rejection && parts && !isComplete(upload)) {
    if (parts.some((part) => part.gone)) upload.rejection = 410
    else if (sizeOf(parts) > MAX_SIZE) upload.rejection = 413
    else if (parts.every(isComplete)) {
      upload.content = Buffer.concat(parts.map((part) => part.content))
      upload.length = upload.content.length
    }
  }
  return upload.gone ?? upload.rejection ?? 200
}

/** The server at work, which can be restarted. */
interface Real {
  readonly folder: string
  readonly server: Server
  readonly port: number
  tus: UploadHandler
  /** What the server is still at work on. */
  readonly underWay: Set<Promise<void>>
}

/** Sends a request whose connection is cut behind the first bytes of its body. */
async function cut(real: Real, head: string, body: Uint8Array, how: 'fin' | 'rst'): Promise<void> {
  const client = await WireClient.connect(real.port)
  const arrived = once(real.server, 'request')
  await client.send(head)
  await arrived
  await client.send(body)
  if (how === 'fin') client.socket.end()
  else client.socket.resetAndDestroy()
  await Promise.all(real.underWay)
  client.destroy()
}

const ask = (real: Real, start: string, headers: readonly string[] = [], body: Uint8Array = Buffer.alloc(0)): Promise<WireResponse> =>
  exchange(real.port, withBody(request(start, [V, ...headers]), body), { toHead: start.startsWith('HEAD') })

/** Asks the server about an upload, and compares its answer and its disk with the model. */
async function compare(real: Real, upload: Expected): Promise<void> {
  const status = look(upload)
  const answer = await ask(real, `HEAD ${upload.path}`)
  if (answer.status === 200 && upload.rejection && !upload.confirmed && !upload.parts!.every(isComplete)) {
    upload.rejection = undefined // until the part for which it waits is complete, the server looks at no other
    return
  }
  assert.equal(answer.status, status, upload.path)
  if (upload.rejection) upload.confirmed = true
  if (status !== 200) return
  const waits = upload.parts && !isComplete(upload)
  assert.equal(answer.headers.get('upload-offset'), waits ? undefined : String(upload.content.length))
  if (!waits) assert.equal(answer.headers.get('upload-length'), upload.length === undefined ? undefined : String(upload.length))
  const path = join(real.folder, upload.path.slice('/files/'.length))
  assert.deepEqual(readFileSync(path), upload.content)
}

type Command = fc.AsyncCommand<Model, Real>
const pick = (model: Model, index: number): Expected => model[index % model.length]!
const notEmpty = (model: Readonly<Model>): boolean => model.length > 0

class Create implements Command {
  readonly #length: number | undefined
  readonly #body: Uint8Array
  readonly #partial: boolean

  constructor(length: number | undefined, body: Uint8Array, partial: boolean) {
    this.#length = length
    this.#body = body
    this.#partial = partial
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    const [length, body, partial] = [this.#length, this.#body, this.#partial]
    const headers = [length === undefined ? 'Upload-Defer-Length: 1' : `Upload-Length: ${length}`, OCT, `Content-Length: ${body.length}`]
    const answer = await ask(real, 'POST /files/', [...headers, ...(partial ? ['Upload-Concat: partial'] : [])], body)
    const fits = (length ?? 0) <= MAX_SIZE && body.length <= (length ?? MAX_SIZE)
    assert.equal(answer.status, fits ? 201 : 413)
    if (fits) {
      model.push({
        path: answer.headers.get('location')!,
        length,
        content: Buffer.from(body),
        partial,
        parts: undefined,
        rejection: undefined,
        gone: undefined,
      })
    }
  }

  toString(): string {
    return `create(${this.#length}, ${this.#body.length} bytes${this.#partial ? ', partial' : ''})`
  }
}

type Way = 'plain' | 'chunked' | 'checksum' | 'mismatch' | 'elsewhere' | 'fin' | 'rst' | 'declare'

class Append implements Command {
  readonly #index: number
  readonly #body: Uint8Array
  readonly #way: Way

  constructor(index: number, body: Uint8Array, way: Way) {
    this.#index = index
    this.#body = body
    this.#way = way
  }

  check(model: Readonly<Model>): boolean {
    return notEmpty(model)
  }

  async run(model: Model, real: Real): Promise<void> {
    const [upload, body, way] = [pick(model, this.#index), this.#body, this.#way]
    const offset = upload.content.length + (way === 'elsewhere' ? 1 : 0)
    const digest = createHash('sha1').update(way === 'mismatch' ? 'something else' : body).digest('base64')
    const headers = [
      OCT, `Upload-Offset: ${offset}`,
      way === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length + (way === 'fin' || way === 'rst' ? 1 : 0)}`,
      ...(way === 'checksum' || way === 'mismatch' ? [`Upload-Checksum: sha1 ${digest}`] : []),
      ...(way === 'declare' ? [`Upload-Length: ${offset + body.length}`] : []),
    ]
    const length = way === 'declare' && upload.length === undefined ? offset + body.length : upload.length
    const room = (length ?? MAX_SIZE) - upload.content.length
    const appended = Buffer.concat([upload.content, body])

    if (way === 'fin' || way === 'rst') {
      await cut(real, request(`PATCH ${upload.path}`, [V, ...headers]), body, way)
      if (upload.gone || upload.parts || body.length + 1 > room) return
      if (way === 'fin') upload.content = appended
      else upload.content = appended.subarray(0, Number((await ask(real, `HEAD ${upload.path}`)).headers.get('upload-offset')))
      assert.ok(upload.content.length >= offset)
      return
    }
    const answer = await ask(real, `PATCH ${upload.path}`, headers, way === 'chunked' ? chunked(body, 7) : body)
    const expected =
      upload.gone ?? (upload.parts ? 403
        : way === 'declare' && upload.length !== undefined && upload.length !== offset + body.length ? 400
        : (length ?? 0) > MAX_SIZE ? 413
        : way === 'elsewhere' ? 409
        : body.length > room ? 413
        : way === 'mismatch' ? 460 : 204)
    assert.equal(answer.status, expected)
    if (answer.status !== 204) return
    upload.length = length
    upload.content = appended
    assert.equal(answer.headers.get('upload-offset'), String(appended.length))
  }

  toString(): string {
    return `append(${this.#index}, ${this.#body.length} bytes, ${this.#way})`
  }
}

class Concatenate implements Command {
  readonly #indices: readonly number[]

  constructor(indices: readonly number[]) {
    this.#indices = indices
  }

  check(model: Readonly<Model>): boolean {
    return model.some(({ partial }) => partial)
  }

  async run(model: Model, real: Real): Promise<void> {
    const partials = model.filter(({ partial }) => partial)
    const parts = this.#indices.map((index) => pick(partials, index))
    const answer = await ask(real, 'POST /files/', [`Upload-Concat: final;${parts.map(({ path }) => path).join(' ')}`])
    const usable = parts.every((part) => !part.gone) && new Set(parts).size === parts.length
    assert.equal(answer.status, !usable ? 400 : sizeOf(parts) > MAX_SIZE ? 413 : 201)
    if (answer.status !== 201) return
    model.push({
      path: answer.headers.get('location')!,
      length: undefined,
      content: Buffer.alloc(0),
      partial: false,
      parts,
      rejection: undefined,
      gone: undefined,
    })
    await compare(real, model.at(-1)!)
  }

  toString(): string {
    return `concatenate(${this.#indices.join()})`
  }
}

/** A command that needs no more than an upload. */
class On implements Command {
  readonly #index: number
  readonly #what: 'head' | 'terminate' | 'expire'

  constructor(index: number, what: 'head' | 'terminate' | 'expire') {
    this.#index = index
    this.#what = what
  }

  check(model: Readonly<Model>): boolean {
    return notEmpty(model)
  }

  async run(model: Model, real: Real): Promise<void> {
    const upload = pick(model, this.#index)
    if (this.#what === 'head') return compare(real, upload)
    if (this.#what === 'terminate') {
      assert.equal((await ask(real, `DELETE ${upload.path}`)).status, upload.gone ?? 204)
      upload.gone ??= 404
      return
    }
    const path = join(real.folder, upload.path.slice('/files/'.length))
    if (!existsSync(path) || upload.gone) return
    await compare(real, upload)
    const past = new Date(Date.now() - 2 * HOUR_MS)
    utimesSync(path, past, past)
    if (!isComplete(upload) || upload.partial) upload.gone ??= 410
  }

  toString(): string {
    return `${this.#what}(${this.#index})`
  }
}

/** A command about the server as a whole. */
class OnServer implements Command {
  readonly #what: 'sweep' | 'restart'

  constructor(what: 'sweep' | 'restart') {
    this.#what = what
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    if (this.#what === 'restart') real.tus = newHandler(real.folder)
    else {
      for (const upload of model) look(upload)
      assert.equal((await real.tus.sweep()).failed, 0)
      for (const upload of model) {
        const removed = !existsSync(join(real.folder, `${upload.path.slice('/files/'.length)}.info`))
        if (removed) assert.ok(upload.gone, `${upload.path} was removed`)
        if (removed) upload.gone = 404
      }
    }
    for (const upload of model) await compare(real, upload)
  }

  toString(): string {
    return this.#what
  }
}

function newHandler(folder: string): UploadHandler {
  return tusHandler({ store: new FileStore(folder, { sync: 'none' }), maxSize: MAX_SIZE, expiration: { afterMs: HOUR_MS } })
}

test('however creations, appends, faults, concatenations, expiry and restarts follow each other, the server never disagrees with the model', { timeout: 110_000 }, async (t) => {
  const server = createServer({ requestTimeout: 0 })
  const port = await listen(t, server)
  let real: Real | undefined
  server.on('request', (req, res) => {
    const work = real!.tus(req, res)
    real!.underWay.add(work)
    void work.finally(() => real!.underWay.delete(work))
  })
  const index = fc.nat(20)
  const body = fc.uint8Array({ maxLength: 30 })
  const commands = [
    fc
      .tuple(fc.option(fc.nat(MAX_SIZE + 5), { nil: undefined }), body, fc.boolean())
      .map(([length, bytes, partial]) => new Create(length, bytes, partial)),
    fc
      .tuple(index, body, fc.constantFrom<Way>('plain', 'chunked', 'checksum', 'mismatch', 'elsewhere', 'fin', 'rst', 'declare'))
      .map((args) => new Append(...args)),
    fc.array(index, { minLength: 1, maxLength: 4 }).map((indices) => new Concatenate(indices)),
    fc.tuple(index, fc.constantFrom('head', 'terminate', 'expire')).map(([at, what]) => new On(at, what as 'head')),
    fc.constantFrom('sweep', 'restart').map((what) => new OnServer(what as 'sweep')),
  ]
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: 'max' }), async (sequence) => {
      const folder = temporaryFolder(t)
      real = { folder, server, port, tus: newHandler(folder), underWay: new Set() }
      await fc.asyncModelRun(() => ({ model: [] as Model, real: real! }), sequence)
    }),
    { numRuns: 150, includeErrorInReport: true },
  )
})
