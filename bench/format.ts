// SPDX-License-Identifier: MIT

/**
 * How figures read, in tables and in the chart.
 *
 * @module
 */

import type { Axis } from './growth.ts'
import type { Comparison, Spread, Target } from './row.ts'

/** Three digits, or all before the point. */
export function formatFigure(figure: number): string {
  if (!Number.isFinite(figure)) return '–'
  if (Math.abs(figure) >= 999.5) return Math.round(figure).toLocaleString('en-US')
  return String(Number(figure.toPrecision(3)))
}

/** The median, then the quartiles. */
export function formatSpread({ q1, median, q3 }: Spread): string {
  if (!Number.isFinite(median)) return formatFigure(median)
  return `${formatFigure(median)} (${formatFigure(q1)}–${formatFigure(q3)})`
}

/** A place on an axis. */
export function formatPoint(x: number, unit: Axis['unit']): string {
  if (unit === 'count') return x >= 1000 ? `${formatFigure(x / 1000)}k` : String(x)
  return x >= 1024 ** 3 ? `${x / 1024 ** 3} GiB` : `${x / 1024 ** 2} MiB`
}

/** What is to be reached, and whether it was; empty if nothing is. */
export function formatVerdict({ atMost, atLeast, met }: Target & Pick<Comparison, 'met'>): string {
  const bounds = [atLeast !== undefined && `at least ${atLeast}`, atMost !== undefined && `at most ${atMost}`].filter(
    (bound) => bound !== false,
  )
  return met === undefined ? '' : `${bounds.join(', ')}: ${met ? 'met' : 'missed'}`
}
