// SPDX-License-Identifier: MIT

/**
 * Finishes an upload durably: what is to be done with it is done at least once, and said only after.
 *
 * @module
 */

import { assemble } from './concatenate.ts'
import type { Requester, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { isComplete, type End } from './completion.ts'
import { digestOf } from './digest.ts'
import { publish } from './events.ts'
import { callHook, isOutcome } from './hooks.ts'
import { isSettled, settle } from './settle.ts'
import type { Outcome, Upload } from './types.ts'

/**
 * Does what is left to do for an upload, and resolves with it as it is then; the caller holds the lock.
 *
 * 1. A concatenation whose parts are complete gets its bytes, unless the signal of `requester` aborts.
 * 2. If bytes are missing, or the client has not said yet that none will follow, that is all.
 * 3. If they were to have a digest, they are read back. If it is another one, the upload is `rejected`.
 * 4. The state becomes `finishing`, durably, and `onFinish` runs. If it fails, the state stays, and
 *    whoever comes next runs it again; if it refuses, the upload is `rejected`, with that answer.
 * 5. Otherwise the upload is `finished`. A partial upload goes there without the hook.
 *
 * The hook may move the bytes away, or remove the upload. It is finished then as well; what was removed
 * does not come back.
 *
 * @throws {UploadError} `INTERNAL`, or `REFUSED` with a status from 500, if `onFinish` failed; what {@link assemble} throws;
 * whatever the store throws.
 */
export async function finishUpload(context: UploadContext, found: Upload, end: End, requester?: Requester): Promise<Upload> {
  const { store, hooks, shutdownSignal: signal } = context
  if (isSettled(found)) return found
  const upload = found.parts && found.state === 'receiving' ? await assemble(context, found, requester?.signal) : found
  if (!isComplete(upload, end)) return upload
  const { algorithm, value } = upload.digest ?? {}
  const unverified = upload.state === 'receiving' && algorithm !== undefined && value !== undefined
  if (unverified && (await digestOf(context, upload, algorithm)) !== value) {
    return settle(context, upload, 'rejected', { status: 400, headers: {}, body: 'The upload does not match its digest' })
  }

  const { onFinish } = hooks
  if (!onFinish || upload.partial) return settle(context, upload, 'finished')
  if (upload.state === 'receiving') await store.setState(upload, 'finishing')
  const finishing: Upload = { ...upload, state: 'finishing' }
  const idempotencyKey = `${upload.id}-${upload.createdAt.getTime().toString(36)}`
  try {
    const answer = await callHook(() => onFinish(finishing, { idempotencyKey, signal }))
    if (answer === undefined) return await settleWhatIsLeft(context, finishing, 'finished')
    const { status, headers = {}, body = '' } = answer
    const outcome = { status, headers, body }
    if (!isOutcome(outcome)) throw new UploadError('INTERNAL', undefined, new TypeError('Cannot answer as onFinish returned what is no status, headers and text'))
    return await settleWhatIsLeft(context, finishing, 'finished', outcome)
  } catch (error) {
    if (!(error instanceof UploadError && error.code === 'REFUSED') || error.status >= 500) throw error
    return settleWhatIsLeft(context, finishing, 'rejected', { status: error.status, headers: error.headers, body: error.message })
  }
}

/** Settles an upload whose bytes and record the hook may have moved, removed or changed. */
async function settleWhatIsLeft(context: UploadContext, upload: Upload, state: 'finished' | 'rejected', outcome?: Outcome): Promise<Upload> {
  const left = await context.store.find(upload.id).catch((error: unknown) => {
    if ((error as { code?: unknown } | null)?.code !== 'UPLOAD_CORRUPT') throw error
    return { ...upload, movedAt: new Date() } // the hook has done its work; what it left of the bytes is not the upload any more
  })
  if (left) return settle(context, left, state, outcome)
  const removed: Upload = { ...upload, state, outcome, movedAt: new Date() }
  publish(state === 'finished' ? 'finish' : 'reject', removed)
  return removed
}
