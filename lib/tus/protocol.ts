// SPDX-License-Identifier: MIT

/**
 * What this server speaks: version, extensions, methods and media type of tus 1.0.0.
 *
 * @module
 */

import type { UploadStore } from '../upload/types.ts'
import { CHECKSUM_ALGORITHMS } from './checksum.ts'

/** The one version of the protocol (tus section "Tus-Version"). */
export const TUS_VERSION = '1.0.0'

/** The media type of a body that is appended (tus section "PATCH"). */
export const APPEND_MEDIA_TYPE = 'application/offset+octet-stream'

/** What decides which extensions work. */
export interface Capabilities {
  readonly store: UploadStore
  /** Whether unfinished uploads expire. */
  readonly expires: boolean
}

/** Each extension, and whether it works. What does not is not offered, and refused if it is asked for. */
const EXTENSIONS: Readonly<Record<string, (capabilities: Capabilities) => boolean>> = {
  creation: ({ store }) => store.create !== undefined,
  'creation-with-upload': ({ store }) => store.append !== undefined,
  'creation-defer-length': defersLength,
  expiration: ({ expires }) => expires,
  checksum: verifiesChecksums,
  'checksum-trailer': verifiesChecksums,
  termination: ({ store }) => store.terminate !== undefined,
  concatenation: concatenates,
  'concatenation-unfinished': concatenates,
}

export function defersLength({ store }: Pick<Capabilities, 'store'>): boolean {
  return store.setLength !== undefined
}

export function verifiesChecksums({ store }: Pick<Capabilities, 'store'>): boolean {
  return store.appendVerified !== undefined
}

export function concatenates({ store }: Pick<Capabilities, 'store'>): boolean {
  return store.read !== undefined && store.setLength !== undefined
}

/** The fields of requests that pages of other origins may send. */
export const REQUEST_FIELDS: readonly string[] = [
  'Tus-Resumable', 'Upload-Checksum', 'Upload-Concat', 'Upload-Defer-Length', 'Upload-Length', 'Upload-Metadata', 'Upload-Offset', 'X-HTTP-Method-Override',
]
/** The fields of responses that they may read. */
export const RESPONSE_FIELDS: readonly string[] = [
  'Tus-Checksum-Algorithm', 'Tus-Extension', 'Tus-Max-Size', 'Tus-Resumable', 'Tus-Version', 'Upload-Concat', 'Upload-Defer-Length', 'Upload-Expires',
  'Upload-Length', 'Upload-Metadata', 'Upload-Offset',
]

/** The methods of the creation URL and of an upload URL. */
export function methodsOf(kind: 'creation' | 'upload', downloads: boolean): readonly string[] {
  if (kind === 'creation') return ['OPTIONS', 'POST']
  return downloads ? ['OPTIONS', 'HEAD', 'GET', 'PATCH', 'DELETE'] : ['OPTIONS', 'HEAD', 'PATCH', 'DELETE']
}

/** The headers that answer OPTIONS (tus section "OPTIONS"). */
export function discoveryHeaders(capabilities: Capabilities, maxSize: number): Readonly<Record<string, string>> {
  const extensions = Object.keys(EXTENSIONS).filter((name) => EXTENSIONS[name]?.(capabilities))
  return {
    'Tus-Version': TUS_VERSION,
    'Tus-Extension': extensions.join(','),
    'Tus-Max-Size': String(maxSize),
    ...(verifiesChecksums(capabilities) ? { 'Tus-Checksum-Algorithm': CHECKSUM_ALGORITHMS.join(',') } : {}),
  }
}
