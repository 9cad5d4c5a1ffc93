// SPDX-License-Identifier: MIT

/**
 * One request on its way through the handler, and the protocol that it is in.
 *
 * Both stand in this file because they name each other: a request carries its protocol, and a
 * protocol serves requests.
 *
 * @module
 */

import type { ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import type { Requester, UploadContext } from '../upload/context.ts'
import type { UploadError } from '../upload/errors.ts'
import type { UploadRequest } from '../upload/hooks.ts'
import type { Upload } from '../upload/types.ts'
import type { Addresses } from './location.ts'
import type { Target } from './request-target.ts'

/** The response that belongs to an `UploadRequest`. */
export type UploadResponse = ServerResponse | Http2ServerResponse

/** Header fields by their names. */
export type Headers = Readonly<Record<string, string>>

/** A final response. */
export interface Answer {
  readonly status: number
  readonly headers?: Headers
  /** Default: empty. */
  readonly text?: string
}

/** How a protocol answers an error. What is missing comes from the table of errors. */
export type Refusal = Partial<Answer>

/** One request on its way through the handler. */
export interface Exchange extends Requester {
  readonly req: UploadRequest
  readonly res: UploadResponse
  readonly addresses: Addresses
  /** The protocol that the request is in. */
  readonly protocol: Protocol
  /**
   * What it asks for, which may differ from its own method; `undefined`: what says so is malformed.
   */
  readonly method: string | undefined
  /**
   * Answers 503 if the server takes too long. It runs only while the client waits for the server.
   */
  readonly watchdog: { start(): void; stop(): void }
  /** Whether the client holds its body back until it gets `100 Continue`. */
  awaitsContinue: boolean
  /** Whether the answer has been decided. It may not have been sent yet. */
  answered: boolean
  /** Sent with every answer to this request. */
  headers: Headers
}

/** One protocol, with its options and surroundings. Several can be spoken at one address. */
export interface Protocol {
  /** Whether a request is in this protocol. */
  claims(req: UploadRequest, target: Target): boolean
  /** Which method a request means; `undefined`: what says so is malformed. */
  methodOf(req: UploadRequest): string | undefined
  /** The methods of the creation URL and of an upload URL. */
  methodsOf(kind: 'creation' | 'upload'): readonly string[]
  /** The headers with which it answers OPTIONS. */
  readonly discovery: Headers
  /** Sent with every answer. */
  readonly headers: Headers
  /** The field that a request has only if it is in this protocol, in lower case. */
  readonly marks: string
  /** The fields of requests and of responses that pages of other origins may use. */
  readonly requestFields: readonly string[]
  readonly responseFields: readonly string[]
  /** Further headers of a download of an upload. Default: none. */
  downloadFields?(exchange: Exchange, upload: Upload): Headers
  /** Serves a request of one of its methods but OPTIONS; throws an `UploadError` to refuse. */
  serve(exchange: Exchange, target: Exclude<Target, { readonly kind: 'none' }>): Promise<void>
  /** How it answers an error. */
  refuse(exchange: Exchange, error: UploadError): Refusal
}

/** Answers a request for the bytes of an upload. */
export type Download = (exchange: Exchange, id: string) => Promise<void>

/** Makes a protocol when its surroundings are known. There is a `download` if that is offered. */
export type ProtocolFactory = (context: UploadContext, download: Download | undefined) => Protocol
