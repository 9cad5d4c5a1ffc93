// SPDX-License-Identifier: MIT

/**
 * Uploads as files that survive a crash.
 *
 * An upload is two files: `<id>` holds its bytes, `<id>.info` describes it in the JSON of tusd's
 * filestore, so that a directory can move from tusd to here and back. A directory of
 * @tus/file-store, with its `<id>.json`, is read as it stands.
 *
 * Design. There is no counter to fall out of step with the data: the offset *is* the size of the
 * data file, so every byte that reached the file counts, whichever process crashed. An upload
 * exists when its sidecar does. The sidecar is written under a temporary name; then the data file is
 * made exclusively, which reserves the id; then the sidecar gets its name, so it is there whole or
 * not at all, and the same whenever it changes. Removal goes the other way round. What a crash can
 * leave behind is a file that no sidecar names; `removeLeftovers` knows what those look like. It may
 * be wrong about a process that was stopped for an hour, and so takes temporary sidecars first:
 * without its own, nobody can complete an upload whose data file is taken next.
 *
 * Bytes that wait for a verdict, as a checksum gives, are the one exception to "the offset is the
 * size": before they are written the sidecar says where they begin, and until it says otherwise
 * nothing behind that mark counts.
 *
 * A power failure is not like a crash: the system writes back in an order of its own, so a file may
 * have grown over bytes that never reached the device. With `sync: 'append'` the sidecar therefore
 * says how far the data were flushed, and in which boot of the machine: after another boot, nothing
 * behind that counts; in the same one, a crash was of a process only, and the size is right.
 *
 * Whatever came while one `writev` was under way goes to the disk in the next. It is not Node's own
 * stream that does so: what a `writev` leaves over, as it may where the disk becomes full, that one
 * writes behind the place where it belongs (measured on 20 to 26).
 *
 * Who calls a method that changes an upload holds its lock: writers are not kept apart here. Locks in
 * memory do not reach another process, so each process leaves a mark in `.in-use` before it looks for
 * those of others: of two that start at once, one at least finds the other. A mark names a process, and
 * counts as long as that lives; there is nothing to be refreshed, and nothing to be removed at the end.
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { randomBytes, randomUUID } from 'node:crypto'
import { constants, createReadStream, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Stats } from 'node:fs'
import { copyFile, lstat, open, opendir, rename, rm, stat } from 'node:fs/promises'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { uptime } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'

/** How far an upload has come; the caller moves it on. */
export type StoredUploadState = 'receiving' | 'finishing' | 'finished' | 'rejected' | 'deactivated'

/** What makes an upload complete: that it has all its bytes, or that its client says so. */
export type StoredCompletion = 'at-length' | 'explicit'

/**
 * The digest of all bytes of an upload. While it is `receiving`, they must have it; later, they do.
 * Without `value`, somebody wants to know it.
 */
export interface StoredDigest {
  readonly algorithm: string
  /** In base64. */
  readonly value?: string | undefined
}

/** The answer that finishing an upload led to, kept so that it can be given again. */
export interface StoredOutcome {
  /** `undefined`: as usual. */
  readonly status?: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** An upload as the store knows it. */
export interface StoredUpload {
  readonly id: string
  /** Bytes stored so far, without those that wait for a verdict. */
  readonly offset: number
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata: ReadonlyMap<string, string>
  /** The metadata as the client encoded them, if they came that way. */
  readonly encodedMetadata: string | undefined
  readonly state: StoredUploadState
  readonly outcome: StoredOutcome | undefined
  /** Whether it is a part of other uploads. */
  readonly partial: boolean
  /** The ids of the uploads that this one is made of. */
  readonly parts: readonly string[] | undefined
  /** The parts as the client named them. */
  readonly encodedParts: string | undefined
  /** The most that it may grow to, if that was said when it was created. */
  readonly maxSize: number | undefined
  /** `undefined`: at its length. */
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
  readonly createdAt: Date
  /** When its bytes last changed. */
  readonly updatedAt: Date
  /** Where bytes that wait for a verdict begin, or would. */
  readonly verifiedOffset?: number | undefined
  /** Up to where a power failure takes nothing, if that was promised. */
  readonly flushed?: FlushMark | undefined
  /** Whether another server wrote its sidecar, so that the state is what its size suggests. */
  readonly foreign?: boolean | undefined
  /** When its bytes were moved out of the store. The record stays, and says that all of them had been stored. */
  readonly movedAt?: Date | undefined
}

/** How far data were flushed to the device. */
export interface FlushMark {
  readonly offset: number
  /** The boot in which they were; `undefined` if the system does not tell. */
  readonly boot?: string | undefined
}

/** What {@link FileStore.create} is given. */
export interface NewStoredUpload {
  /** Default: 128 random bits. Must match `^[A-Za-z0-9_-]{1,128}$`. */
  readonly id?: string | undefined
  /** Bytes in all; `undefined` if that is not known yet. */
  readonly length: number | undefined
  readonly metadata?: ReadonlyMap<string, string> | undefined
  readonly encodedMetadata?: string | undefined
  readonly partial?: boolean | undefined
  readonly parts?: readonly string[] | undefined
  readonly encodedParts?: string | undefined
  readonly maxSize?: number | undefined
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
}

/**
 * - `UPLOAD_EXISTS`: the id is taken.
 * - `UPLOAD_CORRUPT`: the sidecar cannot be read as one, or does not fit the data.
 * - `UPLOAD_MOVED_ON`: the upload has another offset than the one that was to be continued.
 * - `STORE_FULL`: the disk or the quota is full; what fitted is kept.
 * - `STORE_IN_USE`: another process uses the directory, and not both have said `shared: true`.
 */
export type FileStoreErrorCode = 'UPLOAD_EXISTS' | 'UPLOAD_CORRUPT' | 'UPLOAD_MOVED_ON' | 'STORE_FULL' | 'STORE_IN_USE'

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
   * When data is flushed to the device, which decides what a power failure can take. A crash of the
   * process takes nothing, whichever it is. Default: `'finish'`.
   *
   * - `'append'`: before each append is acknowledged. A power failure takes no byte of which an offset
   *   told, and leaves none that is not the client's. If flushing fails, the bytes are taken back.
   * - `'finish'`: when an upload leaves the state `receiving`. Until then it may lose bytes, and where
   *   the file system writes back in another order than it was written to, have zeros among them.
   * - `'none'`: whenever the system likes. The only one that works under the permission
   *   model of Node 26 and 24.22.3, which allows no `fsync`; the others fail there when they flush.
   */
  readonly sync?: 'none' | 'finish' | 'append' | undefined
  /**
   * Says that other processes, or other stores of this one, use the directory too: locks have to reach
   * them, and what is known of an upload is read again each time. Unless all processes say so, the
   * constructor throws `STORE_IN_USE` in the second one. It does not see a process on another host
   * or in another container, and does not tell apart stores of one process, worker threads included.
   * Default: false.
   */
  readonly shared?: boolean | undefined
  /**
   * How much memory the bytes of all appends together may take while they wait to be written, in
   * bytes. When it is used up, bodies are not read until something was written; then they go on in
   * order of arrival. Each body may bring one chunk more, and Node holds some 128 KiB of each that
   * is not read. At least 1 MiB. Default: 268435456.
   */
  readonly maxBufferedBytes?: number | undefined
  /**
   * Permissions of files that are made here, as far as the umask of the process grants them. The owner must
   * be able to read and write. Default: 0o600.
   */
  readonly fileMode?: number | undefined
  /** The same for directories that are made here; their owner must have all three permissions. Default: 0o700. */
  readonly directoryMode?: number | undefined
}

