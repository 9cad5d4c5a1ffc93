// SPDX-License-Identifier: MIT

/**
 * Dates in headers: `Last-Modified` and the conditions that compare with it (RFC 9110 section
 * 5.6.7).
 *
 * They are whole seconds since 1970 here, because a header holds no more: dates that are compared
 * with a fraction on one side only are never equal.
 *
 * @module
 */

/**
 * ```
 * IMF-fixdate = day-name "," SP day SP month SP year SP hour ":" minute ":" second SP "GMT"
 * day-name    = %s"Mon" / … / %s"Sun"
 * day         = 2DIGIT
 * month       = %s"Jan" / … / %s"Dec"
 * year        = 4DIGIT
 * ```
 * The shape alone. Whether there is such a day is told by writing it back.
 */
const IMF_FIXDATE = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/

/**
 * Reads a date as seconds since 1970. `undefined` means malformed: another spelling, a day that the
 * calendar lacks or whose name is another one, a leap second.
 *
 * The two obsolete forms (`Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`) count as
 * malformed. The RFC wants them to be understood; nothing that is alive sends them, and a condition
 * that is not understood is passed over.
 *
 * ```
 * parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT') // 784111777
 * ```
 */
export function parseHttpDate(text: string): number | undefined {
  if (!IMF_FIXDATE.test(text)) return undefined
  const date = new Date(text)
  return date.toUTCString() === text ? date.getTime() / 1000 : undefined
}

/**
 * Writes seconds since 1970 as an IMF-fixdate. Years of other than four digits do not fit into one.
 */
export function formatHttpDate(seconds: number): string {
  return new Date(seconds * 1000).toUTCString()
}
