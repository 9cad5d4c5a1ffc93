// SPDX-License-Identifier: MIT

/**
 * How much work a server does at once: bodies that are received, downloads that are sent, copies, digests.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'

type Load = Pick<UploadContext, 'inFlight' | 'maxConcurrent'>

/** Refuses more work while the server does as much as it may. */
export function assertNotBusy({ inFlight, maxConcurrent }: Load): void {
  if (inFlight.count >= maxConcurrent) throw new UploadError('BUSY')
}

/** Does work that counts, whether or not there is room for it: ask before. */
export async function counted<T>({ inFlight }: Load, work: () => Promise<T>): Promise<T> {
  inFlight.count++
  try {
    return await work()
  } finally {
    inFlight.count--
  }
}
