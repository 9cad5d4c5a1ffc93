// SPDX-License-Identifier: MIT

/**
 * What a run found: as tables to read, and as a list of what was missed.
 *
 * @module
 */

import { formatPoint, formatSpread, formatVerdict } from './format.ts'
import type { LineResult } from './growth.ts'
import type { Comparison, RowResult, Storage } from './row.ts'

/** A run: where, and what came out. */
export interface Report {
  readonly date: string
  readonly node: string
  /** Of the operating system: its kernel and version. */
  readonly system: string
  readonly cpu: string
  readonly cores: number
  /** What uploads were stored on. */
  readonly directory: Storage
  readonly rounds: number
  readonly quick: boolean
  /** Rows of the program as it ships. */
  readonly shipped: readonly RowResult[]
  /** Rows of the library. */
  readonly rows: readonly RowResult[]
  readonly growth: readonly LineResult[]
}

/** The figures of a row, and how longhaul's compare. */
export function rowText(row: RowResult): string {
  const { name, title, unit, contenders, comparisons } = row
  return textOf(`${name}: ${title}, ${unit}`, [
    ...contenders.map(({ name, spread }) => [name, formatSpread(spread), '']),
    ...comparisons.map((comparison) => [comparisonLabel(row, comparison), formatSpread(comparison.spread), formatVerdict(comparison)]),
  ])
}

/** The figures of a line, and whether it is flat. */
export function lineText(line: LineResult): string {
  const { name, title, unit, axis, series, flatness } = line
  return textOf(`${name}: ${title}, ${unit}`, [
    ...series.flatMap(({ name, points }) =>
      points.map(({ x, spread }) => [`${name}, ${formatPoint(x, axis.unit)}`, formatSpread(spread), '']),
    ),
    [flatnessLabel(line), formatSpread(flatness.spread), formatVerdict(flatness)],
  ])
}

/** Whose figure is compared, and what it is divided by, if it is. */
export function comparisonLabel({ contenders: [ours] }: RowResult, { against }: Comparison): string {
  return against === undefined ? `${ours?.name} itself` : `${ours?.name} / ${against}`
}

/** The two points that are compared, and what each is divided by, if it is. */
export function flatnessLabel({ axis, flatness: { against } }: LineResult): string {
  const points = `${formatPoint(axis.points.at(-1) ?? NaN, axis.unit)} / ${formatPoint(axis.reference, axis.unit)}`
  return against === undefined ? points : `${points}, each over ${against}`
}

/** A sentence for each target that was missed. */
export function missesOf({ shipped, rows, growth }: Pick<Report, 'shipped' | 'rows' | 'growth'>): readonly string[] {
  const sentence = (name: string, label: string, comparison: Comparison): string[] =>
    comparison.met === false ? [`${name}: ${label} is ${formatSpread(comparison.spread)}, ${formatVerdict(comparison)}`] : []
  return [
    ...[...shipped, ...rows].flatMap((row) =>
      row.comparisons.flatMap((comparison) => sentence(row.name, comparisonLabel(row, comparison), comparison)),
    ),
    ...growth.flatMap((line) => sentence(line.name, flatnessLabel(line), line.flatness)),
  ]
}

/** A heading and lines in columns. */
function textOf(heading: string, lines: readonly (readonly string[])[]): string {
  const widths = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return [heading, ...lines.map((line) => `  ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()}`), ''].join('\n')
}
