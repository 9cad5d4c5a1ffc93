// SPDX-License-Identifier: MIT

/**
 * Structured fields (RFC 9651): the common syntax of newer headers, as far as items and
 * dictionaries go.
 *
 * Why: such a header is read as a whole or ignored as a whole, and two readers must not disagree
 * about which. So this is the RFC's own algorithm (section 4.2) with all of its types: a member
 * that nobody asked for has to be well-formed all the same.
 *
 * Design: a cursor walks through the text and never back. Each step is one sticky pattern. That of
 * a value does not look at what follows, since nothing that may follow a value could be a part of
 * it: a match that stops short, as before the fourth digit of a fraction, fails at the next step.
 * Patterns repeat classes of characters, never groups: a group takes stack for each of its turns,
 * and a text of some megabytes would throw a RangeError.
 *
 * Parameters are checked and dropped. Lists are not read at the top level, only within
 * dictionaries. Several lines of a field have to be joined with a comma before, as Node does
 * (section 4.2).
 *
 * Self-contained: this file imports nothing.
 *
 * @module
 */

/** A value without its parameters. A date is in seconds since 1970; `-0` is read as `0`. */
export type BareItem =
  | { readonly type: 'integer' | 'decimal' | 'date'; readonly value: number }
  | { readonly type: 'string' | 'token' | 'display-string'; readonly value: string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'bytes'; readonly value: Uint8Array }

/** A value in a dictionary. What an inner list holds is checked and dropped. */
export type Member = BareItem | { readonly type: 'inner-list' }

/** Where in the text the next step begins. */
interface Cursor {
  readonly text: string
  index: number
}

/**
 * ```
 * item       = bare-item parameters
 * parameters = *( ";" *SP key [ "=" bare-item ] )
 * key        = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )
 * inner-list = "(" *SP [ item *( 1*SP item ) *SP ] ")" parameters
 * dictionary = member *( OWS "," OWS member )
 * member     = key ( parameters / "=" ( item / inner-list ) )
 * ```
 */
const KEY = /[a-z*][a-z0-9_\-.*]*/y
const PARAMETER = /; *[a-z*][a-z0-9_\-.*]*=?/y
const EQUALS = /=/y
const OPEN = /\( */y
const BETWEEN = / +|(?=\))/y
const CLOSE = /\)/y
const COMMA = /[ \t]*,[ \t]*/y
const SPACES = / */y
const END = / *$/y
const DICTIONARY_END = /[ \t]*$/y

/** Reads a value whose text has been found; the cursor stands behind it. */
type ReadBareItem = (text: string, cursor: Cursor) => BareItem | undefined

/**
 * ```
 * decimal        = [ "-" ] 1*12DIGIT "." 1*3DIGIT
 * integer        = [ "-" ] 1*15DIGIT
 * date           = "@" integer
 * boolean        = "?" ( "0" / "1" )
 * token          = ( ALPHA / "*" ) *( tchar / ":" / "/" )
 * bytes          = ":" *base64-character *2"=" ":"
 * display-string = "%" DQUOTE *( %x20-21 / %x23-24 / %x26-7E / "%" 2lc-hexdig ) DQUOTE
 * string         = DQUOTE *( %x20-21 / %x23-5B / %x5D-7E / "\" DQUOTE / "\\" ) DQUOTE
 * ```
 * A decimal is tried before the integer that it begins with; all others differ in their first
 * character.
 */
