// SPDX-License-Identifier: MIT

/**
 * What an id may look like, wherever it comes from: an address, or a hook.
 *
 * @module
 */

/** Nothing that means something in a path, a header or an address. Stores check it once more for themselves. */
export const UPLOAD_ID: RegExp = /^[A-Za-z0-9_-]{1,128}$/
