// SPDX-License-Identifier: MIT

/**
 * What a power failure leaves, without a power failure.
 *
 * A layer over `node:fs/promises` writes down every operation that changes the disk, and every flush.
 * From that log {@link crashState} makes a directory as the device may hold it at any moment: what was
 * flushed is there; of what was not, each write, truncation and change of a name happened or did not,
 * in any combination, and a write may be there in part, with zeros where the rest would be.
 *
 * That is more than file systems do in practice, which keep some order; what survives this survives them.
 *
 * The layer is Node's own module with its functions replaced (`syncBuiltinESMExports`), so what it
 * watches needs no seam for it and cannot go past it.
 *
 * @module
 */

import fsPromises, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename } from 'node:path'
import type { TestContext } from 'node:test'
import type { Random } from './random.ts'

/** A change, or a flush of the changes whose index is below `covers`. */
export type Operation =
  | { readonly kind: 'write'; readonly inode: number; readonly position: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly inode: number; readonly length: number }
  | { readonly kind: 'link'; readonly name: string; readonly inode: number }
  | { readonly kind: 'rename'; readonly from: string; readonly name: string; readonly inode: number }
  | { readonly kind: 'unlink'; readonly name: string }
  | { readonly kind: 'flush'; readonly inode: number; readonly covers: number }
  | { readonly kind: 'flush-directory'; readonly covers: number }
  | { readonly kind: 'promise'; readonly promise: object }

const BOOT_ID = '/proc/sys/kernel/random/boot_id'
const { open, rename, rm } = fsPromises

/** Watches one directory; everything elsewhere goes through. */
export class RecordingLayer {
  readonly log: Operation[] = []
  /** Read in place of the system's; one that is missing stands for a system that does not tell. */
  bootIdPath = BOOT_ID
  readonly #directory: string
  readonly #inodes = new Map<string, number>()
  #lastInode = 0

  constructor(t: TestContext, directory: string) {
    this.#directory = directory
    Object.assign(fsPromises, { open: this.#open.bind(this), rename: this.#rename.bind(this), rm: this.#rm.bind(this) })
    syncBuiltinESMExports()
    t.after(() => {
      Object.assign(fsPromises, { open, rename, rm })
      syncBuiltinESMExports()
    })
  }

  /** Begins anew, with an empty directory. */
  clear(): void {
    this.log.length = 0
    this.#inodes.clear()
  }

  /** Writes down that something was told to somebody, who relies on it from now on. */
  promise(promise: object): void {
    this.log.push({ kind: 'promise', promise })
  }

  async #open(path: string, flags?: string | number, mode?: number): Promise<FileHandle> {
    if (path === BOOT_ID) return open(this.bootIdPath, flags)
    const file = await open(path, flags, mode)
    if (path === this.#directory) this.#watchFlush(file, (covers) => ({ kind: 'flush-directory', covers }))
    if (!this.#isWatched(path)) return file
    const name = basename(path)
    let inode = this.#inodes.get(name)
    if (inode === undefined) {
      this.#inodes.set(name, (inode = ++this.#lastInode))
      this.log.push({ kind: 'link', name, inode })
    }
    this.#watch(file, inode)
    return file
  }

  #isWatched(path: string): boolean {
    return path.startsWith(`${this.#directory}/`)
  }

  #watch(file: FileHandle, inode: number): void {
    const { writev, writeFile, truncate } = file
    const write: (buffer: Buffer, offset: number, length: number, position: number) => Promise<{ bytesWritten: number }> =
      file.write.bind(file)
    const log = (position: number, bytes: Buffer): number => this.log.push({ kind: 'write', inode, position, bytes })
    Object.assign(file, {
      async write(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesWritten: number }> {
        const result = await write(buffer, offset, length, position)
        log(position, Buffer.from(buffer.subarray(offset, offset + result.bytesWritten)))
        return result
      },
      async writev(buffers: Buffer[], position: number) {
        const result = await writev.call(file, buffers, position)
        log(position, Buffer.concat(buffers).subarray(0, result.bytesWritten))
        return result
      },
      async writeFile(text: string) {
        await writeFile.call(file, text)
        log(0, Buffer.from(text))
      },
      truncate: async (length: number) => {
        await truncate.call(file, length)
        this.log.push({ kind: 'truncate', inode, length })
      },
    })
    this.#watchFlush(file, (covers) => ({ kind: 'flush', inode, covers }))
  }

  #watchFlush(file: FileHandle, entry: (covers: number) => Operation): void {
    const { sync } = file
    file.sync = async () => {
      const covers = this.log.length
      await sync.call(file)
      this.log.push(entry(covers))
    }
  }

