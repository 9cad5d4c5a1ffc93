// SPDX-License-Identifier: MIT
// @ts-check

/**
 * One request of tus 1.0.0, and whose answer it was.
 *
 * XMLHttpRequest it is, since `fetch` does not tell how much of a body it has sent.
 *
 * @module
 */

/** A connection on which nothing moves for so long is given up. */
const SILENCE_MS = 60_000

/**
 * Sends a request and resolves when it is over; the status is 0 if there was no answer.
 *
 * @param {'POST' | 'HEAD' | 'PATCH' | 'DELETE'} method
 * @param {string} url
 * @param {{ headers?: Readonly<Record<string, string>>, body?: Blob, signal: AbortSignal, onSent?: (bytes: number) => void }} options
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
    for (const [name, value] of Object.entries({ 'Tus-Resumable': '1.0.0', ...headers })) xhr.setRequestHeader(name, value)
    xhr.send(body ?? null)
  })
}

/**
 * Whether it is the server that answers, and not a proxy or the portal of a hotel.
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
