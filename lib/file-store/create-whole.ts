// SPDX-License-Identifier: MIT

/**
 * Makes an upload with all of its bytes: each of its two files is written once.
 *
 * 1. The sidecar is written under a temporary name, and says what it will say in the end.
 * 2. The data file is created exclusively, which reserves the id, and filled.
 * 3. The sidecar is renamed. The upload exists from here on, complete.
 *
 * An upload that is `finishing` may be without data, as a hook may take them. So the name of its
 * data is flushed before the sidecar gets its own: a power failure must not look like a hook.
 *
 * The order is that of `create`, so a crash leaves nothing or all of it. But where `create` may
 * leave an empty data file, this may leave one with bytes, and those of a stranger must stay. What
 * tells them apart is the temporary sidecar, which is older than the bytes: `removeLeftovers` makes
 * it the marker that names them. Whatever goes wrong here does the same before it removes the data.
 *
 * @module
 */

import { rm } from 'node:fs/promises'
import type { DirectoryFlush } from './directory-flush.ts'
import { asStoreFull, codeOf, FileStoreError } from './errors.ts'
import { MARK, renameFile, statOf, WRITE_NEW } from './files.ts'
import type { Marks } from './marks.ts'
import { openFile, type OpenFile } from './open-file.ts'
import { isRandomId, newSidecar, toUpload, type Sidecar } from './sidecar.ts'
import type { Sidecars } from './sidecars.ts'
import type { NewStoredUpload, StoredUpload } from './stored-upload.ts'
import { writeAll } from './write-body.ts'

/** An upload and its bytes. */
export interface WholeUpload {
  readonly upload: NewStoredUpload & { readonly id: string }
  readonly body: Uint8Array
  readonly state: 'finishing' | 'finished'
}

/** What of a store makes it. */
export interface WholeSurroundings {
  readonly sidecars: Sidecars
  readonly marks: Marks
  readonly names: DirectoryFlush
  readonly fileMode: number
  /** Whether a power failure must not take it. */
  readonly flushes: boolean
}

/** @throws {FileStoreError} `UPLOAD_EXISTS`, `STORE_FULL`; errors of `node:fs` otherwise. */
export async function createWhole(
  { sidecars, marks, names, fileMode, flushes }: WholeSurroundings,
  { upload, body, state }: WholeUpload,
): Promise<StoredUpload> {
  const { id } = upload
  const [dataPath, path] = [sidecars.dataPath(id), sidecars.path(id)]
  const isTaken = (cause?: unknown): FileStoreError =>
    new FileStoreError('UPLOAD_EXISTS', `The upload ${id} exists already`, { cause })
  // An upload whose bytes were moved has no data file, and nobody's data must get our marker.
  if (!isRandomId(id) && ((await statOf(path)) || (await statOf(dataPath)))) throw isTaken()
  const createdAt = new Date()
  const mark = await marks.plain(body.length)
  const { Longhaul, ...others } = newSidecar({ ...upload, length: body.length }, createdAt, mark)
  const sidecar: Sidecar = { ...others, Longhaul: Longhaul && { ...Longhaul, state } }
  const temporary = await sidecars.prepare(sidecar)
  let file: OpenFile
  try {
    file = await openFile(dataPath, WRITE_NEW, fileMode)
  } catch (error) {
    await rm(temporary.path, { force: true })
    throw codeOf(error) === 'EEXIST' ? isTaken(error) : asStoreFull(error)
  }
  let sidecarPath = temporary.path
  try {
    await fill(file, body, flushes)
    if (flushes && state === 'finishing') await names.flush()
    await renameFile(temporary.path, path)
    sidecarPath = path
    await sidecars.complete(temporary)
  } catch (error) {
    await discard(sidecarPath, dataPath).catch(() => {})
    throw asStoreFull(error)
  }
  return toUpload(sidecar, { size: body.length, createdAt, updatedAt: createdAt })
}

async function fill(file: OpenFile, body: Uint8Array, flushes: boolean): Promise<void> {
  try {
    await writeAll(file, [body], 0)
    if (flushes) await file.sync('data')
  } finally {
    await file.close()
  }
}

/** Removes what was written. Should we crash meanwhile, `removeLeftovers` does it. */
async function discard(sidecarPath: string, dataPath: string): Promise<void> {
  const marker = `${dataPath}.info.gone`
  try {
    await renameFile(sidecarPath, marker)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    // We were stopped for so long that our sidecar was removed as left over. Then the data may have
    // been as well, and those that are here be another upload's. The marker harms no upload that
    // has a sidecar.
    return (await openFile(marker, MARK)).close()
  }
  await rm(dataPath, { force: true })
  await rm(marker, { force: true })
}