/** Options of {@link FileStore.append}. */
export interface AppendOptions {
  /** Stops; what was written stays. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** Told now and then, while bytes come, up to which offset they are as safe as if `append` had resolved. Must not throw. Default: none. */
  readonly onProgress?: ((offset: number) => void) | undefined
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
  readonly Storage: Readonly<Record<string, unknown>>
  readonly Longhaul?: LonghaulSidecar | undefined
}

interface LonghaulSidecar {
  readonly version: 1
  readonly state: StoredUploadState
  readonly createdAt: string
  readonly encodedMetadata?: string | undefined
  readonly encodedParts?: string | undefined
  readonly maxSize?: number | undefined
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
  readonly verifiedOffset?: number | undefined
  readonly flushed?: FlushMark | undefined
  readonly outcome?: StoredOutcome | undefined
  /** Counts only when the data file is gone. */
  readonly movedAt?: string | undefined
}

/** A sidecar that does not count yet, and its length in characters. */
interface TemporarySidecar {
  readonly path: string
  readonly size: number
}

const SYNCS: readonly unknown[] = ['none', 'finish', 'append']
const STATES: readonly unknown[] = ['receiving', 'finishing', 'finished', 'rejected', 'deactivated']
const ID_PATTERN = /^[A-Za-z0-9_-]{1,128}$/
const RANDOM_ID = /^[0-9a-f]{32}$/
/** What may be in the directory: data, a sidecar, one that is being written, one whose upload is being removed. */
const FILE_PATTERN = /^([A-Za-z0-9_-]{1,128})(|\.info|\.json|\.info\.[0-9a-f]{12}\.tmp|\.info\.gone)$/
/** What waits goes to the disk in one call, up to this size. */
const WRITE_BUFFER_BYTES = 1024 * 1024
/** And of so many buffers: each costs some 300 bytes beside its own, and the system takes no more in one call. */
const WRITE_BUFFERS = 1024
/** Chunks below this size are joined. */
const SMALL_CHUNK_BYTES = 1024
/** What they are joined in. */
const SLAB_BYTES = 16 * 1024
/** What Node reads from a socket at a time: a chunk may be a small part of it, and keeps all of it in memory. */
const SOCKET_READ_BYTES = 64 * 1024
/** What a reader reads at a time, and holds while nobody takes it. */
const READ_BUFFER_BYTES = 64 * 1024
/** Most sidecars fit; what is larger is read in pieces. */
const SIDECAR_BUFFER_BYTES = 4096
/** No client can make one so large; nor can we, as a character takes at most three bytes. */
const SIDECAR_MAX_BYTES = 3 * 1024 * 1024
/** How many sidecars are kept in memory, of at most the size above. */
const REMEMBERED_SIDECARS = 1000
/** The least time between two flushes that an append makes only to tell of its progress, in milliseconds. */
const PROGRESS_FLUSH_MS = 1000
/** What was left by a crash is this old, in milliseconds: younger files may still be at work. */
const LEFTOVER_AGE_MS = 3_600_000
/** Where processes say that they use the directory. No upload can have this name. */
const MARKS = '.in-use'
/** A process, when it started, in which boot, and whether others may use the directory too. */
const MARK_PATTERN = /^([1-9][0-9]{0,9})_([0-9]*)_([0-9a-f-]*)\.(alone|shared)$/
/** A link planted in the directory is not followed, and a planted pipe not waited for. Windows has no such flags. */
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0
const READ = constants.O_RDONLY | NO_FOLLOW | (constants.O_NONBLOCK ?? 0)
const WRITE = constants.O_WRONLY | NO_FOLLOW
const WRITE_NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW

