// SPDX-License-Identifier: MIT

/**
 * Small bodies that have arrived as a whole when their request is served, as most small files do.
 *
 * Design. A body that comes bit by bit has to be stored bit by bit: the upload exists before its
 * first byte, changes with each of them, and ends in a third step. A body that is here already
 * needs none of that. Its checksum is compared in memory, and an upload of which it is all is made
 * in its final state by one call of the store.
 *
 * Only what goes well is done here. A body that does not match takes the ordinary way, from memory,
 * so that there is one way to refuse.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Asked, ExpectedChecksum, IncomingBody, UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publish } from './events.ts'
import { finishUpload } from './finish.ts'
import type { End } from './lifecycle.ts'
import type { Received } from './receive.ts'
import type { NewUpload, Upload, UploadDigest } from './types.ts'
import { withLock } from './with-lock.ts'

/** All of a body. */
export interface WholeBody {
  readonly bytes: Uint8Array
  /** Whether they match the checksum and the digest, or there is neither. */
  readonly matches: boolean
}

/** An upload that is to be made of a whole body. */
export interface WholeCreation extends Asked {
  readonly wanted: NewUpload
  readonly body: IncomingBody
  readonly bytes: Uint8Array
  readonly end: End
  /** As for a creation whose body is still to come. */
  readonly announce?: ((upload: Upload) => boolean) | undefined
}

/** Reads a body if it is small and all of it has arrived. */
export async function readWhole(body: IncomingBody, digest?: UploadDigest): Promise<WholeBody | undefined> {
  const bytes = await body.whole?.()
  return bytes && { bytes, matches: matches(bytes, body.checksum) && hasDigest(bytes, digest) }
}

/** The body once more, for the ordinary way. */
export function replay(body: IncomingBody, bytes: Uint8Array): IncomingBody {
  const source = new Readable({ read() {} })
  source.push(bytes)
  source.push(null)
  return { ...body, source }
}

/**
 * Creates an upload of a whole body, under an id that nobody else knows.
 *
 * Without `onFinish` no lock is taken, and the upload is `finished` at once. With it the upload
 * starts as `finishing`, under its lock: as soon as it exists, the sweep of another process may run
 * the hook.
 *
 * As for any creation, an upload whose address was not announced is removed, unless the answer
 * announces it or `onFinish` may know of it.
 *
 * @throws {UploadError} `BUSY` before anything is created; `OVERDUE`; what {@link finishUpload}, the
 * locker or the store throws.
 */
export function createWhole(context: UploadContext, creation: WholeCreation): Promise<Received> {
  const { wanted: { id, partial }, requester } = creation
  if (!context.hooks.onFinish || partial) return create(context, creation, { state: 'finished' })
  return withLock(context, { id, requester }, ({ context, signal }) =>
    create(context, creation, { state: 'finishing', signal }))
}

async function create(
  context: UploadContext,
  creation: WholeCreation,
  { state, signal }: { readonly state: 'finishing' | 'finished'; readonly signal?: AbortSignal },
): Promise<Received> {
  const { wanted, body, bytes, end, announce, requester } = creation
  const { store, slots, limits, acknowledged } = context
  const stored = await slots.use(limits.maxConcurrent, () => store.createWhole!(wanted, bytes, state))
  body.stored()
  let announced = false
  try {
    assertSaved(wanted, stored)
    publish('create', { ...stored, offset: 0, state: 'receiving' })
    announced = announce?.(stored) ?? false
    if (requester.answered) throw new UploadError('OVERDUE')
  } catch (error) {
    if (!announced) await store.terminate(stored)
    throw error
  }
  publish('append', { ...stored, state: 'receiving' })
  acknowledged.note(stored)
  if (state === 'finished') publish('finish', stored)
  const upload = await finishUpload(context, stored, { end, ...(signal && { requester: { signal } }) })
  if (upload.state === 'rejected' && !announced) await store.terminate(upload)
  return { kind: 'received', upload }
}

/** @throws {UploadError} `INTERNAL` if a store has not kept what it was given. */
export function assertSaved(wanted: NewUpload, { completion, digest }: Upload): void {
  if (completion === wanted.completion && digest?.value === wanted.digest?.value) return
  const cause = new TypeError('Cannot create an upload as the store must save its completion and digest')
  throw new UploadError('INTERNAL', { cause })
}

/** Whether there is no checksum, or this one. One that cannot be read is left to the ordinary way. */
function matches(bytes: Uint8Array, checksum: ExpectedChecksum | undefined): boolean {
  if (!checksum) return true
  try {
    const { algorithm, digest } = checksum.read()
    return createHash(algorithm).update(bytes).digest().equals(digest)
  } catch (error) {
    if (error instanceof UploadError) return false
    throw error
  }
}

/** Whether no digest is asked for, or this one. */
function hasDigest(bytes: Uint8Array, { algorithm, value }: Partial<UploadDigest> = {}): boolean {
  if (algorithm === undefined || value === undefined) return true
  return createHash(algorithm).update(bytes).digest('base64') === value
}
