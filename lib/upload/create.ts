// SPDX-License-Identifier: MIT

/**
 * Creates an upload, with its first bytes if the request brings some.
 *
 * @module
 */

import { randomBytes } from 'node:crypto'
import { findParts, MAX_PARTS } from './concatenate.ts'
import type { Asked, IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publish } from './events.ts'
import { finishUpload } from './finish.ts'
import { callHook, type CreationChoices, type UploadDescription, type UploadRequest } from './hooks.ts'
import type { End } from './lifecycle.ts'
import { planAppend } from './offset.ts'
import type { Received } from './receive.ts'
import { take } from './take.ts'
import { UPLOAD_ID, type NewUpload, type Upload } from './types.ts'
import { assertSaved, createWhole, readWhole, replay } from './whole.ts'
import { withLock } from './with-lock.ts'

/** What a header can carry (tus section "Upload-Metadata"). */
const METADATA_KEY = /^[\x21-\x2b\x2d-\x7e]+$/

/** What asks for an upload. */
export interface CreationRequest extends Asked {
  readonly description: UploadDescription
  /** The first bytes, if the request brings some. */
  readonly body: IncomingBody | undefined
  /** Whether they are the last ones, too. */
  readonly end: End
  /** For the hooks. */
  readonly request: UploadRequest
  /**
   * Called when the upload exists and before bytes are stored, which may take long; may throw.
   * Returns whether the client knows the address from then on. Not called if there is neither a
   * body nor a concatenation.
   */
  readonly announce?: ((upload: Upload) => boolean) | undefined
}

/**
 * Creates an upload under an id of 128 random bits, or one that `onCreate` chose, appends the body,
 * and finishes the upload if that completes it: at once if its length is zero, and a concatenation
 * when its parts are complete.
 *
 * A small body that has arrived and completes the upload is stored as a whole, unless a hook chose
 * the id: others may know that, and wait for its lock.
 *
 * An upload whose address was not announced is removed, unless the answer announces it or
 * `onFinish` may know of it. So a refused request leaves nothing behind; an interrupted one leaves
 * the bytes that came.
 *
 * @throws {UploadError} before anything is created: `BAD_REQUEST` (the parts), `MAX_SIZE_EXCEEDED`,
 * `TOO_LARGE`, `APPEND_TOO_LARGE`, `BUSY`, `REFUSED`, `UPLOAD_EXISTS`, `OVERDUE` (the client was
 * answered meanwhile). After that, what {@link take}, {@link finishUpload} or the store throws.
 */
