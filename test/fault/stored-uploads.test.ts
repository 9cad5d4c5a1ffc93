// SPDX-License-Identifier: MIT

/**
 * A directory that has become very full: what it costs to ask for one upload among so many, and to go
 * through all of them.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'
import { campaign } from './campaign.ts'
import { compareFile, contentOf } from './content.ts'
import { PATH } from './ledger.ts'
import type { Random } from './random.ts'
import { compileLibrary, Subject } from './subject.ts'

const SERVER = fileURLToPath(new URL('stored-server.mjs', import.meta.url))

const FEW = 100
const LENGTH = 4096
/** One of so many has expired, and one of so many has bytes. */
const EXPIRED_EVERY = 10
const FILLED_EVERY = 7
const DAY_MS = 86_400_000
/** The heap that the server may have at most, in MiB: V8 ends a process that needs more. */
const HEAP_MIB = 64
/** How much more the heap may grow among many than among few. The ids of 200 000 uploads alone would take more. */
const MAX_GROWTH_BYTES = 2 * 1024 * 1024
const PAIRS = 300
/** Far above what noise does to a median, far below what a walk through the directory would take. */
const MAX_RATIO = 3

campaign(
  'HEAD among very many uploads is as quick as among few, and a sweep of them takes no more memory',
  { short: 2000, long: 200_000 },
  async ({ t, random, rounds }) => {
    const dist = await compileLibrary()
    const few = await fill(t, FEW, random.fork(0))
    const many = await fill(t, rounds, random.fork(1))
    const [small, large] = [await serve(t, dist, few.directory), await serve(t, dist, many.directory)]

    const times: { readonly few: number[]; readonly many: number[] } = { few: [], many: [] }
    const clients = { few: await WireClient.connect(small.port), many: await WireClient.connect(large.port) }
    for (let pair = 0; pair < PAIRS; pair++) {
      for (const which of random.pick([['few', 'many'], ['many', 'few']] as const)) {
        times[which].push(await timeHead(clients[which], random.pick((which === 'few' ? few : many).uploads)))
      }
    }
    clients.few.destroy()
    clients.many.destroy()
    const [fewMs, manyMs] = [median(times.few), median(times.many)]
    t.diagnostic(`HEAD among ${FEW}: median ${fewMs.toFixed(2)} ms; among ${rounds}: ${manyMs.toFixed(2)} ms`)
    assert.ok(manyMs <= fewMs * MAX_RATIO, `HEAD takes ${fewMs} ms among ${FEW} uploads and ${manyMs} ms among ${rounds}`)

    const sweeps = [await sweep(small), await sweep(large)] as const
    for (const [index, { uploads, directory }] of [few, many].entries()) {
      const { examined, expired, settled, failed } = sweeps[index]!
      const remaining = uploads.filter((upload) => !upload.expired)
      assert.ok(examined >= uploads.length)
      assert.deepEqual({ expired, settled, failed }, { expired: uploads.length - remaining.length, settled: 0, failed: 0 })
      const expected = remaining.flatMap(({ id }) => [id, `${id}.info`])
      assert.deepEqual(new Set(readdirSync(directory).filter((name) => !name.startsWith('.'))), new Set(expected))
      for (const { id, offset } of remaining.filter((upload) => upload.offset > 0)) {
        assert.deepEqual(compareFile(join(directory, id), id), { size: offset, wrongAt: undefined })
      }
    }
    const [fewSwept, manySwept] = sweeps
    t.diagnostic(`a sweep of ${rounds}: ${Math.round(manySwept.durationMs)} ms, heap growth ${kib(manySwept.heapGrowthBytes)} KiB (of ${FEW}: ${kib(fewSwept.heapGrowthBytes)} KiB)`)
    const growth = manySwept.heapGrowthBytes - fewSwept.heapGrowthBytes
    assert.ok(growth < MAX_GROWTH_BYTES, `Sweeping ${rounds} uploads takes ${growth} bytes more than sweeping ${FEW}`)
    for (const subject of [small, large]) {
      await subject.kill()
      assert.deepEqual({ alarms: subject.alarms, errors: subject.errors }, { alarms: [], errors: '' })
    }
  },
)

interface StoredUpload {
  readonly id: string
  readonly offset: number
  readonly expired: boolean
}

/** What a sweep did, as `stored-server.mjs` tells it. */
interface Sweep {
  readonly examined: number
  readonly expired: number
  readonly settled: number
  readonly failed: number
  readonly heapGrowthBytes: number
  readonly durationMs: number
}

/** Makes a directory with so many uploads: the store writes one, the others are like it. */
async function fill(
  t: TestContext,
  count: number,
  random: Random,
): Promise<{ readonly directory: string; readonly uploads: readonly StoredUpload[] }> {
  const directory = temporaryFolder(t)
  const elsewhere = temporaryFolder(t) // where no server is to be alone
  const { id: model } = await new FileStore(elsewhere).create({
    length: LENGTH,
    metadata: new Map([['filename', 'model.bin']]),
    encodedMetadata: 'filename bW9kZWwuYmlu',
  })
  const sidecar = readFileSync(join(elsewhere, `${model}.info`), 'utf8')
  const longAgo = new Date(Date.now() - 2 * DAY_MS)
  const uploads = Array.from({ length: count }, (_, index): StoredUpload => {
    const id = Array.from({ length: 4 }, () => random.integer(0, 2 ** 32 - 1).toString(16).padStart(8, '0')).join('')
    const offset = index % FILLED_EVERY === 0 ? random.integer(1, LENGTH - 1) : 0
    const expired = index % EXPIRED_EVERY === 0
    const path = join(directory, id)
    writeFileSync(path, contentOf(id, 0, offset))
    writeFileSync(`${path}.info`, sidecar.replaceAll(model, id))
    if (expired) utimesSync(path, longAgo, longAgo)
    return { id, offset, expired }
  })
  return { directory, uploads }
}

async function serve(t: TestContext, dist: string, directory: string): Promise<Subject & { readonly port: number }> {
  const subject = await Subject.script(t, SERVER, dist, directory, [String(DAY_MS)], ['--expose-gc', `--max-old-space-size=${HEAP_MIB}`])
  await subject.start()
  return subject
}

/** How long the server takes to say where an upload stands, in milliseconds. */
async function timeHead(client: WireClient, { id, offset, expired }: StoredUpload): Promise<number> {
  const beganMs = performance.now()
  await client.send(request(`HEAD ${PATH}${id}`, ['Tus-Resumable: 1.0.0']))
  const { status, headers } = await client.response({ toHead: true })
  const tookMs = performance.now() - beganMs
  assert.deepEqual([status, headers.get('upload-offset')], expired ? [410, undefined] : [200, String(offset)])
  return tookMs
}

async function sweep(subject: Subject): Promise<Sweep> {
  const { process: child } = subject
  const swept = new Promise<Sweep>((resolve, reject) => {
    child.on('message', (message: { sweep?: Sweep }) => {
      if (message.sweep) resolve(message.sweep)
    })
    void subject.exit.then(() => reject(new Error(`The process ended instead of sweeping: ${subject.errors}`)))
  })
  child.send('sweep')
  return swept
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function kib(bytes: number): number {
  return Math.round(bytes / 1024)
}
