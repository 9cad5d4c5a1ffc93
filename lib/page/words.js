// SPDX-License-Identifier: MIT
// @ts-check

/**
 * What is said of an upload.
 *
 * @module
 */

/** @import { Upload } from './upload.js' */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/**
 * How an upload fares, in one sentence or two, or in two lines.
 *
 * @param {Upload} upload
 * @returns {string}
 */
export function describe(upload) {
  const { state, acknowledged, sent, sentWhenUnplugged, trouble, description: { size } } = upload
  const safe = `${formatBytes(acknowledged)} of ${formatBytes(size)} are safe`
  switch (state) {
    case 'missing':
      return `Choose the file again to go on; ${safe}.`
    case 'queued':
      return 'Waits for its turn.'
    case 'sending':
      return `${safe}\n${[`${formatBytes(sent)} sent`, ...pace(upload)].join(' · ')}`
    case 'pausing':
      return 'Pausing…'
    case 'asking':
      return 'Asking the server what it has kept…'
    case 'removing':
      return 'Removing it from the server…'
    case 'waiting':
      return acknowledged > 0 ? `${trouble?.message}; everything up to ${formatBytes(acknowledged)} is safe.` : `${trouble?.message}.`
    case 'paused':
      if (sentWhenUnplugged === undefined) return `Paused; ${safe}.`
      return `Unplugged: ${formatBytes(Math.max(sentWhenUnplugged, acknowledged))} were sent, ${formatBytes(acknowledged)} are safe.`
    case 'failed':
      return `${trouble?.message}${acknowledged > 0 ? ` Everything up to ${formatBytes(acknowledged)} is safe.` : ''}`
    case 'finished':
      return `All of it has arrived: ${formatBytes(size)}.`
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
  const tenths = Math.floor((bytes / 1000 ** power) * 10) // what is safe is not rounded up
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
 * How fast it goes and how long it will take, once that is known.
 *
 * @param {Upload} upload
 */
function pace({ speed, sent, description: { size } }) {
  return speed === undefined ? [] : [`${formatBytes(speed)}/s`, `${formatSeconds((size - sent) / speed)} left`]
}
