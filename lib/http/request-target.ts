// SPDX-License-Identifier: MIT

/**
 * What a request's target names: the creation URL, an upload, or nothing of ours.
 *
 * @module
 */

import { UPLOAD_ID } from '../upload/types.ts'

/** Where a request goes. */
export type Target =
  | { readonly kind: 'creation' }
  | { readonly kind: 'upload'; readonly id: string }
  | { readonly kind: 'none' }

/** `absolute-form` of a request target (RFC 9112 section 3.2.2), down to its path. */
const ORIGIN = /^https?:\/\/[^/?#]*/i

/**
 * Finds out what `requestTarget` names below `basePath`, which begins and ends with a slash.
 *
 * The path is compared as it stands. Nothing is decoded or normalised, because no address that
 * this server gave out needs it: whatever has a `%`, a dot or a second slash names nothing.
 */
export function parseTarget(requestTarget: string, basePath: string): Target {
  const [path = ''] = requestTarget.replace(ORIGIN, '').split(/[?#]/, 1)
  if (path === basePath || `${path}/` === basePath) return { kind: 'creation' }
  const id = path.startsWith(basePath) ? path.slice(basePath.length) : ''
  return UPLOAD_ID.test(id) ? { kind: 'upload', id } : { kind: 'none' }
}
