// SPDX-License-Identifier: MIT

/**
 * The power fails at any moment, under a store that flushes before it acknowledges, or at the end.
 *
 * Each round is the life of one upload, with appends that succeed, fail, match a checksum or do not,
 * restarts and reboots in between, while a layer writes down what reaches the disk. Then every prefix
 * of that log becomes a directory as the device may hold it, and a store opens it after the failure.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { FileStore, type StoredUpload } from '../../lib/file-store/file-store.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { campaign, type Campaign } from './campaign.ts'
import { contentOf } from './content.ts'
import type { Random } from './random.ts'
import { crashState, RecordingLayer, type Operation } from './recording-layer.ts'

const RANDOM_STATES = 4
const ID = 'upload'

/** What was told to somebody up to some moment. */
interface Promises {
  readonly created?: true
  readonly offset?: number
  /** There is no more: what came behind it was refused. */
  readonly most?: number | undefined
  /** Its length, if it is made with all of its bytes: it is never there with fewer. */
  readonly whole?: number
  readonly finishing?: true
  readonly finished?: true
  readonly terminating?: true
  readonly terminated?: true
}

campaign('after a power failure at any moment, each byte that was acknowledged is there and no other', { short: 5, long: 300 }, (campaign) =>
  failAnywhere(campaign, 'append', "power failure (`sync: 'append'`)"))

campaign('an upload that was finished survives a power failure', { short: 20, long: 1000 }, (campaign) =>
  failAnywhere(campaign, 'finish', "power failure (`sync: 'finish'`, finished uploads)"))

for (const sync of ['append', 'finish'] as const) {
  campaign(`a small body that is stored as a whole is there as a whole or not at all; sync ${sync}`, { short: 8, long: 800 }, (campaign) =>
    failAnywhere(campaign, sync, `power failure (\`sync: '${sync}'\`, small bodies as a whole)`, 'whole'))
}

async function failAnywhere(
  { t, random, rounds, report }: Campaign, sync: 'append' | 'finish', fault: string, kind: 'pieces' | 'whole' = 'pieces',
): Promise<void> {
  const folder = temporaryFolder(t)
  const layer = new RecordingLayer(t, join(folder, 'uploads'))
  let [failures, acknowledgedBytes, lostBytes] = [0, 0, 0]
  for (let round = 0; round < rounds; round++) {
    rmSync(join(folder, 'uploads'), { recursive: true, force: true })
    const life = new Life(folder, layer, random, sync)
    await (kind === 'whole' ? life.runWhole() : life.run())
    for (let length = 0; length <= layer.log.length; length++) {
      const log = layer.log.slice(0, length)
      const promises: Promises = Object.assign({}, ...log.map((entry) => (entry.kind === 'promise' ? entry.promise : {})))
      for (const luck of ['nothing', 'everything', ...Array<Random>(RANDOM_STATES).fill(random)] as const) {
        if (kind === 'pieces' && sync === 'finish' && !promises.finished) continue // nothing is promised of it
        failures++
        acknowledgedBytes += promises.offset ?? 0
        lostBytes += await recover(folder, layer, crashState(log, luck), promises, random).catch((error: Error) => {
          throw new Error(`round ${round}, after ${length} operations:\n${log.map(toLine).join('\n')}`, { cause: error })
        })
      }
    }
  }
  report({ fault, rounds: failures, acknowledgedBytes, lostBytes })
}

/** The life of one upload, as requests make it. */
class Life {
  readonly #folder: string
  readonly #layer: RecordingLayer
  readonly #random: Random
  readonly #bootIdKnown: boolean
  readonly #sync: 'append' | 'finish'
  #store: FileStore
  #boots = 0

  constructor(folder: string, layer: RecordingLayer, random: Random, sync: 'append' | 'finish') {
    this.#sync = sync
    this.#folder = folder
    this.#layer = layer
    this.#random = random
    this.#bootIdKnown = random.chance(0.7)
    layer.clear()
    this.#store = this.#restart('reboot')
  }

