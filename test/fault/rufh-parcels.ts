// SPDX-License-Identifier: MIT

/**
 * What clients of Resumable Uploads for HTTP send, what they were told of it, and the directory that must
 * bear it out.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Answer } from '../rufh/support.ts'
import { compareFile, contentOf } from './content.ts'
import { PATH } from './ledger.ts'

/** What the answer to a complete upload must say each time it is given. */
export interface Receipt {
  readonly status: number
  readonly location: string | undefined
  readonly receipt: string | undefined
  readonly body: string
}

/** One upload, as its client knows it; before its address is known, and if it never is, too. */
export class Parcel {
  /** Decides what it consists of. */
  readonly key: string
  readonly length: number
  path: string | undefined
  /** The end of what was ever put on the wire of it: the server cannot have more. */
  sent = 0
  /** The highest offset that the server told. */
  told = 0
  /** Bytes that it told of once and did not have later. */
  lost = 0
  /** Whether a request may have arrived as a whole that said that it is the last one. */
  ended = false
  /** What the server said when it was complete. */
  receipt: Receipt | undefined
  /** Whether it was said that it does not exist. */
  refused = false

  constructor(key: string, length: number) {
    this.key = key
    this.length = length
  }

  get id(): string {
    return (this.path ?? assert.fail(`Nobody was told where '${this.key}' is`)).slice(PATH.length)
  }

  /** The bytes from `start` to `end`, which are about to be sent. */
  take(start: number, end: number): Buffer {
    this.sent = Math.max(this.sent, end)
    return contentOf(this.key, start, end)
  }

  /** Its SHA-256 in base64. */
  sha256(): string {
    return createHash('sha256').update(contentOf(this.key, 0, this.length)).digest('base64')
  }

  /** Writes down where it is; it never moves. */
  foundAt(path: string): void {
    assert.ok(path.startsWith(PATH), `'${this.key}' was said to be at ${path}`)
    assert.equal(path, this.path ?? path, `'${this.key}' has two addresses`)
    this.path = path
  }

  /** Writes down an offset that was told in answer to a request that began when `known` had been told. */
  hear(offset: number, known: number, where: string): void {
    assert.ok(Number.isSafeInteger(offset) && offset >= 0, `${this.path} was said to be at ${offset} by ${where}`)
    assert.ok(offset <= this.sent, `${this.path} was said to be at ${offset} by ${where}, and only ${this.sent} bytes were ever sent`)
    this.told = offset < known ? offset : Math.max(this.told, offset)
    this.lost += Math.max(0, known - offset)
  }

  /** Takes the answer of the complete upload, which is the same each time. */
  receive({ status, headers, body }: Answer): void {
    assert.ok(this.ended, `${this.path} was said to be complete, and its client has not said so`)
    for (const name of ['upload-offset', 'upload-length']) {
      assert.equal(headers.get(name), String(this.length), `${name} of ${this.path}, which is complete`)
    }
    const receipt = { status, location: headers.get('location'), receipt: headers.get('x-receipt'), body }
    assert.ok(status >= 200 && status < 300, `${this.path} is complete, and was answered ${status}`)
    assert.deepEqual(receipt, this.receipt ?? receipt, `${this.path} has two final answers`)
    assert.equal(receipt.location, this.path ?? receipt.location)
    this.receipt = receipt
  }
}

/** What a sidecar says that matters here. */
interface Sidecar {
  readonly MetaData: { readonly filename?: string }
  readonly Longhaul: { readonly state: string; readonly mark?: { readonly offset: number; readonly boot?: string } }
}

/** All uploads of a directory. */
export class Parcels {
  readonly all: Parcel[] = []

  begin(length: number, name: string): Parcel {
    const parcel = new Parcel(`${name} ${this.all.length}`, length)
    this.all.push(parcel)
    return parcel
  }

  get known(): readonly Parcel[] {
    return this.all.filter(({ path }) => path !== undefined)
  }

