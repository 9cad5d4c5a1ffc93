// SPDX-License-Identifier: MIT
// @ts-check

/**
 * Everything that can go wrong between a file and the server, in one table: whether the page tries
 * again by itself, and the words that it shows.
 *
 * @module
 */

/**
 * The key is the status of the response, or a name for trouble without a status.
 *
 * - `passes`: it goes away by itself, so the page waits and tries again. The words lack their full
 *   stop.
 * - `stays`: a person has to do something. The words say what.
 *
 * @type {readonly (readonly [what: number | string, outcome: 'passes' | 'stays', words: string])[]}
 */
const TABLE = [
  [0, 'passes', 'Waiting for the server'],
  [400, 'stays', 'The server did not understand the request. Reload this page, then choose the file again.'],
  [401, 'stays', 'The server requires a login. Log in, then try again.'],
  [403, 'stays', 'The server refused this file.'],
  [404, 'stays', 'The server does not accept uploads at this address. Tell whoever runs the server.'],
  [405, 'stays', 'The server does not accept uploads at this address. Tell whoever runs the server.'],
  [408, 'passes', 'The connection timed out'],
  [409, 'passes', 'Another page is uploading this file too'],
  [410, 'stays', 'The server no longer has this upload. Try again to start over.'],
  [412, 'stays', 'The server uses another version of the protocol. Reload this page.'],
  [413, 'stays', 'This file is larger than the server allows.'],
  [415, 'stays', 'The server does not accept what this page sends. Reload this page.'],
  [423, 'passes', 'The server is still busy with this file'],
  [425, 'passes', 'Waiting for the server'],
  [429, 'passes', 'The server asked this page to slow down'],
  [431, 'stays', 'The name of this file is too long for the server. Rename the file, then choose it again.'],
  [460, 'passes', 'Some bytes were damaged on the way and are being sent again'],
  [500, 'passes', 'The server reported an error (if this continues, tell whoever runs the server)'],
  [501, 'stays', 'The server does not support uploads. Tell whoever runs the server.'],
  [502, 'passes', 'Waiting for the server'],
  [503, 'passes', 'The server is busy or restarting'],
  [504, 'passes', 'Waiting for the server'],
  [505, 'stays', 'The server does not support uploads. Tell whoever runs the server.'],
  [507, 'stays', 'The server has no space left. Try again later.'],
  ['STRANGER', 'passes', 'Something other than the server answered'],
  ['UNREADABLE', 'stays', 'The file has been changed, moved or deleted. Choose it again.'],
  ['NONSENSE', 'stays', 'The server sent an invalid response. Tell whoever runs the server.'],
  ['DEFECT', 'stays', 'This page failed. Reload it, then choose the file again.'],
]

/** Why an upload is waiting or has failed. */
export class Trouble extends Error {
  /** Whether to wait and try again. */
  passes
  /** @type {number | undefined} how long the server asked to wait, in milliseconds */
  retryAfterMs

  /**
   * @param {number | 'STRANGER' | 'UNREADABLE' | 'NONSENSE' | 'DEFECT'} what a key of the table; 0:
   * no response
   * @param {ErrorOptions} [options]
   */
  constructor(what, options) {
    const [, outcome, words] = TABLE.find(([each]) => each === what) ?? other(Number(what))
    super(words, options)
    this.passes = outcome === 'passes'
  }

  /**
   * @param {XMLHttpRequest} answer whose status is not a success
   * @returns {Trouble}
   */
  static from(answer) {
    const trouble = new Trouble(answer.status)
    trouble.retryAfterMs = parseRetryAfter(answer.getResponseHeader('Retry-After'))
    return trouble
  }
}

/**
 * For a status that is not in the table: from 501 on it is the server's fault and may pass.
 *
 * @param {number} status
 * @returns {(typeof TABLE)[number]}
 */
function other(status) {
  return status > 500
    ? [status, 'passes', `The server reported an error (${status})`]
    : [status, 'stays', `The server refused the request (${status}).`]
}

/** A longer delay is taken for a mistake of the server. */
const MAX_RETRY_AFTER_MS = 3_600_000

/**
 * `Retry-After = HTTP-date / 1*DIGIT` (RFC 9110 section 10.2.3), in milliseconds from now.
 *
 * @param {string | null} text
 * @returns {number | undefined}
 */
function parseRetryAfter(text) {
  if (text === null) return undefined
  const delayMs = /^[0-9]+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return delayMs >= 0 ? Math.min(delayMs, MAX_RETRY_AFTER_MS) : undefined
}
