// SPDX-License-Identifier: MIT

/**
 * How much of `lib` the tests really check:
 * `npm run test:mutation -- [--seed N] [--mutants N] [--minutes N] [--files GLOB] [--tests N] [--journal FILE]`.
 *
 * Changes one place of `lib` after the other in a copy of the repository. Of the tests that concern that
 * file (see `tests-of.ts`), those that run the changed line are run, until one fails. A mutant that no
 * test notices has survived: it is the same program in other words, or a test is missing.
 *
 * The same seed makes the same mutants of the same sources. With `--journal` a run continues where the
 * last one stopped. With `--tests` at most so many test files are run for a mutant, which is quicker and
 * leaves survivors that another test might have killed. Needs Node 22.18 or later.
 *
 * @module
 */

import fs, { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../../fault/random.ts'
import { ROOT } from '../examples.ts'
import { linesOfCode } from '../manifest.ts'
import { assertSupported, mutantsOf, type Mutant } from './mutants.ts'
import { Sandbox } from './sandbox.ts'
import { testsOf } from './tests-of.ts'

/** What came of a mutant. One that does not type-check counts for nothing. */
type Fate = 'killed' | 'survived' | 'invalid'

interface Result {
  readonly file: string
  readonly start: number
  readonly line: number
  readonly change: string
  readonly fate: Fate
  /** The test file that killed it. */
  readonly by?: string
}

/** What is known of a test file: how long it takes without a mutant, and which lines of `lib` it runs; no time if it fails even so. */
interface Baseline {
  readonly test: string
  readonly durationMs?: number
  readonly lines: Readonly<Record<string, readonly number[]>>
}

/** How many things are tried side by side. */
const SANDBOXES = 2
/** How much longer than without a mutant a test may take. */
const PATIENCE = 5
const MIN_TIMEOUT_MS = 20_000
const BASELINE_TIMEOUT_MS = 300_000
/** How many letters make a test the namesake of a file. */
const NAMESAKE = 5

assertSupported()
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    mutants: { type: 'string', default: '150' },
    minutes: { type: 'string', default: '30' },
    files: { type: 'string', default: 'lib/**/*.ts' },
    tests: { type: 'string', default: 'Infinity' },
    journal: { type: 'string' },
  },
})
process.chdir(ROOT)
console.log(`seed ${values.seed}`)
const journal = values.journal
const maxTests = Number(values.tests)
const known = journal !== undefined && existsSync(journal) ? readJournal(journal) : []
const results = new Map(known.flatMap((entry) => ('fate' in entry ? [[keyOf(entry), entry] as const] : [])))
const baselines = new Map(known.flatMap((entry) => ('test' in entry ? [[entry.test, entry] as const] : [])))
const queue = drawMutants(fs.globSync(values.files).sort(), Number(values.mutants), new Random(Number(values.seed)))
const deadlineMs = performance.now() + Number(values.minutes) * 60_000
const sandboxes = Array.from({ length: SANDBOXES }, () => new Sandbox(ROOT))
process.on('exit', () => sandboxes.forEach((sandbox) => sandbox.dispose()))
process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))

const tests = new Set(queue.flatMap(({ file }) => testsOf(file)))
await inEachSandbox([...tests].filter((test) => !baselines.has(test)), async (sandbox, test) => {
  const baseline = await measure(sandbox, test)
  baselines.set(test, baseline)
  write(baseline)
  if (baseline.durationMs === undefined) console.log(`left out: ${test} fails without a mutant`)
})
console.log(`${tests.size} test files run without a mutant`)
await inEachSandbox(batchesOf(queue.filter((each) => !results.has(keyOf(each)))), markInvalid)
await inEachSandbox(queue.filter((each) => !results.has(keyOf(each))), async (sandbox, mutant) => {
  const result = await tryMutant(sandbox, mutant.file, mutant)
  results.set(keyOf(result), result)
  write(result)
  if (result.fate === 'survived') console.log(`survived: ${result.file}:${result.line}  ${result.change}`)
})
report(queue.flatMap((each) => results.get(keyOf(each)) ?? []))
process.exit()

/** Does something with each, as long as there is time; in each sandbox one after the other. */
async function inEachSandbox<Item>(items: readonly Item[], work: (sandbox: Sandbox, item: Item) => Promise<void>): Promise<void> {
  const left = items.values()
  await Promise.all(sandboxes.map(async (sandbox) => {
    for (const item of left) {
      if (performance.now() >= deadlineMs) return
      await work(sandbox, item)
    }
  }))
}

