// SPDX-License-Identifier: MIT

/**
 * Uploads as files that survive a crash.
 *
 * An upload is two files: `<id>` holds its bytes, `<id>.info` describes it in the JSON of tusd's
 * filestore, so that a directory can move from tusd to here and back.
 *
 * Design. There is no counter to fall out of step with the data: the offset *is* the size of the
 * data file, so every byte that reached the file counts, whichever process crashed. An upload
 * exists when its sidecar does. The data file is made first and exclusively, which reserves the
 * id; the sidecar is written under a temporary name and renamed, so it is there whole or not at
 * all. Removal goes the other way round. What a crash can leave behind is a file that no
 * sidecar names. Writes go through Node's own file stream with a large buffer, which sends queued
 * chunks to the disk in one `writev`; a loop of our own was measured to be no faster.
 *
 * Who calls `append` holds the upload's lock: two writers of one upload are not kept apart here.
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import { constants, mkdirSync } from 'node:fs'
import { open, rename, rm, stat, truncate } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** An upload as the store knows it. */
export interface StoredUpload {
  readonly id: string
  /** Bytes stored so far. */
  readonly offset: number
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata: ReadonlyMap<string, string>
  /** The metadata as the client encoded them, if they came that way. */
  readonly encodedMetadata: string | undefined
}

/** What {@link FileStore.create} is given. */
export interface NewStoredUpload {
  /** Default: 128 random bits. Must match `^[A-Za-z0-9_-]{1,128}$`. */
  readonly id?: string | undefined
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata?: string | undefined
}

/**
 * - `UPLOAD_EXISTS`: the id is taken.
 * - `UPLOAD_CORRUPT`: the sidecar cannot be read as one, or does not fit the data.
 * - `UPLOAD_MOVED_ON`: the upload has another offset than the one that was to be continued.
 * - `STORE_FULL`: the disk or the quota is full; what fitted is kept.
 */
export type FileStoreErrorCode = 'UPLOAD_EXISTS' | 'UPLOAD_CORRUPT' | 'UPLOAD_MOVED_ON' | 'STORE_FULL'

/** What a {@link FileStore} throws for states it knows. Compare `code`, not the class. */
export class FileStoreError extends Error {
  override readonly name: string = 'FileStoreError'
  readonly code: FileStoreErrorCode

