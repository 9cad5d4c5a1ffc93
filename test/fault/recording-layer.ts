// SPDX-License-Identifier: MIT

/**
 * What a power failure leaves, without a power failure.
 *
 * A layer over `node:fs` and `node:fs/promises` writes down every operation that changes the disk, and every flush.
 * From that log {@link crashState} makes a directory as the device may hold it at any moment: what was
 * flushed is there; of what was not, each write, truncation and change of a name happened or did not,
 * in any combination, and a write may be there in part, with zeros where the rest would be.
 *
 * That is more than file systems do in practice, which keep some order; what survives this survives them.
 *
 * The layer is Node's own modules with their functions replaced (`syncBuiltinESMExports`), so what it watches
 * needs no seam for it. What would go past it, as it changes the disk by a function that is not replaced, throws.
 *
 * @module
 */

import assert from 'node:assert/strict'
import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
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
const { open, close, write, writev, ftruncate, fsync, fdatasync, rename } = fs
const { rm } = fsPromises

/** What a call of `node:fs` tells. */
type Done<T> = (error: NodeJS.ErrnoException | null, result: T) => void

/** What a descriptor is open for: a file, or the directory itself. */
type Open = { readonly kind: 'file'; readonly inode: number } | { readonly kind: 'directory' }

/** What changes the disk, and is not watched. */
const UNWATCHED = ['open', 'rename', 'copyFile', 'link', 'symlink', 'truncate', 'unlink', 'writeFile', 'appendFile', 'mkdir'] as const

/** Watches one directory; everything elsewhere goes through. */
export class RecordingLayer {
  readonly log: Operation[] = []
  /** Read in place of the system's; one that is missing stands for a system that does not tell. */
  bootIdPath = BOOT_ID
  readonly #directory: string
  readonly #inodes = new Map<string, number>()
  readonly #open = new Map<number, Open>()
  #lastInode = 0

  constructor(t: TestContext, directory: string) {
    this.#directory = directory
    replace(t, fs, this.#calls())
    replace(t, fsPromises, { rm: this.#rm.bind(this) })
    for (const name of UNWATCHED) {
      const unwatched = fsPromises[name] as (...args: unknown[]) => unknown
      replace(t, fsPromises, {
        [name]: (...args: unknown[]) => {
          assert.ok(!args.some((path) => typeof path === 'string' && this.#isWatched(path)), `${name} of ${args[0]} is not watched`)
          return unwatched(...args)
        },
      })
    }
    syncBuiltinESMExports()
  }

  /** Begins anew, with an empty directory. */
  clear(): void {
    this.log.length = 0
    this.#inodes.clear()
    this.#open.clear()
  }

  /** Writes down that something was told to somebody, who relies on it from now on. */
  promise(promise: object): void {
    this.log.push({ kind: 'promise', promise })
  }

  #isWatched(path: string): boolean {
    return path.startsWith(`${this.#directory}/`)
  }

  /** The functions of `node:fs` that do the same and write it down when it is done. */
  #calls(): Record<string, unknown> {
    const file = (descriptor: number): number | undefined => {
      const opened = this.#open.get(descriptor)
      return opened?.kind === 'file' ? opened.inode : undefined
    }
    const flush = (real: typeof fsync) => (descriptor: number, done: Done<void>): void => {
      const covers = this.log.length
      real(descriptor, (error) => {
        const opened = this.#open.get(descriptor)
        if (!error && opened?.kind === 'file') this.log.push({ kind: 'flush', inode: opened.inode, covers })
        if (!error && opened?.kind === 'directory' && real === fsync) this.log.push({ kind: 'flush-directory', covers })
        done(error)
      })
    }
    return {
      open: (path: string, flags: number, mode: number | undefined, done: Done<number>) =>
        open(path === BOOT_ID ? this.bootIdPath : path, flags, mode, (error, descriptor) => {
          if (!error) this.#opened(path, descriptor)
          done(error, descriptor)
        }),
      close: (descriptor: number, done: Done<void>) => {
        this.#open.delete(descriptor)
        close(descriptor, done)
      },
      // As `fs.writeFile` calls it, with no position: it is used for new files only.
      write: (descriptor: number, buffer: Buffer, offset: number, length: number, position: number | null, done: Done<number>) =>
        write(descriptor, buffer, offset, length, position, (error, count) => {
          const inode = file(descriptor)
          const bytes = Buffer.from(buffer.subarray(offset, offset + count))
          if (!error && inode !== undefined) this.log.push({ kind: 'write', inode, position: position ?? offset, bytes })
          done(error, count)
        }),
      writev: (descriptor: number, buffers: Buffer[], position: number, done: Done<number>) =>
        writev(descriptor, buffers, position, (error, count) => {
          const inode = file(descriptor)
          const bytes = Buffer.concat(buffers).subarray(0, count)
          if (!error && inode !== undefined) this.log.push({ kind: 'write', inode, position, bytes })
          done(error, count)
        }),
      ftruncate: (descriptor: number, length: number, done: Done<void>) =>
        ftruncate(descriptor, length, (error) => {
          const inode = file(descriptor)
          if (!error && inode !== undefined) this.log.push({ kind: 'truncate', inode, length })
          done(error)
        }),
      fsync: flush(fsync),
      fdatasync: flush(fdatasync),
      rename: (from: string, to: string, done: Done<void>) =>
        rename(from, to, (error) => {
          if (!error) this.#renamed(from, to)
          done(error)
        }),
    }
  }

  #opened(path: string, descriptor: number): void {
    if (path === this.#directory) this.#open.set(descriptor, { kind: 'directory' })
    if (!this.#isWatched(path)) return
    const name = basename(path)
    let inode = this.#inodes.get(name)
    if (inode === undefined) {
      this.#inodes.set(name, (inode = ++this.#lastInode))
      this.log.push({ kind: 'link', name, inode })
    }
    this.#open.set(descriptor, { kind: 'file', inode })
  }

  #renamed(from: string, to: string): void {
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

/** Until the end of the test. */
function replace(t: TestContext, module: object, calls: Record<string, unknown>): void {
  const real = Object.fromEntries(Object.keys(calls).map((name) => [name, (module as Record<string, unknown>)[name]]))
  Object.assign(module, calls)
  t.after(() => {
    Object.assign(module, real)
    syncBuiltinESMExports()
  })
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
          : overwrite(before, entry, isSafe || typeof luck === 'string' ? undefined : luck),
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
function overwrite(
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
