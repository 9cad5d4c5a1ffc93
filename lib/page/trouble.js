// SPDX-License-Identifier: MIT
// @ts-check

/**
 * Everything that can come between a file and the server, in one table: what becomes of the upload,
 * and how a person is told.
 *
 * @module
 */

/**
 * By the status of the answer, or by a name for what has none.
 *
 * - `passes`: it goes away by itself, so the page waits and tries again. The words begin a sentence
 *   that ends with what is safe.
 * - `stays`: somebody has to do something. The words say what.
 *
 * @type {readonly (readonly [what: number | string, outcome: 'passes' | 'stays', words: string])[]}
 */
const TABLE = [
  [0, 'passes', 'Waiting for the server'],
  [400, 'stays', 'The server did not understand this page. Load the page again, and choose the file again.'],
  [401, 'stays', 'The server wants to know who you are. Log in there, then try again.'],
  [403, 'stays', 'The server refuses this file.'],
  [404, 'stays', 'Nothing takes uploads at the address that this page was given. Tell whoever runs the server.'],
  [405, 'stays', 'The server does not allow uploads here. Tell whoever runs it.'],
  [408, 'passes', 'The connection fell silent'],
  [409, 'passes', 'Another page or request is sending this file as well'],
  [410, 'stays', 'The server has given this upload up. Try again to begin anew.'],
  [412, 'stays', 'The server speaks another version of the protocol. Load the page again.'],
  [413, 'stays', 'This file is larger than the server takes.'],
  [415, 'stays', 'The server does not take what this page sends. Load the page again.'],
  [423, 'passes', 'The server is still busy with this file'],
  [425, 'passes', 'Waiting for the server'],
  [429, 'passes', 'The server asks for patience'],
  [431, 'stays', 'The name of this file is too long for the server. Give it a shorter one.'],
  [460, 'passes', 'Some bytes were damaged on their way and are sent again'],
  [500, 'passes', 'The server has a fault (if it lasts, tell whoever runs it)'],
  [501, 'stays', 'The server cannot take uploads. Tell whoever runs it.'],
  [502, 'passes', 'Waiting for the server'],
  [503, 'passes', 'The server is busy or being restarted'],
  [504, 'passes', 'Waiting for the server'],
  [505, 'stays', 'The server cannot take uploads. Tell whoever runs it.'],
  [507, 'stays', 'The server has no space left. Try again once there is some.'],
  ['STRANGER', 'passes', 'Something else answers in place of the server'],
  ['UNREADABLE', 'stays', 'The file was changed, moved or removed meanwhile. Choose it again.'],
  ['NONSENSE', 'stays', 'The answer of the server makes no sense. Tell whoever runs it.'],
  ['DEFECT', 'stays', 'This page has a fault. Load it again, and choose the file again.'],
]

/** Why an upload waits, or failed. */
export class Trouble extends Error {
  /** Whether to wait and try again. */
  passes
  /** @type {number | undefined} how long the server asked to be left alone, in milliseconds */
  retryAfterMs

  /**
   * @param {number | 'STRANGER' | 'UNREADABLE' | 'NONSENSE' | 'DEFECT'} what the status of an answer, 0 if there was none, or what it was instead
   * @param {ErrorOptions} [options]
   */
  constructor(what, options) {
    const [, outcome, words] = TABLE.find(([each]) => each === what) ?? other(Number(what))
    super(words, options)
    this.passes = outcome === 'passes'
  }

  /**
   * @param {XMLHttpRequest} answer that is none of success
   * @returns {Trouble}
   */
  static from(answer) {
    const trouble = new Trouble(answer.status)
    trouble.retryAfterMs = parseRetryAfter(answer.getResponseHeader('Retry-After'))
    return trouble
  }
}

/**
 * What the table does not know: above 500 it is the server's fault, which may pass.
 *
 * @param {number} status
 * @returns {(typeof TABLE)[number]}
 */
function other(status) {
  return status > 500 ? [status, 'passes', `The server has a fault (${status})`] : [status, 'stays', `The server refuses this (${status}).`]
}

/** Beyond this, a server's wish is taken for a mistake. */
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
