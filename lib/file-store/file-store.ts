// SPDX-License-Identifier: MIT

/**
 * Uploads as files that survive a crash.
 *
 * An upload is two files: `<id>` holds its bytes, and `<id>.info`, the sidecar, describes it in the
 * JSON of tusd's filestore. So a directory can move from tusd to here and back. A directory of
 * @tus/file-store, with its `<id>.json`, is read as it is.
 *
 * Design. There is no counter that could differ from the data: the offset *is* the size of the data
 * file. So every byte that reached the file counts, whichever process crashed.
 *
 * An upload exists when its sidecar does. Creating one takes three steps. The sidecar is written
 * under a temporary name. The data file is created exclusively, which reserves the id. Then the
 * sidecar is renamed, so it is there as a whole or not at all; each change of it is made the same
 * way. Removal takes the steps in the opposite order. What a crash leaves behind is a file that no
 * sidecar names, and `removeLeftovers` removes it. A process may be stopped for an hour and look
 * dead, so `removeLeftovers` takes temporary sidecars first: without its own, that process cannot
 * complete an upload whose data file is removed next. Data with bytes are removed only if a marker
 * names them, `<id>.info.gone`: a sidecar that was there, or was to be there, renamed.
 *
 * Two kinds of bytes may be in the file and not count. For both, the sidecar has a mark
 * ({@link StoredMark}) with the offset behind which they begin:
 *
 * - Bytes that wait for a verdict, as a checksum gives. The mark is set before they are written,
 *   and moved when the verdict is yes.
 * - With `sync: 'append'`, bytes that were not flushed yet. After a power failure they may be
 *   anything, because the system writes back in an order of its own: a file may have grown over
 *   bytes that never reached the device. A crash of the process alone takes nothing. So this mark
 *   names the boot of the machine, and in that boot bytes behind it count.
 *
 * The sidecar has a version. The version before is read, and written as the present one when the
 * upload next changes. A sidecar of a later version is refused and left as it is.
 *
 * The caller must hold the upload's lock for every method that changes it: the store does not
 * serialise writers. Locks in memory do not reach another process, so a second process on the
 * directory is refused unless both set `shared: true`.
 *
 * The folder: `marks.ts` knows which bytes count; `sidecar.ts` what a sidecar says; `sidecars.ts`
 * writes and remembers them; `write-body.ts` writes a body; `create-whole.ts` makes small uploads;
 * `in-use.ts` finds other processes; `files.ts` follows no link; `open-file.ts` calls the system;
 * `kept-files.ts` keeps data files open for a moment; `directory-flush.ts` flushes for several at
 * once; `stored-upload.ts` and `errors.ts` are what callers get.
 *
 * Self-contained: this folder imports `node:` builtins only.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import { createReadStream, mkdirSync, type Stats } from 'node:fs'
import { opendir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { createWhole } from './create-whole.ts'
import { DirectoryFlush } from './directory-flush.ts'
import { asStoreFull, codeOf, FileStoreError } from './errors.ts'
import { isSameDirectory, READ, renameFile, renameOrCopy, statOf, WRITE_NEW } from './files.ts'
import { claimDirectory } from './in-use.ts'
import { isSameFile, KeptFiles } from './kept-files.ts'
import { Marks } from './marks.ts'
import { openFile } from './open-file.ts'
import { isRandomId, newSidecar, toMovedUpload, toUpload, type Sidecar } from './sidecar.ts'
import { Sidecars, type Tenure } from './sidecars.ts'
import type { NewStoredUpload, StoredDigest, StoredOutcome, StoredUpload, StoredUploadState } from './stored-upload.ts'
import { batchesOf, writeAll, WriteBudget } from './write-body.ts'

export { FileStoreError, type FileStoreErrorCode } from './errors.ts'
export type { NewStoredUpload, StoredUpload, StoredUploadState } from './stored-upload.ts'
export type { Tenure } from './sidecars.ts'
export type { StoredCompletion, StoredDigest, StoredMark, StoredOutcome } from './stored-upload.ts'

export interface FileStoreOptions {
  /**
   * When data is flushed to the device, which decides what a power failure can take. A crash of the
   * process takes nothing, whichever it is. Default: `'finish'`.
   *
   * - `'append'`: before each append is acknowledged. A power failure takes no acknowledged byte,
   *   and leaves none that is not the client's. If flushing fails, the bytes are taken back.
   * - `'finish'`: when an upload leaves the state `receiving`. Until then it may lose bytes, and
   *   have zeros among them where the file system writes back in an order of its own.
   * - `'none'`: whenever the system likes. The only one that works under the permission
   *   model of Node 26 and 24.22.3, which allows no `fsync`; the others fail there when they flush.
   */
  readonly sync?: 'none' | 'finish' | 'append' | undefined
  /**
   * Set it if other processes, or other stores of this one, use the directory too: locks must reach
   * them, and what is known of an upload is read again each time, unless the locks let the store
   * `trust` its memory. Unless all processes set it, the constructor throws `STORE_IN_USE` in the
   * second one. It does not see a process on another host or in another container, and does not
   * tell apart stores of one process, worker threads included. Default: false.
   */
  readonly shared?: boolean | undefined
  /**
   * How much memory the bytes of all appends together may take while they wait to be written, in
   * bytes. When it is used up, bodies are not read until something was written; then they continue
   * in order of arrival. Each body may bring one chunk more, and Node holds some 128 KiB of each
   * that is not read. At least 1 MiB. Default: 268435456.
   */
  readonly maxBufferedBytes?: number | undefined
  /**
   * Permissions of new files, as far as the umask of the process grants them. The owner must be
   * able to read and write. Default: 0o600.
   */
  readonly fileMode?: number | undefined
  /** The same for new directories; their owner must have all three permissions. Default: 0o700. */
  readonly directoryMode?: number | undefined
}

