// SPDX-License-Identifier: MIT

/**
 * Removes what dead processes left in the directory: sockets, locks and guards.
 *
 * It runs when a process opens the directory. Nothing depends on it, as a lock of the dead is free
 * anyway. It keeps the directory small, and is careful with what it does not know.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from './lock-files-error.ts'
import { LOCK, removeFile, socketOf, TOKEN } from './lock-link.ts'
import { SOCKET, type Presence } from './presence.ts'

/** Where to clear up, and with what. */
export interface Clearing {
  readonly directory: string
  readonly presence: Presence
  readonly tryAcquire: (key: string) => Promise<{ release(): Promise<void> } | undefined>
}

export async function removeLeftovers({ directory, presence, tryAcquire }: Clearing): Promise<void> {
  const pathOf = (name: string): string => join(directory, name)
  const targetOf = (name: string): Promise<string> => readlink(pathOf(name)).catch(() => '')

  const deadSockets = new Set<string>()
  for (const name of await readdir(directory)) {
    if (!SOCKET.test(name)) continue
    if (name.endsWith('.sock')) {
      if (await presence.isDead(name, pathOf(name))) deadSockets.add(name)
    } else if (await presence.isStale(pathOf(name))) await removeFile(pathOf(name))
  }

  // Read only now: the dead make no more of them.
  const names = (await readdir(directory)).filter((name) => LOCK.test(name))
  const targets = new Map(await Promise.all(names.map(async (name) => [name, await targetOf(name)] as const)))

  // A guard is named after the end of a token. If no link holds that token, it guards nothing.
  for (const name of names) {
    const guarded = LOCK.exec(name)?.[1]
    if (guarded && !Array.from(targets.values()).some((target) => target.endsWith(guarded))) {
      await removeFile(pathOf(name))
    }
  }

  // A lock of the dead is taken and released, which removes it. `acquire` reports corrupt ones.
  for (const [name, target] of targets) {
    if (LOCK.exec(name)?.[1] || !TOKEN.test(target)) continue
    const socketName = socketOf(target)
    if (!deadSockets.has(socketName) && (await exists(pathOf(socketName)))) continue
    await (await tryAcquire(name.slice(0, -'.lock'.length)))?.release()
  }

  // Sockets go last, and only if no link names them: a missing one does not mean dead.
  const named = new Set((await Promise.all(names.map(targetOf))).map(socketOf))
  for (const name of deadSockets) if (!named.has(name)) await removeFile(pathOf(name))
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(() => true, (error: unknown) => !hasCode(error, 'ENOENT'))
}
