// SPDX-License-Identifier: MIT

/**
 * Measures the rows that are named, or all of them: prints their figures and ratios, keeps them as JSON
 * and as a chart, and says what was missed.
 *
 * @module
 */

import { existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, type } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chartOf } from './chart.ts'
import { judgeLine, type Line, type LineResult } from './growth.ts'
import { lineText, missesOf, rowText, type Report } from './report.ts'
import { judge, type Row, type RowResult, type Setting } from './row.ts'
import { rows as shipped } from './rows/shipped.ts'
import { rows as shippedTwo } from './rows/shipped-two.ts'
import { rows as throughput } from './rows/throughput.ts'
import { rows as requests } from './rows/requests.ts'
import { rows as signals } from './rows/signals.ts'
import { rows as memory } from './rows/memory.ts'
import { rows as loss } from './rows/loss.ts'
import { rows as handOver } from './rows/hand-over.ts'
import { rows as shutdown } from './rows/shutdown.ts'
import { rows as costs } from './rows/costs.ts'
import { rows as footprint } from './rows/footprint.ts'
import { lines as growth } from './rows/growth.ts'

/** In the order in which they are measured and drawn: the program as it ships, the library, and what grows. */
const SHIPPED: readonly Row[] = [shipped, shippedTwo].flat()
const ROWS: readonly Row[] = [throughput, requests, signals, memory, loss, handOver, shutdown, costs, footprint].flat()
const LINES: readonly Line[] = growth
const ALL = [...SHIPPED, ...ROWS, ...LINES]

const USAGE = `node bench/dist/bench/run.js [--rounds N] [--quick] [--check] [--dir DIR] [--against DIR] [--json FILE] [--chart FILE] [row…]

  --rounds N      rounds that count, 1 to 1000 (default 10)
  --quick         two rounds of very little, to see that it works; the figures say nothing
  --check         exit with 1 if a target is missed
  --dir DIR       where servers store uploads (default /dev/shm, if it is there)
  --against DIR   another build of longhaul: rows of the program measure it too
  --json FILE     keep the figures there
  --chart FILE    draw the chart there

rows: ${ALL.map(({ name }) => name).join(' ')}
`
/** tmpfs, as `statfs` calls it. */
const TMPFS_TYPE = 0x01021994

/** What the command line says. */
interface Command {
  readonly rounds: number
  readonly quick: boolean
  readonly check: boolean
  readonly directory: string
  readonly against: string | undefined
  readonly shipped: readonly Row[]
  readonly rows: readonly Row[]
  readonly lines: readonly Line[]
  readonly json: string | undefined
  readonly chart: string | undefined
}

const command = readCommand()
if (typeof command === 'string') {
  process.stderr.write(`${command}\n\n${USAGE}`)
  process.exitCode = 2
} else await run(command)

/** Measures what is asked for, and ends the process by itself only if it is told to stop. */
async function run({ rounds, quick, check, directory: parent, against, shipped, rows, lines, json, chart }: Command): Promise<void> {
  const directory = mkdtempSync(join(parent, 'longhaul-bench-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true })) // also when a row fails
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

  const setting: Setting = { directory, rounds, quick, against }
  const conditions = conditionsOf(directory)
  const measureRows = async (rows: readonly Row[]): Promise<readonly RowResult[]> => {
    const results: RowResult[] = []
    for (const row of rows) {
      const result = judge(row, await row.measure(setting), conditions.directory)
      results.push(result)
      console.log(rowText(result))
    }
    return results
  }
  const shippedResults = await measureRows(shipped)
  const rowResults = await measureRows(rows)
  const lineResults: LineResult[] = []
  for (const line of lines) {
    const result = judgeLine(line, await line.measure(setting))
    lineResults.push(result)
    console.log(lineText(result))
  }

  const report: Report = { ...conditions, rounds, quick, shipped: shippedResults, rows: rowResults, growth: lineResults }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, (_, value) => (typeof value === 'number' ? shorten(value) : value), 2)}\n`)
  if (chart !== undefined) writeFileSync(chart, chartOf(report))
  const misses = missesOf(report)
  if (misses.length > 0) console.log(['Missed:', ...misses].join('\n  '))
  if (check && misses.length > 0) process.exitCode = 1
}

/** The command line, or what is wrong with it. */
function readCommand(): Command | string {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        check: { type: 'boolean', default: false },
        dir: { type: 'string', default: existsSync('/dev/shm') ? '/dev/shm' : tmpdir() },
        against: { type: 'string' },
        json: { type: 'string' },
        chart: { type: 'string' },
      },
    })
    const { quick, check, dir: directory, against, rounds = quick ? '2' : '10' } = values
    if (!/^[1-9]\d{0,2}$|^1000$/.test(rounds)) return `--rounds must be a number from 1 to 1000: received ${rounds}`
    if (!existsSync(directory)) return `--dir must be a directory that exists: received ${directory}`
    if (against !== undefined && !existsSync(join(against, 'dist/cli/main.js'))) {
      return `--against must be a folder of longhaul that is built: received ${against}`
    }
    const unknown = positionals.find((name) => !ALL.some((each) => each.name === name))
    if (unknown !== undefined) return `There is no row ${unknown}`
    const asked = ({ name }: { readonly name: string }): boolean => positionals.length === 0 || positionals.includes(name)
    // Figures of all rows are those that the README shows.
    const kept = (name: string): string | undefined =>
      positionals.length === 0 && !quick ? fileURLToPath(new URL(`../../${name}`, import.meta.url)) : undefined
    const { json = kept('results.json'), chart = kept('results.svg') } = values
    const named = { shipped: SHIPPED.filter(asked), rows: ROWS.filter(asked), lines: LINES.filter(asked) }
    return { rounds: Number(rounds), quick, check, directory, against: against && resolve(against), ...named, json, chart }
  } catch (error) {
    return (error as Error).message // an option that there is not
  }
}

/** Where this runs, without names of hosts or paths. */
function conditionsOf(directory: string): Pick<Report, 'date' | 'node' | 'system' | 'cpu' | 'cores' | 'directory'> {
  const [cpu] = cpus()
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    system: `${type()} ${/^[\d.]*\d/.exec(release())?.[0] ?? ''}`.trim(),
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    directory: statfsSync(directory).type === TMPFS_TYPE ? 'tmpfs' : 'disk',
  }
}

/** Four digits are more than a figure has; an amount stays as it is. */
function shorten(figure: number): number {
  return Number.isInteger(figure) ? figure : Number(figure.toPrecision(4))
}
