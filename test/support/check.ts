// SPDX-License-Identifier: MIT

/**
 * The quick gate, `npm run check`, after the type-check: all tests but those of long campaigns and of programs in processes of their
 * own. `npm test` runs them all.
 *
 * @module
 */

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { ROOT } from './examples.ts'

/** What takes longest, and what a change of one file of `lib` rarely breaks alone. CONTRIBUTING.md says when to run what of it. */
const LEFT_OUT = [
  /^(?:fault|cli|lesson|recipes|interop)\//, // programs, and attacks on them
  /-processes\.test\.ts$/, // forks programs
  /^(?:copies|vendoring|examples|operating|bench)\.test\.ts$/, // copies and examples, compiled or run
  /^(?:cut-uploads|memory-bounds|model|migration)\.test\.ts$/, // many rounds
]

const all = readdirSync(`${ROOT}/test`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'))
const files = all.filter((name) => !LEFT_OUT.some((pattern) => pattern.test(name))).sort().map((name) => `test/${name}`)
console.log(`${files.length} of ${all.length} test files; npm test runs all of them`)
const reporter = ['--test-reporter=spec', '--test-reporter-destination=stdout']
const { status } = spawnSync(
  process.execPath,
  ['--import', 'tsx', '--test', '--test-concurrency=2', '--test-timeout=120000', ...reporter, ...files],
  { cwd: ROOT, stdio: 'inherit' },
)
process.exitCode = status ?? 1
