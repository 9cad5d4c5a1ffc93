// SPDX-License-Identifier: MIT

/**
 * The sidecars of a directory: read, written as a whole or not at all, and remembered.
 *
 * A sidecar is written under a temporary name and then renamed. So a crash leaves the old one or
 * the new one, and at worst a temporary file that `removeLeftovers` knows.
 *
 * In a directory that no other process uses, a sidecar that was written here is remembered, and
 * need not be read again. What was only read is not remembered: somebody may be writing it.
 *
 * In a directory that others use too, a sidecar is remembered for a {@link Tenure} of its upload's
 * lock, and what was read counts as well: nobody else writes, and whoever writes here makes the
 * reads that overlap worthless. For this, what is known of an upload is a {@link Memory}, an object
 * of its own. A reader takes it before it reads, and fills that one. A writer puts another in its
 * place when it begins, and again when it is done: what a reader then fills, nobody looks at. Other
 * stores of this process may have the same tenure, one after the other: only that which trusted it
 * last remembers.
 *
 * What an application may move or remove is not remembered.
 *
 * @module
 */

import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DirectoryFlush } from './directory-flush.ts'
import { asStoreFull, codeOf, FileStoreError } from './errors.ts'
import { readText, renameFile, WRITE_NEW } from './files.ts'
import { openFile } from './open-file.ts'
import { assertId, parseNodeSidecar, parseSidecar, VERSION, type LonghaulSidecar, type Sidecar } from './sidecar.ts'
import type { StoredUpload } from './stored-upload.ts'

/** Most sidecars fit; what is larger is read in pieces. */
const PIECE_BYTES = 4096
/** No client can make one so large; nor can we, as a character takes at most three bytes. */
const MAX_BYTES = 3 * 1024 * 1024
const MAX_CHARACTERS = MAX_BYTES / 3
/** How many sidecars are remembered, each of at most `PIECE_BYTES` characters. */
const REMEMBERED = 1000

/**
 * The time for which this process has the lock of an upload, without a break in which another could
 * have had it. It has ended before another can get the lock.
 */
export interface Tenure {
  readonly ended: boolean
}

/** A store's trust in a tenure. It ends as well when another store of this process trusts it. */
interface Trust {
  readonly tenure: Tenure
  readonly by: Sidecars
}

/** The last one for each tenure. */
const trusts = new WeakMap<Tenure, Trust>()

/** What is known of an upload, for as long as the trust lasts; without one, as long as it is here. */
interface Memory {
  readonly trust: Trust | undefined
  sidecar: Sidecar | undefined
}

/** Changes of our keys, perhaps made of what they were before. */
export type Changes = Partial<LonghaulSidecar> | ((before: LonghaulSidecar) => Partial<LonghaulSidecar>)

/** A sidecar that does not count before its file is renamed. */
export interface TemporarySidecar {
  readonly path: string
  readonly sidecar: Sidecar
  /** In characters. */
  readonly size: number
  /** In which it was written, if there is one. */
  readonly trust: Trust | undefined
}

interface SidecarsOptions {
  readonly shared: boolean
  readonly fileMode: number
  readonly names: DirectoryFlush
  /** Whether a power failure must not take a sidecar that says this. */
  readonly flushes: (sidecar: Sidecar) => boolean
}

export class Sidecars {
  readonly #directory: string
  readonly #options: SidecarsOptions
  /** By id, the oldest first. */
  readonly #memories = new Map<string, Memory>()
  /** The last of the changes that a sidecar waits for, by id. */
  readonly #turns = new Map<string, Promise<void>>()

  constructor(directory: string, options: SidecarsOptions) {
    this.#directory = directory
    this.#options = options
  }