/**
 * Keeps uploads in one directory.
 *
 * 1. `create` makes an empty upload; `find` tells how far it has come.
 * 2. `append` writes a body behind what is there, and resolves with the new offset once every
 *    byte is in the file. Whatever interrupts it, bytes that reached the file stay and count.
 *    `appendVerified` does the same for a body that counts as a whole or not at all.
 * 3. `setLength`, `setState` and `setDigest` change what is said of an upload, durably and at once;
 *    `flush` makes sure of bytes that a crash left behind an append.
 * 4. `read` returns its bytes, `list` the ids of all uploads, `terminate` removes one.
 *
 * `moveTo` takes the bytes of a finished upload out of the store, and keeps its record.
 *
 * Files are readable by their owner only, unless `fileMode` and `directoryMode` say otherwise. A path
 * in a sidecar is never followed, nor is a symbolic link.
 *
 * It does not lock, limit sizes, or delete anything by itself.
 *
 * @throws {TypeError} for an id that does not match `^[A-Za-z0-9_-]{1,128}$`, from every method that touches its
 * files, and for an unknown `sync`; {@link RangeError} for a number out of bounds;
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
  readonly shared: boolean
  readonly #sync: 'none' | 'finish' | 'append'
  readonly #fileMode: number
  readonly #budget: WriteBudget
  /** Uploads whose flush failed, and up to where they are safe, until the rest was taken back. */
  readonly #doubtful = new Map<string, number>()
  /** Sidecars as they were last written here, the oldest first. What is only read is not kept: somebody may be writing it. */
  readonly #written = new Map<string, Sidecar>()
  /** The last of the changes that a sidecar waits for, by id. */
  readonly #turns = new Map<string, Promise<void>>()
  #boot: Promise<string | undefined> | undefined

  constructor(directory: string, options: FileStoreOptions = {}) {
    this.directory = resolve(directory)
    this.shared = options.shared ?? false
    this.#sync = options.sync ?? 'finish'
    if (!SYNCS.includes(this.#sync)) throw new TypeError(`Cannot flush data as sync must be none, finish or append: received ${this.#sync}`)
    this.#budget = new WriteBudget(options.maxBufferedBytes ?? 256 * 1024 * 1024)
    this.#fileMode = permissions('fileMode', options.fileMode ?? 0o600, 0o600)
    const mode = permissions('directoryMode', options.directoryMode ?? 0o700, 0o700)
    mkdirSync(this.directory, { recursive: true, mode })
    const other = otherUser(join(this.directory, MARKS), this.shared, mode)
    if (other === undefined) return
    const advice = `set shared: true in each process, and give each locks that reach the others`
    const doubt = `if there is no such process, remove ${other.path}`
    throw new FileStoreError('STORE_IN_USE', `The directory ${this.directory} is in use by process ${other.pid}: ${advice} (${doubt})`)
  }

  /** Makes an upload without bytes. */
  async create(upload: NewStoredUpload): Promise<StoredUpload> {
    const { id = randomBytes(16).toString('hex'), length, metadata = new Map(), encodedMetadata } = upload
    const { partial = false, parts, encodedParts, maxSize, completion, digest } = upload
    const createdAt = new Date()
    const sidecar: Sidecar = {
      ID: id,
      Size: length ?? 0,
      SizeIsDeferred: length === undefined,
      Offset: 0,
      MetaData: Object.fromEntries(metadata),
      IsPartial: partial,
      IsFinal: parts !== undefined,
      PartialUploads: parts ?? null,
      Storage: { Type: 'filestore' },
      Longhaul: { version: 1, state: 'receiving', createdAt: createdAt.toISOString(), encodedMetadata, encodedParts, maxSize, completion, digest, flushed: await this.#markAt(0) },
    }
    const dataPath = this.#dataPath(id)
    const isTaken = (cause?: unknown): FileStoreError =>
      new FileStoreError('UPLOAD_EXISTS', `The upload ${id} exists already`, cause)
    // One whose bytes were moved has no data file that would say so. An id of 128 random bits is new.
    if (!RANDOM_ID.test(id) && (await statOf(`${dataPath}.info`))) throw isTaken()
    // Half of what a sidecar may have is for what comes later.
    const temporary = await this.#writeTemporary(id, sidecar, SIDECAR_MAX_BYTES / 6)
    try {
      await (await open(dataPath, WRITE_NEW, this.#fileMode)).close()
    } catch (error) {
      await rm(temporary.path, { force: true })
      if (codeOf(error) === 'EEXIST') throw isTaken(error)
      throw asStoreFull(error)
    }
    try {
      await rename(temporary.path, `${dataPath}.info`)
    } catch (error) {
      // If it was taken as left over, then the data file is taken as well, and the id may be another's.
      await rm(temporary.path).then(() => rm(dataPath, { force: true }), () => {})
      throw asStoreFull(error)
    }
    try {
      await this.#completeSidecar(id, sidecar, temporary.size)
    } catch (error) {
      await rm(`${dataPath}.info`, { force: true }).catch(() => {})
      await rm(dataPath, { force: true }) // last, as it keeps the id
      throw error
    }
    return describe(sidecar, 0, createdAt, createdAt)
  }

  /** The upload as it is now, or `undefined` if there is none of that id. */
  async find(id: string): Promise<StoredUpload | undefined> {
    const sidecar = await this.#sidecarOf(id)
    if (!sidecar) return undefined
    // The data comes second: what the sidecar says of them was true before, and offsets only grow.
    const file = await statOf(this.#dataPath(id))
    if (!file) {
      this.#written.delete(id)
      const left = await this.#readSidecar(id)
      if (!left) return undefined // it was removed in between, or by somebody else
      const moved = describeMoved(left)
      if (moved) return moved
    }
    if (!file?.isFile()) throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has a sidecar and no data`)
    const { flushed } = sidecar.Longhaul ?? {}
    // A cut lowers the mark first, so that one that is read again can only be too high if bytes are lost.
    const hasLost = flushed !== undefined && file.size < flushed.offset && file.size < ((await this.#markOf(id))?.offset ?? 0)
    const survived = flushed && !(await this.#isOfThisBoot(flushed)) ? flushed.offset : Infinity
    const upload = describe(sidecar, Math.min(file.size, survived, this.#doubtful.get(id) ?? Infinity), file.birthtimeMs > 0 ? file.birthtime : file.mtime, file.mtime)
    const { offset, length, state } = upload
    const mustBeWhole = state === 'finishing' || state === 'finished'
    if (offset > (length ?? Infinity) || (mustBeWhole && offset !== length)) {
      throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has ${offset} bytes where its sidecar says ${length}`)
    }
    return hasLost && state === 'receiving' ? { ...upload, state: 'deactivated' } : upload
  }

  /**
   * Writes the body behind the bytes that are there, and resolves with the new offset.
   *
   * `upload` must be as `find` or `create` last returned it: another offset than the file's is
   * refused (`UPLOAD_MOVED_ON`), at first and, if the directory is shared, before each write. So a
   * process that lost the lock stops at the next one. Limit the body before it comes here. If the
   * body fails, or `signal` aborts, `append` rejects with that reason when no write is in progress.
   */
  async append(upload: StoredUpload, body: Readable, options: AppendOptions = {}): Promise<number> {
    await this.#begin(upload, undefined)
    const offset = await this.#write(upload, body, options)
    if (this.#sync === 'append' && offset > upload.offset) await this.#changeSidecar(upload, { flushed: await this.#flushTo(upload, offset) })
    return offset
  }

  /**
   * Writes the body, has `verify` judge it, and resolves with the new offset, or with the old one
   * if the verdict is no. Until then none of it counts, also after a crash.
   */
  async appendVerified(
    upload: StoredUpload,
    body: Readable,
    verify: () => boolean | Promise<boolean>,
    options: AppendOptions = {},
  ): Promise<number> {
    await this.#begin(upload, upload.offset)
    const offset = await this.#write(upload, body, { signal: options.signal })
    if (!(await verify())) {
      await this.#cut(upload.id, upload.offset)
      return upload.offset
    }
    await this.#changeSidecar(upload, { verifiedOffset: offset, flushed: await this.#flushTo(upload, offset, upload.offset) })
    return offset
  }

  /**
   * Makes sure of all bytes that count, before somebody is told of them: those of an append that did
   * not come to its end are not flushed yet. Does nothing unless `sync` is `'append'`.
   */
  async flush(upload: StoredUpload): Promise<void> {
    if (this.#sync !== 'append' || upload.movedAt || upload.flushed?.offset === upload.offset) return
    await this.#changeSidecar(upload, { flushed: await this.#flushTo(upload, upload.offset) })
  }

  /** Takes back what was appended behind `offset`. */
  async truncate(upload: StoredUpload, offset: number): Promise<void> {
    const mark = this.#sync === 'append' ? await this.#markOf(upload.id) : undefined
    // First, or a power failure that takes back the cut would bring back the bytes.
    if (mark && mark.offset > offset) await this.#changeSidecar(upload, { flushed: { ...mark, offset } })
    await this.#cut(upload.id, offset)
  }

  /** Says how many bytes the upload has in all. */
  async setLength(upload: StoredUpload, length: number): Promise<void> {
    await this.#changeSidecar(upload, {}, { Size: length, SizeIsDeferred: false })
  }

  /** Moves the upload on to another state, with the answer that goes with it. */
  async setState(upload: StoredUpload, state: StoredUploadState, outcome?: StoredOutcome): Promise<void> {
    if (state === 'receiving') return this.#changeSidecar(upload, { state, outcome })
    if (this.#sync === 'finish' && upload.state === 'receiving') await syncPath(this.#dataPath(upload.id))
    // A mark that was left behind would take bytes from what is complete.
    const mark = this.#sync === 'append' ? await this.#markOf(upload.id) : undefined
    const flushed = upload.movedAt || mark?.offset === upload.offset ? mark : await this.#flushTo(upload, upload.offset)
    const moved = upload.movedAt && { movedAt: upload.movedAt.toISOString() }
    await this.#changeSidecar(upload, { state, outcome, flushed, ...moved })
  }

  /**
   * Keeps a digest that was computed of all bytes, so that it need not be computed again. It takes
   * the place of one by another algorithm.
   *
   * @throws {TypeError} while the upload is `receiving`: there a digest with a value is what its bytes must have.
   */
  async setDigest(upload: StoredUpload, digest: StoredDigest): Promise<void> {
    if (upload.state === 'receiving') {
      throw new TypeError(`Cannot keep a digest as the upload ${upload.id} must not be receiving: its bytes may still change`)
    }
    await this.#changeSidecar(upload, { digest })
  }

  /** The bytes from `start` up to and without `end`. */
  read(upload: StoredUpload, range: { readonly start: number; readonly end: number }): Readable {
    const { start, end } = range
    if (start >= end) return Readable.from([])
    const flags = READ as unknown as string
    return createReadStream(this.#dataPath(upload.id), { flags, start, end: end - 1, highWaterMark: READ_BUFFER_BYTES })
  }

  /**
   * Moves the bytes of an upload to `path` and keeps its record, so that a client that has lost the
   * answer to its last request still finds the upload complete. Call it in `onFinish`.
   *
   * 1. The sidecar says that the bytes are to be moved.
   * 2. The data file is renamed, which is atomic. On another file system it is copied to `.<id>.tmp` beside
   *    `path`, flushed, renamed, and then removed here.
   * 3. Both directories are flushed, unless `sync` is `'none'`.
   *
   * It may be called later as well, in the process that serves the upload; in another, hold its lock.
   * After a crash, or if it rejects, call it again. It does nothing if the bytes were moved before,
   * wherever they are now. A file at `path` is replaced, and the folder must exist: choose a name that
   * nobody else has, such as the id. A file name that a client sent is not one.
   *
   * @throws {TypeError} if the upload is neither `finishing` nor `finished`, or is a part of others, or if
   * `path` is in the directory of the store; {@link FileStoreError} `UPLOAD_CORRUPT` if there are no bytes,
   * `STORE_FULL`; errors of `node:fs`.
   *
   * @example
   * ```ts
   * import { mkdir } from 'node:fs/promises'
   * import { FileStore } from 'longhaul/file-store'
   * import { tusHandler } from 'longhaul/tus'
   *
   * const store = new FileStore('./uploads')
   * await mkdir('./finished', { recursive: true })
   * tusHandler({ store, onFinish: (upload) => store.moveTo(upload, `./finished/${upload.id}`) })
   * ```
   */
  async moveTo(upload: StoredUpload, path: string): Promise<void> {
    const { id, state, partial } = upload
    if (partial || (state !== 'finishing' && state !== 'finished')) {
      const actual = partial ? 'a part' : state
      throw new TypeError(`Cannot move the upload ${id} as it must be finishing or finished, and no part of others: it is ${actual}`)
    }
    const dataPath = this.#dataPath(id)
    const target = resolve(path)
    if (!(await statOf(dataPath))) {
      if ((await this.#sidecarOf(id))?.Longhaul?.movedAt !== undefined) return
      throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has no data to be moved`)
    }
    // Compared as directories: through a link or a second mount, the path of the store looks like another.
    if (await isSameFolder(dirname(target), this.directory)) {
      throw new TypeError(`Cannot move the upload ${id} as the path must be outside of the store: received ${path}`)
    }
    await this.#changeSidecar(upload, { movedAt: new Date().toISOString() })
    await this.#renameOrCopy(dataPath, target, join(dirname(target), `.${id}.tmp`))
    if (this.#sync !== 'none') await syncDirectory(dirname(target))
    // It is still there after a copy, and if the target was a hard link to it, as rename does nothing then.
    await rm(dataPath, { force: true })
    if (this.#sync !== 'none') await syncDirectory(this.directory)
  }

  /** The ids of all uploads, in no order, while the directory is read; an id may come twice. */
  async *list(): AsyncGenerator<string, void, undefined> {
    for await (const { name } of await opendir(this.directory)) {
      const [, id, suffix] = FILE_PATTERN.exec(name) ?? []
      if (id !== undefined && (suffix === '.info' || suffix === '.json')) yield id
    }
  }

  /** Removes the upload. It is gone when its sidecar is; removing what is gone is no error. */
  terminate(upload: StoredUpload): Promise<void> {
    return this.#inTurn(upload.id, () => this.#remove(upload.id))
  }

  async #remove(id: string): Promise<void> {
    const dataPath = this.#dataPath(id)
    this.#written.delete(id)
    for (const suffix of ['.json', '.info']) { // in this order, as the first counts only without the second
      try {
        await rename(`${dataPath}${suffix}`, `${dataPath}.info.gone`) // should we crash now, this names the data as left over
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
      }
    }
    if (this.#sync === 'append') await syncDirectory(this.directory) // or a power failure could bring it back without its data
    await rm(dataPath, { force: true })
    await rm(`${dataPath}.info.gone`, { force: true })
    this.#doubtful.delete(id)
  }

  /**
   * Removes what crashes left behind more than an hour ago, and resolves with the number of files:
   * sidecars that were being written, data of an upload that was being created or removed. Data
   * that merely lack a sidecar stay: somebody may have put them there.
   */
  async removeLeftovers(): Promise<number> {
    const beforeMs = Date.now() - LEFTOVER_AGE_MS
    let removed = 0
    // In this order: whoever made a data file that goes then has lost its temporary sidecar before.
    for (const kind of ['temporary', 'other']) {
      for await (const { name } of await opendir(this.directory)) {
        const isTemporary = name.endsWith('.tmp')
        if (isTemporary !== (kind === 'temporary') || !(await this.#isLeftover(name, beforeMs))) continue
        await rm(join(this.directory, name), { force: true })
        removed++
      }
    }
    return removed
  }

  async #isLeftover(name: string, beforeMs: number): Promise<boolean> {
    const [, id, suffix = ''] = FILE_PATTERN.exec(name) ?? []
    if (id === undefined || suffix === '.info' || suffix === '.json') return false
    const dataPath = this.#dataPath(id)
    const exists = async (path: string): Promise<boolean> => (await statOf(path)) !== undefined
    const file = await statOf(join(this.directory, name))
    if (!file?.isFile() || file.ctimeMs > beforeMs) return false
    if (suffix === '.info.gone') return !(await exists(dataPath)) || exists(`${dataPath}.info`)
    if (suffix !== '') return true
    if ((await exists(`${dataPath}.info`)) || (await exists(`${dataPath}.json`))) return false
    return file.size === 0 || exists(`${dataPath}.info.gone`)
  }

  #dataPath(id: string): string {
    if (!ID_PATTERN.test(id)) throw new TypeError(`Cannot name an upload as its id must match ${ID_PATTERN}: received ${JSON.stringify(id)}`)
    return join(this.directory, id)
  }

  /**
   * Readies an upload for bytes behind its offset: takes away those that do not count, and has the
   * sidecar say from where on new ones do not either, until they are verified or flushed.
   */
  async #begin(upload: StoredUpload, verifiedOffset: number | undefined): Promise<void> {
    const { id, offset, flushed } = upload
    if (upload.verifiedOffset !== undefined || this.#doubtful.has(id) || (flushed && !(await this.#isOfThisBoot(flushed)))) await this.#cut(id, offset)
    const wanted = await this.#markAt(offset)
    const marked = flushed?.offset === wanted?.offset && flushed?.boot === wanted?.boot
    // A foreign upload gets a state before its size can suggest that it is finished.
    if (marked && !upload.foreign && upload.verifiedOffset === verifiedOffset) return
    await this.#changeSidecar(upload, { verifiedOffset, flushed: marked ? flushed : await this.#flushTo(upload, offset) })
  }

  /**
   * Flushes the data if each append is, and resolves with what the sidecar is to say of it. If that fails,
   * what is behind `safeOffset` does not count any more. Default: what was flushed before, if that is known.
   */
  async #flushTo(upload: StoredUpload, offset: number, safeOffset?: number): Promise<FlushMark | undefined> {
    if (this.#sync !== 'append') return undefined
    const { id } = upload
    try {
      await syncPath(this.#dataPath(id))
    } catch (error) {
      // Which bytes are missing is not known, and Linux says so only once: the next flush would succeed.
      const known = safeOffset ?? (await this.#markOf(id).catch(() => upload.flushed))?.offset
      if (known !== undefined) await this.#distrust(upload, Math.min(offset, known))
      throw error
    }
    return this.#markAt(offset)
  }

  async #markOf(id: string): Promise<FlushMark | undefined> {
    return (await this.#sidecarOf(id))?.Longhaul?.flushed
  }

  /** Sees that nothing behind the offset counts. A disk that fails may refuse this too, so each of the three is enough. */
  async #distrust(upload: StoredUpload, offset: number): Promise<void> {
    this.#doubtful.set(upload.id, offset)
    await this.#changeSidecar(upload, { flushed: { offset } }).catch(() => {}) // of no boot, so that only this counts
    await this.#cut(upload.id, offset).catch(() => {})
  }

  async #cut(id: string, offset: number): Promise<void> {
    const file = await open(this.#dataPath(id), WRITE)
    try {
      await file.truncate(offset)
      this.#doubtful.delete(id)
    } finally {
      await file.close()
    }
  }

  async #markAt(offset: number): Promise<FlushMark | undefined> {
    return this.#sync === 'append' ? { offset, boot: await this.#bootId() } : undefined
  }

  /** Without an id each boot counts as another: only what was flushed is safe. */
  async #isOfThisBoot({ boot }: FlushMark): Promise<boolean> {
    return boot !== undefined && boot === (await this.#bootId())
  }

  /** Linux tells; elsewhere, or where it must not be read, it is `undefined`. */
  #bootId(): Promise<string | undefined> {
    return (this.#boot ??= readText('/proc/sys/kernel/random/boot_id').then((text) => text?.trim(), () => undefined))
  }

  async #write(upload: StoredUpload, body: Readable, { signal, onProgress }: AppendOptions): Promise<number> {
    const file = await open(this.#dataPath(upload.id), WRITE)
    let offset = upload.offset
    const assertEndsHere = async (): Promise<void> => {
      const { size } = await file.stat()
      if (size !== offset) throw new FileStoreError('UPLOAD_MOVED_ON', `The upload ${upload.id} is at ${size}: ${offset} was expected`)
    }
    try {
      await assertEndsHere() // before the body is touched
      let flushedAtMs = performance.now()
      for await (const buffers of batchesOf(body, this.#budget, signal)) {
        signal?.throwIfAborted() // what was taken, and is not written yet, must not be any more
        if (this.shared) await assertEndsHere() // a lock may be lost for some time before its holder knows it
        for (let rest = buffers; rest.length > 0; ) {
          const { bytesWritten } = await file.writev(rest, offset)
          if (bytesWritten === 0) throw new Error('The system wrote nothing, and did not say why')
          offset += bytesWritten
          rest = behind(rest, bytesWritten)
        }
        if (onProgress && this.#sync === 'append') {
          if (performance.now() - flushedAtMs < PROGRESS_FLUSH_MS) continue
          await this.#changeSidecar(upload, { flushed: await this.#flushTo(upload, offset) }) // who is told of them may forget them
          flushedAtMs = performance.now()
        }
        onProgress?.(offset)
      }
    } catch (error) {
      throw signal?.aborted ? signal.reason : asStoreFull(error)
    } finally {
      await file.close()
    }
    // A file that somebody removed meanwhile took our bytes with it.
    if ((await statOf(this.#dataPath(upload.id)))?.size !== offset) {
      throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${upload.id} was removed or changed while bytes came`)
    }
    return offset
  }

  /** A copy that a crash left unfinished under the temporary name is replaced. */
  async #renameOrCopy(from: string, to: string, temporary: string): Promise<void> {
    try {
      return await rename(from, to)
    } catch (error) {
      if (codeOf(error) !== 'EXDEV') throw asStoreFull(error)
    }
    await rm(temporary, { force: true })
    try {
      await copyFile(from, temporary, constants.COPYFILE_EXCL)
      if (this.#sync !== 'none') await syncPath(temporary)
      // A second call, of a hook that nobody awaits or of a process that has the lock now, replaces this file.
      if ((await lstat(temporary)).size !== (await lstat(from)).size) throw new Error(`Cannot move ${from} as another call is copying it`)
      await rename(temporary, to)
    } catch (error) {
      await rm(temporary, { force: true })
      throw asStoreFull(error)
    }
  }

  /** From memory, where nobody else writes. */
  async #sidecarOf(id: string): Promise<Sidecar | undefined> {
    return this.#written.get(id) ?? (await this.#readSidecar(id))
  }

  async #readSidecar(id: string): Promise<Sidecar | undefined> {
    const path = this.#dataPath(id)
    const text = await readText(`${path}.info`)
    const foreignText = text === undefined ? await readText(`${path}.json`) : undefined
    if (text === undefined && foreignText === undefined) return undefined
    const sidecar = text !== undefined ? parseSidecar(text) : parseNodeSidecar(foreignText ?? '')
    if (sidecar?.ID !== id) throw new FileStoreError('UPLOAD_CORRUPT', `The sidecar of the upload ${id} cannot be read as one`)
    return sidecar
  }

  /** Changes what our part of the sidecar says; what others wrote into it stays. */
  #changeSidecar(upload: StoredUpload, changes: Partial<LonghaulSidecar>, others: Partial<Sidecar> = {}): Promise<void> {
    const { id, state, createdAt } = upload
    return this.#inTurn(id, async () => {
      const sidecar = await this.#sidecarOf(id)
      if (!sidecar) throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has lost its sidecar`)
      const before = sidecar.Longhaul ?? { version: 1, state, createdAt: createdAt.toISOString() }
      await this.#writeSidecar(id, { ...sidecar, ...others, Longhaul: { ...before, ...changes } })
    })
  }

  /**
   * Runs one change of a sidecar after the other. The lock would do that, but an application that calls `moveTo`
   * need not hold it, and may not even wait for it: what one of two changes says the other must not take back.
   */
  async #inTurn(id: string, change: () => Promise<void>): Promise<void> {
    const turn = this.#turns.get(id)?.then(change, change) ?? change()
    this.#turns.set(id, turn)
    try {
      await turn
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
  }

  async #writeSidecar(id: string, sidecar: Sidecar): Promise<void> {
    const temporary = await this.#writeTemporary(id, sidecar, SIDECAR_MAX_BYTES / 3)
    try {
      await rename(temporary.path, `${this.#dataPath(id)}.info`)
    } catch (error) {
      await rm(temporary.path, { force: true })
      throw asStoreFull(error)
    }
    await this.#completeSidecar(id, sidecar, temporary.size)
  }

  /** Writes a sidecar that does not count before it is renamed. */
  async #writeTemporary(id: string, sidecar: Sidecar, maxSize: number): Promise<TemporarySidecar> {
    const path = `${this.#dataPath(id)}.info.${randomUUID().slice(-12)}.tmp` // these are random
    const text = JSON.stringify(sidecar)
    if (text.length > maxSize) {
      throw new RangeError(`Cannot describe the upload ${id} as its sidecar must have at most ${maxSize} characters: it has ${text.length}`)
    }
    this.#written.delete(id) // until it is written for sure
    let file
    try {
      file = await open(path, WRITE_NEW, this.#fileMode)
      await file.writeFile(text)
      if (this.#syncsSidecar(sidecar)) await file.sync()
      await file.close()
    } catch (error) {
      await file?.close().catch(() => {})
      await rm(path, { force: true })
      throw asStoreFull(error)
    }
    return { path, size: text.length }
  }

  async #completeSidecar(id: string, sidecar: Sidecar, size: number): Promise<void> {
    if (this.#syncsSidecar(sidecar)) await syncDirectory(this.directory)
    const isHandedOver = sidecar.Longhaul?.state === 'finishing' // the application may now move or remove the files
    if (!this.shared && !isHandedOver && size <= SIDECAR_BUFFER_BYTES) this.#remember(id, sidecar)
  }

  #syncsSidecar({ Longhaul }: Sidecar): boolean {
    return this.#sync === 'append' || (this.#sync === 'finish' && Longhaul?.state !== 'receiving')
  }

  #remember(id: string, sidecar: Sidecar): void {
    this.#written.set(id, sidecar)
    const [oldest] = this.#written.keys()
    if (oldest !== undefined && this.#written.size > REMEMBERED_SIDECARS) this.#written.delete(oldest)
  }
}

/** What bytes that wait to be written may take, of all appends together: each is bounded, their sum would not be. */
class WriteBudget {
  readonly #maxBytes: number
  #heldBytes = 0
  /**
   * What resumes the bodies that wait for room, in order of arrival. While there are any, bytes are
   * held, and they are written without any client's help: so room will come.
   */
  readonly #waiting = new Set<() => void>()

  constructor(maxBytes: number) {
    if (!(Number.isSafeInteger(maxBytes) && maxBytes >= WRITE_BUFFER_BYTES)) {
      throw new RangeError(`Cannot hold bytes to be written as maxBufferedBytes must be a whole number from ${WRITE_BUFFER_BYTES}: received ${maxBytes}`)
    }
    this.#maxBytes = maxBytes
  }

  get isSpent(): boolean {
    return this.#heldBytes >= this.#maxBytes
  }

  hold(bytes: number): void {
    this.#heldBytes += bytes
  }

  /** Resumes those that wait, as many as there is room for, or all if nobody is left who could make room. */
  release(bytes: number): void {
    this.#heldBytes -= bytes
    let room = this.#maxBytes - this.#heldBytes
    for (const resume of this.#waiting) {
      if (room <= 0 && this.#heldBytes > 0) return
      room -= SOCKET_READ_BYTES
      this.#waiting.delete(resume)
      resume()
    }
  }

  resumeInTurn(resume: () => void): void {
    if (this.isSpent || this.#waiting.size > 0) this.#waiting.add(resume)
    else resume()
  }

  forget(resume: () => void): void {
    this.#waiting.delete(resume)
  }
}

/** Chunks that go to the disk in one call. Small ones are copied together, so that what they take is counted in bytes. */
class Batch {
  readonly #buffers: Uint8Array[] = []
  #chunks = 0
  #bytes = 0
  #lastMemory: ArrayBufferLike | undefined
  #slab = Buffer.alloc(0)
  /** Where in the slab the bytes are that are not in a buffer yet. */
  #from = 0
  #to = 0

  get isFull(): boolean {
    return this.#bytes >= WRITE_BUFFER_BYTES || this.#buffers.length >= WRITE_BUFFERS
  }

  get isEmpty(): boolean {
    return this.#chunks === 0
  }

  /** What it takes of memory, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns what the chunk costs, in bytes of memory. */
  add(chunk: Uint8Array): number {
    // The first is kept as it is, and mostly is the only one.
    const cost = this.#chunks > 0 && chunk.length < SMALL_CHUNK_BYTES ? this.#join(chunk) : this.#keep(chunk)
    this.#chunks++
    this.#bytes += cost
    return cost
  }

  take(): readonly Uint8Array[] {
    this.#closeRun()
    return this.#buffers
  }

  #keep(chunk: Uint8Array): number {
    this.#closeRun()
    this.#buffers.push(chunk)
    const { buffer: memory } = chunk
    const isCounted = memory === this.#lastMemory
    this.#lastMemory = memory
    return isCounted ? chunk.length : Math.max(chunk.length, Math.min(memory.byteLength, SOCKET_READ_BYTES))
  }

  #join(chunk: Uint8Array): number {
    const isFull = this.#to + chunk.length > this.#slab.length
    if (isFull) {
      this.#closeRun()
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#from = this.#to = 0
    }
    this.#slab.set(chunk, this.#to)
    this.#to += chunk.length
    return isFull ? SLAB_BYTES : 0
  }

  #closeRun(): void {
    if (this.#to > this.#from) this.#buffers.push(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}

/**
 * Yields what a body brings, all at once that came since the last time, and holds it back when that is much, or when
 * the budget is spent. Throws as the body or the signal says, when all that came before was taken.
 */
async function* batchesOf(
  body: Readable,
  budget: WriteBudget,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly Uint8Array[], void, undefined> {
  let batch = new Batch()
  let heldBytes = 0
  let wake: (() => void) | undefined
  const resume = (): void => void body.resume()
  const take = (chunk: unknown): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    if (!(bytes instanceof Uint8Array)) {
      body.destroy(new TypeError(`Cannot append the body as it must be of bytes: received ${typeof chunk}`))
      return
    }
    if (bytes.length === 0) return
    const cost = batch.add(bytes)
    heldBytes += cost
    budget.hold(cost)
    if (batch.isFull || budget.isSpent) body.pause()
    wake?.()
  }
  let ended = false
  const leave = (): void => {
    ended = true
    body.off('data', take)
    budget.forget(resume)
    if (!body.readableEnded) body.destroy()
    wake?.()
  }
  const over = finished(body, { signal, writable: false }).finally(leave)
  over.catch(() => {}) // it is awaited when all was taken
  body.pause().on('data', take)
  budget.resumeInTurn(resume)
  try {
    for (;;) {
      if (!batch.isEmpty) {
        const full = batch
        batch = new Batch()
        if (body.isPaused()) budget.resumeInTurn(resume)
        yield full.take()
        heldBytes -= full.bytes
        budget.release(full.bytes)
      } else if (ended) {
        return await over
      } else {
        await new Promise<void>((resolve) => (wake = resolve))
        await new Promise((resolve) => setImmediate(resolve)) // what arrived together is written together
      }
    }
  } finally {
    leave()
    budget.release(heldBytes)
  }
}

/** What is left of the buffers behind so many bytes. */
function behind(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  return buffers.flatMap((buffer) => {
    const rest = buffer.subarray(Math.min(skip, buffer.length))
    skip -= buffer.length - rest.length
    return rest.length > 0 ? [rest] : []
  })
}

/** What a sidecar and its data say together. */
function describe(sidecar: Sidecar, size: number, madeAt: Date, updatedAt: Date): StoredUpload {
  const { ID: id, Size, SizeIsDeferred, MetaData, IsPartial: partial, PartialUploads, Longhaul } = sidecar
  const length = SizeIsDeferred ? undefined : Size
  const offset = Math.min(size, Longhaul?.verifiedOffset ?? size)
  return {
    id,
    offset,
    length,
    metadata: new Map(Object.entries(MetaData)),
    encodedMetadata: Longhaul?.encodedMetadata,
    state: Longhaul?.state ?? (offset === length ? 'finished' : 'receiving'), // the others know no more than that
    outcome: Longhaul?.outcome,
    partial,
    parts: PartialUploads ?? undefined,
    encodedParts: Longhaul?.encodedParts,
    maxSize: Longhaul?.maxSize,
    completion: Longhaul?.completion,
    digest: Longhaul?.digest,
    createdAt: Longhaul ? new Date(Longhaul.createdAt) : madeAt,
    updatedAt,
    verifiedOffset: Longhaul?.verifiedOffset,
    flushed: Longhaul?.flushed,
    foreign: Longhaul === undefined,
  }
}

/**
 * What a sidecar says by itself when its data are gone: they were moved, or taken by the application, which
 * has had them since the upload was `finishing`. `undefined` if neither can be.
 */
function describeMoved(sidecar: Sidecar): StoredUpload | undefined {
  const { state, movedAt: moment } = sidecar.Longhaul ?? {}
  if (sidecar.SizeIsDeferred || (moment === undefined && state !== 'finishing')) return undefined
  const movedAt = moment === undefined ? new Date() : new Date(moment)
  return { ...describe(sidecar, sidecar.Size, movedAt, movedAt), movedAt }
}

/**
 * Leaves a mark of this process, and finds another that lives and with which the directory must not
 * be shared. In this order, or two could miss each other. Where no mark can be written, nothing is
 * found: the first upload will fail there.
 */
function otherUser(folder: string, shared: boolean, mode: number): { readonly pid: number; readonly path: string } | undefined {
  const self = { pid: process.pid, started: startOf(process.pid), boot: readAtOnce('/proc/sys/kernel/random/boot_id').trim() }
  const name = `${self.pid}_${self.started}_${self.boot}`
  const path = join(folder, `${name}.${shared ? 'shared' : 'alone'}`)
  let isNew = false
  try {
    mkdirSync(folder, { recursive: true, mode }) // whoever may write uploads must be seen here
    if (!lstatSync(folder).isDirectory()) return undefined
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
    isNew = true
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return undefined // or another store of this process has said the same
  }
  for (const found of namesIn(folder)) {
    const [, pid = '', started = '', boot = '', use] = MARK_PATTERN.exec(found) ?? []
    if (pid === '' || found.startsWith(`${name}.`)) continue
    const foundPath = join(folder, found)
    const isDead = boot !== '' && self.boot !== '' ? boot !== self.boot : isOlderThanBoot(foundPath)
    if (isDead || Number(pid) === self.pid || !isAlive(Number(pid), started)) removeAtOnce(foundPath)
    else if (!shared || use === 'alone') {
      if (isNew) removeAtOnce(path)
      return { pid: Number(pid), path: foundPath }
    }
  }
  return undefined
}

/** Whether the process of a mark is there still: its number may have been given to another. */
function isAlive(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return false // it is there, and another user's
  }
  const since = startOf(pid)
  return since === '' || started === '' || since === started
}

/**
 * When a process started, in ticks since the boot; empty where the system does not tell. A process
 * that has ended and was not waited for (a zombie) has no start that any other has.
 */
function startOf(pid: number): string {
  const [state = '', ...fields] = readAtOnce(`/proc/${pid}/stat`).replace(/^.*\) /s, '').split(' ') // its name may hold anything
  return state === 'Z' ? '0' : (fields[18] ?? '')
}

function isOlderThanBoot(path: string): boolean {
  try {
    return lstatSync(path).mtimeMs < Date.now() - uptime() * 1000
  } catch {
    return true // its process is gone, and somebody has removed it
  }
}

function readAtOnce(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return '' // not on this system, or not allowed
  }
}

function removeAtOnce(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // it means nothing, whoever finds it
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** The text of a file; `undefined` if it is not there. */
async function readText(path: string): Promise<string | undefined> {
  let file
  try {
    file = await open(path, READ)
    const pieces: Buffer[] = []
    for (let size = 0; size <= SIDECAR_MAX_BYTES; ) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(SIDECAR_BUFFER_BYTES))
      size += bytesRead
      pieces.push(buffer.subarray(0, bytesRead))
      if (bytesRead < SIDECAR_BUFFER_BYTES) return Buffer.concat(pieces).toString('utf8')
    }
    throw new FileStoreError('UPLOAD_CORRUPT', 'A sidecar is too large to be one')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) === 'ELOOP' || codeOf(error) === 'EISDIR') throw new FileStoreError('UPLOAD_CORRUPT', 'A sidecar is not a file', error)
    throw error
  } finally {
    await file?.close()
  }
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whether two paths lead to one directory. */
async function isSameFolder(path: string, other: string): Promise<boolean> {
  const [one, two] = await Promise.all([stat(path, { bigint: true }), stat(other, { bigint: true })])
  return one.ino === two.ino && one.dev === two.dev
}

async function syncPath(path: string, flags: number = READ): Promise<void> {
  const file = await open(path, flags)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return // there, a directory cannot be opened
  await syncPath(path, constants.O_RDONLY) // the directory itself may well be a link
}

/** Reads a sidecar, of this store or of tusd; `undefined` for anything else. */
function parseSidecar(text: string): Sidecar | undefined {
  const value = parseRecord(text)
  const { ID, Size, SizeIsDeferred = false, MetaData, IsPartial = false, PartialUploads, Longhaul } = (value ?? {}) as Record<keyof Sidecar, unknown>
  const metadata = MetaData ?? {}
  const parts = PartialUploads ?? null
  if (typeof ID !== 'string' || typeof SizeIsDeferred !== 'boolean' || typeof IsPartial !== 'boolean') return undefined
  if (!SizeIsDeferred && !isByteCount(Size)) return undefined
  if (!isRecord(metadata) || !Object.values(metadata).every((entry) => typeof entry === 'string')) return undefined
  if (!(parts === null || (Array.isArray(parts) && parts.every((part) => typeof part === 'string' && ID_PATTERN.test(part))))) return undefined
  if (!(Longhaul === undefined || isLonghaulSidecar(Longhaul))) return undefined
  // tusd writes an empty list for uploads that are no concatenation.
  const partialUploads = (value as unknown as Sidecar).IsFinal === true ? (parts as readonly string[] | null) : null
  return { ...(value as unknown as Sidecar), SizeIsDeferred, MetaData: metadata as Sidecar['MetaData'], IsPartial, PartialUploads: partialUploads }
}

/** Reads a sidecar of @tus/file-store; `undefined` for anything else. */
function parseNodeSidecar(text: string): Sidecar | undefined {
  const { id, size, metadata } = parseRecord(text) ?? {}
  if (typeof id !== 'string' || !(size === undefined || isByteCount(size)) || !(metadata === undefined || metadata === null || isRecord(metadata))) return undefined
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, typeof value === 'string' ? value : ''] as const)
  return {
    ID: id,
    Size: size ?? 0,
    SizeIsDeferred: size === undefined,
    Offset: 0,
    MetaData: Object.fromEntries(entries),
    IsPartial: false,
    IsFinal: false,
    PartialUploads: null,
    Storage: { Type: 'filestore' },
  }
}

