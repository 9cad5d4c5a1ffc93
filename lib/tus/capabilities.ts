// SPDX-License-Identifier: MIT

/**
 * Which extensions of tus 1.0.0 work with a store, and how OPTIONS says so.
 *
 * @module
 */

import type { Headers } from '../http/exchange.ts'
import type { UploadContext } from '../upload/context.ts'
import type { UploadStore } from '../upload/types.ts'
import { CHECKSUM_ALGORITHMS } from './checksum.ts'

/** The only version of the protocol that is spoken (tus section "Tus-Version"). */
export const TUS_VERSION = '1.0.0'

/** Each extension, and whether it works. One that does not is not offered, and refused. */
const EXTENSIONS: Readonly<Record<string, (context: UploadContext) => boolean>> = {
  creation: ({ store }) => store.create !== undefined,
  'creation-with-upload': ({ store }) => store.append !== undefined,
  'creation-defer-length': ({ store }) => defersLength(store),
  expiration: ({ limits }) => limits.expiration !== undefined,
  checksum: ({ store }) => verifiesChecksums(store),
  'checksum-trailer': ({ store }) => verifiesChecksums(store),
  termination: ({ store }) => store.terminate !== undefined,
  concatenation: ({ store }) => concatenates(store),
  'concatenation-unfinished': ({ store }) => concatenates(store),
}

export function defersLength(store: UploadStore): boolean {
  return store.setLength !== undefined
}

export function verifiesChecksums(store: UploadStore): boolean {
  return store.appendVerified !== undefined
}

export function concatenates(store: UploadStore): boolean {
  return store.read !== undefined && store.setLength !== undefined
}

/** The headers that answer OPTIONS (tus section "OPTIONS"). */
export function discoveryHeaders(context: UploadContext): Headers {
  const extensions = Object.keys(EXTENSIONS).filter((name) => EXTENSIONS[name]?.(context))
  return {
    'Tus-Version': TUS_VERSION,
    'Tus-Extension': extensions.join(','),
    'Tus-Max-Size': String(context.limits.maxSize),
    ...(verifiesChecksums(context.store) ? { 'Tus-Checksum-Algorithm': CHECKSUM_ALGORITHMS.join(',') } : {}),
  }
}
