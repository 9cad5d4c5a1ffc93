// SPDX-License-Identifier: MIT

/**
 * What observers can subscribe to with `node:diagnostics_channel`: one channel a moment in the life
 * of an upload. A channel that nobody listens to costs nothing.
 *
 * @module
 */

import { channel, type Channel } from 'node:diagnostics_channel'
import type { UploadErrorCode } from './errors.ts'
import type { UploadRequest } from './hooks.ts'
import type { Upload } from './types.ts'

/** What can happen to an upload. */
export type UploadEvent = 'create' | 'append' | 'interrupt' | 'finish' | 'reject' | 'terminate' | 'expire'

/** Why a request ended before all of its body was stored: the client has gone, or what it is answered. */
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

/** Tells that something has happened to an upload, which is as it is now. */
export function publish(event: Exclude<UploadEvent, 'interrupt'>, upload: Upload): void {
  CHANNELS[event].publish({ upload })
}

/** Tells that a request for an upload ended before all of its body was stored. What is stored of it `upload` says. */
export function publishInterrupt(upload: Upload, code: InterruptReason): void {
  CHANNELS.interrupt.publish({ upload, code })
}

/** Tells of a failure that the server is to blame for. Its cause is for observers only. */
export function publishError(error: Error, request?: UploadRequest): void {
  errorChannel.publish({ error, req: request })
}
