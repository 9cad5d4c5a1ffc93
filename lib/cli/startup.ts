// SPDX-License-Identifier: MIT

/**
 * What the program needs before it can serve. If any of it is missing, the program ends with one
 * line that says what is wrong and which flag to change.
 *
 * @module
 */

import { accessSync, constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { FileStore } from '../file-store/file-store.ts'
import { LockFiles } from '../lock-files/lock-files.ts'
import { capacityOf, readDescriptorLimit, type Capacity } from './descriptors.ts'
import type { ServeOptions } from './options.ts'
import { readPage, type Page } from './page.ts'

/** With fewer descriptors than this, the program reports how much it can serve. */
const FEW_DESCRIPTORS = 4096

/** What the system's errors mean here; any other is shown in the words of Node. */
const LISTEN_FAULTS: ReadonlyMap<unknown, string> = new Map([
  ['EADDRINUSE', 'the port is in use (choose another with --port)'],
  ['EADDRNOTAVAIL', 'this machine does not have the address (choose another with --host)'],
  ['ENOTFOUND', 'the host name is unknown (choose another with --host)'],
  ['EACCES', 'permission denied (choose a port above 1023 with --port)'],
])
const DIRECTORY_FAULTS: ReadonlyMap<unknown, string> = new Map([
  ['EEXIST', 'it is a file'],
  ['ENOTDIR', 'it, or a part of its path, is a file'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'permission denied'],
  ['EROFS', 'the file system is read-only'],
  ['ENOSPC', 'the file system is full'],
])

/** Opens the page, unless there is to be none. */
export function openPage(options: ServeOptions): Page | undefined {
  try {
    return options.page ? readPage(options) : undefined
  } catch (error) {
    return fail(2, `cannot read the upload page: ${explain(error)} (--no-page serves without it)`)
  }
}

/** Opens the directory of the uploads, and makes sure that it can be written and flushed. */
export async function openStore({ dir, sync, lock, fileMode, directoryMode }: ServeOptions): Promise<FileStore> {
  let store: FileStore
  try {
    store = new FileStore(dir, { sync, shared: lock === 'file', fileMode, directoryMode })
    accessSync(store.directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    return fail(2, `cannot use --dir ${dir}: ${explain(error, DIRECTORY_FAULTS)}`)
  }
  if (sync === 'none') return store
  await flush(store.directory).catch((error) => fail(2, `cannot use --sync ${sync}: ${explain(error)}`))
  return store
}

/**
 * Opens the locks, if there are any. They have a directory of their own, apart from the uploads.
 */
export async function openLocks({ dir, lock }: ServeOptions): Promise<LockFiles | undefined> {
  try {
    return lock === 'file' ? await LockFiles.open(join(dir, '.locks')) : undefined
  } catch (error) {
    return fail(2, `cannot use --lock file: ${explain(error)}`)
  }
}

/** How much the program can serve at once. Reports it if the system allows few descriptors. */
export function measureCapacity(options: ServeOptions): Capacity {
  const limit = readDescriptorLimit()
  const capacity = capacityOf(limit, options.maxConcurrent)
  const { maxConcurrent, maxConnections } = capacity
  if (limit !== undefined && (limit < FEW_DESCRIPTORS || maxConcurrent > capacityOf(limit).maxConcurrent)) {
    const most = `at most ${maxConcurrent} bodies and ${maxConnections} connections at once`
    console.error(`longhaul: the open-file limit (ulimit -n) is ${limit}: ${most}`)
  }
  return capacity
}

/** Ends the program, as it cannot listen. */
export function failToListen(error: Error, { host, port }: ServeOptions): never {
  return fail(1, `cannot listen on ${toOrigin(host, port)}: ${explain(error, LISTEN_FAULTS)}`)
}

/** Ends the program with a line on stderr. */
export function fail(exitCode: number, message: string): never {
  console.error(`longhaul: ${message}`)
  process.exit(exitCode)
}

/** A host and its port, as in a URL. */
export function toOrigin(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Fails where nothing can be flushed, as under the permission model of Node 26. */
async function flush(directory: string): Promise<void> {
  if (process.platform === 'win32') return // there, a directory cannot be opened
  const handle = await open(directory)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function explain(error: unknown, faults?: ReadonlyMap<unknown, string>): string {
  const { code, message } = error as NodeJS.ErrnoException
  return faults?.get(code) ?? message
}