  constructor(code: FileStoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** Options of {@link FileStore}. */
export interface FileStoreOptions {
  /**
   * When data is flushed to the device, which decides what a power failure can take: `'append'`:
   * before each append is acknowledged; `'finish'`: when an upload becomes complete; `'none'`:
   * whenever the system likes. A crash of the process takes nothing, whichever it is.
   * Default: `'finish'`.
   */
  readonly sync?: 'none' | 'finish' | 'append' | undefined
}

/** The sidecar: tusd's keys, then ours under one name that tusd ignores. */
interface Sidecar {
  readonly ID: string
  readonly Size: number
  readonly SizeIsDeferred: boolean
  readonly Offset: number
  readonly MetaData: Readonly<Record<string, string>>
  readonly IsPartial: boolean
  readonly IsFinal: boolean
  readonly PartialUploads: readonly string[] | null
  readonly Storage: Readonly<Record<string, string>>
  readonly Longhaul?: LonghaulSidecar | undefined
}

/** `verifiedOffset` will mark where an unverified chunk begins; `state` how far finishing has come. */
interface LonghaulSidecar {
  readonly version: 1
  readonly state: 'receiving' | 'finishing' | 'finished' | 'rejected'
  readonly createdAt: string
  readonly encodedMetadata?: string | undefined
  readonly verifiedOffset?: number | undefined
}

const ID_PATTERN = /^[A-Za-z0-9_-]{1,128}$/
/** Queued chunks up to this size go to the disk in one call. */
const WRITE_BUFFER_BYTES = 1024 * 1024
/** A link planted in the directory is not followed. Windows has no such flag. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const READ = constants.O_RDONLY | NO_FOLLOW
const WRITE_NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW

/**
 * Keeps uploads in one directory.
 *
 * 1. `create` makes an empty upload; `find` tells its offset and length.
 * 2. `append` writes a body behind what is there, and resolves with the new offset once every
 *    byte is in the file. Whatever interrupts it, bytes that reached the file stay and count.
 * 3. `terminate` removes an upload.
 *
 * Files are readable by their owner only (0600; the directory, if it is made here, 0700). A path
 * in a sidecar is never followed, nor is a symbolic link.
 *
 * It does not lock, limit sizes, or delete anything by itself.
 *
 * @throws {TypeError} for an id that does not match `^[A-Za-z0-9_-]{1,128}$`, from every method;
 * {@link FileStoreError} as its codes say; errors of `node:fs` otherwise.
 *
 * @example Two appends, the second after a crash perhaps
 * ```ts
 * import { Readable } from 'node:stream'
 * import { FileStore } from 'longhaul/file-store'
 *
 * const store = new FileStore('./uploads')
 * const upload = await store.create({ length: 11 })
 * await store.append(upload, Readable.from([Buffer.from('hello ')]))
 *
 * const found = await store.find(upload.id)
 * if (found) console.log(await store.append(found, Readable.from([Buffer.from('world')]))) // 11
 * ```
 */
export class FileStore {
  readonly directory: string
  readonly #sync: 'none' | 'finish' | 'append'

  constructor(directory: string, options: FileStoreOptions = {}) {
    this.directory = resolve(directory)
    this.#sync = options.sync ?? 'finish'
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
  }

  /** Makes an upload without bytes. */
  async create(upload: NewStoredUpload): Promise<StoredUpload> {
    const { id = randomBytes(16).toString('hex'), length, metadata = new Map(), encodedMetadata } = upload
    const dataPath = this.#dataPath(id)
    try {
      await (await open(dataPath, WRITE_NEW, 0o600)).close()
    } catch (error) {
      if (codeOf(error) === 'EEXIST') throw new FileStoreError('UPLOAD_EXISTS', `The upload ${id} exists already`, error)
      throw asStoreFull(error)
    }
    try {
      await this.#writeSidecar({
        ID: id,
        Size: length ?? 0,
        SizeIsDeferred: length === undefined,
        Offset: 0,
        MetaData: Object.fromEntries(metadata),
        IsPartial: false,
        IsFinal: false,
        PartialUploads: null,
        Storage: { Type: 'filestore' },
        Longhaul: { version: 1, state: 'receiving', createdAt: new Date().toISOString(), encodedMetadata },
      })
    } catch (error) {
      await rm(dataPath, { force: true })
      throw asStoreFull(error)
    }
    return { id, offset: 0, length, metadata, encodedMetadata }
  }

