// SPDX-License-Identifier: MIT

/**
 * Data files that stay open for a moment, as most clients send their next bytes at once.
 *
 * A writer takes a file out and gives it back, so no file is closed while bytes are written to it.
 * A file stays for half a second at least and a second at most, and the oldest goes
 * when there are too many. The timer does not keep the process alive.
 *
 * A descriptor leads to the file that was opened, whatever its path leads to now. So whoever looks
 * at the path says what is there ({@link KeptFiles.see}), and a descriptor of another file is
 * closed.
 *
 * If the descriptor that wrote the bytes is still here, it flushes them, as reliably as a new one:
 * Linux reports a write that failed once to each descriptor that was open at that time, and to one
 * that was opened later only if nobody has heard of it. After a flush, failed or not, the
 * descriptor is closed, so that no report is met twice.
 *
 * A close that fails here is heard by nobody. It could tell of bytes that a network file system
 * lost after it took them, as a local one may at any time without a word: a flush does tell.
 *
 * @module
 */

import type { Stats } from 'node:fs'
import { READ, WRITE } from './files.ts'
import { openFile, type OpenFile } from './open-file.ts'

/** How many stay open. */
const MAX_FILES = 64
/** How often the files are looked at: those that were here the last time as well are closed. */
const LOOK_MS = 500

interface KeptFile {
  readonly file: OpenFile
  readonly status: Stats
  wasSeen: boolean
}

export class KeptFiles {
  /** By path, the oldest first. */
  readonly #files = new Map<string, KeptFile>()
  #timer: NodeJS.Timeout | undefined

  /** The file at `path`, open for writing. The caller must close it, or give it back to `keep`. */
  take(path: string): Promise<OpenFile> {
    return this.#taken(path, WRITE)
  }

  /** Keeps a file that was taken, and was seen at `path` just now. */
  keep(path: string, file: OpenFile, status: Stats): void {
    void this.drop(path) // that of another writer
    this.#files.set(path, { file, status, wasSeen: false })
    const [oldest] = this.#files.keys()
    if (oldest !== undefined && this.#files.size > MAX_FILES) void this.drop(oldest)
    this.#timer ??= setTimeout(() => this.#closeOld(), LOOK_MS).unref()
  }

  /** Flushes the bytes of the file at `path`. */
  async flush(path: string): Promise<void> {
    const file = await this.#taken(path, READ)
    try {
      await file.sync('data')
    } finally {
      await file.close()
    }
  }

  /** Closes what is kept unless it is the file that is at `path`. */
  see(path: string, status: Stats | undefined): void {
    const kept = this.#files.get(path)
    if (kept && !isSameFile(kept.status, status)) void this.drop(path)
  }

  /** Closes what is kept of `path`. */
  async drop(path: string): Promise<void> {
    await this.#remove(path)?.file.close().catch(() => {})
  }

  async #taken(path: string, flags: number): Promise<OpenFile> {
    return this.#remove(path)?.file ?? (await openFile(path, flags))
  }

  #remove(path: string): KeptFile | undefined {
    const kept = this.#files.get(path)
    this.#files.delete(path)
    if (this.#files.size === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
    return kept
  }

  #closeOld(): void {
    for (const [path, kept] of this.#files) {
      if (kept.wasSeen) void this.drop(path)
      kept.wasSeen = true
    }
    this.#timer = this.#files.size > 0 ? setTimeout(() => this.#closeOld(), LOOK_MS).unref() : undefined
  }
}

/** Whether two looks have met the same file. */
export function isSameFile(one: Stats, other: Stats | undefined): boolean {
  return one.ino === other?.ino && one.dev === other.dev
}
