// SPDX-License-Identifier: MIT

/**
 * Which bytes of a data file count.
 *
 * All of them, unless the sidecar has a mark ({@link StoredMark}): bytes behind it do not count, or
 * only in the boot that it names. It is set before such bytes are written, and moved when they
 * have got their verdict or were flushed. Where each append is flushed, there always is one.
 *
 * A flush that fails is the hard case. Which bytes are missing is not known, and Linux reports it
 * only once: the next flush would succeed without them. So everything behind the last flushed
 * offset is taken back, in three ways, as a disk that fails may refuse any of them.
 *
 * @module
 */

import { readText, statOf, WRITE } from './files.ts'
import { BOOT_ID_PATH } from './in-use.ts'
import type { KeptFiles } from './kept-files.ts'
import { openFile } from './open-file.ts'
import type { Sidecars } from './sidecars.ts'
import type { StoredMark, StoredUpload } from './stored-upload.ts'

export class Marks {
  readonly #sidecars: Sidecars
  readonly #files: KeptFiles
  /** Whether each append is flushed. */
  readonly #flushes: boolean
  /** Uploads whose flush failed, and up to where they are safe, until the rest was taken back. */
  readonly #unflushed = new Map<string, number>()
  #boot: Promise<string | undefined> | undefined

  constructor(sidecars: Sidecars, files: KeptFiles, options: { readonly flushes: boolean }) {
    this.#sidecars = sidecars
    this.#files = files
    this.#flushes = options.flushes
  }

  /** How many of `size` bytes count. */
  async count(id: string, mark: StoredMark | undefined, size: number): Promise<number> {
    const counting = mark && !(await this.#isOfThisBoot(mark)) ? mark.offset : size
    return Math.min(size, counting, this.#unflushed.get(id) ?? size)
  }

  /** Whether the disk has lost bytes that were flushed. */
  async hasLost(id: string, mark: StoredMark | undefined, size: number): Promise<boolean> {
    if (!mark?.flushed || size >= mark.offset) return false
    // A cut lowers the mark first, so a mark that is read again is too high only if bytes are lost.
    return size < ((await this.#markOf(id))?.offset ?? 0)
  }

  /** For bytes that count as they come, in this boot. None unless each append is flushed. */
  async plain(offset: number): Promise<StoredMark | undefined> {
    return this.#flushes ? { offset, boot: await this.#bootId(), flushed: true } : undefined
  }

  /** For bytes that count in no boot before they have got their verdict. */
  verdict(offset: number): StoredMark {
    return { offset, flushed: this.#flushes || undefined }
  }

  /**
   * Prepares an upload for bytes behind its offset: removes those that do not count, and sets the
   * mark for new ones.
   */
  async begin(upload: StoredUpload, wanted: StoredMark | undefined): Promise<void> {
    const { offset, mark } = upload
    await this.drop(upload)
    // A foreign upload gets a state before its size can suggest that it is finished.
    if (isSame(mark, wanted) && !upload.foreign) return
    if (!(mark?.flushed && mark.offset === offset)) await this.#flush(upload, offset)
    await this.#sidecars.change(upload, { mark: wanted })
  }

  /** Removes the bytes that do not count. */
  async drop({ id, offset, mark }: StoredUpload): Promise<void> {
    if (this.#unflushed.has(id) || (mark && !(await this.#isOfThisBoot(mark)))) await this.cut(id, offset)
  }

  /** Moves the mark up to `offset`. Where each append is flushed, the bytes before it are, first. */
  async move(upload: StoredUpload, offset: number): Promise<void> {
    await this.#flush(upload, offset)
    const plain = await this.plain(offset)
    await this.#sidecars.change(upload, ({ mark = plain }) => {
      // One without a boot stays so: bytes behind it had no verdict, and must not count now.
      return { mark: mark && { ...mark, offset, flushed: plain?.flushed } }
    })
  }

  /** Moves the mark down to `offset`, before bytes behind it are cut off. */
  async lower(upload: StoredUpload, offset: number): Promise<void> {
    const mark = await this.#markOf(upload.id)
    if (mark && mark.offset > offset) await this.#sidecars.change(upload, { mark: { ...mark, offset } })
  }

  /**
   * Prepares an upload to which nothing is appended any more: removes the bytes that do not count,
   * as its file is handed over as it is. Resolves with its mark. One at its end stays, as a power
   * failure may bring bytes behind it back. Any other would take bytes from what is complete.
   */
  async final(upload: StoredUpload): Promise<StoredMark | undefined> {
    const { id, offset, state, movedAt } = upload
    // Later, the application may have taken the file. Without a mark all bytes count.
    const mayHoldMore = state === 'receiving' && (upload.mark !== undefined || this.#unflushed.has(id))
    const file = mayHoldMore ? await statOf(this.#sidecars.dataPath(id)) : undefined
    if (file && file.size > offset) {
      await this.drop(upload)
      await this.#flush(upload, offset)
    }
    const mark = this.#flushes ? await this.#markOf(id) : upload.mark
    if (movedAt || (mark?.offset === offset && (mark.flushed || !this.#flushes))) return mark
    await this.#flush(upload, offset)
    return this.plain(offset)
  }

  /** Cuts off what is behind `offset`. */
  async cut(id: string, offset: number): Promise<void> {
    const file = await openFile(this.#sidecars.dataPath(id), WRITE)
    try {
      await file.truncate(offset)
      this.#unflushed.delete(id)
    } finally {
      await file.close()
    }
  }

  /** For an upload that is removed. */
  forget(id: string): void {
    this.#unflushed.delete(id)
  }

  async #flush(upload: StoredUpload, offset: number): Promise<void> {
    if (!this.#flushes) return
    const { id } = upload
    try {
      await this.#files.flush(this.#sidecars.dataPath(id))
    } catch (error) {
      const mark = await this.#markOf(id).catch(() => upload.mark)
      if (mark?.flushed) await this.#takeBack(upload, Math.min(offset, mark.offset))
      throw error
    }
  }

  /** Takes back what is behind `offset`. Each of the three is enough. */
  async #takeBack(upload: StoredUpload, offset: number): Promise<void> {
    this.#unflushed.set(upload.id, offset)
    await this.#sidecars.change(upload, { mark: this.verdict(offset) }).catch(() => {})
    await this.cut(upload.id, offset).catch(() => {})
  }

  async #markOf(id: string): Promise<StoredMark | undefined> {
    return (await this.#sidecars.find(id))?.Longhaul?.mark
  }

  /** Where the boot is not known, each process counts as another: only flushed bytes are safe. */
  async #isOfThisBoot({ boot }: StoredMark): Promise<boolean> {
    return boot !== undefined && boot === (await this.#bootId())
  }

  /** Known on Linux; `undefined` elsewhere, or where it cannot be read. */
  #bootId(): Promise<string | undefined> {
    const limits = { pieceBytes: 4096, maxBytes: 4096 }
    return (this.#boot ??= readText(BOOT_ID_PATH, limits).then((text) => text?.trim(), () => undefined))
  }
}

function isSame(one: StoredMark | undefined, other: StoredMark | undefined): boolean {
  return one?.offset === other?.offset && one?.boot === other?.boot && one?.flushed === other?.flushed
}
