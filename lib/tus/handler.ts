// SPDX-License-Identifier: MIT

/**
 * tus 1.0.0 over `node:http`, with all of its extensions.
 *
 * This file finds out which operation a request asks for. The operations are in `operations.ts`.
 * What the headers mean is in small pure modules beside it.
 *
 * @module
 */

import type { ProtocolFactory } from '../http/exchange.ts'
import { createHandler, type UploadHandler } from '../http/handler.ts'
import { wholeNumber } from '../http/option-checks.ts'
import type { HandlerOptions } from '../http/options.ts'
import { header } from '../http/request-headers.ts'
import { UploadError } from '../upload/errors.ts'
import { discoveryHeaders, TUS_VERSION } from './capabilities.ts'
import { effectiveMethod } from './effective-method.ts'
import { append, create, inspect, terminate } from './operations.ts'
import { refuse } from './refusal.ts'

/** What only tus has options for. */
export interface TusOptions {
  /**
   * The most that an encoded `Upload-Metadata` may hold, in bytes. Node limits all headers to 16
   * KiB. Default: 16 KiB.
   */
  readonly maxMetadataSize?: number | undefined
}

/** Options of {@link tusHandler}. */
export interface TusHandlerOptions extends HandlerOptions, TusOptions {}

/** The fields of requests that pages of other origins may send. */
const REQUEST_FIELDS: readonly string[] = [
  'Tus-Resumable', 'Upload-Checksum', 'Upload-Concat', 'Upload-Defer-Length', 'Upload-Length', 'Upload-Metadata',
  'Upload-Offset', 'X-HTTP-Method-Override',
]
/** The fields of responses that they may read. */
const RESPONSE_FIELDS: readonly string[] = [
  'Tus-Checksum-Algorithm', 'Tus-Extension', 'Tus-Max-Size', 'Tus-Resumable', 'Tus-Version', 'Upload-Concat',
  'Upload-Defer-Length', 'Upload-Expires', 'Upload-Length', 'Upload-Metadata', 'Upload-Offset',
]

const CREATION_METHODS = ['OPTIONS', 'POST']
const UPLOAD_METHODS = ['OPTIONS', 'HEAD', 'PATCH', 'DELETE']
const UPLOAD_METHODS_WITH_DOWNLOAD = ['OPTIONS', 'HEAD', 'GET', 'PATCH', 'DELETE']

/**
 * Returns a request listener that speaks tus 1.0.0 below `path`.
 *
 * 1. Bytes are stored as they arrive. Whatever cuts a request off,
 *    everything that Node received of it is stored, and the next HEAD
 *    says so. A body with a checksum counts as a whole or not at all.
 * 2. A request for an upload that another request holds asks it to let go; the other saves and is
 *    answered 409, the newcomer goes on. If that takes longer than `lockTimeoutMs`: 423.
 * 3. An upload with all its bytes is `finishing` until `onFinish` has
 *    run, at least once; only then is it said to be complete. What
 *    `onFinish` answered or refused is remembered, and answered again.
 * 4. When `signal` aborts, bodies end, are stored, and their clients are answered 503.
 * 5. Every refusal is one line of text and a status from the table in
 *    `upload/errors.ts`; it changes nothing that is stored. It is 423 where
 *    that status would make clients give up although a retry helps: for a
 *    body that falls silent, and for a HEAD that fails for the moment.
 * 6. What the server is to blame for is published, with its cause, on the
 *    `node:diagnostics_channel` named `longhaul:error`; what happens to uploads on
 *    `longhaul:create`, `:append`, `:interrupt`, `:finish`, `:reject`, `:terminate` and `:expire`.
 *
 * Set `requestTimeout` of the server to 0: it cuts uploads that are progressing; `idleTimeoutMs`
 * ends those that are not. Give `headersTimeout` then: Node would derive 0 from it. Mount the
 * handler before anything that reads bodies.
 *
 * It offers the extensions that the store is able to support. Without `authorize` whoever knows an
 * address may use it. Downloads, CORS and proxies are off unless an option says so. A concatenation
 * of unfinished parts gets its bytes when it is next asked for, or by `sweep`.
 *
 * @throws {TypeError} if an option is not what it must be, {@link RangeError} if a number is out of
 * bounds. Source: tus.io/protocols, version 1.0.0.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { FileStore } from 'longhaul/file-store'
 * import { tusHandler } from 'longhaul/tus'
 *
 * const tus = tusHandler({ store: new FileStore('./uploads') })
 * const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, tus)
 * server.on('checkContinue', tus.checkContinue).listen(1080)
 * ```
 */
export function tusHandler(options: TusHandlerOptions): UploadHandler {
  return createHandler(options, [tus(options)])
}

/**
 * tus 1.0.0 as one of the protocols of a handler. A request is in it if it has `Tus-Resumable`.
 *
 * @throws {RangeError} if `maxMetadataSize` is out of bounds.
 */
export function tus(options: TusOptions): ProtocolFactory {
  const { maxMetadataSize = 16 * 1024 } = options
  wholeNumber('maxMetadataSize', maxMetadataSize)
  return (context, download) => {
    const uploadMethods = download ? UPLOAD_METHODS_WITH_DOWNLOAD : UPLOAD_METHODS
    return {
      marks: 'tus-resumable',
      // tus section "Tus-Resumable": every answer has it, but those to OPTIONS need not.
      headers: { 'Tus-Resumable': TUS_VERSION },
      requestFields: REQUEST_FIELDS,
      responseFields: RESPONSE_FIELDS,
      claims: (req) => header(req, 'tus-resumable') !== undefined,
      methodOf: (req) => effectiveMethod(req.method ?? '', header(req, 'x-http-method-override')),
      methodsOf: (kind) => (kind === 'creation' ? CREATION_METHODS : uploadMethods),
      discovery: discoveryHeaders(context),
      refuse,
      serve: (exchange, target) => {
        const { req, method } = exchange
        // tus section "Tus-Version": a request in another version is 412, and is not processed.
        if (header(req, 'tus-resumable') !== TUS_VERSION) throw new UploadError('UNSUPPORTED_VERSION')
        if (target.kind === 'creation') return create(context, exchange, maxMetadataSize)
        if (method === 'HEAD') return inspect(context, exchange, target.id)
        if (method === 'PATCH') return append(context, exchange, target.id)
        if (method === 'DELETE') return terminate(context, exchange, target.id)
        return download!(exchange, target.id)
      },
    }
  }
}
