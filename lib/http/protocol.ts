// SPDX-License-Identifier: MIT

/**
 * What a protocol for uploads brings along, so that several can be spoken at one address.
 *
 * @module
 */

import type { UploadContext } from '../upload/context.ts'
import type { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import type { Upload } from '../upload/types.ts'
import type { Exchange } from './exchange.ts'
import type { Target } from './request-target.ts'

/** Header fields by their names. */
export type Headers = Readonly<Record<string, string>>

/** How an error is answered; what is missing is as the table of errors has it. */
export interface Refusal {
  readonly status?: number
  readonly headers?: Headers
  readonly text?: string
}

/** One protocol, with its options and surroundings. */
export interface Protocol {
  /** Whether a request is in this protocol. */
  claims(req: UploadRequest, target: Target): boolean
  /** Which method a request means; `undefined`: what says so is malformed. */
  methodOf(req: UploadRequest): string | undefined
  /** The methods of the creation URL and of an upload URL. */
  methodsOf(kind: 'creation' | 'upload'): readonly string[]
  /** What it says of itself to whoever asks with OPTIONS. */
  discovery(): Headers
  /** What every answer says. */
  readonly headers: Headers
  /** The field that a request has only if it is in this protocol. */
  readonly marks: string
  /** The fields of requests and of responses that pages of other origins may use. */
  readonly requestFields: readonly string[]
  readonly responseFields: readonly string[]
  /** What an answer with the bytes of an upload says of it besides. Default: nothing. */
  downloadFields?(exchange: Exchange, upload: Upload): Headers
  /** Serves a request of one of its methods but OPTIONS; throws an `UploadError` to refuse. */
  serve(exchange: Exchange, target: Exclude<Target, { readonly kind: 'none' }>): Promise<void>
  /** How it puts an error. */
  refuse(exchange: Exchange, error: UploadError): Refusal
}

/** Answers a request for the bytes of an upload. */
export type Download = (exchange: Exchange, id: string) => Promise<void>

/** Makes a protocol when its surroundings are known; `download` if that is offered. */
export type ProtocolFactory = (context: UploadContext, download: Download | undefined) => Protocol
