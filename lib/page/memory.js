// SPDX-License-Identifier: MIT
// @ts-check

/**
 * Remembers unfinished uploads in `localStorage`, so that they resume after the page is reloaded.
 *
 * Design. There is one entry per upload. Its key is the fingerprint of the file: its name, size,
 * time of change and type. Two files that agree in all of these are taken for the same file. What
 * is read is checked, as other pages of this origin may have written it. Without storage nothing is
 * remembered, and everything else works. Of two tabs, the last one to write wins.
 *
 * @module
 */

/** @import { Description } from './upload.js' */
/**
 * @typedef {{ readonly description: Description, readonly url: string, readonly acknowledged:
 * number }} Memory
 */

const PREFIX = 'longhaul '

/**
 * Tells files apart, as far as a page can without reading them.
 *
 * @param {Description} description
 * @param {string} endpoint where the file is uploaded
 */
export function fingerprint({ name, size, lastModified, type }, endpoint) {
  return PREFIX + JSON.stringify([endpoint, name, size, lastModified, type])
}

/**
 * @param {Memory} memory
 * @param {string} endpoint
 */
export function remember({ description, url, acknowledged }, endpoint) {
  const [key, value] = [fingerprint(description, endpoint), JSON.stringify({ url, acknowledged })]
  withStorage((storage) => storage.getItem(key) === value || storage.setItem(key, value))
}

/**
 * @param {Description} description
 * @param {string} endpoint
 */
export function forget(description, endpoint) {
  withStorage((storage) => storage.removeItem(fingerprint(description, endpoint)))
}

/**
 * The remembered uploads to this endpoint.
 *
 * @param {string} endpoint
 * @returns {Memory[]}
 */
export function recall(endpoint) {
  const entries = withStorage((storage) => Object.entries(storage)) ?? []
  return entries.flatMap(([key, value]) => parse(key, String(value), endpoint) ?? [])
}

/**
 * @param {string} key
 * @param {string} value
 * @param {string} endpoint
 * @returns {Memory | undefined}
 */
function parse(key, value, endpoint) {
  if (!key.startsWith(PREFIX)) return undefined
  try {
    const [uploadedTo, name, size, lastModified, type] = JSON.parse(key.slice(PREFIX.length))
    const { url, acknowledged } = JSON.parse(value)
    const numbers = [size, lastModified, acknowledged].every(Number.isSafeInteger) && size >= 0 && acknowledged >= 0
    const texts = [name, type, url].every((each) => typeof each === 'string')
    if (uploadedTo !== endpoint || !numbers || !texts || acknowledged > size) return undefined
    if (new URL(url).origin !== new URL(endpoint).origin) return undefined
    return { description: { name, size, lastModified, type }, url, acknowledged }
  } catch {
    return undefined
  }
}

/**
 * Some browsers throw as soon as the storage is used, others when it is full.
 *
 * @template T
 * @param {(storage: Storage) => T} use
 * @returns {T | undefined}
 */
function withStorage(use) {
  try {
    return use(localStorage)
  } catch {
    return undefined
  }
}
