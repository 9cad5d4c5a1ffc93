// SPDX-License-Identifier: MIT

/**
 * Finds another process that uses the same directory.
 *
 * Locks in memory do not reach another process, so two processes must not use one directory
 * without knowing it. Each process leaves an empty file in `.in-use`, its claim, and only then
 * looks for the claims of others. In this order, of two processes that start at once at least one
 * finds the other.
 *
 * The name of a claim names a process: its number, when it started, and in which boot. A claim
 * counts as long as that process lives. So nothing has to be renewed, and nothing has to be
 * removed at the end: claims of dead processes are removed by whoever finds them.
 *
 * It does not see processes on another host or in another container.
 *
 * @module
 */

import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { codeOf } from './errors.ts'

/** Where claims are. No upload can have this name. */
const FOLDER = '.in-use'
/** A process, when it started, in which boot, and whether others may use the directory too. */
const CLAIM_PATTERN = /^([1-9][0-9]{0,9})_([0-9]*)_([0-9a-f-]*)\.(alone|shared)$/

/** Where the system tells in which boot it is. Linux does. */
export const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id'

/**
 * Claims `directory` for this process, and returns another living process with which it must not
 * be shared, if there is one. Where no claim can be written, none is found: the first upload will
 * fail there.
 */
export function claimDirectory(
  directory: string,
  { shared, mode }: { readonly shared: boolean; readonly mode: number },
): { readonly pid: number; readonly path: string } | undefined {
  const folder = join(directory, FOLDER)
  const self = { pid: process.pid, started: startOf(process.pid), boot: readOrEmpty(BOOT_ID_PATH).trim() }
  const name = `${self.pid}_${self.started}_${self.boot}`
  const path = join(folder, `${name}.${shared ? 'shared' : 'alone'}`)
  let isNew = false
  try {
    mkdirSync(folder, { recursive: true, mode }) // whoever may write uploads must be seen here
    if (!lstatSync(folder).isDirectory()) return undefined
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
    isNew = true
  } catch (error) {
    // Another store of this process has made the same claim.
    if (codeOf(error) !== 'EEXIST') return undefined
  }
  for (const found of namesIn(folder)) {
    const [, pid = '', started = '', boot = '', use] = CLAIM_PATTERN.exec(found) ?? []
    if (pid === '' || found.startsWith(`${name}.`)) continue
    const foundPath = join(folder, found)
    const isOfOtherBoot = boot !== '' && self.boot !== '' ? boot !== self.boot : isOlderThanBoot(foundPath)
    if (isOfOtherBoot || Number(pid) === self.pid || !isAlive(Number(pid), started)) removeQuietly(foundPath)
    else if (!shared || use === 'alone') {
      if (isNew) removeQuietly(path)
      return { pid: Number(pid), path: foundPath }
    }
  }
  return undefined
}

/** Whether the process of a claim still lives. Its number may have been given to another one. */
function isAlive(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return false // with EPERM it lives, and is another user's
  }
  const since = startOf(pid)
  return since === '' || started === '' || since === started
}

/**
 * When a process started, in ticks since the boot; empty where the system does not tell. A process
 * that has ended and was not waited for (a zombie) gets a start that no process has.
 */
function startOf(pid: number): string {
  // The name of the process stands in brackets, and may hold anything.
  const [state = '', ...fields] = readOrEmpty(`/proc/${pid}/stat`).replace(/^.*\) /s, '').split(' ')
  return state === 'Z' ? '0' : (fields[18] ?? '')
}

function isOlderThanBoot(path: string): boolean {
  try {
    return lstatSync(path).mtimeMs < Date.now() - uptime() * 1000
  } catch {
    return true // its process is gone, and somebody has removed it
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return '' // not on this system, or not allowed
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Whoever finds it next sees as well that it means nothing.
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
