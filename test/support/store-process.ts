// SPDX-License-Identifier: MIT

/** A process that opens stores: asked for one at a time, it answers with `open`, or with the code of the error. @module */

import { FileStore } from '../../lib/file-store/file-store.ts'

process.on('message', ({ directory, shared, atMs }: { readonly directory: string; readonly shared: boolean; readonly atMs: number }) => {
  while (Date.now() < atMs); // another does so at the same time
  try {
    new FileStore(directory, { shared })
    process.send?.('open')
  } catch (error) {
    process.send?.((error as { code?: unknown }).code ?? String(error))
  }
})
process.send?.('ready')