  get told(): number {
    return this.all.reduce((total, { told }) => total + told, 0)
  }

  get lost(): number {
    return this.all.reduce((total, { lost }) => total + lost, 0)
  }

  /**
   * Holds the directory, in which nobody is at work, against what clients were told: each upload has at
   * least as many bytes, those that count are the ones that were sent, and what was said to be complete is.
   */
  audit(directory: string): void {
    for (const parcel of this.known) {
      const { Longhaul } = readSidecar(directory, parcel.id)
      const { offset = Infinity, boot } = Longhaul.mark ?? {}
      const size = Math.min(statSync(join(directory, parcel.id)).size, boot === undefined ? offset : Infinity)
      parcel.lost += Math.max(0, parcel.told - size)
      assert.ok(size <= parcel.sent, `${parcel.path} holds ${size} bytes of ${parcel.sent} that were sent`)
      assertPrefix(join(directory, parcel.id), parcel, size)
      if (parcel.receipt) assert.deepEqual([Longhaul.state, size], ['finished', parcel.length], `${parcel.path} was complete`)
      else
        assert.ok(
          parcel.ended || Longhaul.state === 'receiving',
          `${parcel.path} is ${Longhaul.state}, and its client has not said that it is complete`,
        )
    }
  }

  /** Takes in what is in the directory and was never told to a client, so that it is finished and checked as all others. */
  adopt(directory: string): number {
    const ids = new Set(this.known.map(({ id }) => id))
    const strangers = readdirSync(directory)
      .filter((name) => name.endsWith('.info'))
      .map((name) => name.slice(0, -'.info'.length))
      .filter((id) => !ids.has(id))
    for (const id of strangers) {
      const { filename } = readSidecar(directory, id).MetaData
      const parcel = this.all.find(({ key }) => key === filename) ?? assert.fail(`${id} is of nobody`)
      assert.ok(!parcel.refused, `${id} is of an upload that was refused`)
      parcel.foundAt(`${PATH}${id}`)
    }
    return strangers.length
  }

  /** Sees that all are there as a whole, and nothing else but what is named. */
  auditComplete(directory: string, leftByKills: ReadonlySet<string>): void {
    const expected = new Set(this.known.flatMap(({ id }) => [id, `${id}.info`]))
    assert.deepEqual(readdirSync(directory).filter((name) => !name.startsWith('.') && !expected.has(name) && !leftByKills.has(name)), [])
    for (const { id, path, key, length, receipt } of this.known) {
      assert.ok(receipt, `${path} is not complete`)
      assert.deepEqual(compareFile(join(directory, id), key), { size: length, wrongAt: undefined }, `${path} is not what was sent`)
    }
  }
}

/** What is in a directory that belongs to no upload that can be used: half of one, or a file of a moment. */
export function litterIn(directory: string): string[] {
  const names = new Set(readdirSync(directory).filter((name) => !name.startsWith('.')))
  return [...names].filter(
    (name) => !/^[0-9a-f]{32}(\.info)?$/.test(name) || !names.has(name.endsWith('.info') ? name.slice(0, -'.info'.length) : `${name}.info`),
  )
}

function readSidecar(directory: string, id: string): Sidecar {
  return JSON.parse(readFileSync(join(directory, `${id}.info`), 'utf8')) as Sidecar
}

/** The uploads of these tests are small enough to be looked at in one piece. */
function assertPrefix(path: string, { key }: Parcel, size: number): void {
  const stored = new Uint8Array(size)
  const file = openSync(path, 'r')
  try {
    assert.equal(readSync(file, stored, 0, size, 0), size)
  } finally {
    closeSync(file)
  }
  const sent = contentOf(key, 0, size)
  assert.ok(sent.equals(stored), `${path} is corrupt at ${sent.findIndex((byte, index) => byte !== stored[index])} of ${size}`)
}
