// SPDX-License-Identifier: MIT

/** What an answer says of the state of an upload, to be compared as a whole. @module */

import { limitsOf as checkedLimitsOf } from './checked.ts'
import type { Head } from './support.ts'

/** The status and the fields about the state, as they were sent. A field that is not there is no member. */
export interface State {
  readonly status: number
  readonly offset?: string
  readonly complete?: string
  readonly length?: string
}

/** Reads the state from an answer. */
export function stateOf({ status, headers }: Head): State {
  const [offset, complete, length] = ['offset', 'complete', 'length'].map((name) => headers.get(`upload-${name}`))
  return {
    status,
    ...(offset !== undefined && { offset }),
    ...(complete !== undefined && { complete }),
    ...(length !== undefined && { length }),
  }
}

/** The limits of an answer, checked, in a form that `assert.deepEqual` compares. */
export function limitsOf(head: Head): Readonly<Record<string, number>> {
  return Object.fromEntries(checkedLimitsOf(head) ?? [])
}
