// SPDX-License-Identifier: MIT

/**
 * What is checked in and between critical sections, in one process or in many: a file for each key says who was in
 * its section last, and whether it is still there.
 *
 * @module
 */

import { readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LockFilesHold, LockFilesTenure } from '../../lib/lock-files/lock-files.ts'

/** Whose sections they are, and where. */
export interface LedgerOptions {
  /** A folder with a file for each key. */
  readonly marks: string
  /** The folder of the locks. */
  readonly directory: string
  /** What no other process and no other ledger of this one is called. */
  readonly name: string
  readonly onFault: (fault: string) => void
}

/** The sections of one `LockFiles`. */
export class LockLedger {
  readonly #options: LedgerOptions
  readonly #last = new Map<string, { readonly tenure: LockFilesTenure; readonly mark: string; readonly link: string }>()
  #sections = 0
  /** How many sections began in the tenure of the one before. */
  continued = 0

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  get sections(): number {
    return this.#sections
  }

  /** Is in the section of a key until `inside` resolves. The caller holds its lock. */
  async section(key: string, hold: LockFilesHold, inside: () => Promise<void>): Promise<void> {
    const { marks, name, onFault } = this.#options
    const path = join(marks, `${key}.mark`)
    const before = read(path)
    if (before.startsWith('in ')) onFault(`${name} met ${before.slice(3)}`)
    const last = this.#last.get(key)
    if (last?.tenure === hold.tenure && !hold.tenure.ended) {
      this.continued += 1
      if (last.mark !== before) onFault(`${name} found ${before} where it had left ${last.mark} in one tenure`)
    }
    const mark = `${name} ${(this.#sections += 1)}`
    writeFileSync(path, `in ${mark}`)
    await inside()
    if (read(path) !== `in ${mark}`) onFault(`${name} was joined by ${read(path)}`)
    writeFileSync(path, `out ${mark}`)
    this.#last.set(key, { tenure: hold.tenure, mark: `out ${mark}`, link: this.#link(key) })
  }

  /** Checks that no tenure has outlived its link. */
  audit(): void {
    for (const [key, { tenure, link }] of this.#last) {
      if (!tenure.ended && this.#link(key) !== link) this.#options.onFault(`The tenure of ${key} has outlived its link`)
    }
  }

  #link(key: string): string {
    try {
      return readlinkSync(join(this.#options.directory, `${key}.lock`))
    } catch {
      return ''
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