const BARE_ITEMS: readonly (readonly [pattern: RegExp, read: ReadBareItem])[] = [
  [/-?[0-9]{1,12}\.[0-9]{1,3}/y, (text) => ({ type: 'decimal', value: Number(text) + 0 })],
  [/-?[0-9]{1,15}/y, (text) => ({ type: 'integer', value: Number(text) + 0 })],
  [/@-?[0-9]{1,15}/y, (text) => ({ type: 'date', value: Number(text.slice(1)) + 0 })],
  [/\?[01]/y, (text) => ({ type: 'boolean', value: text === '?1' })],
  [/[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*/y, (text) => ({ type: 'token', value: text })],
  [/:[A-Za-z0-9+/]*={0,2}:/y, (text) => bytes(text.slice(1, -1))],
  [/%"[ !#-~]*"/y, (text) => displayString(text.slice(2, -1))],
  [/"/y, (_, cursor) => string(cursor)],
]

/** Characters of a string up to the quote that ends it, or up to its next escape. */
const STRING_PART = /[ !#-[\]-~]*(?:"|\\["\\])/y

/**
 * Reads an item. `undefined` means malformed; an empty text is.
 *
 * ```
 * parseItem('?1')          // { type: 'boolean', value: true }
 * parseItem('-42; a=b')    // { type: 'integer', value: -42 }
 * parseItem('"a \\"b\\""') // { type: 'string', value: 'a "b"' }
 * parseItem('1, 2')        // undefined
 * ```
 */
export function parseItem(text: string): BareItem | undefined {
  const cursor = { text, index: 0 }
  take(cursor, SPACES)
  const read = item(cursor)
  return take(cursor, END) === undefined ? undefined : read
}

/** Reads an integer of at most 15 digits. `undefined` means malformed, or another type. */
export function parseInteger(text: string): number | undefined {
  const read = parseItem(text)
  return read?.type === 'integer' ? read.value : undefined
}

/** Reads an item that is a boolean. `undefined` means malformed, or of another type. */
export function parseBoolean(text: string): boolean | undefined {
  const read = parseItem(text)
  return read?.type === 'boolean' ? read.value : undefined
}

/**
 * Reads a dictionary into a map, whose keys are whatever a client thought of. `undefined` means
 * malformed; an empty text is an empty dictionary.
 *
 * A key alone is the boolean `true`. Of a key that comes twice the last value counts, in the first
 * one's place (section 4.2.2). A tab may stand around commas and, as the RFC's algorithm has it, at
 * the end, but not at the beginning.
 *
 * ```
 * parseDictionary('b;x=1')        // 'b' => { type: 'boolean', value: true }
 * parseDictionary('a=(1 2), a=1') // 'a' => { type: 'integer', value: 1 }
 * parseDictionary('a=1,')         // undefined
 * ```
 */
export function parseDictionary(text: string): ReadonlyMap<string, Member> | undefined {
  const members = new Map<string, Member>()
  const cursor = { text, index: 0 }
  if (take(cursor, END) !== undefined) return members
  take(cursor, SPACES)
  do {
    const key = take(cursor, KEY)
    const read = key === undefined ? undefined : member(cursor)
    if (key === undefined || read === undefined) return undefined
    members.set(key, read)
  } while (take(cursor, COMMA) !== undefined)
  return take(cursor, DICTIONARY_END) === undefined ? undefined : members
}

/** The largest integer: fifteen digits. */
const MAX_INTEGER = 999_999_999_999_999

/**
 * Writes a dictionary of integers and byte sequences (section 4.1.2). Of a key that comes twice the
 * last value is written. A field that would be empty is not to be sent at all.
 *
 * ```
 * formatDictionary([['max', 1000], ['id', Buffer.from('hello')]]) // 'max=1000, id=:aGVsbG8=:'
 * ```
 *
 * @throws {RangeError} if a key is not one, or a number is not an integer of at most 15 digits.
 */
export function formatDictionary(members: Iterable<readonly [key: string, value: number | Uint8Array]>): string {
  return Array.from(new Map(members), ([key, value]) => {
    if (take({ text: key, index: 0 }, KEY) !== key) {
      const what = `a key must match ${KEY.source}`
      throw new RangeError(`Cannot write a dictionary as ${what}: received ${JSON.stringify(key)}`)
    }
    if (typeof value !== 'number') return `${key}=:${Buffer.from(value).toString('base64')}:`
    if (!(Number.isInteger(value) && Math.abs(value) <= MAX_INTEGER)) {
      const what = `${key} must be an integer of at most 15 digits`
      throw new RangeError(`Cannot write a dictionary as ${what}: received ${value}`)
    }
    return `${key}=${value}`
  }).join(', ')
}

/** Moves the cursor over what the pattern matches at its place, or returns `undefined`. */
function take(cursor: Cursor, pattern: RegExp): string | undefined {
  pattern.lastIndex = cursor.index
  if (!pattern.test(cursor.text)) return undefined
  const taken = cursor.text.slice(cursor.index, pattern.lastIndex)
  cursor.index = pattern.lastIndex
  return taken
}

function member(cursor: Cursor): Member | undefined {
  if (take(cursor, EQUALS) === undefined) return parameters(cursor) ? { type: 'boolean', value: true } : undefined
  return take(cursor, OPEN) === undefined ? item(cursor) : restOfInnerList(cursor)
}

/** Inner lists hold items and no lists, so that nothing here has to recurse. */
function restOfInnerList(cursor: Cursor): Member | undefined {
  while (take(cursor, CLOSE) === undefined) {
    if (item(cursor) === undefined || take(cursor, BETWEEN) === undefined) return undefined
  }
  return parameters(cursor) ? { type: 'inner-list' } : undefined
}

function item(cursor: Cursor): BareItem | undefined {
  const read = bareItem(cursor)
  return read !== undefined && parameters(cursor) ? read : undefined
}

/** Whether the parameters here, if any, are well-formed. The next step fails at a stray ";". */
function parameters(cursor: Cursor): boolean {
  for (let parameter = take(cursor, PARAMETER); parameter !== undefined; parameter = take(cursor, PARAMETER)) {
    if (parameter.endsWith('=') && bareItem(cursor) === undefined) return false
  }
  return true
}

function bareItem(cursor: Cursor): BareItem | undefined {
  for (const [pattern, read] of BARE_ITEMS) {
    const text = take(cursor, pattern)
    if (text !== undefined) return read(text, cursor)
  }
  return undefined
}

function string(cursor: Cursor): BareItem | undefined {
  for (let value = ''; ; ) {
    const part = take(cursor, STRING_PART)
    if (part === undefined) return undefined
    if (part.at(-2) !== '\\') return { type: 'string', value: value + part.slice(0, -1) }
    value += part.slice(0, -2) + part.slice(-1)
  }
}

/**
 * Padding may be absent and the bits that it pads may be set, as parsers should not fail there
 * (section 4.2.7). Padding that is there has to be right.
 */
function bytes(base64: string): BareItem | undefined {
  const rest = base64.length % 4
  const whole = base64.endsWith('=') ? rest === 0 : rest !== 1
  return whole ? { type: 'bytes', value: Buffer.from(base64, 'base64') } : undefined
}

/** What the URI functions decode is strict UTF-8, but they would take upper-case digits too. */
function displayString(encoded: string): BareItem | undefined {
  if (/%(?![0-9a-f]{2})/.test(encoded)) return undefined
  try {
    return { type: 'display-string', value: decodeURIComponent(encoded) }
  } catch {
    return undefined
  }
}
