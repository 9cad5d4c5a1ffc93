// SPDX-License-Identifier: MIT

/**
 * Where an application has its say.
 *
 * A hook that refuses throws an error with a `status` from 400 to 599; it is answered with that
 * status, with `body` (text, at most 256 Ki characters) and `headers` if the error has them. Its message
 * stays in the server: it may come from anywhere. Any other error is answered with 500 and no detail.
 *
 * @module
 */

import { STATUS_CODES, validateHeaderName, validateHeaderValue, type IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import type { NewUpload, Outcome, Upload } from './types.ts'

/** A request of `node:http`, or of the compatibility API of `node:http2`. */
export type UploadRequest = IncomingMessage | Http2ServerRequest

/** An upload that is to be made. */
export type UploadDescription = Omit<NewUpload, 'id'>

/** What a request is about to do. */
export type Operation =
  | { readonly kind: 'create'; readonly description: UploadDescription; /** Of a concatenation. */ readonly parts: readonly Upload[] }
  | { readonly kind: 'inspect' | 'append' | 'read' | 'terminate'; readonly id: string; /** `undefined` if there is none. */ readonly upload: Upload | undefined }

/** What `onCreate` may decide. */
export interface CreationChoices {
  /** Must match `^[A-Za-z0-9_-]{1,128}$`, and be new. Default: 128 random bits. */
  readonly id?: string | undefined
  /** Keys of visible ASCII without a comma, as clients may ask for them. Default: what the client sent. */
  readonly metadata?: ReadonlyMap<string, string> | undefined
  /** The most that this upload may grow to, in bytes. Default: the handler's. */
  readonly maxSize?: number | undefined
}

/** What `onFinish` may answer. Default of each: as the protocol has it. */
export interface FinishAnswer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
}

/** What `onFinish` is told besides the upload. */
export interface FinishDetails {
  /** The same in every run for one upload: whoever has seen it has done the work. */
  readonly idempotencyKey: string
  /** Aborts when the server shuts down. A run that stops then is repeated after the restart. */
  readonly signal: AbortSignal | undefined
}

/** The hooks. Each may be left out. */
export interface UploadHooks {
  /**
   * Before anything else is done, and before the upload is locked. Throws to refuse. With `download`, a HEAD of an unfinished
   * upload may ask for `read`, then for `inspect`.
   */
  readonly authorize?: ((operation: Operation, request: UploadRequest) => void | Promise<void>) | undefined
  /** Before an upload is made. Throws to refuse. The lock is not held. */
  readonly onCreate?: ((description: UploadDescription, request: UploadRequest) => CreationChoices | void | Promise<CreationChoices | void>) | undefined
  /**
   * When all bytes are stored. It runs at least once: again, if it failed or the server stopped
   * meanwhile. It may move the bytes away, with `moveTo` of a `FileStore`, or remove the upload with
   * `terminate` of the store. An error with a status below 500 rejects the upload for good, so catch those of a
   * library whose errors have one too. The lock is held.
   */
  readonly onFinish?: ((upload: Upload, details: FinishDetails) => FinishAnswer | void | Promise<FinishAnswer | void>) | undefined
  /** Before an upload is removed, unless `onFinish` moved its bytes away and the record expires. If it throws, the upload stays. The lock is held. */
  readonly onTerminate?: ((upload: Upload, reason: 'terminated' | 'expired') => void | Promise<void>) | undefined
  /** Now and then while bytes come, with the offset that is stored. Nobody waits for it, and what it throws is published. */
  readonly onProgress?: ((upload: Upload) => void | Promise<void>) | undefined
}

/** Asks `authorize` about an upload that exists, or does not. Without that hook it looks for nothing. */
export async function authorize(
  context: UploadContext,
  kind: 'inspect' | 'append' | 'read' | 'terminate',
  id: string,
  request: UploadRequest,
): Promise<void> {
  const { authorize } = context.hooks
  if (!authorize) return
  const upload = await context.store.find(id)
  await callHook(() => authorize({ kind, id, upload }, request))
}

/** Calls a hook. What it throws becomes an `UploadError`: `REFUSED` if it has a status, else `INTERNAL`. */
export async function callHook<T>(hook: () => T | Promise<T>): Promise<T> {
  try {
    return await hook()
  } catch (error) {
    const { status, body, headers } = (error ?? {}) as { status?: unknown; body?: unknown; headers?: unknown }
    if (typeof status !== 'number' || !isOutcome({ status, headers: headers ?? {}, body: body ?? '' }) || status < 400) {
      throw new UploadError('INTERNAL', undefined, error)
    }
    const text = typeof body === 'string' ? body : (STATUS_CODES[status] ?? '')
    throw new UploadError('REFUSED', text, error, { status, headers: (headers ?? {}) as Record<string, string> })
  }
}

/** In characters of JSON. A store keeps an answer beside the upload; far more than this it may not be able to read again. */
const MAX_ANSWER_LENGTH = 256 * 1024

/** Whether a hook's answer can be sent, and kept: a final status, headers that are headers, text. */
export function isOutcome(value: { readonly status?: unknown; readonly headers: unknown; readonly body: unknown }): value is Outcome {
  const { status, headers, body } = value
  if (status !== undefined && !(Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599)) return false
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers) || typeof body !== 'string') return false
  try {
    for (const [name, content] of Object.entries(headers)) {
      validateHeaderName(name)
      validateHeaderValue(name, content)
      if (typeof content !== 'string') return false
    }
    return JSON.stringify([headers, body]).length <= MAX_ANSWER_LENGTH
  } catch {
    return false
  }
}
