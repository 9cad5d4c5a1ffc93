// SPDX-License-Identifier: MIT

/**
 * The hooks: where an application takes part in what happens to uploads.
 *
 * To refuse, a hook throws an error with a `status` from 400 to 599. The client gets that status,
 * and the error's `body` (text, at most 256 Ki characters) and `headers` if it has them. The
 * error's message stays in the server, as it may come from anywhere. Any other error is answered
 * with 500 and no detail.
 *
 * @module
 */

import { STATUS_CODES, validateHeaderName, validateHeaderValue, type IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { UploadError } from './errors.ts'
import type { NewUpload, Outcome, Upload } from './types.ts'

/** A request of `node:http`, or of the compatibility API of `node:http2`. */
export type UploadRequest = IncomingMessage | Http2ServerRequest

/** An upload that is to be made. */
export type UploadDescription = Omit<NewUpload, 'id'>

/** What a request is about to do. */
export type Operation = CreateOperation | UploadOperation

/** A request that asks for a new upload. */
export interface CreateOperation {
  readonly kind: 'create'
  readonly description: UploadDescription
  /** Of a concatenation. */
  readonly parts: readonly Upload[]
}

/** A request for an upload by its id. */
export interface UploadOperation {
  readonly kind: 'inspect' | 'append' | 'read' | 'terminate'
  readonly id: string
  /** `undefined`: it does not exist. */
  readonly upload: Upload | undefined
}

/** What `onCreate` may decide. */
export interface CreationChoices {
  /** Must match `^[A-Za-z0-9_-]{1,128}$`, and be new. Default: 128 random bits. */
  readonly id?: string | undefined
  /** Keys must be visible ASCII without a comma. Default: what the client sent. */
  readonly metadata?: ReadonlyMap<string, string> | undefined
  /** The most that this upload may grow to, in bytes. Default: the handler's. */
  readonly maxSize?: number | undefined
}

/** What `onFinish` may answer. Default of each: what the protocol answers. */
export interface FinishAnswer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
}

/** What `onFinish` is given besides the upload. */
export interface FinishDetails {
  /** The same in every run for one upload, so that work that was done already can be recognised. */
  readonly idempotencyKey: string
  /** Aborts when the server shuts down. A run that stops then is repeated after the restart. */
  readonly signal: AbortSignal | undefined
}

/** A hook may be synchronous or not. */
export type MaybePromise<T> = T | Promise<T>

/** The hooks. Each may be left out. */
export interface UploadHooks {
  /**
   * Runs before anything else, and before the upload is locked. Throws to refuse. With `download`,
   * a HEAD of an unfinished upload may ask for `read`, then for `inspect`.
   */
  readonly authorize?: ((operation: Operation, request: UploadRequest) => MaybePromise<void>) | undefined
  /** Runs before an upload is created. Throws to refuse. The lock is not held. */
  readonly onCreate?:
    | ((description: UploadDescription, request: UploadRequest) => MaybePromise<CreationChoices | void>)
    | undefined
  /**
   * Runs when all bytes are stored, at least once: again, if it failed or the server stopped
   * meanwhile. It may move the bytes away with `moveTo` of a `FileStore`, or remove the upload with
   * `terminate` of the store. An error with a status below 500 rejects the upload for good: catch
   * the errors of libraries that have a status too. The lock is held.
   */
  readonly onFinish?: ((upload: Upload, details: FinishDetails) => MaybePromise<FinishAnswer | void>) | undefined
  /**
   * Runs before an upload is removed. If it throws, the upload stays. It does not run when the
   * record of an upload expires whose bytes `onFinish` moved away. The lock is held.
   */
  readonly onTerminate?: ((upload: Upload, reason: 'terminated' | 'expired') => MaybePromise<void>) | undefined
  /** Runs now and then while bytes come, with the offset that is stored. An error is published. */
  readonly onProgress?: ((upload: Upload) => MaybePromise<void>) | undefined
}

/**
 * The most that an answer may have, in characters of JSON. The store keeps it beside the upload.
 */
const MAX_ANSWER_LENGTH = 256 * 1024

/** The hooks alone, of options that may hold more. */
export function hooksOf({ authorize, onCreate, onFinish, onTerminate, onProgress }: UploadHooks): UploadHooks {
  return { authorize, onCreate, onFinish, onTerminate, onProgress }
}

/** What has the members of `T`, of any type. */
type Unchecked<T> = { readonly [Key in keyof T]: unknown }

/** Calls a hook. What it throws becomes `REFUSED` if it has a status, else `INTERNAL`. */
export async function callHook<T>(hook: () => MaybePromise<T>): Promise<T> {
  try {
    return await hook()
  } catch (error) {
    const { status, body, headers } = (error ?? {}) as Partial<Unchecked<Outcome>>
    const text = typeof status === 'number' ? STATUS_CODES[status] : undefined
    const answer = { status, headers: headers ?? {}, body: body ?? text ?? '' }
    if (!isOutcome(answer) || answer.status === undefined || answer.status < 400) {
      throw new UploadError('INTERNAL', { cause: error })
    }
    const { body: message, headers: own } = answer
    throw new UploadError('REFUSED', { message, cause: error, status: answer.status, headers: own })
  }
}

/** Whether a hook's answer can be sent and kept: a final status, valid headers, text. */
export function isOutcome(value: Unchecked<Outcome>): value is Outcome {
  const { status, headers, body } = value
  if (status !== undefined && !isFinalStatus(status)) return false
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return false
  if (typeof body !== 'string') return false
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

function isFinalStatus(status: unknown): boolean {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599
}
