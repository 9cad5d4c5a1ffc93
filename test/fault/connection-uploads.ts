// SPDX-License-Identifier: MIT

/**
 * The uploads that an attack on connections is about: some that clients fight for, some that one client
 * has for itself, and all that the directory holds in the end, whether or not anybody heard of them.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { compareFile } from './content.ts'
import { Ledger, PATH, type Entry } from './ledger.ts'
import { hear, patch, type Answer, type Message } from './process-client.ts'
import type { Random } from './random.ts'

/** Sends a request as a client does that is no part of the attack. */
export type Courier = (message: Message) => Promise<Answer>

/** An upload, and whether the one who asked for it has it for itself. */
export interface Target {
  readonly entry: Entry
  readonly alone: boolean
}

/** How many uploads are fought for. */
const SHARED = 6
const COURIERS = 8
const FILE = /^([0-9a-f]{32})(\.info)?$/

/** What a sidecar says that matters here. */
interface Sidecar {
  readonly Size: number
  readonly SizeIsDeferred: boolean
  readonly MetaData: { readonly key?: string }
}

/**
 * The uploads of one campaign. What each consists of follows from its key, which is in its metadata too:
 * so an upload whose address nobody was told can be checked as well, and an answer shows whose it is.
 */
export class Uploads {
  readonly ledger: Ledger = new Ledger()
  /** Those whose length the server has not been told when they were made. */
  readonly deferred: Set<Entry> = new Set()
  /** Those whose removal was confirmed. */
  readonly removed: Set<Entry> = new Set()
  /** Ids of concatenations: they get their bytes from others, if they get them. */
  readonly concatenations: Set<string> = new Set()
  /** Keys of uploads that were refused when they were made, and must not exist. */
  readonly refusedKeys: Set<string> = new Set()
  readonly #courier: Courier
  readonly #shared: Promise<Entry>[] = []
  #keys = 0

  constructor(courier: Courier) {
    this.#courier = courier
  }

  newKey(): string {
    return `upload ${this.#keys++}`
  }

