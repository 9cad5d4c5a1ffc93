// SPDX-License-Identifier: MIT

/**
 * Finishes an upload durably: `onFinish` runs at least once, and success is reported only after it.
 *
 * @module
 */

import { assemble } from './concatenate.ts'
import type { Asked, UploadContext } from './context.ts'
import { digestOf } from './digest.ts'
import { UploadError } from './errors.ts'
import { publish } from './events.ts'
import { callHook, isOutcome } from './hooks.ts'
import { isComplete, isSettled, settle, type End, type Settlement } from './lifecycle.ts'
import type { Upload } from './types.ts'

/** What a request says about the end, and who asks; a sweep has no requester. */
export interface FinishRequest extends Partial<Asked> {
  readonly end: End
}

/**
 * Does what is left to do for an upload, and resolves with the upload as it is then; the caller
 * holds the lock.
 *
 * 1. A concatenation whose parts are complete gets its bytes, unless the requester's signal aborts.
 * 2. If bytes are missing, or the client has not said yet that this is the end, nothing more is
 *    done.
 * 3. If the bytes must have a digest, they are read back. With another digest the upload is
 *    `rejected`.
 * 4. The state becomes `finishing`, durably, and `onFinish` runs. If it fails, the state stays, and
 *    the next request or sweep runs it again. If it refuses, the upload is `rejected`, with its
 *    answer.
 * 5. Otherwise the upload becomes `finished`. A partial upload does so without the hook.
 *
 * The hook may move the bytes away or remove the upload: it is finished then as well. An upload
 * that was removed does not come back.
 *
 * @throws {UploadError} `INTERNAL`, or `REFUSED` with a status from 500, if `onFinish` failed; what
 * {@link assemble}, {@link digestOf} or the store throws.
 */
export async function finishUpload(
  context: UploadContext,
  found: Upload,
  { end, requester }: FinishRequest,
): Promise<Upload> {
  if (isSettled(found)) return found
  const isUnassembled = found.parts && found.state === 'receiving'
  const upload = isUnassembled ? await assemble(context, found, requester?.signal) : found
  if (!isComplete(upload, end)) return upload
  const { algorithm, value } = upload.digest ?? {}
  const unverified = upload.state === 'receiving' && algorithm !== undefined && value !== undefined
  if (unverified && (await digestOf(context, upload, algorithm)) !== value) {
    const outcome = { status: 400, headers: {}, body: 'The upload does not match its digest' }
    return settle(context, upload, { state: 'rejected', outcome })
  }
  if (!context.hooks.onFinish || upload.partial) return settle(context, upload, { state: 'finished' })
  if (upload.state === 'receiving') await context.store.setState(upload, 'finishing')
  const finishing: Upload = { ...upload, state: 'finishing' }
  return settleWhatIsLeft(context, finishing, await runOnFinish(context, finishing))
}

/** Runs `onFinish`, and resolves with what it decided. */
async function runOnFinish({ hooks, shutdownSignal: signal }: UploadContext, upload: Upload): Promise<Settlement> {
  const { onFinish } = hooks
  const idempotencyKey = `${upload.id}-${upload.createdAt.getTime().toString(36)}`
  try {
    const answer = await callHook(() => onFinish?.(upload, { idempotencyKey, signal }))
    if (answer === undefined) return { state: 'finished' }
    const { status, headers = {}, body = '' } = answer
    const outcome = { status, headers, body }
    if (isOutcome(outcome)) return { state: 'finished', outcome }
    const cause = new TypeError('Cannot answer as onFinish must return a valid status, headers and text')
    throw new UploadError('INTERNAL', { cause })
  } catch (error) {
    if (!(error instanceof UploadError && error.code === 'REFUSED') || error.status >= 500) throw error
    return { state: 'rejected', outcome: { status: error.status, headers: error.headers, body: error.message } }
  }
}

/** Settles an upload whose bytes and record the hook may have moved, removed or changed. */
async function settleWhatIsLeft(context: UploadContext, upload: Upload, settlement: Settlement): Promise<Upload> {
  const left = await context.store.find(upload.id).catch((error: unknown) => {
    if ((error as { code?: unknown } | null)?.code !== 'UPLOAD_CORRUPT') throw error
    return { ...upload, movedAt: new Date() } // the hook is done, and whatever it left is not the upload any more
  })
  if (left) return settle(context, left, settlement)
  const removed: Upload = { ...upload, ...settlement, outcome: settlement.outcome, movedAt: new Date() }
  publish(settlement.state === 'finished' ? 'finish' : 'reject', removed)
  return removed
}