/** Mutants from all files, of each as many as its lines of code say, in an order of which each beginning is a fair sample. */
function drawMutants(files: readonly string[], count: number, random: Random): (Mutant & { readonly file: string })[] {
  const sources = files.map((file) => {
    const text = readFileSync(file, 'utf8')
    return { file, lines: linesOfCode(text).length, mutants: mutantsOf(text) }
  })
  const drawn: (Mutant & { readonly file: string })[] = []
  while (drawn.length < count) {
    const left = sources.filter(({ mutants }) => mutants.length > 0)
    if (left.length === 0) break
    let at = random.next() * left.reduce((total, { lines }) => total + lines, 0)
    const { file, mutants } = left.find(({ lines }) => (at -= lines) < 0) ?? left[0]!
    const [mutant] = mutants.splice(random.integer(0, mutants.length - 1), 1)
    drawn.push({ file, ...mutant! })
  }
  return drawn
}

/** Batches of mutants, each of another file: so many can be type-checked at once. */
function batchesOf<Item extends { readonly file: string }>(mutants: readonly Item[]): Item[][] {
  const batches: Item[][] = []
  for (const mutant of mutants) {
    const batch = batches.find((others) => others.every(({ file }) => file !== mutant.file))
    if (batch) batch.push(mutant)
    else batches.push([mutant])
  }
  return batches
}

async function markInvalid(sandbox: Sandbox, batch: readonly (Mutant & { readonly file: string })[]): Promise<void> {
  const undo = batch.map((mutant) => sandbox.apply(mutant.file, mutant))
  const wrong = await sandbox.filesWithTypeErrors()
  for (const each of undo) each()
  for (const { file, start, line, change } of batch.filter(({ file }) => wrong.has(file))) {
    const result: Result = { file, start, line, change, fate: 'invalid' }
    results.set(keyOf(result), result)
    write(result)
  }
}

/** Runs the tests that run the line of the mutant, the quickest first, until one fails. */
async function tryMutant(sandbox: Sandbox, file: string, mutant: Mutant): Promise<Result> {
  const { start, line, change } = mutant
  const result = { file, start, line, change }
  const candidates = testsOf(file).flatMap((test) => baselines.get(test) ?? [])
  const covering = candidates.filter(({ lines }) => lines[file]?.includes(line))
  const undo = sandbox.apply(file, mutant)
  try {
    const ordered = (covering.length > 0 ? covering : candidates).toSorted((a, b) => costOf(a, file) - costOf(b, file))
    for (const { test, durationMs } of ordered.slice(0, maxTests)) {
      if (durationMs === undefined) continue
      const verdict = await sandbox.test(test, Math.max(MIN_TIMEOUT_MS, PATIENCE * durationMs))
      if (verdict !== 'passed') return { ...result, fate: 'killed', by: test }
    }
    return { ...result, fate: 'survived' }
  } finally {
    undo()
  }
}

/** By which tests are tried: those that are named after the file come first, then the quick ones. */
function costOf({ test, durationMs = 0 }: Baseline, file: string): number {
  const isNamesake = basename(test).startsWith(basename(file, '.ts').slice(0, NAMESAKE))
  return isNamesake ? durationMs / BASELINE_TIMEOUT_MS : durationMs
}

async function measure(sandbox: Sandbox, test: string): Promise<Baseline> {
  const beganMs = performance.now()
  const covered = await sandbox.cover(test, BASELINE_TIMEOUT_MS)
  if (!covered) return { test, lines: {} }
  return {
    test,
    durationMs: performance.now() - beganMs,
    lines: Object.fromEntries(Array.from(covered, ([file, lines]) => [file, [...lines]])),
  }
}

function report(all: readonly Result[]): void {
  const counted = all.filter(({ fate }) => fate !== 'invalid')
  const folders = new Map<string, Result[]>()
  for (const result of counted) folders.set(dirname(result.file), [...(folders.get(dirname(result.file)) ?? []), result])
  console.log(`\n| folder | mutants | killed | rate |\n|---|---:|---:|---:|`)
  for (const [folder, some] of [...folders].sort()) console.log(toRow(folder, some))
  console.log(toRow('all', counted))
  console.log(`\n${all.length - counted.length} more did not type-check, ${queue.length - all.length} were not tried`)
  const survivors = counted.filter(({ fate }) => fate === 'survived').sort((a, b) => (a.file < b.file ? -1 : 1) || a.start - b.start)
  if (survivors.length > 0) {
    console.log(['\nSurvivors:', ...survivors.map(({ file, line, change }) => `  ${file}:${line}  ${change}`)].join('\n'))
  }
}

function toRow(name: string, results: readonly Result[]): string {
  const killed = results.filter(({ fate }) => fate === 'killed').length
  return `| ${name} | ${results.length} | ${killed} | ${results.length === 0 ? '–' : `${((100 * killed) / results.length).toFixed(1)} %`} |`
}

function keyOf({ file, start, change }: Pick<Result, 'file' | 'start' | 'change'>): string {
  return `${file} ${start} ${change}`
}

function readJournal(path: string): (Result | Baseline)[] {
  return readFileSync(path, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Result | Baseline)
}

function write(entry: Result | Baseline): void {
  if (journal !== undefined) appendFileSync(journal, `${JSON.stringify(entry)}\n`)
}
