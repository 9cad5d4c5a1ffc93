// SPDX-License-Identifier: MIT

/**
 * A store as slow as an object store far away, for the servers of the lesson.
 *
 * Design. An object store takes parts of a fixed size; each takes a second, and is lost if the signal aborts
 * meanwhile. What is left of a body, less than a part, is kept at once, as it waits for the client to come back
 * with the rest. So that a class can watch, an upload is one file that grows, called `NAME.incomplete` until it is
 * complete. It has no lock and does not go on where an upload stopped: the lesson is about what is saved.
 *
 * @module
 */

import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const PART_BYTES = 256 * 1024
const PART_MS = 1000

/** Uploads in one folder. */
export class SlowStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Saves what `body` brings. If it fails, or `signal` aborts while a part is under way, what is not saved by then is lost. */
  async save(name: string, body: AsyncIterable<Buffer>, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    const file = await open(`${this.#path(name)}.incomplete`, 'w')
    let savedBytes = 0
    try {
      for await (const part of partsOf(body)) {
        if (part.length === PART_BYTES) await delay(PART_MS, undefined, { signal })
        await file.writeFile(part)
        savedBytes += part.length
        console.log(`${name}: ${savedBytes / 1024} KiB saved`)
      }
    } finally {
      await file.close()
    }
  }

  /** Says that all of it is there. */
  async complete(name: string): Promise<void> {
    await rename(`${this.#path(name)}.incomplete`, this.#path(name))
    console.log(`${name}: complete`)
  }

  #path(name: string): string {
    if (/^[\w-]+$/.test(name)) return join(this.#folder, name)
    throw new RangeError(`Cannot save an upload as its name must be letters, digits, _ and -: received ${name}`)
  }
}

/** Cuts a body into whole parts and, if it comes to an end, the rest. */
async function* partsOf(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let gathered = Buffer.alloc(0)
  for await (const chunk of body) {
    gathered = Buffer.concat([gathered, chunk])
    for (; gathered.length >= PART_BYTES; gathered = gathered.subarray(PART_BYTES)) yield gathered.subarray(0, PART_BYTES)
  }
  if (gathered.length > 0) yield gathered
}
