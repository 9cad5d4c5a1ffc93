// SPDX-License-Identifier: MIT

/**
 * A lock is a symbolic link. This file creates, reads, replaces and removes it.
 *
 * A lock file must come into being together with its content. Otherwise a process that dies between
 * the two steps leaves a lock without an owner. `symlink` does both in one call, and fails if the
 * name is taken. The target of the link is a token: the name of the holder's socket, and 96 random
 * bits. The target need not exist, and is never followed.
 *
 * A dead holder's link is replaced. To remove it and create another would be wrong: a process that
 * is slow to remove it would remove the link of the next holder. So the newcomer first creates
 * a second link, the guard, which is named after the token that it replaces. Only one process can
 * have it. The guard holds the newcomer's token, so one `rename` is both the replacement and the
 * end of the guard. If the maker of a guard dies, the guard is replaced in the same way.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import { readlink, rename, symlink, unlink } from 'node:fs/promises'
import { hasCode, LockFilesError } from './lock-files-error.ts'

/** `key.lock`, or `key.lock.unique`: the guard that replaces the token that ends in `unique`. */
export const LOCK: RegExp = /^[A-Za-z0-9_-]{1,128}\.lock(?:\.([0-9a-f]{24}))?$/

/**
 * `socket/unique`. A token has 55 bytes. Targets of up to 59 bytes are kept in the inode on ext4,
 * so a lock takes no block, and a full disk can still be locked and cleared.
 */
export const TOKEN: RegExp = /^[0-9a-f]{8}-[0-9a-f]{16}\.sock\/[0-9a-f]{24}$/

/** How to replace a link. */
export interface Replacement {
  /** What the link shall hold. */
  readonly token: string
  /** Whether a guard's maker is dead, or has forgotten the guard. May wait for it to finish. */
  readonly isAbandoned: (maker: string, guard: string) => Promise<boolean>
}

/** A token of the process with this socket, unlike any other. */
export function makeToken(socketName: string): string {
  return `${socketName}/${randomBytes(12).toString('hex')}`
}

/** The name of the socket of the process that made a token. */
export function socketOf(token: string): string {
  return token.split('/')[0] ?? ''
}

/** Creates a link. If there is one, returns its token. */
export async function createLink(path: string, token: string): Promise<string | undefined> {
  for (;;) {
    try {
      await symlink(token, path)
      return undefined
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    const holder = await readLink(path)
    // NFS may repeat a call that has succeeded, and then says that the link exists.
    if (holder) return holder === token ? undefined : holder
  }
}

/** Reads a link's token; `undefined` if there is no link. */
export async function readLink(path: string): Promise<string | undefined> {
  let token: string
  try {
    token = await readlink(path)
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined
    if (!hasCode(cause, 'EINVAL')) throw cause
    throw new LockFilesError('LOCK_CORRUPT', `The lock ${path} is not a symbolic link`, { cause })
  }
  if (TOKEN.test(token)) return token
  const shown = JSON.stringify(token.slice(0, 200))
  throw new LockFilesError('LOCK_CORRUPT', `The lock ${path} does not name a process: ${shown}`)
}

/**
 * Puts another token in the place of a dead one. Returns false if another process does so, or did.
 *
 * As long as we have the guard, nobody else replaces the link. Others leave the guard alone while
 * we live and know its token.
 */
export async function replaceLink(path: string, dead: string, replacement: Replacement): Promise<boolean> {
  const { token, isAbandoned } = replacement
  const guard = guardOf(path, dead)
  const maker = await createLink(guard, token)
  if (maker && !(await isAbandoned(maker, guard))) return false
  if (maker && !(await replaceLink(guard, maker, replacement))) return false
  try {
    if ((await readLink(path)) !== dead) return false
    await rename(guard, path).catch((error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error
    })
    // It is not ours if somebody has removed our guard.
    return (await readLink(path)) === token
  } finally {
    // After the rename it is gone. Another process that has made one since finds its token gone.
    await removeFile(guard)
  }
}

/** Removes a link, or any other file. A file that does not exist is fine. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** A guard of a guard has a name of the same form, and stands beside it. */
function guardOf(path: string, dead: string): string {
  return `${path.replace(/(\.lock)\.[0-9a-f]{24}$/, '$1')}.${dead.slice(-24)}`
}