  async run(): Promise<void> {
    const random = this.#random
    const length = random.integer(0, 30_000)
    let isDeferred = random.chance(0.3)
    await this.#store.create({ id: ID, length: isDeferred ? undefined : length })
    this.#layer.promise({ created: true, offset: 0 })
    for (let step = random.integer(3, 9); step > 0; step--) {
      const upload = (await this.#store.find(ID))!
      const end = Math.min(length, upload.offset + random.integer(0, 9000))
      this.#layer.promise({ most: undefined })
      switch (
        random.pick([
          'append', 'append', 'fail', 'abort', 'refuse', 'verify', 'verify', 'mismatch', 'cut', 'tell', 'restart', 'reboot', 'length',
        ] as const)
      ) {
        case 'append':
          this.#layer.promise({ offset: await this.#store.append(upload, this.#body('right', upload.offset, end)) })
          break
        case 'fail':
          await assert.rejects(this.#store.append(upload, this.#body('right', upload.offset, end, random.integer(0, 9000))))
          break
        case 'abort':
          await this.#abort(upload, end)
          break
        case 'refuse': // as a body that turns out too large
          await this.#store.append(upload, this.#body('right', upload.offset, end))
          await this.#store.truncate(upload, upload.offset)
          this.#layer.promise({ most: upload.offset })
          break
        case 'verify':
          this.#layer.promise({
            offset: await this.#store.appendVerified(upload, this.#body('right', upload.offset, end), { verify: () => true }),
          })
          break
        case 'mismatch':
          assert.equal(
            await this.#store.appendVerified(upload, this.#body('wrong', upload.offset, end), { verify: () => false }),
            upload.offset,
          )
          break
        case 'cut': // before its checksum could be compared
          await assert.rejects(
            this.#store.appendVerified(upload, this.#body('wrong', upload.offset, end, random.integer(0, 9000)), { verify: () => true }),
          )
          break
        case 'tell':
          await this.#store.flush(upload)
          this.#layer.promise({ offset: upload.offset })
          break
        case 'restart':
        case 'reboot':
          this.#store = this.#restart(random.pick(['restart', 'reboot']))
          break
        case 'length':
          if (isDeferred) await this.#store.setLength(upload, length)
          isDeferred = false
      }
    }
    await this.#end(length)
  }

  /** Creates it with all of its bytes; a hook runs in between, or it is finished at once. */
  async runWhole(): Promise<void> {
    const length = this.#random.integer(1, 30_000)
    const state = this.#random.pick(['finishing', 'finished'] as const)
    this.#layer.promise({ whole: length })
    const upload = await this.#store.createWhole({ id: ID, length }, contentOf('right', 0, length), state)
    this.#layer.promise({ created: true, offset: length, finishing: true })
    if (state === 'finishing') {
      if (this.#random.chance(0.3)) this.#store = this.#restart(this.#random.pick(['restart', 'reboot']))
      await this.#store.setState(upload, 'finished', { headers: {}, body: 'thank you' })
    }
    this.#layer.promise({ finished: true })
    if (this.#random.chance(0.8)) return
    this.#layer.promise({ terminating: true })
    await this.#store.terminate({ ...upload, state: 'finished' })
    if (this.#sync === 'append') this.#layer.promise({ terminated: true })
  }

  /** Completes it, or removes it, or leaves it. */
  async #end(length: number): Promise<void> {
    const upload = (await this.#store.find(ID))!
    this.#layer.promise({ most: undefined })
    const end = this.#random.pick(['finish', 'finish', 'terminate', 'leave'] as const)
    if (end === 'finish' || this.#sync === 'finish') {
      await this.#store.setLength(upload, length)
      const offset = await this.#store.append(upload, this.#body('right', upload.offset, length))
      this.#layer.promise({ offset })
      await this.#store.setState({ ...upload, offset, length }, 'finishing')
      await this.#store.setState({ ...upload, offset, length }, 'finished', { headers: {}, body: 'thank you' })
      this.#layer.promise({ finished: true })
    } else if (end === 'terminate') {
      this.#layer.promise({ terminating: true })
      await this.#store.terminate(upload)
      this.#layer.promise({ terminated: true })
    }
  }

  async #abort(upload: StoredUpload, end: number): Promise<void> {
    const controller = new AbortController()
    const body = this.#body('right', upload.offset, end, Infinity, () => {
      if (this.#random.chance(0.3)) controller.abort(new Error('The grace is over'))
    })
    try {
      this.#layer.promise({ offset: await this.#store.append(upload, body, { signal: controller.signal }) })
    } catch (error) {
      assert.equal((error as Error).message, 'The grace is over')
    }
  }

  /** A body in a few pieces that are written one after the other, with `onPiece` between them; it fails after `failAfter` bytes. */
  #body(kind: 'right' | 'wrong', start: number, end: number, failAfter = Infinity, onPiece = (): void => {}): Readable {
    const random = this.#random
    const bytes = contentOf(kind, start, end)
    return Readable.from(
      (async function* () {
        for (let at = 0; at < bytes.length; ) {
          const size = random.integer(1, 4000)
          yield bytes.subarray(at, (at += size))
          await turn()
          onPiece()
          if (at >= failAfter) break
        }
        if (failAfter !== Infinity) throw new Error('The body failed')
      })(),
      { objectMode: false },
    )
  }

