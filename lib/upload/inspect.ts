// SPDX-License-Identifier: MIT

/**
 * Finds out how far an upload has come.
 *
 * @module
 */

import type { Asked, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { findHeld, findUpload, rejectionOf } from './find.ts'
import { finishUpload } from './finish.ts'
import { isSettled, type End } from './lifecycle.ts'
import type { Upload } from './types.ts'
import { whileFree, withLock } from './with-lock.ts'

/** A request for the state of an upload. */
export interface InspectRequest extends Asked {
  /** What a client of this kind says about the end by asking. */
  readonly end: End
}

/**
 * Resolves with the upload, once the request that held it has released it: that client may be gone,
 * and then the offset counts every byte it received. If the upload is complete, or `end` makes it
 * so, finishing is tried again first, so that nothing is called complete that is not.
 *
 * A finished upload waits for nobody. Nor does a concatenation while it is being assembled, or
 * while the server is too busy to assemble it.
 *
 * @throws {UploadError} `NOT_FOUND`, `EXPIRED`, `DEACTIVATED`, `REFUSED` if it was rejected; what
 * {@link finishUpload}, the store or the locker throws.
 */
export async function inspectUpload(context: UploadContext, id: string, asked: InspectRequest): Promise<Upload> {
  const upload = await look(context, id, asked)
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return upload
}

/**
 * As {@link inspectUpload}, but a request that holds the upload is not disturbed. While there is
 * one, the offset is the last one that this process has acknowledged, as no other is a promise. A
 * request in another process may have acknowledged more.
 */
export async function peekUpload(context: UploadContext, id: string, { requester }: Asked): Promise<Upload> {
  const found = await findUpload(context, id)
  const held = isSettled(found)
    ? found
    : await whileFree(context, id, (context) => lookHeld(context, id, { requester, end: 'later' }))
  const upload = held ?? { ...found, offset: Math.min(found.offset, context.acknowledged.of(found)) }
  if (upload.state === 'rejected') throw rejectionOf(upload)
  return upload
}

async function look(context: UploadContext, id: string, asked: InspectRequest): Promise<Upload> {
  const lookIfFree = (): Promise<Upload | undefined> =>
    whileFree(context, id, (context) => lookHeld(context, id, asked))
  // With the lock one look is enough, and mostly the lock is free.
  const held = await lookIfFree()
  if (held) return held

  const found = await findUpload(context, id)
  if (isSettled(found)) return found
  if (found.parts) return (await lookIfFree()) ?? found
  return withLock(context, { id, requester: asked.requester }, ({ context, signal }) =>
    lookHeld(context, id, { ...asked, requester: { signal } }))
}

/** The caller holds the lock. */
async function lookHeld(context: UploadContext, id: string, asked: InspectRequest): Promise<Upload> {
  const upload = await findHeld(context, id)
  if (isSettled(upload)) return upload
  if (!upload.parts) { // the bytes of a concatenation are those of its parts
    await context.store.flush?.(upload) // an offset that is reported is a promise
    context.acknowledged.note(upload)
  }
  try {
    return await finishUpload(context, upload, asked)
  } catch (error) {
    if (upload.parts && error instanceof UploadError && error.code === 'BUSY') return upload
    throw error
  }
}
