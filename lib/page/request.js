// SPDX-License-Identifier: MIT
// @ts-check

/**
 * One request of tus 1.0.0, and whether the server itself answered it.
 *
 * It uses XMLHttpRequest, as `fetch` does not report how much of a body has been sent.
 *
 * @module
 */

/**
 * @typedef {object} RequestOptions
 * @property {Readonly<Record<string, string>>} [headers]
 * @property {Blob} [body]
 * @property {AbortSignal} signal
 * @property {(bytes: number) => void} [onSent] called with the bytes of the body sent so far
 */

/** A connection without progress for this long is given up, in milliseconds. */
const SILENCE_MS = 60_000

/**
 * Sends a request, and resolves when it has ended. The status is 0 if there was no response.
 *
 * @param {'POST' | 'HEAD' | 'PATCH' | 'DELETE'} method
 * @param {string} url
 * @param {RequestOptions} options
 * @returns {Promise<XMLHttpRequest>}
 * @throws the reason of `signal`
 */
export function request(method, url, { headers = {}, body, signal, onSent = () => {} }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const xhr = new XMLHttpRequest()
    xhr.open(method, url)
    const abort = () => xhr.abort()
    let timer = setTimeout(abort, SILENCE_MS)
    signal.addEventListener('abort', abort)
    xhr.upload.addEventListener('progress', ({ loaded }) => {
      clearTimeout(timer)
      timer = setTimeout(abort, SILENCE_MS)
      onSent(loaded)
    })
    xhr.addEventListener('loadend', () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      if (signal.aborted) reject(signal.reason)
      else resolve(xhr)
    })
    xhr.setRequestHeader('Tus-Resumable', '1.0.0')
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value)
    xhr.send(body ?? null)
  })
}

/**
 * Whether the server itself answered, and not a proxy or the login page of a network.
 *
 * @param {XMLHttpRequest} answer
 */
export function isOfServer(answer) {
  return answer.getResponseHeader('Tus-Resumable') !== null
}

/** @param {number} status */
export function isSuccess(status) {
  return status >= 200 && status < 300
}
