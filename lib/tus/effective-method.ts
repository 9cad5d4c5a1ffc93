// SPDX-License-Identifier: MIT

/**
 * The method that a request means (tus section "X-HTTP-Method-Override").
 *
 * @module
 */

/** A method is a token (RFC 9110 section 5.6.2) and case-sensitive (section 9.1). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * Returns the override if there is one, whatever the actual method; `undefined` means malformed:
 * empty, or several methods.
 */
export function effectiveMethod(method: string, override: string | undefined): string | undefined {
  if (override === undefined) return method
  return TOKEN.test(override) ? override : undefined
}
