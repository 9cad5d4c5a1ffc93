// SPDX-License-Identifier: MIT

/**
 * How many bodies a server takes at once.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'

/** Refuses a body while as many as the server takes are being received already. */
export function assertNotBusy({ underWay, maxConcurrent }: Pick<UploadContext, 'underWay' | 'maxConcurrent'>): void {
  if (underWay.bodies >= maxConcurrent) throw new UploadError('BUSY')
}
