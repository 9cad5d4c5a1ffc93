// SPDX-License-Identifier: MIT

/** That the model of the lock protocol speaks of the code as it is. `test/models/check.sh` searches it. */

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './support/examples.ts'

const read = (...path: readonly string[]): string => readFileSync(join(ROOT, ...path), 'utf8')
const model = read('test', 'models', 'lock-files.pml')
const script = read('test', 'models', 'check.sh')

/** A function or a method, as in `line.ts #serve`. */
const NAME = /\b([a-z-]+\.ts) (#?\w+)/g

/** Flags that set bounds, or say what is searched. */
const BOUNDS = ['ALL_FETCHES', 'FAULTS', 'FETCHES', 'GUARDS_REMOVED', 'KEYS', 'KILLS', 'LEFTOVERS', 'LEVELS', 'LINES',
  'ONLY_HOLDERS', 'ONLY_TENURE', 'PROCESSES']

test('each function that the model of the lock protocol names is in lib/lock-files', () => {
  const names = Array.from(model.matchAll(NAME))
  assert.ok(names.length > 30, `the model names ${names.length} functions`)
  const missing = names.filter(([, file = '', name]) => {
    const declared = new RegExp(`^(?:export )?(?:async )?function ${name}\\b|^ {2}(?:static |async )*${name}\\(`, 'm')
    return !existsSync(join(ROOT, 'lib', 'lock-files', file)) || !declared.test(read('lib', 'lock-files', file))
  })
  assert.deepEqual(missing.map(([whole]) => whole), [])
})

test('each step of the model says which functions it stands for', () => {
  const [, steps = ''] = /^proctype Line[^]*?\n  byte level;\n  bool ok;\n\n([^]*?)\n  \/\* The rest is for mutants/m.exec(model) ?? []
  const blocks = steps.split('\n\n')
  assert.ok(blocks.length >= 11, `the model has ${blocks.length} steps`)
  for (const block of blocks) assert.match(block, /^ {2}\/\*[^]*?[a-z]\.ts #?\w[^]*?\*\//, block)
})

test('the script shows that each mutant of the model fails, the document says what is wrong with it, and CI runs the script', () => {
  const conditions = Array.from(model.matchAll(/^#(?:ifdef|ifndef|if|elif) (.*)$/gm), ([, condition = '']) => condition)
  const flags = conditions.map((condition) => condition.match(/[A-Z_]{4,}/g) ?? [])
  const mutants = new Set(flags.flat().filter((flag) => !BOUNDS.includes(flag)))
  const shown = Array.from(script.matchAll(/^mutant (\w+) '/gm), ([, name]) => name)
  const described = Array.from(read('test', 'models', 'README.md').matchAll(/^\| `([A-Z_]+)` \|/gm), ([, name]) => name)
  assert.deepEqual(shown.toSorted(), [...mutants].toSorted())
  assert.deepEqual(described, shown)
  assert.match(read('.ci', 'run'), /^bash test\/models\/check\.sh$/m)
})
