// SPDX-License-Identifier: MIT

/** A store that says when bytes have reached it. @module */

import { Readable } from 'node:stream'
import type { FileStore } from '../../lib/file-store/file-store.ts'
import type { AppendOptions, Upload } from '../../lib/upload/types.ts'
import { StoreBehind } from './store-behind.ts'

/** A store whose test can wait until bytes have reached it. */
export class WatchedStore extends StoreBehind {
  #bytes = 0
  #waiting: { readonly bytes: number; readonly resolve: () => void }[] = []

  /** Resolves when so many bytes were handed to `append`, in all its calls. */
  arrived(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, resolve })
      this.#wake()
    })
  }

  override append(upload: Upload, body: Readable, options: AppendOptions): Promise<number> {
    return super.append(upload, Readable.from(this.#count(body), { objectMode: false }), options)
  }

  async *#count(body: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      yield chunk
      this.#bytes += chunk.length
      this.#wake()
    }
  }

  #wake(): void {
    for (const { bytes, resolve } of this.#waiting) if (this.#bytes >= bytes) resolve()
    this.#waiting = this.#waiting.filter(({ bytes }) => this.#bytes < bytes)
  }
}

/** For the `store` of a server under test. */
export function watched(files: FileStore): WatchedStore {
  return new WatchedStore(files)
}
