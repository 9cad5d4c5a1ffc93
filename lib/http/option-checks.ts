// SPDX-License-Identifier: MIT

/**
 * Checks of numbers that applications give as options.
 *
 * @module
 */

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Returns a whole number that is not negative: a count or a number of bytes.
 *
 * @throws {RangeError} if it is another one, or not a number.
 */
export function wholeNumber(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`Cannot serve uploads as ${name} must be a non-negative whole number: received ${value}`)
}

/** What a duration may be, in milliseconds. */
export interface DurationBounds {
  readonly leastMs: 0 | 1
  /** Default: as long as a timer can run. A duration that no timer counts may be longer. */
  readonly mostMs?: number
}

/**
 * Returns a duration in milliseconds, or Infinity for never.
 *
 * @throws {TypeError} if it is not a number, {@link RangeError} if it is out of bounds.
 */
export function duration(name: string, value: number, { leastMs, mostMs = MAX_TIMER_MS }: DurationBounds): number {
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= mostMs) || value === Infinity) return value
  throw new RangeError(`${what} ${leastMs} to ${mostMs} milliseconds or Infinity: received ${value}`)
}
