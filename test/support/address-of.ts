// SPDX-License-Identifier: MIT

/** Where an upload is that was created just now. @module */

import assert from 'node:assert/strict'

/** The `Location` of an answer to a creation, which must be a 201. */
export function addressOf({ status, headers }: { readonly status: number; readonly headers: ReadonlyMap<string, string> }): string {
  assert.equal(status, 201)
  return locationOf({ headers })
}

/** The `Location` of an answer, be it an interim one. */
export function locationOf({ headers }: { readonly headers: ReadonlyMap<string, string> }): string {
  return headers.get('location') ?? assert.fail('no Location')
}
