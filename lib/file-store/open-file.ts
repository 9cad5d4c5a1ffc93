// SPDX-License-Identifier: MIT

/**
 * An open file, and calls of the file system, as promises.
 *
 * They stand on the functions of `node:fs` that take a callback. Those of `node:fs/promises` do the
 * same, and an open and a close by its `FileHandle` take twice the processor time.
 *
 * @module
 */

import {
  close, constants, fdatasync, fstat, fsync, ftruncate, open, read, writeFile, writev, type Stats,
} from 'node:fs'
import { open as openHandle } from 'node:fs/promises'

/** Calls a function that takes a callback, and resolves with what the callback gets. */
export function called<T = void>(start: (done: (error: Error | null, result: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => (error ? reject(error) : resolve(result)))
  })
}

/** Opens a file, which the caller must close. */
export async function openFile(path: string, flags: number, mode?: number): Promise<OpenFile> {
  return new OpenFile(path, flags, await called<number>((done) => open(path, flags, mode, done)))
}

/** A file that was opened. Unlike a `FileHandle`, it stays open until somebody closes it. */
export class OpenFile {
  readonly #path: string
  readonly #flags: number
  #descriptor: number

  constructor(path: string, flags: number, descriptor: number) {
    this.#path = path
    this.#flags = flags
    this.#descriptor = descriptor
  }

  stat(): Promise<Stats> {
    return called((done) => fstat(this.#descriptor, done))
  }

  /** Reads on from where the last call ended, and resolves with the number of bytes. */
  read(buffer: Buffer): Promise<number> {
    return called((done) => read(this.#descriptor, buffer, 0, buffer.length, null, done))
  }

  /** The system may write only a part. */
  async writev(buffers: readonly Uint8Array[], position: number): Promise<{ readonly bytesWritten: number }> {
    return { bytesWritten: await called<number>((done) => writev(this.#descriptor, buffers, position, done)) }
  }

  /** Writes all of it, where the file is at. */
  writeFile(text: string): Promise<void> {
    return called((done) => writeFile(this.#descriptor, text, done))
  }

  truncate(length: number): Promise<void> {
    return called((done) => ftruncate(this.#descriptor, length, done))
  }

  /** Flushes the bytes of a file with the size that finds them, or the names in a directory. */
  sync(what: 'data' | 'names'): Promise<void> {
    if (process.permission) return this.#syncConfined()
    return called((done) => (what === 'data' ? fdatasync : fsync)(this.#descriptor, done))
  }

  /**
   * Node's permission model forbids to flush by a descriptor. Most of its releases allow it by
   * a `FileHandle`, and any descriptor of a file flushes all that was written to that file.
   */
  async #syncConfined(): Promise<void> {
    const handle = await openHandle(this.#path, constants.O_RDONLY | (this.#flags & (constants.O_NOFOLLOW ?? 0)))
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** Does nothing the second time, as the number may belong to another file by then. */
  async close(): Promise<void> {
    const descriptor = this.#descriptor
    if (descriptor < 0) return
    this.#descriptor = -1
    await called((done) => close(descriptor, done))
  }
}
