// SPDX-License-Identifier: MIT

/**
 * A map that forgets.
 *
 * @module
 */

import type { Upload } from './types.ts'

/** Keeps a value for each of the uploads that were last set; the one that was not for the longest time goes first. */
export class RecentMap<Value> {
  readonly #values = new Map<string, Value>()
  readonly #maxSize: number

  constructor(maxSize: number) {
    this.#maxSize = maxSize
  }

  get(upload: Pick<Upload, 'id' | 'createdAt'>): Value | undefined {
    return this.#values.get(keyOf(upload))
  }

  set(upload: Pick<Upload, 'id' | 'createdAt'>, value: Value): void {
    const key = keyOf(upload)
    this.#values.delete(key) // so that it is the last again
    this.#values.set(key, value)
    const [oldest] = this.#values.keys()
    if (oldest !== undefined && this.#values.size > this.#maxSize) this.#values.delete(oldest)
  }

  delete(upload: Pick<Upload, 'id' | 'createdAt'>): void {
    this.#values.delete(keyOf(upload))
  }

  clear(): void {
    this.#values.clear()
  }
}

/** An id can be given again once its upload is gone. */
function keyOf({ id, createdAt }: Pick<Upload, 'id' | 'createdAt'>): string {
  return `${id} ${createdAt.getTime()}`
}
