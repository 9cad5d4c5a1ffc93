// SPDX-License-Identifier: MIT

/**
 * What observers can subscribe to with `node:diagnostics_channel`: one channel for each kind of
 * event in the life of an upload. A channel without subscribers costs nothing.
 *
 * @module
 */

import { channel, type Channel } from 'node:diagnostics_channel'
import type { UploadErrorCode } from './errors.ts'
import type { UploadRequest } from './hooks.ts'
import type { Upload } from './types.ts'

/** What can happen to an upload. */
export type UploadEvent = 'create' | 'append' | 'interrupt' | 'finish' | 'reject' | 'terminate' | 'expire'

/** Why a body was not stored as a whole: the client has gone, or the code of the answer. */
export type InterruptReason = 'ABORTED' | UploadErrorCode

const CHANNELS: Readonly<Record<UploadEvent, Channel>> = {
  create: channel('longhaul:create'),
  append: channel('longhaul:append'),
  interrupt: channel('longhaul:interrupt'),
  finish: channel('longhaul:finish'),
  reject: channel('longhaul:reject'),
  terminate: channel('longhaul:terminate'),
  expire: channel('longhaul:expire'),
}
const errorChannel = channel('longhaul:error')

/** Publishes that something has happened to an upload, with the upload as it is now. */
export function publish(event: Exclude<UploadEvent, 'interrupt'>, upload: Upload): void {
  CHANNELS[event].publish({ upload })
}

/**
 * Publishes that a request ended before its whole body was stored. `upload` says what is stored.
 */
export function publishInterrupt(upload: Upload, code: InterruptReason): void {
  CHANNELS.interrupt.publish({ upload, code })
}

/** Publishes a failure of the server. Its cause is for observers only. */
export function publishError(error: Error, request?: UploadRequest): void {
  errorChannel.publish({ error, req: request })
}
