// SPDX-License-Identifier: MIT

/**
 * The end of an upload's way: from here on it does not change.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { publish } from './events.ts'
import type { Outcome, Upload } from './types.ts'

/** Whether there is nothing left to do: its bytes, and its answer if it has one, are final. */
export function isSettled(upload: Upload): boolean {
  return upload.state !== 'receiving' && upload.state !== 'finishing'
}

/** Settles an upload whose lock the caller holds, durably, with the answer that is given from now on. */
export async function settle(context: UploadContext, upload: Upload, state: 'finished' | 'rejected' | 'deactivated', outcome?: Outcome): Promise<Upload> {
  await context.store.setState(upload, state, outcome)
  const settled: Upload = { ...upload, state, outcome }
  publish(state === 'finished' ? 'finish' : 'reject', settled)
  return settled
}
