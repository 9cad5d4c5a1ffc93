// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient, type WireResponse } from '../support/wire.ts'
import { startRecipe, type Program } from './program.ts'

const KIB = 1024
const TUS = 'Tus-Resumable: 1.0.0'

/** What became of the requests of a test. */
interface Tally {
  answered: number
  /** Told to come back, by 503 with Retry-After. */
  toldToRetry: number
  /** Not answered, as the connection was closed before the request came to it. */
  closed: number
}

/** Uploads again and again over connections that it keeps, until it is told to stop. */
class Uploader {
  readonly #port: number
  readonly #folder: string
  readonly #tally: Tally
  #client: WireClient | undefined

  constructor(port: number, folder: string, tally: Tally) {
    this.#port = port
    this.#folder = folder
    this.#tally = tally
  }

  /** Brings one upload to its end, whatever happens to the servers, and compares what is there with what was sent. */
  async upload(): Promise<void> {
    const content = randomBytes(256 * KIB)
    const created = await this.#insist(request('POST /files/', [TUS, `Upload-Length: ${content.length}`]))
    const url = created.headers.get('location')!
    let offset = 0
    let isExact = true // nothing was answered that stored more
    while (offset < content.length) {
      const found = Number((await this.#insist(request(`HEAD ${url}`, [TUS]), [], true)).headers.get('upload-offset'))
      assert.ok(isExact ? found === offset : found >= offset, `at ${offset} before, at ${found} now`)
      const rest = content.subarray(found)
      const fields = [TUS, 'Content-Type: application/offset+octet-stream', `Upload-Offset: ${found}`, `Content-Length: ${rest.length}`]
      const answer = rest.length > 0 ? await this.#send(request(`PATCH ${url}`, fields), slices(rest)) : undefined
      offset = answer?.status === 204 ? Number(answer.headers.get('upload-offset')) : found
      isExact = answer?.status !== 503 // then it counts what came; but a request that was not answered was never begun
    }
    const stored = readFileSync(join(this.#folder, url.slice('/files/'.length)))
    assert.equal(digestOf(stored), digestOf(content))
  }

  close(): void {
    this.#client?.destroy()
  }

  async #insist(head: string, body: readonly Buffer[] = [], toHead = false): Promise<WireResponse> {
    for (;;) {
      const answer = await this.#send(head, body, toHead)
      if (answer && answer.status !== 503) return answer
    }
  }

  /** Sends a request; `undefined` if the connection was closed before the answer. */
  async #send(head: string, body: readonly Buffer[], toHead = false): Promise<WireResponse | undefined> {
    const client = (this.#client ??= await WireClient.connect(this.#port))
    void client.send(head)
    for (const slice of body) {
      void client.send(slice)
      await new Promise(setImmediate)
    }
    const answer = await client.response({ toHead }).catch((error: Error) => {
      assert.match(error.message, /^The connection ended inside an answer, after ""$/)
      return undefined
    })
    if (!answer) this.#tally.closed++
    else if (answer.status === 503) this.#tally.toldToRetry++
    else this.#tally.answered++
    if (answer) {
      assert.ok(
        [200, 201, 204].includes(answer.status) || (answer.status === 503 && answer.headers.has('retry-after')),
        `${head}${answer.status} ${answer.body}`,
      )
    }
    if (!answer || answer.headers.get('connection') === 'close') {
      client.destroy()
      this.#client = undefined
    }
    return answer
  }
}

function slices(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / (8 * KIB)) }, (_, index) => bytes.subarray(index * 8 * KIB, (index + 1) * 8 * KIB))
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function workersOf(program: Program, which: 'workers' | 'restarted'): string[] {
  return new RegExp(`^${which} (.*)$`, 'm').exec(program.text())?.[1]?.split(' ') ?? []
}

/** Begins an upload that stops in the middle, and waits until that much is stored. */
async function stall(port: number, folder: string): Promise<{ readonly client: WireClient; readonly url: string }> {
  const client = await WireClient.connect(port)
  await client.send(request('POST /files/', [TUS, 'Upload-Length: 1000']))
  const url = (await client.response()).headers.get('location')!
  const fields = [TUS, 'Content-Type: application/offset+octet-stream', 'Upload-Offset: 0', 'Content-Length: 1000']
  await client.send(request(`PATCH ${url}`, fields, 'x'.repeat(500)))
  while (statSync(join(folder, url.slice('/files/'.length))).size < 500) await new Promise(setImmediate)
  await client.send('y'.repeat(100))
  return { client, url }
}

test('a rolling restart replaces all workers while uploads go on: every request is answered, told to come back or never begun, and no byte is lost', async (t) => {
  const folder = temporaryFolder(t)
  const program = await startRecipe(t, 'cluster', [folder])
  await program.printed(/^workers .*\n/m)
  const tally: Tally = { answered: 0, toldToRetry: 0, closed: 0 }
  const stalled = await Promise.all(Array.from({ length: 4 }, () => stall(program.port, folder)))
  let isOver = false
  const working = Array.from({ length: 4 }, async () => {
    const uploader = new Uploader(program.port, folder, tally)
    while (!isOver) await uploader.upload()
    uploader.close()
  })
  program.process.kill('SIGHUP')
  for (const { client } of stalled) {
    const { status, headers } = await client.response()
    assert.deepEqual([status, headers.has('retry-after')], [503, true])
    client.destroy()
  }
  await Promise.race([program.printed(/^restarted .*\n/m), Promise.all(working)])
  isOver = true
  await Promise.all(working)
  t.diagnostic(JSON.stringify(tally))

  const [before, after] = [workersOf(program, 'workers'), workersOf(program, 'restarted')]
  assert.equal(after.length, 2)
  assert.deepEqual(after.filter((pid) => before.includes(pid)), [])
  for (const { url } of stalled) {
    const { headers } = await exchange(program.port, request(`HEAD ${url}`, [TUS]), { toHead: true })
    assert.equal(headers.get('upload-offset'), '600')
  }
})

test('SIGTERM amid a rolling restart stops the old workers and the new', async (t) => {
  const program = await startRecipe(t, 'cluster', [temporaryFolder(t)])
  await program.printed(/^workers .*\n/m)
  program.process.kill('SIGHUP')
  await program.printed(/(?:listens on[^]*){3}/)
  program.process.kill('SIGTERM')
  assert.deepEqual(await program.exit, { code: 0, signal: null })
})
