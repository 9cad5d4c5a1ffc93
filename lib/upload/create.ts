// SPDX-License-Identifier: MIT

/**
 * Creates an upload, with its first bytes if the request brings some.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import type { IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { planAppend } from './offset.ts'
import { receive, type Received } from './receive.ts'
import type { NewUpload } from './types.ts'
import { withLock } from './with-lock.ts'

/**
 * Creates an upload under an id of 128 random bits, and appends `body` to it.
 *
 * What is refused leaves nothing behind. What was interrupted exists, with the bytes that came.
 *
 * @throws {UploadError} `MAX_SIZE_EXCEEDED`, `TOO_LARGE` before anything is created; whatever the
 * store throws.
 */
export async function createUpload(
  context: UploadContext,
  description: Omit<NewUpload, 'id'>,
  body: IncomingBody | undefined,
  signal: AbortSignal,
): Promise<Received> {
  const { store, maxSize } = context
  const { length } = description
  if (length !== undefined && length > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED')
  const plan = planAppend({ offset: 0, length, claimedOffset: 0, bodyLength: body?.length, maxSize })
  if (plan.kind === 'refused') throw new UploadError(plan.code)

  const id = randomBytes(16).toString('hex')
  if (!body) return { kind: 'received', upload: await store.create({ ...description, id }) }

  return withLock(context, id, signal, async (stop) => {
    const upload = await store.create({ ...description, id })
    body.accept()
    let received: Received | undefined
    try {
      received = await receive(context, upload, body, { maxBytes: plan.maxBytes, stop, signal })
      return received
    } finally {
      if (!received || received.kind === 'refused') await store.terminate(upload) // nobody learns of its address
    }
  })
}