  /** Another process; after a reboot that went well, so that everything reached the device. */
  #restart(kind: 'restart' | 'reboot'): FileStore {
    if (kind === 'reboot') bootAs(this.#layer, this.#folder, this.#bootIdKnown ? `boot-${this.#boots++}` : undefined)
    return new FileStore(join(this.#folder, 'uploads'), { sync: this.#sync })
  }
}

/** Opens what the device holds, and resolves with the number of bytes that are missing. */
async function recover(
  folder: string,
  layer: RecordingLayer,
  files: ReadonlyMap<string, Buffer>,
  promises: Promises,
  random: Random,
): Promise<number> {
  const directory = join(folder, 'recovered')
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
  for (const [name, bytes] of files) writeFileSync(join(directory, name), bytes)
  bootAs(layer, folder, random.chance(0.5) ? 'after the failure' : undefined)
  const store = new FileStore(directory, { sync: 'append' })

  const found = await store.find(ID).catch((error: { code?: string }) => {
    // Of an upload whose creation or removal nobody was told of yet, there may be a part.
    if (error.code === 'UPLOAD_CORRUPT' && (!promises.created || promises.terminating)) return undefined
    throw error
  })
  if (promises.terminated) assert.equal(found, undefined)
  if (promises.terminating || (!promises.created && !found)) return 0
  assert.ok(found, 'The upload is gone')
  const isRight = (end: number): boolean => readFileSync(join(directory, ID)).subarray(0, end).equals(contentOf('right', 0, end))
  assert.ok(isRight(found.offset), `There are wrong bytes before ${found.offset}`)
  assert.ok(found.offset <= (promises.most ?? Infinity), `There are refused bytes before ${found.offset}`)
  if (promises.whole !== undefined) assert.ok(found.offset === promises.whole && found.state !== 'receiving', 'It is there in part')
  if (promises.finished) assert.equal(found.state, 'finished')
  if (found.state === 'receiving' && random.chance(0.2)) {
    const end = found.length ?? found.offset + 5000
    assert.equal(await store.append(found, Readable.from([contentOf('right', found.offset, end)], { objectMode: false })), end)
    assert.ok(isRight(end), 'It went on in the wrong place')
  }
  return Math.max(0, (promises.offset ?? 0) - found.offset)
}

/** From here on the system tells this id of its boot, or none. */
function bootAs(layer: RecordingLayer, folder: string, id: string | undefined): void {
  layer.bootIdPath = join(folder, 'boot-id')
  if (id === undefined) rmSync(layer.bootIdPath, { force: true })
  else writeFileSync(layer.bootIdPath, `${id}\n`)
}

function toLine(entry: Operation, index: number): string {
  return `${index} ${JSON.stringify(entry, (key, value) => (key === 'bytes' ? '…' : value))}`
}
