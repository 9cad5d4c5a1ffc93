// SPDX-License-Identifier: MIT

/** What a formatter and a linter would hold. The compiler holds the rest. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './support/examples.ts'

const WIDTHS = { lib: 120, test: 140, bench: 140 }
const files = Object.keys(WIDTHS).flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
).filter((path) => /\.(?:ts|js|mjs|css|sh)$/.test(path) && !/node_modules|\/dist\//.test(path))
const texts = new Map(files.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]))
const library = files.filter((path) => /^lib\/.*\.ts$/.test(path))

/** A text, a regular expression or an address, which has no place where a line could be broken. */
const UNBREAKABLE = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\/(?![*/])(?:[^/\\\n]|\\.)+\/[a-z]*|https?:\S+/g
/** What else may stand on a line with one that makes it too wide: `test('…', async (t) => {` in its place. */
const BESIDE = 60

/** Says all that was found, a line each. */
function assertNone(found: readonly string[]): void {
  assert.equal(found.join('\n'), '')
}

/** The lines of all files of which `isWrong` says so, as path and number. */
function linesThat(isWrong: (line: string, path: string) => boolean): string[] {
  return files.flatMap((path) => texts.get(path)!.split('\n').flatMap((line, at) => (isWrong(line, path) ? [`${path}:${at + 1}`] : [])))
}

test('a line is at most 120 columns wide in lib, and 140 elsewhere, unless one text makes it so', () => {
  const isTooWide = (line: string, path: string): boolean => {
    const width = WIDTHS[path.split('/')[0] as keyof typeof WIDTHS]
    const longest = Math.max(0, ...Array.from(line.matchAll(UNBREAKABLE), ([text]) => text.length))
    return line.length > width && line.length - longest > BESIDE
  }
  assertNone(linesThat(isTooWide))
})

test('there is no tab, no blank at the end of a line, and one line end at the end of a file', () => {
  assertNone(linesThat((line) => /\t|\s$/.test(line)))
  assertNone(files.filter((path) => !/[^\n]\n$/.test(texts.get(path)!)))
})

test('no statement ends with a semicolon but where the next line would be taken for its rest, and nothing is exported by default', () => {
  const code = files.filter((path) => !/\.(?:css|sh)$|\/frameworks\//.test(path)) // frameworks ask for what we do not have
  assertNone(code.flatMap((path) => {
    const lines = texts.get(path)!.replace(/\/\*[^]*?\*\/|`(?:[^`\\]|\\.)*`/g, (text) => text.replace(/[^\n]/g, ' ')).split('\n')
    const ends = (line: string, at: number): boolean =>
      /;$/.test(line) && !/^\s*(?:\/\/|for |while )/.test(line) && !/^\s*[([`]/.test(lines[at + 1]!)
    return lines.flatMap((line, at) => (ends(line, at) || /^export default\b/.test(line) ? [`${path}:${at + 1}`] : []))
  }))
})

test('no file of lib imports itself through others, types included', () => {
  const importsOf = (path: string): string[] =>
    Array.from(texts.get(path)!.matchAll(/^(?:import|export)\s[^'"]*?from '(\.[^']+)'/gm), ([, name = '']) =>
      normalize(join(dirname(path), name)),
    )
  const circles = library.filter((start) => {
    const reached = new Set(importsOf(start))
    for (const path of reached) for (const next of importsOf(path)) reached.add(next)
    return reached.has(start)
  })
  assertNone(circles)
})

test('a function or method of lib has at most three parameters', () => {
  const found = library.flatMap((path) => {
    const code = texts.get(path)!.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '')
    const heads = code.matchAll(/(?:\bfunction \w+|^ {2}(?:(?:static|async|override|readonly) )*(#?(?!(?:if|for|while|switch|catch)\b)\w+))(?:<[^(]*>)?\(/gm)
    return Array.from(heads).flatMap(({ index, 0: head }) => {
      const [count, rest] = parametersAt(code, index + head.length)
      return count > 3 && /^\)\s*[:{]/.test(rest) ? [`${path} ${head.trim()} has ${count}`] : []
    })
  })
  assertNone(found)
})

/** How many parameters stand from here up to the parenthesis that ends them, and what begins with that. */
function parametersAt(code: string, from: number): [number, string] {
  let [depth, count, at] = [0, 1, from]
  for (; depth > 0 || code[at] !== ')'; at++) {
    const next = code[at] === '=' && code[at + 1] === '>' ? (at++, '') : code[at]!
    if ('([{<'.includes(next) && next !== '') depth++
    else if (')]}>'.includes(next) && next !== '') depth--
    else if (next === ',' && depth === 0 && !/^,\s*\)/.test(code.slice(at, at + 50))) count++
  }
  return [code.slice(from, at).trim() === '' ? 0 : count, code.slice(at, at + 50)]
}