  /** The upload as it is now, or `undefined` if there is none of that id. */
  async find(id: string): Promise<StoredUpload | undefined> {
    const dataPath = this.#dataPath(id)
    const text = await readText(`${dataPath}.info`)
    if (text === undefined) return undefined
    const sidecar = parseSidecar(text)
    if (!sidecar) throw new FileStoreError('UPLOAD_CORRUPT', `The sidecar of the upload ${id} cannot be read as one`)
    const offset = await sizeOf(dataPath)
    if (offset === undefined) throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has a sidecar and no data`)
    const length = sidecar.SizeIsDeferred ? undefined : sidecar.Size
    if (offset > (length ?? Infinity)) {
      throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has ${offset} bytes where its sidecar allows ${length}`)
    }
    const metadata = new Map(Object.entries(sidecar.MetaData))
    return { id, offset, length, metadata, encodedMetadata: sidecar.Longhaul?.encodedMetadata }
  }

  /**
   * Writes the body behind the bytes that are there, and resolves with the new offset.
   *
   * `upload` must be as `find` or `create` last returned it: another offset than the file's is
   * refused (`UPLOAD_MOVED_ON`). Limit the body before it comes here. If the body fails, or
   * `signal` aborts, `append` rejects with that reason once no write is under way any more.
   */
  async append(upload: StoredUpload, body: Readable, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<number> {
    const file = await open(this.#dataPath(upload.id), constants.O_WRONLY | NO_FOLLOW)
    const { size } = await file.stat()
    if (size !== upload.offset) {
      await file.close()
      throw new FileStoreError('UPLOAD_MOVED_ON', `The upload ${upload.id} is at ${size}: ${upload.offset} was expected`)
    }
    const sink = file.createWriteStream({ start: size, highWaterMark: WRITE_BUFFER_BYTES, flush: this.#sync === 'append' })
    const closed = new Promise((resolve) => sink.once('close', resolve))
    try {
      await pipeline(body, sink, options)
    } catch (error) {
      throw options.signal?.aborted ? options.signal.reason : asStoreFull(error)
    } finally {
      await closed // a write may outlive the pipeline; nobody else may write before it has ended
    }
    const offset = size + sink.bytesWritten
    if (offset === upload.length && this.#sync === 'finish') await this.#flush(upload.id)
    return offset
  }

  /** Takes back what was appended behind `offset`. */
  async truncate(upload: StoredUpload, offset: number): Promise<void> {
    await truncate(this.#dataPath(upload.id), offset)
  }

  /** Removes the upload. It is gone when its sidecar is; removing what is gone is no error. */
  async terminate(upload: StoredUpload): Promise<void> {
    const dataPath = this.#dataPath(upload.id)
    await rm(`${dataPath}.info`, { force: true })
    await rm(dataPath, { force: true })
  }

  #dataPath(id: string): string {
    if (!ID_PATTERN.test(id)) throw new TypeError(`Cannot name an upload as its id must match ${ID_PATTERN}: received ${JSON.stringify(id)}`)
    return join(this.directory, id)
  }

  async #writeSidecar(sidecar: Sidecar): Promise<void> {
    const path = `${this.#dataPath(sidecar.ID)}.info`
    const temporaryPath = `${path}.${randomBytes(6).toString('hex')}.tmp`
    const file = await open(temporaryPath, WRITE_NEW, 0o600)
    try {
      await file.writeFile(JSON.stringify(sidecar))
      if (this.#sync === 'append') await file.sync()
      await file.close()
      await rename(temporaryPath, path)
    } catch (error) {
      await file.close().catch(() => {}) // it is closed already if the rename failed
      await rm(temporaryPath, { force: true })
      throw error
    }
    if (this.#sync === 'append') await this.#syncDirectory()
  }

  /** Makes a complete upload survive a power failure: bytes, sidecar and the directory that names them. */
  async #flush(id: string): Promise<void> {
    const dataPath = this.#dataPath(id)
    await Promise.all([syncPath(dataPath), syncPath(`${dataPath}.info`), this.#syncDirectory()])
  }

  async #syncDirectory(): Promise<void> {
    if (process.platform !== 'win32') await syncPath(this.directory) // there, a directory cannot be opened
  }
}

/** The text of a file; `undefined` if it is not there. */
async function readText(path: string): Promise<string | undefined> {
  let file
  try {
    file = await open(path, READ)
    return await file.readFile('utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  } finally {
    await file?.close()
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, READ)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Reads a sidecar, of this store or of tusd; `undefined` for anything else. */
function parseSidecar(text: string): Sidecar | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(value)) return undefined
  const { ID, Size, SizeIsDeferred = false, MetaData, Longhaul } = value as Record<keyof Sidecar, unknown>
  if (typeof ID !== 'string' || typeof SizeIsDeferred !== 'boolean') return undefined
  if (!SizeIsDeferred && !(Number.isSafeInteger(Size) && (Size as number) >= 0)) return undefined
  if (!(MetaData === null || MetaData === undefined || isRecord(MetaData))) return undefined
  if (!Object.values(MetaData ?? {}).every((entry) => typeof entry === 'string')) return undefined
  if (Longhaul !== undefined && !(isRecord(Longhaul) && isOptionalString(Longhaul['encodedMetadata']))) return undefined
  return { ...(value as unknown as Sidecar), SizeIsDeferred, MetaData: (MetaData ?? {}) as Sidecar['MetaData'] }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isOptionalString(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code
}

/** Disk, quota, or the file system's limit on one file: in each case the store takes no more. */
function asStoreFull(error: unknown): unknown {
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(String(codeOf(error)))
  return full ? new FileStoreError('STORE_FULL', 'There is no space left to store uploads', error) : error
}
