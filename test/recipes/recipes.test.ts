// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { linesOfCode } from '../support/manifest.ts'

const FOLDER = import.meta.dirname

test('the table of recipes says which primitives each imports and how many lines it has, and each has a test', () => {
  const rows = readFileSync(join(FOLDER, 'README.md'), 'utf8').matchAll(/^\| \[[^\]]+\]\(([^)]+)\) \| [^|]+ \| (.*) \| (\d+) \|$/gm)
  const recipes = Array.from(rows, ([, path, primitives, lines]) => ({
    path: join(FOLDER, path!),
    primitives: primitives!.match(/\w+/g)!,
    lines: Number(lines),
  }))
  assert.equal(recipes.length, 6)
  for (const { path, primitives, lines } of recipes) {
    const text = readFileSync(path, 'utf8')
    const imported = Array.from(text.matchAll(/^import \{ (\w+).* from '\.\.\/\.\.\/(?:lib|dist)\//gm), ([, name]) => name)
    assert.deepEqual(imported.sort(), primitives.sort(), path)
    assert.equal(linesOfCode(text).length, lines, path)
    assert.ok(existsSync(path.replace(/(?=\.[jt]s$)/, '.test')), path)
  }
})
