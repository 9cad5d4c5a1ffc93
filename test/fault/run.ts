// SPDX-License-Identifier: MIT

/**
 * The long form of the fault suite: `npm run test:fault -- [--seed N] [--rounds N] [--confined] [name …]`.
 *
 * Runs the campaigns, or those of the named files, one after the other, and prints a table of what they
 * did, and one of what floods cost. Without `--rounds` each campaign has a number of rounds that suits it.
 * The same seed makes the same decisions; what the machine makes of them in time may differ. With
 * `--confined` the programs under attack run under Node's permission model (see `subject.ts`).
 *
 * @module
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { Row, Toll } from './campaign.ts'

const FOLDER = fileURLToPath(new URL('.', import.meta.url))
const WHOLE_NUMBER = /^[0-9]{1,9}$/

const { seed, rounds, confined, files } = readCommand(process.argv.slice(2))
const folder = mkdtempSync(join(tmpdir(), 'longhaul-fault-'))
const report = join(folder, 'report')
writeFileSync(report, '')
console.log(`seed ${seed}`)
const child = spawn(process.execPath, ['--import', 'tsx', '--test', '--test-concurrency=1', ...files], {
  stdio: 'inherit',
  env: { ...process.env, FAULT_SEED: seed, FAULT_ROUNDS: rounds, FAULT_REPORT: report, ...(confined ? { FAULT_CONFINED: 'yes' } : {}) },
})
const [code] = await once(child, 'exit')
const rows = readFileSync(report, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Row)
rmSync(folder, { recursive: true })
printTable(['fault', 'rounds', 'bytes acknowledged', 'bytes lost'], rows.filter(({ toll }) => !toll).map(lossesOf))
const FLOOD_TITLES = ['flood', 'rounds', 'peak memory', 'descriptors', 'longest stall', 'slowest answer to others']
printTable(FLOOD_TITLES, rows.flatMap(({ fault, rounds, toll }) => (toll ? [costsOf(fault, rounds, toll)] : [])))
if (code !== 0) console.log(`\nFailed. To see it again: npm run test:fault -- --seed ${seed}${confined ? ' --confined' : ''}`)
process.exitCode = code ?? 1

function lossesOf({ fault, rounds, acknowledgedBytes, lostBytes }: Row): string[] {
  return [fault, ...[rounds, acknowledgedBytes, lostBytes].map((count) => count?.toLocaleString('en') ?? '–')]
}

function costsOf(flood: string, rounds: number, { peakMemoryBytes, descriptors, stallMs, slowestAnswerMs }: Toll): string[] {
  const memory = `${Math.round(peakMemoryBytes / 1024 ** 2)} MiB`
  const times = [stallMs, slowestAnswerMs].map((ms) => `${Math.round(ms)} ms`)
  return [flood, rounds.toLocaleString('en'), memory, descriptors.toLocaleString('en'), ...times]
}

/** As Markdown, numbers to the right; nothing if there are no rows. */
function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  if (rows.length === 0) return
  const toLine = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = `|${titles.map((_, index) => (index === 0 ? '---' : '---:')).join('|')}|`
  console.log(['', toLine(titles), rule, ...rows.map(toLine)].join('\n'))
}

function readCommand(words: string[]): {
  readonly seed: string
  readonly rounds: string
  readonly confined: boolean
  readonly files: readonly string[]
} {
  try {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: { seed: { type: 'string' }, rounds: { type: 'string' }, confined: { type: 'boolean' } },
    })
    for (const [flag, word] of Object.entries({ seed: values.seed, rounds: values.rounds })) {
      if (word !== undefined && !WHOLE_NUMBER.test(word)) throw new Error(`--${flag} must be a whole number: received '${word}'`)
    }
    const names = readdirSync(FOLDER).filter((name) => name.endsWith('.test.ts')).map((name) => name.replace('.test.ts', ''))
    for (const name of positionals) {
      if (!names.includes(name)) throw new Error(`There is no campaign '${name}': there are ${names.join(', ')}`)
    }
    const files = (positionals.length > 0 ? positionals : names).map((name) => join(FOLDER, `${name}.test.ts`))
    return {
      seed: values.seed ?? String(Math.floor(Math.random() * 2 ** 31)),
      rounds: values.rounds ?? '',
      confined: values.confined ?? false,
      files,
    }
  } catch (error) {
    console.error((error as Error).message.split('\n')[0])
    process.exit(2)
  }
}
