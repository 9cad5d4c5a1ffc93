// SPDX-License-Identifier: MIT

/**
 * How CommonJS takes the package in TypeScript before 5.8, which knows no `require` of ES modules: by `import()`.
 *
 * @module
 */

import type { Server } from 'node:http'

export async function listen(server: Server): Promise<void> {
  const { FileStore } = await import('longhaul/file-store')
  const { uploadHandler } = await import('longhaul/upload-handler')
  const uploads = uploadHandler({ store: new FileStore('uploads') })
  server.on('request', uploads).listen()
  // @ts-expect-error An option that it does not have, also where types come this way.
  uploadHandler({ store: new FileStore('uploads'), maxSizes: 1 })
}
