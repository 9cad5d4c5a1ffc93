// SPDX-License-Identifier: MIT

/**
 * Flushes which names a directory has: once for all that wait for it at the same moment.
 *
 * A flush makes sure of what was renamed before it began. So whoever comes while one is in progress
 * waits for the next, and shares it with all that come until that begins. If it fails, all that
 * waited hear of it. Of several flushes only the first may, as Linux reports a failure once.
 *
 * The directory is opened each time. A descriptor that stays open would flush a directory that
 * somebody has moved away, and to find out costs as many calls as to open it.
 *
 * @module
 */

import { constants } from 'node:fs'
import { openFile } from './open-file.ts'

export class DirectoryFlush {
  readonly #path: string
  /** One that has not begun. */
  #next: Promise<void> | undefined
  /** Resolves when those that have begun are done. */
  #last: Promise<void> = Promise.resolve()

  constructor(path: string) {
    this.#path = path
  }

  /** Flushes all names that the directory has now. */
  async flush(): Promise<void> {
    if (process.platform === 'win32') return // there, a directory cannot be opened
    if (!this.#next) {
      this.#next = this.#after(this.#last)
      this.#last = this.#next.catch(() => {})
    }
    await this.#next
  }

  async #after(last: Promise<void>): Promise<void> {
    await last
    const directory = await openFile(this.#path, constants.O_RDONLY).finally(() => {
      this.#next = undefined // for those that come from now on, it may be too late
    })
    try {
      await directory.sync('names')
    } finally {
      await directory.close()
    }
  }
}
