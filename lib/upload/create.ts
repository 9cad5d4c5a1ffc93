// SPDX-License-Identifier: MIT

/**
 * Creates an upload, with its first bytes if the request brings some.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import { assertNotBusy } from './busy.ts'
import type { End } from './completion.ts'
import { findParts, MAX_PARTS } from './concatenate.ts'
import type { IncomingBody, Requester, UploadContext } from './context.ts'
import { endAt, endOfCut, isOverrun, overrun } from './end.ts'
import { UploadError } from './errors.ts'
import { publish } from './events.ts'
import { finishUpload } from './finish.ts'
import { callHook, type CreationChoices, type UploadDescription, type UploadRequest } from './hooks.ts'
import { UPLOAD_ID } from './id.ts'
import { planAppend } from './offset.ts'
import { receive, type Received } from './receive.ts'
import type { NewUpload, Upload } from './types.ts'
import { withLock } from './with-lock.ts'

/** What a header can carry (tus section "Upload-Metadata"). */
const METADATA_KEY = /^[\x21-\x2b\x2d-\x7e]+$/

/** What asks for an upload. */
export interface CreationRequest {
  readonly description: UploadDescription
  /** The first bytes, if it brings some. */
  readonly body: IncomingBody | undefined
  /** Whether they are the last ones, too. */
  readonly end: End
  /** For the hooks. */
  readonly request: UploadRequest
  /** Called when all have agreed; may throw. */
  readonly beforeCreate: () => void
  /**
   * Called when it exists, before its first bytes are asked for; not if there is no `body`. Returns whether the
   * client knows its address from then on.
   */
  readonly announce?: ((upload: Upload) => boolean) | undefined
}

/**
 * Creates an upload under an id of 128 random bits, or one that `onCreate` chose, appends the body to
 * it, and finishes it if that is all of it: one of length zero at once, a concatenation when its
 * parts are complete.
 *
 * What is refused leaves nothing behind, unless its address was announced; nor does a concatenation that
 * could not be put together. What was interrupted exists, with the bytes that came; so does what is complete
 * but could not be finished.
 *
 * @throws {UploadError} `BAD_REQUEST` (the parts), `LENGTH_CONFLICT`, `MAX_SIZE_EXCEEDED`, `TOO_LARGE`, `APPEND_TOO_LARGE`,
 * `BUSY`, `REFUSED`, `UPLOAD_EXISTS` before anything is created; what {@link finishUpload} or the store throws.
 */
export async function createUpload(context: UploadContext, asked: CreationRequest, requester: Requester): Promise<Received> {
  const { body, end, beforeCreate } = asked
  const wanted = await decide(context, asked)
  const { id, length, parts, maxSize = context.maxSize } = wanted
  if (length !== undefined && length > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED', undefined, undefined, { maxSize })
  const plan = planAppend({ offset: 0, length, claimedOffset: 0, bodyLength: body?.length, maxSize, maxAppendSize: context.maxAppendSize })
  if (plan.kind === 'refused') throw new UploadError(plan.code, undefined, undefined, { maxSize })
  if (body) assertNotBusy(context)
  beforeCreate()
  if (!body && !parts && (length !== 0 || end === 'later')) return { kind: 'received', upload: await create(context, wanted) } // nobody knows of it yet

  const { signal } = requester
  return withLock(context, id, signal, async ({ context, stop, signal }) => {
    const created = await create(context, wanted)
    const announced = asked.announce?.(created) ?? false
    let received: Received | undefined
    try {
      received = body
        ? endAt(end, await receive(context, created, body, { maxBytes: plan.maxBytes, stop, signal }))
        : { kind: 'received', upload: created }
    } finally {
      if (!announced && (!received || received.kind === 'refused' || isOverrun(body, received))) await context.store.terminate(created) // nobody learns of its address
    }
    if (isOverrun(body, received)) throw announced ? await overrun(context, created, received.upload) : new UploadError('LENGTH_CONFLICT')
    if (received.kind === 'refused') return received
    if (received.upload.length !== length && received.upload.length !== undefined) await context.store.setLength?.(created, received.upload.length)
    context.acknowledged.note(received.upload)
    try {
      const upload = await finishUpload(context, received.upload, received.kind === 'received' ? end : endOfCut(end), { signal })
      if (upload.state === 'rejected' && !announced) await context.store.terminate(upload)
      return { ...received, upload }
    } catch (error) {
      const left = parts && (await context.store.find(id))
      if (left?.state === 'receiving') await context.store.terminate(left) // it did not get its bytes, and nobody learns of its address
      throw error
    }
  })
}

async function create(context: UploadContext, upload: NewUpload): Promise<Upload> {
  const created = await context.store.create(upload)
  if (created.completion !== upload.completion || created.digest?.value !== upload.digest?.value) {
    await context.store.terminate(created)
    throw new UploadError('INTERNAL', undefined, new TypeError('Cannot create an upload as the store must keep its completion and digest'))
  }
  publish('create', created)
  return created
}

/** Asks the hooks, and adds up what they and the client say. */
async function decide(context: UploadContext, { description, request }: CreationRequest): Promise<NewUpload> {
  const { hooks, maxSize } = context
  const { authorize, onCreate } = hooks
  if ((description.parts?.length ?? 0) > MAX_PARTS) throw new UploadError('BAD_REQUEST', `A concatenation must have at most ${MAX_PARTS} parts`)
  // Else a short request could have a large part written very often.
  if (new Set(description.parts).size < (description.parts?.length ?? 0)) throw new UploadError('BAD_REQUEST', 'A concatenation must name each part once')
  const parts = description.parts && (await findParts(context, description.parts))
  const described: UploadDescription = parts ? { ...description, length: parts.length } : description
  if (authorize) await callHook(() => authorize({ kind: 'create', description: described, parts: parts?.uploads ?? [] }, request))
  if (description.parts && !parts) throw new UploadError('BAD_REQUEST', 'The parts of a concatenation must be partial uploads of this server')
  if (parts && parts.size > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED')
  const choices = (onCreate && (await callHook(() => onCreate(described, request)))) ?? {}
  assertChoices(choices)
  // The store would say so as well, but only when the request that is at work there had been asked to let go.
  if (choices.id !== undefined && (await context.store.find(choices.id))) throw new UploadError('UPLOAD_EXISTS')
  return {
    ...described,
    ...(choices.metadata && { metadata: choices.metadata, encodedMetadata: undefined }),
    ...(choices.maxSize !== undefined && { maxSize: Math.min(choices.maxSize, maxSize) }),
    id: choices.id ?? randomBytes(16).toString('hex'),
  }
}

function assertChoices(choices: CreationChoices): void {
  const { id, metadata, maxSize } = choices
  const fits =
    (id === undefined || (typeof id === 'string' && UPLOAD_ID.test(id))) &&
    (metadata === undefined || (metadata instanceof Map && [...metadata].every(([key, text]) => typeof key === 'string' && METADATA_KEY.test(key) && typeof text === 'string'))) &&
    (maxSize === undefined || (Number.isSafeInteger(maxSize) && maxSize >= 0))
  if (!fits) throw new UploadError('INTERNAL', undefined, new TypeError('Cannot create an upload as onCreate returned an id, metadata or maxSize that is none'))
}