  /** Makes an upload that nobody else knows. */
  async make(length: number, headers: Readonly<Record<string, string>> = {}): Promise<Entry> {
    const key = this.newKey()
    const answer = await this.#courier({
      method: 'POST',
      path: PATH,
      headers: { 'Upload-Length': length, 'Upload-Metadata': metadataOf(key), ...headers },
    })
    assert.equal(answer.status, 201)
    return this.ledger.created(answer.headers.location!, length, key)
  }

  /** The same without saying its length. */
  async makeDeferred(length: number): Promise<Entry> {
    const key = this.newKey()
    const answer = await this.#courier({
      method: 'POST',
      path: PATH,
      headers: { 'Upload-Defer-Length': 1, 'Upload-Metadata': metadataOf(key) },
    })
    assert.equal(answer.status, 201)
    const entry = this.ledger.created(answer.headers.location!, length, key)
    this.deferred.add(entry)
    return entry
  }

  /** An upload that is not complete. */
  async target(random: Random): Promise<Target> {
    if (random.chance(0.5)) return { entry: await this.make(lengthOf(random)), alone: true }
    const slot = random.integer(0, SHARED - 1)
    const length = lengthOf(random)
    const made = this.#shared[slot]
    const entry = await made
    if (entry && !entry.terminated && entry.acknowledged < entry.length) return { entry, alone: false }
    if (this.#shared[slot] === made) this.#shared[slot] = this.make(length) // or another has replaced it meanwhile
    return { entry: await this.#shared[slot]!, alone: false }
  }

  /** Makes a concatenation of one upload, of the same key. */
  async concatenate(part: Entry): Promise<string> {
    const answer = await this.#courier({
      method: 'POST',
      path: PATH,
      headers: { 'Upload-Concat': `final;${part.path}`, 'Upload-Metadata': metadataOf(part.key) },
    })
    assert.equal(answer.status, 201)
    const path = answer.headers.location!
    this.concatenations.add(path.slice(PATH.length))
    return path
  }

  async remove(entry: Entry): Promise<void> {
    entry.terminated = true
    const { status } = await this.#courier({ method: 'DELETE', path: entry.path })
    assert.equal(status, 204)
    this.removed.add(entry)
  }

  /** Asks for an upload that is lost for good, so that the server knows it is. */
  async settleLost(path: string): Promise<void> {
    const { status } = await this.#courier({ method: 'HEAD', path })
    assert.equal(status, 410)
  }

  /** Where the server says that an upload is. */
  async offsetOf(entry: Entry): Promise<number> {
    const known = entry.acknowledged
    const answer = await this.#courier({ method: 'HEAD', path: entry.path })
    assert.equal(answer.status, 200, `HEAD ${entry.path}`)
    assert.equal(answer.headers['upload-metadata'], metadataOf(entry.key))
    return hear(entry, known, answer)
  }

  /** Takes in what is in the directory and was never told to a client, so that it is finished and checked as all others. */
  adopt(directory: string): number {
    const known = new Set([...this.ledger.entries.map(({ id }) => id), ...this.concatenations])
    const strangers = readdirSync(directory).filter((name) => name.endsWith('.info') && !known.has(name.slice(0, -'.info'.length)))
    for (const name of strangers) {
      const { Size, SizeIsDeferred, MetaData } = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Sidecar
      const id = name.slice(0, -'.info'.length)
      const { size } = statSync(join(directory, id))
      const entry = this.ledger.created(`${PATH}${id}`, SizeIsDeferred ? size : Size, MetaData.key!)
      entry.sent = size
      if (SizeIsDeferred) this.deferred.add(entry)
    }
    return strangers.length
  }

  /** Finishes all uploads as a well-behaved client does when nothing is wrong any more, and sees that the removed ones are gone. */
  async finishAll(): Promise<void> {
    const queue = this.ledger.entries.values()
    await Promise.all(Array.from({ length: COURIERS }, async () => {
      for (const entry of queue) await this.finish(entry)
    }))
  }

  /** Sends what is missing, after a HEAD. */
  async finish(entry: Entry): Promise<void> {
    if (entry.terminated) {
      const { status } = await this.#courier({ method: 'HEAD', path: entry.path })
      assert.ok(
        status === 404 || (status === 200 && !this.removed.has(entry)),
        `HEAD ${entry.path} was answered ${status} after its removal`,
      )
      return
    }
    const offset = await this.offsetOf(entry)
    if (offset < entry.length || this.deferred.has(entry)) {
      const message = patch(entry, offset, entry.length)
      const answer = await this.#courier({
        ...message,
        headers: { ...message.headers, ...(this.deferred.has(entry) ? { 'Upload-Length': entry.length } : {}) },
      })
      assert.equal(answer.status, 204, `PATCH ${entry.path}`)
      hear(entry, offset, answer)
    }
    assert.equal(entry.acknowledged, entry.length)
  }

  /** Sees that the directory holds uploads and nothing else, each of the bytes that its key says, and none that was refused. */
  audit(directory: string): void {
    const names = new Set(readdirSync(directory).filter((name) => !name.startsWith('.')))
    const removed = new Set(Array.from(this.removed, ({ id }) => id))
    for (const name of names) {
      const [, id, suffix] = FILE.exec(name) ?? []
      assert.ok(id, `${name} is left in the directory`)
      assert.ok(names.has(suffix ? id : `${id}.info`), `${name} is without its other half`)
      assert.ok(!removed.has(id), `${name} is left of an upload whose removal was confirmed`)
      if (!suffix) continue
      const { MetaData: { key } } = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Sidecar
      assert.ok(key !== undefined && !this.refusedKeys.has(key), `${name} is of an upload that was refused`)
      const { size, wrongAt } = compareFile(join(directory, id), key)
      assert.equal(wrongAt, undefined, `${name}: corrupt at ${wrongAt} of ${size}`)
    }
    for (const entry of this.ledger.entries) assert.ok(entry.terminated || statSync(join(directory, entry.id)).size === entry.length)
  }
}

/** `Upload-Metadata` with the key. */
export function metadataOf(key: string): string {
  return `key ${Buffer.from(key).toString('base64')}`
}

/** Mostly small, so that a round is short, and now and then more than what the kernel holds. */
function lengthOf(random: Random): number {
  return random.pick([
    () => random.integer(1, 500),
    () => random.integer(500, 60_000),
    () => random.integer(60_000, 300_000),
    () => random.integer(300_000, 1_500_000),
  ])()
}
