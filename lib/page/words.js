// SPDX-License-Identifier: MIT
// @ts-check

/**
 * The words that the page shows for an upload.
 *
 * @module
 */

/** @import { Upload } from './upload.js' */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/**
 * The state of an upload, in a sentence or two; while it is sent, in two lines.
 *
 * @param {Upload} upload
 * @returns {string}
 */
export function describe(upload) {
  const { state, acknowledged, sent, sentWhenUnplugged, trouble, description: { size } } = upload
  const safeBytes = formatBytes(acknowledged)
  const safe = `${safeBytes} of ${formatBytes(size)} is safe`
  const sentBytes = formatBytes(Math.max(sentWhenUnplugged ?? sent, acknowledged))
  const safeIfAny = acknowledged > 0 ? ` ${safe}.` : ''
  switch (state) {
    case 'missing':
      return `Choose the file again to continue. ${safe}.`
    case 'queued':
      return 'Waiting for its turn.'
    case 'sending':
      return `${safe}\n${[`${sentBytes} sent`, ...pace(upload)].join(' · ')}`
    case 'pausing':
      return 'Pausing…'
    case 'asking':
      return 'Asking the server what it has stored…'
    case 'removing':
      return 'Removing the upload from the server…'
    case 'waiting':
      return `${trouble?.message}.${safeIfAny}`
    case 'paused':
      if (sentWhenUnplugged === undefined) return `Paused. ${safe}.`
      return `Unplugged. ${sentBytes} was sent, of which ${safeBytes} is safe.`
    case 'failed':
      return `${trouble?.message}${safeIfAny}`
    case 'finished':
      return `Upload complete: ${formatBytes(size)}.`
    case 'removed':
      return 'Removed.'
  }
}

/**
 * @param {number} bytes
 * @returns {string} in decimal units, as file managers count
 */
export function formatBytes(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3))
  const tenths = Math.floor((bytes / 1000 ** power) * 10) // rounded down: what is shown as safe must be safe
  return `${power === 0 ? bytes : (tenths / 10).toFixed(1)} ${UNITS[power]}`
}

/**
 * @param {number} seconds
 * @returns {string}
 */
export function formatSeconds(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/**
 * The speed and the time left, once they are known.
 *
 * @param {Upload} upload
 */
function pace({ speed, sent, description: { size } }) {
  return speed === undefined ? [] : [`${formatBytes(speed)}/s`, `${formatSeconds((size - sent) / speed)} left`]
}
