// SPDX-License-Identifier: MIT

/**
 * Sizes and durations, as people write them on a command line.
 *
 * @module
 */

const BYTES_BY_UNIT = new Map([
  ['', 1], ['B', 1],
  ['kB', 1e3], ['KB', 1e3], ['MB', 1e6], ['GB', 1e9], ['TB', 1e12],
  ['KiB', 2 ** 10], ['MiB', 2 ** 20], ['GiB', 2 ** 30], ['TiB', 2 ** 40],
])
const MS_BY_UNIT = new Map([['ms', 1], ['s', 1000], ['m', 60_000], ['h', 3_600_000]])

/** `quantity = 1*16DIGIT [ unit ]` */
const QUANTITY = /^([0-9]{1,16})([A-Za-z]{0,3})$/

/** Reads `10MiB`, `500kB` or `4096` as bytes; `undefined` for anything else. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, BYTES_BY_UNIT)
}

/** Reads `500ms`, `30s`, `5m` or `24h` as milliseconds; `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, MS_BY_UNIT)
}

function parseQuantity(text: string, factors: ReadonlyMap<string, number>): number | undefined {
  const [, digits = '', unit = ''] = QUANTITY.exec(text) ?? []
  const quantity = Number(digits) * (factors.get(unit) ?? NaN)
  return digits !== '' && Number.isSafeInteger(quantity) ? quantity : undefined
}