export async function createUpload(context: UploadContext, asked: CreationRequest): Promise<Received> {
  const { end, requester, announce } = asked
  const { store, slots, limits: { maxAppendSize, maxConcurrent } } = context
  const { wanted, isNew } = await decide(context, asked)
  const { id, length, parts, maxSize = context.limits.maxSize } = wanted
  if (length !== undefined && length > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED', { maxSize })
  const bodyLength = asked.body?.length
  const plan = planAppend({ offset: 0, length, claimedOffset: 0, bodyLength, maxSize, maxAppendSize })
  if (plan.kind === 'refused') throw new UploadError(plan.code, { maxSize })
  if (asked.body) slots.assertFree(maxConcurrent)
  if (requester.answered) throw new UploadError('OVERDUE')
  let { body } = asked
  if (body && isNew && end !== 'later' && length === body.length && store.createWhole) {
    const whole = await readWhole(body, wanted.digest)
    if (whole?.matches) return createWhole(context, { wanted, body, bytes: whole.bytes, end, announce, requester })
    if (whole) body = replay(body, whole.bytes)
  }
  if (!body && !parts && (length !== 0 || end === 'later')) { // nobody knows of it yet, so no lock is needed
    return { kind: 'received', upload: await create(context, wanted) }
  }

  return withLock(context, { id, requester }, async ({ context, stop, signal }) => {
    const created = await create(context, wanted)
    let announced = false
    const announcing: IncomingBody | undefined = body && {
      ...body,
      answerShutdown: (...details) => {
        announced = true // the answer has the address, and acknowledges what came
        return body.answerShutdown(...details)
      },
    }
    try {
      announced = announce?.(created) ?? false
      const received: Received = announcing
        ? await take(context, created, { body: announcing, end, length, maxBytes: plan.maxBytes, stop, signal })
        : { kind: 'received', upload: await finishUpload(context, created, { end, requester: { signal } }) }
      const kept = received.kind !== 'refused' && received.upload.state !== 'rejected'
      if (!kept && !announced) await context.store.terminate(received.upload)
      return received
    } catch (error) {
      const left = announced ? undefined : await context.store.find(id)
      const isKnown = left?.state === 'finishing' || left?.state === 'finished' // to `onFinish`, perhaps
      if (left && !isKnown) await context.store.terminate(left)
      throw error
    }
  })
}

async function create(context: UploadContext, upload: NewUpload): Promise<Upload> {
  const created = await context.store.create(upload)
  try {
    assertSaved(upload, created)
  } catch (error) {
    await context.store.terminate(created)
    throw error
  }
  publish('create', created)
  return created
}

/** What is to be created. */
interface Decision {
  readonly wanted: NewUpload
  /** Whether nobody else knows the id. */
  readonly isNew: boolean
}

/** Asks the hooks, and combines what they and the client say. */
async function decide(context: UploadContext, { description, request }: CreationRequest): Promise<Decision> {
  const { store, hooks: { authorize, onCreate }, limits: { maxSize } } = context
  const named = description.parts
  if (named) assertParts(named)
  const parts = named && (await findParts(context, named))
  const described: UploadDescription = parts ? { ...description, length: parts.length } : description
  if (authorize) {
    const operation = { kind: 'create', description: described, parts: parts?.uploads ?? [] } as const
    await callHook(() => authorize(operation, request))
  }
  if (named && !parts) {
    const message = 'The parts of a concatenation must be partial uploads on this server'
    throw new UploadError('BAD_REQUEST', { message })
  }
  if (parts && parts.size > maxSize) throw new UploadError('MAX_SIZE_EXCEEDED')
  const choices = (onCreate && (await callHook(() => onCreate(described, request)))) ?? {}
  assertChoices(choices)
  // The store would refuse it too, but only after the request that holds that upload released it.
  if (choices.id !== undefined && (await store.find(choices.id))) throw new UploadError('UPLOAD_EXISTS')
  const wanted: NewUpload = {
    ...described,
    ...(choices.metadata && { metadata: choices.metadata, encodedMetadata: undefined }),
    ...(choices.maxSize !== undefined && { maxSize: Math.min(choices.maxSize, maxSize) }),
    id: choices.id ?? randomBytes(16).toString('hex'),
  }
  return { wanted, isNew: choices.id === undefined }
}

function assertParts(parts: readonly string[]): void {
  if (parts.length > MAX_PARTS) {
    throw new UploadError('BAD_REQUEST', { message: `A concatenation must have at most ${MAX_PARTS} parts` })
  }
  if (new Set(parts).size < parts.length) { // a short request could have a large part written very often
    throw new UploadError('BAD_REQUEST', { message: 'A concatenation must not name a part twice' })
  }
}

function assertChoices({ id, metadata, maxSize }: CreationChoices): void {
  const fits =
    (id === undefined || (typeof id === 'string' && UPLOAD_ID.test(id))) &&
    (metadata === undefined || isMetadata(metadata)) &&
    (maxSize === undefined || (Number.isSafeInteger(maxSize) && maxSize >= 0))
  if (fits) return
  const cause = new TypeError('Cannot create an upload as onCreate must return a valid id, metadata and maxSize')
  throw new UploadError('INTERNAL', { cause })
}

function isMetadata(metadata: unknown): boolean {
  if (!(metadata instanceof Map)) return false
  const isText = (each: unknown): each is string => typeof each === 'string'
  return [...metadata].every(([key, text]) => isText(key) && METADATA_KEY.test(key) && isText(text))
}
