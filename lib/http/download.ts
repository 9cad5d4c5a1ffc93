// SPDX-License-Identifier: MIT

/**
 * Answers a GET or HEAD of an upload with its bytes.
 *
 * Downloads are plain HTTP: no protocol for uploads has them. But the protocol of a request may add
 * headers that say where the upload stands.
 *
 * @module
 */

import { serveUpload } from '../download/serve-upload.ts'
import { stallSignal } from '../download/stall-signal.ts'
import type { UploadContext } from '../upload/context.ts'
import { authorize, findReadable } from '../upload/find.ts'
import type { Download } from './exchange.ts'
import { closeWhenSent } from './turn.ts'

/**
 * Offers finished uploads for download; browsers may show the media types of `inline`. A client
 * that stops reading is cut off after `idleTimeoutMs`.
 *
 * A download throws an `UploadError`: `NOT_FOUND` if the upload is not finished, `EXPIRED`,
 * `REFUSED`, `MOVED`, `BUSY`. It throws whatever the store throws as well.
 */
export function offerDownloads(context: UploadContext, inline: readonly string[]): Download {
  const { limits, slots, store } = context
  return async (exchange, id) => {
    const { req, res, watchdog, protocol } = exchange
    await authorize(context, { kind: 'read', id }, req)
    const upload = await findReadable(context, id)
    if (exchange.answered) return
    const maxConcurrent = req.method === 'HEAD' ? Infinity : limits.maxConcurrent // a HEAD opens no file
    slots.assertFree(maxConcurrent)
    watchdog.stop()
    const stalled = stallSignal(exchange, limits.idleTimeoutMs)
    if ('stream' in res) closeWhenSent(req, res.stream) // over HTTP/2, a download ends when its stream is closed
    const options = {
      read: (range: { readonly start: number; readonly end: number }) => store.read!(upload, range),
      inline,
      headers: { ...protocol.headers, ...protocol.downloadFields?.(exchange, upload), ...exchange.headers },
      signal: stalled,
    }
    try {
      await slots.use(maxConcurrent, () => serveUpload(exchange, upload, options))
    } catch (error) {
      if (stalled.aborted) return // the client has stopped reading, and is cut off
      // If it was moved or removed before its file was opened, this throws what is answered.
      if (!res.headersSent) await findReadable(context, id)
      throw error
    }
  }
}
