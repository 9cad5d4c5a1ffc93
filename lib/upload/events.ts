// SPDX-License-Identifier: MIT

/**
 * What observers can subscribe to with `node:diagnostics_channel`: one channel a moment in the life
 * of an upload. A channel that nobody listens to costs nothing.
 *
 * @module
 */

import { channel, type Channel } from 'node:diagnostics_channel'
import type { UploadRequest } from './hooks.ts'
import type { Upload } from './types.ts'

/** What can happen to an upload. */
export type UploadEvent = 'create' | 'append' | 'finish' | 'reject' | 'terminate' | 'expire'

const CHANNELS: Readonly<Record<UploadEvent, Channel>> = {
  create: channel('longhaul:create'),
  append: channel('longhaul:append'),
  finish: channel('longhaul:finish'),
  reject: channel('longhaul:reject'),
  terminate: channel('longhaul:terminate'),
  expire: channel('longhaul:expire'),
}
const errorChannel = channel('longhaul:error')

/** Tells that something has happened to an upload, which is as it is now. */
export function publish(event: UploadEvent, upload: Upload): void {
  CHANNELS[event].publish({ upload })
}

/** Tells of a failure that the server is to blame for. Its cause is for observers only. */
export function publishError(error: Error, request?: UploadRequest): void {
  errorChannel.publish({ error, req: request })
}
