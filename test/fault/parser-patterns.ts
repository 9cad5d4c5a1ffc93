// SPDX-License-Identifier: MIT

/**
 * Finds texts on which a regular expression takes more than linear time.
 *
 * Every expression of the library is taken out of its source, so that none can be forgotten. Texts to
 * attack it with are made from itself: a beginning that it likes, a piece that is repeated, an end that
 * it cannot match. A vulnerable one is slow on some of these at a few dozen characters (exponential) or
 * some ten thousand (quadratic).
 *
 * @module
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'

/** A regular expression of the library, and where it stands. */
export interface Pattern {
  readonly file: string
  readonly regex: RegExp
}

/** A text of any size: `start`, `piece` again and again, `end`. */
export interface Attack {
  readonly start: string
  readonly piece: string
  readonly end: string
}

/** What may stand before a slash that begins an expression and does not divide. */
const BEFORE_LITERAL = /(?:^|[(,=:[!&|?{};>+]|\breturn)\s*$/

/** Sizes in characters: in steps so small that even an exponential or cubic expression comes back from the first that is slow. */
const SIZES = [...Array.from({ length: 19 }, (_, step) => 4 + 2 * step), 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768]

/** What takes less than this is not looked at further, in milliseconds: far more than what is linear takes. */
const SUSPICIOUS_MS = 200

/** How much longer a text of four times the size may take: what is linear takes four times as long, what is quadratic sixteen times. */
const MAX_GROWTH = 8
const PAIRS = 5

/** All expressions of the library. */
export function readPatterns(root: string): Pattern[] {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).sort()
  return files.flatMap((file) => literalsOf(readFileSync(join(root, 'lib', file), 'utf8')).map((regex) => ({ file, regex })))
}

/** The expressions in a source, which is read past its comments, strings and templates. */
export function literalsOf(source: string): RegExp[] {
  const found: RegExp[] = []
  let code = '' // without what was skipped, to tell what stands before a slash
  for (let at = 0; at < source.length; ) {
    const rest = source.slice(at, at + 2)
    const character = source[at]!
    if (rest === '//' || rest === '#!') at = endOf(source, at, '\n')
    else if (rest === '/*') at = endOf(source, at + 2, '*/')
    else if (character === "'" || character === '"' || character === '`') {
      at = endOfQuoted(source, at, character)
      code += '0'
    } else if (character === '/' && BEFORE_LITERAL.test(code.slice(-20))) {
      const end = endOfQuoted(source, at, '/')
      const flags = /^[a-z]*/.exec(source.slice(end))![0]
      found.push(new RegExp(source.slice(at + 1, end - 1), flags))
      at = end + flags.length
      code += '0'
    } else {
      code += character
      at++
    }
  }
  return found
}

/** Texts made from an expression: of what it matches, each stretch repeated; of what it names, each character and each pair. */
export function attacksOn({ source, flags }: RegExp, seed: number): Attack[] {
  const characters = [...new Set(source.replace(/\\([tnr])/g, ' ').replace(/\\[dwsbp]|\\x..|\\u....|[\\^$()|?*+{}]/g, ''))].slice(0, 40)
  const pieces = [...characters, ...[' ', '\t', '"', 'a', '0', '/', '\0', 'é', '""', ', '], ...pairs(characters.slice(0, 12))]
  const attacks = pieces.flatMap((piece) => ['', '\0'].map((end) => ({ start: '', piece, end })))
  const matching = stringsOf(source, flags, seed)
  for (const text of matching) attacks.push(...stretchesOf(text))
  return attacks
}

/** For a text that is fit: each of its stretches repeated, with ends that are fit and unfit. */
export function stretchesOf(text: string): Attack[] {
  const attacks: Attack[] = []
  for (const length of [1, 2, 3, 5, text.length]) {
    const step = Math.max(1, Math.floor(text.length / 6))
    for (let from = 0; from + length <= text.length; from += step) {
      const [start, piece, end] = [text.slice(0, from), text.slice(from, from + length), text.slice(from + length)]
      if (piece !== '') attacks.push({ start, piece, end }, { start, piece, end: '\0' })
    }
  }
  return attacks
}

export function textOf({ start, piece, end }: Attack, size: number): string {
  return start + piece.repeat(Math.max(1, Math.ceil((size - start.length - end.length) / piece.length))) + end
}

/**
 * Runs texts of growing size, up to `maxSize`; says how the time grew, if it grew faster than they did. What
 * took long is compared with a quarter of it, both run in turn and the best of each taken, as the machine
 * may have been busy.
 */
export function slowness(
  run: (text: string) => unknown,
  attack: Attack,
  maxSize: number,
  suspiciousMs: number = SUSPICIOUS_MS,
): string | undefined {
  for (const size of [...SIZES.filter((each) => each < maxSize), maxSize]) {
    if (timeOf(run, textOf(attack, size)) < suspiciousMs) continue
    let [shortMs, longMs] = [Infinity, Infinity]
    for (let pair = 0; pair < PAIRS; pair++) {
      shortMs = Math.min(shortMs, timeOf(run, textOf(attack, size / 4)))
      longMs = Math.min(longMs, timeOf(run, textOf(attack, size)))
    }
    if (longMs > MAX_GROWTH * shortMs && longMs > suspiciousMs) {
      return `${JSON.stringify(attack)} takes ${shortMs} ms at ${size / 4} characters and ${longMs} ms at ${size}`
    }
  }
  return undefined
}

function timeOf(run: (text: string) => unknown, text: string): number {
  const beganMs = performance.now()
  run(text)
  return performance.now() - beganMs
}

/** Every way in which the library runs an expression: to find it somewhere, or everywhere. */
export function runAll(regex: RegExp): (text: string) => void {
  const anywhere = new RegExp(regex.source, regex.flags.replace('g', ''))
  const everywhere = new RegExp(regex.source, `${anywhere.flags}g`)
  return (text) => {
    anywhere.exec(text)
    text.replace(everywhere, '')
  }
}

function pairs(characters: readonly string[]): string[] {
  return characters.flatMap((first) => characters.filter((second) => second !== first).map((second) => first + second)).slice(0, 60)
}

/** Some texts that the expression matches; none where it says more than can be made up. */
function stringsOf(source: string, flags: string, seed: number): string[] {
  try {
    return fc
      .sample(fc.stringMatching(new RegExp(source, flags.replace(/[gi]/g, ''))), { numRuns: 4, seed })
      .map((text) => text.slice(0, 60))
  } catch {
    return []
  }
}

function endOf(source: string, from: number, mark: string): number {
  const at = source.indexOf(mark, from)
  return at < 0 ? source.length : at + mark.length
}

/** Behind the quote that ends what the quote at `from` begins; in an expression, a slash within brackets is none. */
function endOfQuoted(source: string, from: number, quote: string): number {
  let inClass = false
  for (let at = from + 1; at < source.length; at++) {
    const character = source[at]
    if (character === '\\') at++
    else if (quote === '/' && character === '[') inClass = true
    else if (quote === '/' && character === ']') inClass = false
    else if (quote === '`' && source.startsWith('${', at)) at = endOfSubstitution(source, at + 2) - 1
    else if (character === quote && !inClass) return at + 1
  }
  throw new Error(`Nothing ends what begins at ${JSON.stringify(source.slice(from, from + 40))}`)
}

function endOfSubstitution(source: string, from: number): number {
  let depth = 1
  for (let at = from; at < source.length; at++) {
    const character = source[at]!
    if ('\'"`'.includes(character)) at = endOfQuoted(source, at, character) - 1
    else if (character === '{') depth++
    else if (character === '}' && --depth === 0) return at + 1
  }
  throw new Error(`Nothing ends what begins at ${JSON.stringify(source.slice(from, from + 40))}`)
}
