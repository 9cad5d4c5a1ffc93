// SPDX-License-Identifier: MIT

/**
 * How CommonJS takes the package where TypeScript knows no `require` of ES modules, as before 5.8 and with
 * `module: node16`: values by `import()`, and types by saying how they are found.
 *
 * @module
 */

import type { Server } from 'node:http'
import type { UploadHandler } from 'longhaul' with { 'resolution-mode': 'import' }

export async function listen(server: Server): Promise<void> {
  const { FileStore } = await import('longhaul/file-store')
  const { uploadHandler } = await import('longhaul/upload-handler')
  const uploads: UploadHandler = uploadHandler({ store: new FileStore('uploads') })
  server.on('request', uploads).listen()
  // @ts-expect-error An option that it does not have, also where types come this way.
  uploadHandler({ store: new FileStore('uploads'), maxSizes: 1 })
}