  /** Where the data of an upload are. Its sidecar is beside them. */
  dataPath(id: string): string {
    assertId(id)
    return join(this.#directory, id)
  }

  path(id: string): string {
    return `${this.dataPath(id)}.info`
  }

  /** Remembers the sidecar of an upload for as long as a tenure lasts, from now on. */
  trust(id: string, tenure: Tenure): void {
    if (!this.#options.shared) return
    const last = trusts.get(tenure)
    const trust = last?.by === this ? last : { tenure, by: this }
    trusts.set(tenure, trust)
    if (this.#memories.get(id)?.trust === trust) return
    this.#memories.delete(id)
    this.#keep(id, { trust, sidecar: undefined })
  }

  /** From memory, where nobody else writes. */
  async find(id: string): Promise<Sidecar | undefined> {
    const memory = this.#memories.get(id)
    const valid = memory && isValid(memory) ? memory : undefined
    return valid?.sidecar ?? this.#read(id, valid)
  }

  /** From the disk. */
  read(id: string): Promise<Sidecar | undefined> {
    return this.#read(id, undefined)
  }

  async #read(id: string, memory: Memory | undefined): Promise<Sidecar | undefined> {
    const text = await this.#textOf(id, this.path(id))
    const foreignText = text === undefined ? await this.#textOf(id, `${this.dataPath(id)}.json`) : undefined
    if (text === undefined && foreignText === undefined) return undefined
    const sidecar = text !== undefined ? parseSidecar(text) : parseNodeSidecar(foreignText ?? '')
    if (sidecar !== undefined && 'laterVersion' in sidecar) {
      const actual = `is of version ${sidecar.laterVersion}, and this store knows versions up to ${VERSION}`
      const advice = 'it was left as it is: run the version of longhaul that wrote it'
      throw new FileStoreError('UPLOAD_TOO_NEW', `The sidecar of the upload ${id} ${actual}; ${advice}`)
    }
    if (sidecar?.ID !== id) throw new FileStoreError('UPLOAD_CORRUPT', `The sidecar of the upload ${id} cannot be read`)
    // Another server, which knows nothing of our locks, may still write its own.
    if (memory && sidecar.Longhaul) fill(memory, sidecar, text?.length ?? 0)
    return sidecar
  }

  /** @throws {FileStoreError} `UPLOAD_TOO_NEW`. Whatever else is wrong is not looked for. */
  async assertNotLater(id: string): Promise<void> {
    try {
      await this.find(id)
    } catch (error) {
      if (codeOf(error) === 'UPLOAD_TOO_NEW') throw error
    }
  }

  /** Also what somebody reads at this moment. */
  forget(id: string): void {
    const memory = this.#memories.get(id)
    this.#memories.delete(id)
    if (memory?.trust) this.#keep(id, { ...memory, sidecar: undefined })
  }

  /** Changes what our keys say, and tusd's as `others` say. What somebody else wrote stays. */
  change(upload: StoredUpload, changes: Changes, others: Partial<Sidecar> = {}): Promise<void> {
    const { id, state, createdAt } = upload
    return this.inTurn(id, async () => {
      const sidecar = await this.find(id)
      if (!sidecar) throw new FileStoreError('UPLOAD_CORRUPT', `The upload ${id} has lost its sidecar`)
      const before = sidecar.Longhaul ?? { version: VERSION, state, createdAt: createdAt.toISOString() }
      const changed = typeof changes === 'function' ? changes(before) : changes
      await this.#write({ ...sidecar, ...others, Longhaul: { ...before, ...changed } })
    })
  }

  /**
   * Runs one change after the other. The caller's lock would do that, but an application that calls
   * `moveTo` need not hold it, and may not even wait for it: no change must take back another.
   */
  async inTurn(id: string, change: () => Promise<void>): Promise<void> {
    const turn = this.#turns.get(id)?.then(change, change) ?? change()
    this.#turns.set(id, turn)
    try {
      await turn
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
  }

  async #write(sidecar: Sidecar): Promise<void> {
    const temporary = await this.#writeTemporary(sidecar, MAX_CHARACTERS)
    try {
      await renameFile(temporary.path, this.path(sidecar.ID))
    } catch (error) {
      await rm(temporary.path, { force: true })
      throw asStoreFull(error)
    }
    await this.complete(temporary)
  }

  /** Writes the first sidecar of an upload. Half of what it may have is for what comes later. */
  prepare(sidecar: Sidecar): Promise<TemporarySidecar> {
    return this.#writeTemporary(sidecar, MAX_CHARACTERS / 2)
  }

  async #writeTemporary(sidecar: Sidecar, maxSize: number): Promise<TemporarySidecar> {
    const id = sidecar.ID
    const path = `${this.path(id)}.${randomUUID().slice(-12)}.tmp` // these digits are random
    const text = JSON.stringify(sidecar)
    const size = text.length
    if (size > maxSize) {
      const expectation = `its sidecar must have at most ${maxSize} characters`
      throw new RangeError(`Cannot describe the upload ${id} as ${expectation}: it has ${size}`)
    }
    this.forget(id) // until it is written for sure
    const trust = this.#memories.get(id)?.trust
    let file
    try {
      file = await openFile(path, WRITE_NEW, this.#options.fileMode)
      await file.writeFile(text)
      if (this.#options.flushes(sidecar)) await file.sync('data')
      await file.close()
    } catch (error) {
      await file?.close().catch(() => {})
      await rm(path, { force: true })
      throw asStoreFull(error)
    }
    return { path, sidecar, size, trust }
  }

  /** Makes sure of a sidecar that was renamed. */
  async complete({ sidecar, size, trust }: TemporarySidecar): Promise<void> {
    const id = sidecar.ID
    try {
      if (this.#options.flushes(sidecar)) await this.#options.names.flush()
    } finally {
      this.forget(id) // what was read meanwhile may be the one before
    }
    if (!this.#options.shared) this.#keep(id, { trust: undefined, sidecar: undefined })
    const memory = this.#memories.get(id)
    if (memory && memory.trust === trust) fill(memory, sidecar, size)
  }

  #keep(id: string, memory: Memory): void {
    this.#memories.set(id, memory)
    const [oldest] = this.#memories.keys()
    if (oldest !== undefined && this.#memories.size > REMEMBERED) this.#memories.delete(oldest)
  }

  async #textOf(id: string, path: string): Promise<string | undefined> {
    try {
      return await readText(path, { pieceBytes: PIECE_BYTES, maxBytes: MAX_BYTES })
    } catch (error) {
      if (!(error instanceof RangeError) && codeOf(error) !== 'ELOOP' && codeOf(error) !== 'EISDIR') throw error
      const message = `The sidecar of the upload ${id} is too large or not a file`
      throw new FileStoreError('UPLOAD_CORRUPT', message, { cause: error })
    }
  }
}

function isValid({ trust }: Memory): boolean {
  return !trust || (!trust.tenure.ended && trusts.get(trust.tenure) === trust)
}

/** The application may move or remove the files of what is `finishing`: that is always read. */
function fill(memory: Memory, sidecar: Sidecar, size: number): void {
  if (sidecar.Longhaul?.state !== 'finishing' && size <= PIECE_BYTES) memory.sidecar = sidecar
}