function isLonghaulSidecar(value: unknown): value is LonghaulSidecar {
  if (!isRecord(value)) return false
  const { version, state, createdAt, encodedMetadata, encodedParts, maxSize, completion, digest, verifiedOffset, flushed, outcome, movedAt } = value
  return (
    version === 1 && STATES.includes(state) && isDate(createdAt) && (movedAt === undefined || isDate(movedAt)) &&
    [encodedMetadata, encodedParts].every((entry) => entry === undefined || isHeader('Upload-Metadata', entry)) &&
    [maxSize, verifiedOffset].every((entry) => entry === undefined || isByteCount(entry)) &&
    [undefined, 'at-length', 'explicit'].includes(completion as string | undefined) &&
    (digest === undefined || (isRecord(digest) && typeof digest['algorithm'] === 'string' && ['undefined', 'string'].includes(typeof digest['value']))) &&
    (flushed === undefined || (isRecord(flushed) && isByteCount(flushed['offset']) && ['undefined', 'string'].includes(typeof flushed['boot']))) &&
    (outcome === undefined || isOutcome(outcome))
  )
}

function isOutcome(value: unknown): value is StoredOutcome {
  if (!isRecord(value)) return false
  const { status, headers, body } = value
  const isFinal = status === undefined || (Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599)
  return isFinal && typeof body === 'string' && isRecord(headers) && Object.entries(headers).every(([name, content]) => isHeader(name, content))
}

/** Whether it can be sent. */
function isHeader(name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value as string)
    return typeof value === 'string'
  } catch {
    return false
  }
}

function isDate(value: unknown): value is string {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function parseRecord(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @throws {RangeError} unless it grants what is needed, and nothing but permissions. */
function permissions(name: string, mode: number, needed: number): number {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o777 && (mode & needed) === needed) return mode
  throw new RangeError(`Cannot make files as ${name} must be permissions from 0o${needed.toString(8)} to 0o777: received ${mode}`)
}

function isByteCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code
}

/** Disk, quota, or the file system's limit on one file: in each case the store takes no more. */
function asStoreFull(error: unknown): unknown {
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(String(codeOf(error)))
  return full ? new FileStoreError('STORE_FULL', 'There is no space left to store uploads', error) : error
}
