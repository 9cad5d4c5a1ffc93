// SPDX-License-Identifier: MIT

/** The checklists of both protocols, compared with the names of the tests: together they say what is tested of each specification. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './support/examples.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const CHECKLISTS = ['test/tus/CHECKLIST.md', 'test/rufh/CHECKLIST.md'].map(read)
const ROW = /^\| ([TR]\d+) \| [MSND] \| [^|]+ \| [^|]+ \|$/gm
/** Names of tests begin with their rows: "T64, T65 · …". A table of tests may have the rows in a text of their own. */
const NAMED = /(['"`])([TR]\d+(?:, [TR]\d+)*)(?: · |\1)/g

const rows = CHECKLISTS.flatMap((text) => Array.from(text.matchAll(ROW), ([, row = '']) => row))
const sections = CHECKLISTS.flatMap((text) => Array.from(text.matchAll(/^## ([TR]\.\d+) /gm), ([, name = '']) => name))
const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((path) => /\.test\.[jt]s$/.test(path) && !path.includes('node_modules'))
  .map((path) => join('test', path))

test('every line of a table is a row, and the numbers run without a gap', () => {
  for (const [index, protocol] of ['T', 'R'].entries()) {
    const lines = CHECKLISTS[index]!.split('\n').filter((line) => /^\| [TR]/.test(line))
    assert.deepEqual(lines.map((_, place) => `${protocol}${place + 1}`), rows.filter((row) => row.startsWith(protocol)))
  }
  assert.ok(rows.length > 250)
})

test('every row has a test that names it, and every row that a test names is there', () => {
  const named = new Map<string, string>()
  for (const path of tests) {
    for (const [, , list = ''] of read(path).matchAll(NAMED)) for (const row of list.split(', ')) named.set(row, path)
  }
  assert.deepEqual(rows.filter((row) => !named.has(row)), [], 'rows without a test')
  assert.deepEqual([...named].filter(([row]) => !rows.includes(row)), [], 'tests of rows that are not there')
})

test('what the heads of tests cite of a checklist is there', () => {
  for (const path of tests) {
    for (const [, list = ''] of read(path).matchAll(/Checklist ((?:[TR]\.?\d+(?:, | and )?)+)/g)) {
      for (const cited of list.match(/[TR]\.?\d+/g) ?? []) assert.ok([...rows, ...sections].includes(cited), `${path} cites ${cited}`)
    }
  }
})