  async #rename(from: string, to: string): Promise<void> {
    await rename(from, to)
    if (!this.#isWatched(from)) return
    const inode = this.#inodes.get(basename(from))!
    this.#inodes.delete(basename(from))
    this.#inodes.set(basename(to), inode)
    this.log.push({ kind: 'rename', from: basename(from), name: basename(to), inode })
  }

  async #rm(path: string, options: { force: boolean }): Promise<void> {
    await rm(path, options)
    const name = basename(path)
    if (this.#isWatched(path) && this.#inodes.delete(name)) this.log.push({ kind: 'unlink', name })
  }
}

/** How much of what was not flushed is there after the failure. */
export type Luck = 'nothing' | 'everything' | Random

/** The files that the device holds, should the power fail when the log was as long as `log` is. */
export function crashState(log: readonly Operation[], luck: Luck): ReadonlyMap<string, Buffer> {
  const happened = (): boolean => luck === 'everything' || (luck !== 'nothing' && luck.chance(0.5))
  const flushed = new Map<number, number>()
  let directoryFlushed = 0
  for (const entry of log) {
    if (entry.kind === 'flush') flushed.set(entry.inode, Math.max(entry.covers, flushed.get(entry.inode) ?? 0))
    if (entry.kind === 'flush-directory') directoryFlushed = Math.max(entry.covers, directoryFlushed)
  }
  const data = new Map<number, Buffer>()
  const names = new Map<string, number>()
  for (const [index, entry] of log.entries()) {
    if (entry.kind === 'write' || entry.kind === 'truncate') {
      const isSafe = index < (flushed.get(entry.inode) ?? 0)
      if (!isSafe && !happened()) continue
      const before = data.get(entry.inode) ?? Buffer.alloc(0)
      data.set(
        entry.inode,
        entry.kind === 'truncate'
          ? resize(before, entry.length)
          : write(before, entry, isSafe || typeof luck === 'string' ? undefined : luck),
      )
    } else if (entry.kind === 'link' || entry.kind === 'rename' || entry.kind === 'unlink') {
      if (index >= directoryFlushed && !happened()) continue
      if (entry.kind === 'rename') names.delete(entry.from)
      if (entry.kind === 'unlink') names.delete(entry.name)
      else names.set(entry.name, entry.inode)
    }
  }
  return new Map(Array.from(names, ([name, inode]) => [name, data.get(inode) ?? Buffer.alloc(0)]))
}

/** The file with the bytes in it, or, if there is chance in it, with a stretch of them missing. */
function write(
  before: Buffer,
  { position, bytes }: { readonly position: number; readonly bytes: Buffer },
  chance: Random | undefined,
): Buffer {
  const after = resize(before, Math.max(before.length, position + bytes.length))
  if (!chance || chance.chance(0.5)) {
    after.set(bytes, position)
    return after
  }
  const [first, second] = [chance.integer(0, bytes.length), chance.integer(0, bytes.length)]
  const [from, to] = [Math.min(first, second), Math.max(first, second)]
  after.set(bytes.subarray(from, to), position + from)
  return chance.chance(0.5) ? after : after.subarray(0, Math.max(before.length, position + to)) as Buffer
}

function resize(before: Buffer, length: number): Buffer {
  const after = Buffer.alloc(length)
  before.copy(after, 0, 0, Math.min(length, before.length))
  return after
}
