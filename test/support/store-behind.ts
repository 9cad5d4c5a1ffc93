// SPDX-License-Identifier: MIT

/** A store to derive from: tests override the one method that they are about. @module */

import type { Readable } from 'node:stream'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type {
  AppendOptions, NewUpload, Outcome, Upload, UploadDigest, UploadState, UploadStore, VerifiedAppendOptions,
} from '../../lib/upload/types.ts'

/** A store that passes everything on to another one. Override what a test is about. */
export class StoreBehind implements UploadStore {
  protected readonly files: FileStore

  constructor(files: FileStore) {
    this.files = files
  }

  create(upload: NewUpload): Promise<Upload> {
    return this.files.create(upload)
  }

  find(id: string): Promise<Upload | undefined> {
    return this.files.find(id)
  }

  append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    return this.files.append(upload, body, options)
  }

  appendVerified(upload: Upload, body: Readable, options: VerifiedAppendOptions): Promise<number> {
    return this.files.appendVerified(upload, body, options)
  }

  setState(upload: Upload, state: UploadState, outcome?: Outcome): Promise<void> {
    return this.files.setState(upload, state, outcome)
  }

  setLength(upload: Upload, length: number): Promise<void> {
    return this.files.setLength(upload, length)
  }

  setDigest(upload: Upload, digest: UploadDigest): Promise<void> {
    return this.files.setDigest(upload, digest)
  }

  read(upload: Upload, range: { readonly start: number; readonly end: number }): Readable {
    return this.files.read(upload, range)
  }

  list(): AsyncIterable<string> {
    return this.files.list()
  }

  truncate(upload: Upload, offset: number): Promise<void> {
    return this.files.truncate(upload, offset)
  }

  terminate(upload: Upload): Promise<void> {
    return this.files.terminate(upload)
  }
}
