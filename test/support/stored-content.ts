// SPDX-License-Identifier: MIT

/** What a store over a folder holds of an upload. The address of the upload ends in its id, which is the name of its file. @module */

import { once } from 'node:events'
import { readFileSync, statSync, watch } from 'node:fs'
import { basename, join } from 'node:path'

/** The bytes that are stored for an upload. */
export function contentOf(site: { readonly folder: string }, upload: string): Buffer {
  return readFileSync(join(site.folder, basename(upload)))
}

/** Resolves when the stored bytes of an upload are at least so many. */
export async function stored(site: { readonly folder: string }, upload: string, bytes: number): Promise<void> {
  const path = join(site.folder, basename(upload))
  const watcher = watch(path)
  try {
    while (statSync(path).size < bytes) await once(watcher, 'change')
  } finally {
    watcher.close()
  }
}
