// SPDX-License-Identifier: MIT

/**
 * A file system of its own for a test: in memory, small, and in the hands of whoever wants it full or
 * read-only.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, rmdirSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

const KIB = 1024
const BALLAST_BYTES = 1024 * KIB

/** How large a {@link MountedFolder} is. */
export interface MountedFolderSize {
  readonly bytes: number
  /** How many files and links it can hold. */
  readonly names: number
}

/** A mounted file system. */
export class MountedFolder {
  readonly #root: string

  /** Mounts one, or skips the test where that takes rights that the test does not have; never on the machine that decides. */
  static mount(t: TestContext, size: MountedFolderSize): MountedFolder | undefined {
    const root = mkdtempSync(join(tmpdir(), 'longhaul-mount-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size.bytes},nr_inodes=${size.names},mode=700`, 'longhaul', root], {
        stdio: 'pipe',
      })
    } catch (error) {
      rmdirSync(root)
      assert.equal(process.env['CI'], undefined, `No file system can be mounted: ${(error as Error).message}`)
      t.skip('Only root may mount a file system')
      return undefined
    }
    t.after(() => {
      execFileSync('umount', ['--lazy', root])
      rmdirSync(root)
    })
    return new MountedFolder(root)
  }

  private constructor(root: string) {
    this.#root = root
    mkdirSync(this.#ballast)
  }

  get uploads(): string {
    return join(this.#root, 'uploads')
  }

  get #ballast(): string {
    return join(this.#root, 'ballast')
  }

  /** Takes all space but so much. */
  fillBytes(leaveBytes: number): void {
    const path = join(this.#ballast, 'bytes')
    const file = openSync(path, 'a')
    let size = 0
    const fill = (chunk: Buffer): void => {
      for (let written = chunk.length; written === chunk.length; size += written) {
        try {
          written = writeSync(file, chunk)
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'ENOSPC')
          return
        }
      }
    }
    fill(Buffer.alloc(BALLAST_BYTES))
    fill(Buffer.alloc(4 * KIB))
    closeSync(file)
    truncateSync(path, Math.max(0, size - leaveBytes))
  }

  /** Takes all names, so that no file and no link can be made. */
  fillNames(): void {
    for (let index = 0; ; index++) {
      try {
        closeSync(openSync(join(this.#ballast, String(index)), 'wx'))
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ENOSPC')
        return
      }
    }
  }

  /** Gives space and names back. */
  clear(): void {
    rmSync(this.#ballast, { recursive: true })
    mkdirSync(this.#ballast)
  }

  /** Makes it read-only, or writable again; false if somebody had a file open for writing. */
  async remount(as: 'ro' | 'rw'): Promise<boolean> {
    try {
      await promisify(execFile)('mount', ['-o', `remount,${as}`, this.#root])
      return true
    } catch {
      return false
    }
  }
}
