// SPDX-License-Identifier: MIT

/**
 * tus 1.0.0 and Resumable Uploads for HTTP at one address.
 *
 * @module
 */

import { createHandler, type UploadHandler } from './http/handler.ts'
import type { HandlerOptions } from './http/options.ts'
import { rufh, type RufhOptions } from './rufh/handler.ts'
import { tus, type TusOptions } from './tus/handler.ts'

/** Options of {@link uploadHandler}. */
export interface UploadHandlerOptions extends HandlerOptions, TusOptions, RufhOptions {}

/**
 * Returns a request listener that speaks both protocols below `path`, as `tusHandler` and
 * `rufhHandler` do. They share their uploads: one that was begun in one of them can go on in the
 * other.
 *
 * A request with `Tus-Resumable` is in tus, whatever else it says. Without it, one that has a valid
 * `Upload-Complete`, or is for an upload, is in the other (a PATCH only if a field or its media
 * type says so); what is left is refused as tus does.
 *
 * An upload that was begun in tus is complete when it has its length. One that was begun in the
 * other is when its client says so, or when a client of tus, which cannot say so, has brought or
 * asks for its last byte.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { FileStore } from 'longhaul/file-store'
 * import { uploadHandler } from 'longhaul/upload-handler'
 *
 * const uploads = uploadHandler({ store: new FileStore('./uploads') })
 * const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, uploads)
 * server.on('checkContinue', uploads.checkContinue).listen(1080)
 * ```
 */
export function uploadHandler(options: UploadHandlerOptions): UploadHandler {
  return createHandler(options, [tus(options), rufh(options)])
}
