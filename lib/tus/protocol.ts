// SPDX-License-Identifier: MIT

/**
 * What this server speaks: version, extensions, methods and media type of tus 1.0.0.
 *
 * @module
 */

/** The one version of the protocol (tus section "Tus-Version"). */
export const TUS_VERSION = '1.0.0'

/** The extensions that the handler implements on any store. */
export const TUS_EXTENSIONS = 'creation,creation-with-upload,termination'

/** The media type of a body that is appended (tus section "PATCH"). */
export const APPEND_MEDIA_TYPE = 'application/offset+octet-stream'

/** The methods of the creation URL and of an upload URL. */
export const METHODS: Readonly<Record<'creation' | 'upload', readonly string[]>> = {
  creation: ['OPTIONS', 'POST'],
  upload: ['OPTIONS', 'HEAD', 'PATCH', 'DELETE'],
}

/** The headers that answer OPTIONS (tus section "OPTIONS"). */
export function discoveryHeaders(maxSize: number): Readonly<Record<string, string>> {
  return { 'Tus-Version': TUS_VERSION, 'Tus-Extension': TUS_EXTENSIONS, 'Tus-Max-Size': String(maxSize) }
}
