// SPDX-License-Identifier: MIT

/**
 * Calls on files of a directory in which somebody may have planted something else.
 *
 * A symbolic link is not followed, and a pipe is not waited for. Windows has no such flags.
 *
 * @module
 */

import { constants, lstat, rename, type Stats } from 'node:fs'
import { copyFile, rm, stat } from 'node:fs/promises'
import { asStoreFull, codeOf } from './errors.ts'
import { called, openFile } from './open-file.ts'

const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
export const READ: number = constants.O_RDONLY | NO_FOLLOW | (constants.O_NONBLOCK ?? 0)
export const WRITE: number = constants.O_WRONLY | NO_FOLLOW
export const WRITE_NEW: number = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW
export const MARK: number = constants.O_WRONLY | constants.O_CREAT | NO_FOLLOW

/** The status of a file; `undefined` if there is no file. */
export async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await called<Stats>((done) => lstat(path, done))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Gives a file another name, and removes the file that had it before. */
export function renameFile(path: string, newPath: string): Promise<void> {
  return called((done) => rename(path, newPath, done))
}

/**
 * The text of a file that is read in pieces; `undefined` if there is no such file.
 *
 * @throws {RangeError} if it has more than `maxBytes`; what is no file gives `ELOOP` or `EISDIR`.
 */
export async function readText(
  path: string,
  { pieceBytes, maxBytes }: { readonly pieceBytes: number; readonly maxBytes: number },
): Promise<string | undefined> {
  let file
  try {
    file = await openFile(path, READ)
    const pieces: Buffer[] = []
    for (let size = 0; size <= maxBytes; ) {
      const buffer = Buffer.allocUnsafe(pieceBytes)
      const bytesRead = await file.read(buffer)
      size += bytesRead
      pieces.push(buffer.subarray(0, bytesRead))
      if (bytesRead < pieceBytes) return Buffer.concat(pieces).toString('utf8')
    }
    throw new RangeError(`Cannot read ${path} as it must have at most ${maxBytes} bytes`)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  } finally {
    await file?.close()
  }
}

/** Whether two paths lead to one directory. */
export async function isSameDirectory(path: string, other: string): Promise<boolean> {
  const [one, two] = await Promise.all([stat(path, { bigint: true }), stat(other, { bigint: true })])
  return one.ino === two.ino && one.dev === two.dev
}

/** Flushes what a file holds. */
export async function flushFile(path: string): Promise<void> {
  const file = await openFile(path, READ)
  try {
    await file.sync('data')
  } finally {
    await file.close()
  }
}

/**
 * Renames a file, or copies it where another file system is in between. Then it is at `to` as a
 * whole or not at all, and may still be at `from` as well.
 *
 * The copy is made beside `to`, under the name `temporary`. What a crash left there is replaced.
 */
export async function renameOrCopy(
  from: string,
  to: string,
  { temporary, flushes }: { readonly temporary: string; readonly flushes: boolean },
): Promise<void> {
  try {
    return await renameFile(from, to)
  } catch (error) {
    if (codeOf(error) !== 'EXDEV') throw asStoreFull(error)
  }
  await rm(temporary, { force: true })
  try {
    await copyFile(from, temporary, constants.COPYFILE_EXCL)
    if (flushes) await flushFile(temporary)
    // A second call, of a hook that nobody awaits or of another process, replaces this file.
    if ((await statOf(temporary))?.size !== (await statOf(from))?.size) {
      throw new Error(`Cannot move ${from} as another call is copying it`)
    }
    await renameFile(temporary, to)
  } catch (error) {
    await rm(temporary, { force: true })
    throw asStoreFull(error)
  }
}