export interface FileStoreAppendOptions {
  /** Stops; what was written stays. Default: none. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called occasionally with the offset up to which bytes are already as safe as after `append`.
   * Must not throw. Default: none.
   */
  readonly onProgress?: ((offset: number) => void) | undefined
}

export interface FileStoreVerifiedAppendOptions extends Pick<FileStoreAppendOptions, 'signal'> {
  /** Called when all of the body is stored: whether it counts. */
  readonly verify: () => boolean | Promise<boolean>
}

const SYNCS: readonly unknown[] = ['none', 'finish', 'append']
/** Data, a sidecar, one that is being written, one whose upload is being removed. */
const FILE_PATTERN = /^([A-Za-z0-9_-]{1,128})(|\.info|\.json|\.info\.[0-9a-f]{12}\.tmp|\.info\.gone)$/
/** What a reader reads at a time, and holds while nobody takes it. */
const READ_BUFFER_BYTES = 64 * 1024
/** The least time between two flushes only for the sake of a progress report, in milliseconds. */
const PROGRESS_FLUSH_MS = 1000
/** What a crash left is at least this old, in milliseconds: a younger file may still be in use. */
const LEFTOVER_AGE_MS = 3_600_000

/**
 * Keeps uploads in one directory.
 *
 * 1. `create` makes an empty upload; `find` returns it with its offset.
 * 2. `append` writes a body behind what is there, and resolves with the new offset once every
 *    byte is in the file. Whatever interrupts it, bytes that reached the file stay and count.
 *    `appendVerified` does the same for a body that counts as a whole or not at all.
 * 3. `setLength`, `setState` and `setDigest` change what is known of an upload, durably and at
 *    once; `flush` makes sure of bytes that a crash left behind an append.
 * 4. `read` returns its bytes, `list` the ids of all uploads, `terminate` removes one.
 *
 * `moveTo` takes the bytes of a finished upload out of the store, and keeps its record.
 *
 * Files are readable by their owner only, unless `fileMode` and `directoryMode` allow more. A path
 * in a sidecar is never followed, nor is a symbolic link.
 *
 * It does not lock, limit sizes, or delete anything by itself.
 *
 * @throws {TypeError} for an id that does not match `^[A-Za-z0-9_-]{1,128}$`, from every method
 * that touches its files, and for an unknown `sync`; {@link RangeError} for a number out of bounds;
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
  readonly #sidecars: Sidecars
  readonly #files = new KeptFiles()
  readonly #names: DirectoryFlush
  readonly #marks: Marks

  constructor(directory: string, options: FileStoreOptions = {}) {
    this.directory = resolve(directory)
    this.shared = options.shared ?? false
    this.#sync = options.sync ?? 'finish'
    if (!SYNCS.includes(this.#sync)) {
      throw new TypeError(`Cannot flush data as sync must be none, finish or append: received ${this.#sync}`)
    }
    this.#budget = new WriteBudget(options.maxBufferedBytes ?? 256 * 1024 * 1024)
    this.#fileMode = permissions('fileMode', options.fileMode ?? 0o600, 0o600)
    const mode = permissions('directoryMode', options.directoryMode ?? 0o700, 0o700)
    const flushes = ({ Longhaul }: Sidecar): boolean =>
      this.#sync === 'append' || (this.#sync === 'finish' && Longhaul?.state !== 'receiving')
    const names = (this.#names = new DirectoryFlush(this.directory))
    this.#sidecars = new Sidecars(this.directory, { shared: this.shared, fileMode: this.#fileMode, names, flushes })
    this.#marks = new Marks(this.#sidecars, this.#files, { flushes: this.#sync === 'append' })
    mkdirSync(this.directory, { recursive: true, mode })
    const other = claimDirectory(this.directory, { shared: this.shared, mode })
    if (other === undefined) return
    const advice = `set shared: true in each process, and give each locks that reach the others`
    const doubt = `if there is no such process, remove ${other.path}`
    const message = `The directory ${this.directory} is in use by process ${other.pid}: ${advice} (${doubt})`
    throw new FileStoreError('STORE_IN_USE', message)
  }

  /**
   * Lets the store remember what it reads and writes of an upload's sidecar from now on, until
   * `tenure` has ended. For stores that are `shared`: without it they read it each time. Call it
   * whenever the lock of the upload is taken, with the same object for as long as no other process
   * can have had the lock in between. It must be `ended` before another can get the lock.
   */
  trust(id: string, tenure: Tenure): void {
    this.#sidecars.trust(id, tenure)
  }

  /** Makes an upload without bytes. */
  async create(upload: NewStoredUpload): Promise<StoredUpload> {
    const { id = randomBytes(16).toString('hex') } = upload
    const createdAt = new Date()
    const sidecar = newSidecar({ ...upload, id }, createdAt, await this.#marks.plain(0))
    const [dataPath, path] = [this.#sidecars.dataPath(id), this.#sidecars.path(id)]
    const isTaken = (cause?: unknown): FileStoreError =>
      new FileStoreError('UPLOAD_EXISTS', `The upload ${id} exists already`, { cause })
    // An upload whose bytes were moved has no data file. An id of 128 random bits is new.
    if (!isRandomId(id) && (await statOf(path))) throw isTaken()
    const temporary = await this.#sidecars.prepare(sidecar)
    await this.#files.drop(dataPath) // that of an upload of this id which another process has removed
    try {
      await (await openFile(dataPath, WRITE_NEW, this.#fileMode)).close()
    } catch (error) {
      await rm(temporary.path, { force: true })
      if (codeOf(error) === 'EEXIST') throw isTaken(error)
      throw asStoreFull(error)
    }
    try {
      await renameFile(temporary.path, path)
    } catch (error) {
      // If it was removed as left over, so is the data file, and the id may be taken again.
      await rm(temporary.path).then(() => rm(dataPath, { force: true }), () => {})
      throw asStoreFull(error)
    }
    try {
      await this.#sidecars.complete(temporary)
    } catch (error) {
      await rm(path, { force: true }).catch(() => {})
      await rm(dataPath, { force: true }) // last, as it keeps the id
      throw error
    }
    return toUpload(sidecar, { size: 0, createdAt, updatedAt: createdAt })
  }

  /**
   * Makes an upload that has all its bytes, in place of `create`, `append` and `setState`: both
   * files are written once. It exists as a whole or not at all, also after a crash, and is as safe
   * as its state asks for. Its length is that of `body`. For small bodies.
   */
  async createWhole(
    upload: NewStoredUpload,
    body: Uint8Array,
    state: 'finishing' | 'finished',
  ): Promise<StoredUpload> {
    const { id = randomBytes(16).toString('hex') } = upload
    await this.#files.drop(this.#sidecars.dataPath(id)) // as in `create`
    const surroundings = { sidecars: this.#sidecars, marks: this.#marks, names: this.#names, fileMode: this.#fileMode }
    return createWhole({ ...surroundings, flushes: this.#sync !== 'none' }, { upload: { ...upload, id }, body, state })
  }

  /** The upload as it is now, or `undefined` if no upload has that id. */
  async find(id: string): Promise<StoredUpload | undefined> {
    const sidecar = await this.#sidecars.find(id)
    if (!sidecar) return undefined
    // The data comes second: what the sidecar says of them was true before, and offsets only grow.
    const path = this.#sidecars.dataPath(id)
    const file = await statOf(path)
    this.#files.see(path, file)
    if (!file) {
      this.#sidecars.forget(id)
      const left = await this.#sidecars.read(id)
      if (!left) return undefined // it was removed in between, or by somebody else
      const moved = toMovedUpload(left)
      if (moved) return moved
    }
    if (!file?.isFile()) throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has a sidecar and no data`)
    const { size, mtime: updatedAt } = file
    const createdAt = file.birthtimeMs > 0 ? file.birthtime : updatedAt
    const mark = sidecar.Longhaul?.mark
    const hasLost = await this.#marks.hasLost(id, mark, size)
    const upload = toUpload(sidecar, { size: await this.#marks.count(id, mark, size), createdAt, updatedAt })
    const { offset, length, state } = upload
    const mustBeWhole = state === 'finishing' || state === 'finished'
    if (offset > (length ?? Infinity) || (mustBeWhole && offset !== length)) {
      const message = `The upload ${id} has ${offset} bytes where its sidecar says ${length}`
      throw new FileStoreError('UPLOAD_CORRUPT', message)
    }
    return hasLost && state === 'receiving' ? { ...upload, state: 'deactivated' } : upload
  }

  /**
   * Writes the body behind the bytes that are there, and resolves with the new offset.
   *
   * `upload` must be as `find` or `create` last returned it: another offset than the file's is
   * refused (`UPLOAD_MOVED_ON`), at first or, if the directory is shared, before each write. So a
   * process that lost the lock stops at the next one. Limit the body before it comes here. If the
   * body fails, or `signal` aborts, `append` rejects with that reason when no write is in progress.
   */
  async append(upload: StoredUpload, body: Readable, options: FileStoreAppendOptions = {}): Promise<number> {
    await this.#marks.begin(upload, await this.#marks.plain(upload.offset))
    const offset = await this.#write(upload, body, options)
    if (this.#sync === 'append' && offset > upload.offset) await this.#marks.move(upload, offset)
    return offset
  }

  /**
   * Writes the body, calls `verify` when all of it is stored, and resolves with the new offset, or
   * with the old one if the verdict is no. Until then none of it counts, also after a crash.
   */
  async appendVerified(
    upload: StoredUpload,
    body: Readable,
    { verify, signal }: FileStoreVerifiedAppendOptions,
  ): Promise<number> {
    await this.#marks.begin(upload, this.#marks.verdict(upload.offset))
    const offset = await this.#write(upload, body, { signal })
    if (await verify()) {
      await this.#marks.move(upload, offset)
      return offset
    }
    await this.#marks.cut(upload.id, upload.offset)
    return upload.offset
  }

  /**
   * Makes sure of all bytes that count, before they are acknowledged: those of an append that did
   * not come to its end are not flushed yet. Does nothing unless `sync` is `'append'`.
   */
  async flush(upload: StoredUpload): Promise<void> {
    const { offset, mark, movedAt } = upload
    if (this.#sync !== 'append' || movedAt || (mark?.flushed && mark.offset === offset)) return
    await this.#marks.move(upload, offset)
  }

  /** Takes back what was appended behind `offset`. */
  async truncate(upload: StoredUpload, offset: number): Promise<void> {
    // In this order, or a power failure that takes back the cut would bring back the bytes.
    await this.#marks.lower(upload, offset)
    await this.#marks.cut(upload.id, offset)
  }

  /** Says how many bytes the upload has in all. */
  async setLength(upload: StoredUpload, length: number): Promise<void> {
    await this.#sidecars.change(upload, {}, { Size: length, SizeIsDeferred: false })
  }

  /** Moves the upload on to another state, with the answer that belongs to it. */
  async setState(upload: StoredUpload, state: StoredUploadState, outcome?: StoredOutcome): Promise<void> {
    if (state === 'receiving') return this.#sidecars.change(upload, { state, outcome })
    const { id, movedAt } = upload
    const dataPath = this.#sidecars.dataPath(id)
    const mark = await this.#marks.final(upload)
    if (this.#sync === 'finish' && upload.state === 'receiving') {
      await this.#files.flush(dataPath)
      // A hook may take the data then. A power failure that takes their name must not look like that.
      if (state === 'finishing') await this.#names.flush()
    }
    await this.#files.drop(dataPath)
    const moved = movedAt && { movedAt: movedAt.toISOString() }
    await this.#sidecars.change(upload, { state, outcome, mark, ...moved })
  }

  /**
   * Keeps a digest that was computed of all bytes, so that it need not be computed again. It takes
   * the place of one by another algorithm.
   *
   * @throws {TypeError} while the upload is `receiving`: there, its bytes must have the digest.
   */
  async setDigest(upload: StoredUpload, digest: StoredDigest): Promise<void> {
    if (upload.state === 'receiving') {
      const expectation = `the upload ${upload.id} must not be receiving`
      throw new TypeError(`Cannot keep a digest as ${expectation}: its bytes may still change`)
    }
    this.#sidecars.forget(upload.id) // an application that moves the bytes meanwhile need not hold the lock
    await this.#sidecars.change(upload, { digest })
  }

  /** The bytes from `start` up to but not including `end`. */
  read(upload: StoredUpload, range: { readonly start: number; readonly end: number }): Readable {
    const { start, end } = range
    if (start >= end) return Readable.from([])
    const options = { flags: READ as unknown as string, start, end: end - 1, highWaterMark: READ_BUFFER_BYTES }
    return createReadStream(this.#sidecars.dataPath(upload.id), options)
  }

  /**
   * Moves the bytes of an upload to `path` and keeps its record, so that a client that has lost the
   * answer to its last request still finds the upload complete. Call it in `onFinish`.
   *
   * 1. The sidecar says that the bytes are to be moved.
   * 2. The data file is renamed, which is atomic. On another file system it is copied to
   *    `.<id>.tmp` beside `path`, flushed, renamed, and then removed here.
   * 3. Both directories are flushed, unless `sync` is `'none'`.
   *
   * It may be called later as well, in the process that serves the upload; in another, hold its
   * lock. After a crash, or if it rejects, call it again. It does nothing if the bytes were moved
   * before, wherever they are now. A file at `path` is replaced, and the folder must exist: choose
   * a name that nobody else has, such as the id. A file name that a client sent is not one.
   *
   * @throws {TypeError} if the upload is neither `finishing` nor `finished`, or a part of others, or
   * if `path` is in the directory of the store; {@link FileStoreError} `UPLOAD_CORRUPT` if there
   * are no bytes, `STORE_FULL`; errors of `node:fs`.
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
      const expectation = 'it must be finishing or finished, and not a part of others'
      throw new TypeError(`Cannot move the upload ${id} as ${expectation}: it is ${actual}`)
    }
    const dataPath = this.#sidecars.dataPath(id)
    const target = resolve(path)
    const folder = dirname(target)
    if (!(await statOf(dataPath))) {
      if ((await this.#sidecars.find(id))?.Longhaul?.movedAt !== undefined) return
      throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has no data to be moved`)
    }
    // Compared as directories: a link or a second mount gives the store another path.
    if (await isSameDirectory(folder, this.directory)) {
      throw new TypeError(`Cannot move the upload ${id} as the path must be outside of the store: received ${path}`)
    }
    const flushes = this.#sync !== 'none'
    await this.#sidecars.change(upload, { movedAt: new Date().toISOString() })
    await renameOrCopy(dataPath, target, { temporary: join(folder, `.${id}.tmp`), flushes })
    if (flushes) await new DirectoryFlush(folder).flush()
    // It is still here after a copy, and after a rename to a hard link to it, which does nothing.
    await rm(dataPath, { force: true })
    if (flushes) await this.#names.flush()
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
    return this.#sidecars.inTurn(upload.id, () => this.#remove(upload.id))
  }

  async #remove(id: string): Promise<void> {
    const dataPath = this.#sidecars.dataPath(id)
    await this.#sidecars.assertNotLater(id)
    this.#sidecars.forget(id)
    // In this order, as the first counts only without the second.
    for (const suffix of ['.json', '.info']) {
      try {
        // Should we crash now, this names the data as left over.
        await renameFile(`${dataPath}${suffix}`, `${dataPath}.info.gone`)
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
      }
    }
    this.#sidecars.forget(id) // again: it may have been read before it was renamed
    // Or a power failure could bring it back without its data.
    if (this.#sync === 'append') await this.#names.flush()
    await this.#files.drop(dataPath)
    await rm(dataPath, { force: true })
    await rm(`${dataPath}.info.gone`, { force: true })
    this.#marks.forget(id)
  }

  /**
   * Removes what crashes left behind more than an hour ago, and resolves with the number of files:
   * sidecars that were being written, data of an upload that was being created or removed. Data
   * without a sidecar stay otherwise: somebody may have put them there.
   */
  async removeLeftovers(): Promise<number> {
    const beforeMs = Date.now() - LEFTOVER_AGE_MS
    let removed = 0
    // In this order: a process loses its temporary sidecar before its data file.
    for (const kind of ['temporary', 'other']) {
      for await (const { name } of await opendir(this.directory)) {
        const isTemporary = name.endsWith('.tmp')
        if (isTemporary !== (kind === 'temporary') || !(await this.#isLeftover(name, beforeMs))) continue
        if (isTemporary) await this.#removeTemporary(name)
        else await rm(join(this.directory, name), { force: true })
        removed++
      }
    }
    return removed
  }

  /**
   * Removes a temporary sidecar. If its upload was to be created as a whole, there may be data with
   * bytes, which are younger than it: then it becomes the marker that names them as left over.
   */
  async #removeTemporary(name: string): Promise<void> {
    const [, id = ''] = FILE_PATTERN.exec(name) ?? []
    const path = join(this.directory, name)
    const dataPath = this.#sidecars.dataPath(id)
    const [temporary, data] = [await statOf(path), await statOf(dataPath)]
    const namesData = temporary && data && data.size > 0 && temporary.mtimeMs <= data.mtimeMs
    if (!namesData || (await statOf(`${dataPath}.info`)) || (await statOf(`${dataPath}.json`))) {
      return rm(path, { force: true })
    }
    await renameFile(path, `${dataPath}.info.gone`).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error // its process was only slow, and has completed the upload
    })
  }

  async #isLeftover(name: string, beforeMs: number): Promise<boolean> {
    const [, id, suffix = ''] = FILE_PATTERN.exec(name) ?? []
    if (id === undefined || suffix === '.info' || suffix === '.json') return false
    const dataPath = this.#sidecars.dataPath(id)
    const exists = async (path: string): Promise<boolean> => (await statOf(path)) !== undefined
    const file = await statOf(join(this.directory, name))
    if (!file?.isFile() || file.ctimeMs > beforeMs) return false
    if (suffix === '.info.gone') return !(await exists(dataPath)) || exists(`${dataPath}.info`)
    if (suffix !== '') return true
    if ((await exists(`${dataPath}.info`)) || (await exists(`${dataPath}.json`))) return false
    return file.size === 0 || exists(`${dataPath}.info.gone`)
  }

  async #write(upload: StoredUpload, body: Readable, options: FileStoreAppendOptions): Promise<number> {
    const { signal, onProgress } = options
    const path = this.#sidecars.dataPath(upload.id)
    const file = await this.#files.take(path)
    let offset = upload.offset
    const assertEndsHere = async (): Promise<Stats> => {
      const status = await file.stat()
      if (status.size === offset) return status
      const message = `The upload ${upload.id} is at ${status.size}: ${offset} was expected`
      throw new FileStoreError('UPLOAD_MOVED_ON', message)
    }
    let written: Stats | undefined
    try {
      if (!this.shared) written = await assertEndsHere() // before the body is touched
      let flushedAtMs = performance.now()
      for await (const buffers of batchesOf(body, this.#budget, signal)) {
        signal?.throwIfAborted() // what was read, and is not written yet, must not be any more
        // A lock may be lost for some time before its holder knows it.
        if (this.shared) written = await assertEndsHere()
        offset = await writeAll(file, buffers, offset)
        if (onProgress && this.#sync === 'append') {
          if (performance.now() - flushedAtMs < PROGRESS_FLUSH_MS) continue
          await this.#marks.move(upload, offset) // a client may forget bytes that are reported to it
          flushedAtMs = performance.now()
        }
        onProgress?.(offset)
      }
      written ??= await assertEndsHere()
      // A file that somebody removed meanwhile took our bytes with it.
      const found = await statOf(path)
      if (found?.size !== offset || !isSameFile(found, written)) {
        throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${upload.id} was removed or changed while bytes came`)
      }
      this.#files.keep(path, file, found)
      return offset
    } catch (error) {
      await file.close()
      throw signal?.aborted ? signal.reason : asStoreFull(error)
    }
  }
}

/** @throws {RangeError} unless it grants what is needed, and nothing but permissions. */
function permissions(name: string, mode: number, needed: number): number {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o777 && (mode & needed) === needed) return mode
  const expectation = `${name} must be permissions from 0o${needed.toString(8)} to 0o777`
  throw new RangeError(`Cannot make files as ${expectation}: received ${mode}`)
}
