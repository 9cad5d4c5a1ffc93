// SPDX-License-Identifier: MIT

/**
 * What the server has promised: which uploads exist, and how many bytes of each it said it has. Clients
 * write down every answer; in the end the directory is held against it.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { compareFile, contentOf } from './content.ts'

/** The name under which a server offers the uploads of these tests. */
export const PATH = '/files/'

/** One upload, as its client knows it. */
export class Entry {
  readonly path: string
  readonly length: number
  readonly key: string
  /** The end of what was ever put on the wire: the server cannot have more. */
  sent = 0
  /** The offset that the server told last. */
  acknowledged = 0
  /** Bytes that it told of once and did not have later. */
  lost = 0
  /** Whether its removal was asked for; if so it may be gone. */
  terminated = false

  constructor(path: string, length: number, key: string) {
    this.path = path
    this.length = length
    this.key = key
  }

  get id(): string {
    return this.path.slice(this.path.lastIndexOf('/') + 1)
  }

  /** The bytes from `start` to `end`, which are about to be sent. */
  take(start: number, end: number): Buffer {
    this.sent = Math.max(this.sent, end)
    return contentOf(this.key, start, end)
  }

  /** Writes down an offset that the server told. */
  acknowledge(offset: number): void {
    assert.ok(Number.isSafeInteger(offset) && offset >= 0, `${this.path} was said to be at ${offset}`)
    assert.ok(offset <= this.sent, `${this.path} was said to be at ${offset}, and only ${this.sent} bytes were ever sent`)
    this.lost += Math.max(0, this.acknowledged - offset)
    this.acknowledged = offset
  }
}

/** All uploads of a run. */
export class Ledger {
  readonly entries: Entry[] = []

  /** Writes down that the server has made an upload. `key` decides what it consists of. */
  created(path: string, length: number, key: string): Entry {
    const entry = new Entry(path, length, key)
    this.entries.push(entry)
    return entry
  }

  /**
   * Holds the directory against what was promised: each upload that was not removed has at least the
   * bytes that were acknowledged, and every byte of it, acknowledged or not, is the one that was sent.
   */
  audit(directory: string): { readonly uploads: number; readonly acknowledgedBytes: number; readonly lostBytes: number } {
    let acknowledgedBytes = 0
    let lostBytes = 0
    for (const entry of this.entries.filter(({ terminated }) => !terminated)) {
      const { size, wrongAt } = compareFile(join(directory, entry.id), entry.key)
      assert.equal(wrongAt, undefined, `${entry.path} is corrupt at ${wrongAt} of ${size}`)
      acknowledgedBytes += entry.acknowledged
      lostBytes += entry.lost + Math.max(0, entry.acknowledged - size)
    }
    return { uploads: this.entries.length, acknowledgedBytes, lostBytes }
  }
}
