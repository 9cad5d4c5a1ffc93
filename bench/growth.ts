// SPDX-License-Identifier: MIT

/**
 * Lines of the benchmark: one figure along an axis, such as the cost of a byte along the size of an upload,
 * and whether it stays flat.
 *
 * Design. All points of all series take turns in each round, as the contenders of a row do, so that the point
 * at the end of the axis is compared with the reference of the same round. Where the machine itself takes more
 * at one point than at another, there is a second series that does as little as may be: as memory that was not
 * in use lately costs more than memory that was, 8 GiB cost any program more than 64 MiB do. What is compared
 * is then longhaul's figure over that of the second series at the same point.
 *
 * @module
 */

import { isMet, ratiosOf, spreadOf, takeTurns, type Comparison, type Setting, type Spread } from './row.ts'

/** A line before it is measured. */
export interface Line {
  /** As it is asked for on the command line. */
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly better: 'higher' | 'lower'
  readonly axis: Axis
  /** Ready to be measured round after round. The first series is longhaul's; a second one is what it is measured by. */
  readonly measure: (setting: Setting) => Promise<readonly Series[]>
}

/** What a figure may depend on. */
export interface Axis {
  readonly label: string
  readonly unit: 'bytes' | 'count'
  /** In rising order. */
  readonly points: readonly number[]
  /** The point that the last one is compared with. */
  readonly reference: number
}

/** The figures of one contender at each point, round by round. */
export interface Series {
  readonly name: string
  readonly figures: ReadonlyMap<number, readonly number[]>
}

/** A line that was measured. */
export interface LineResult {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly axis: Axis
  readonly series: readonly { readonly name: string; readonly points: readonly { readonly x: number; readonly spread: Spread }[] }[]
  /** longhaul's figure at the last point over that at the reference; `against`: each over that of the second series. */
  readonly flatness: Comparison
}

/** A figure at the end of the axis may be worse than the reference by this factor, and still counts as flat. */
const FLAT_WITHIN = 1.25

/** Has all contenders take turns at all points. */
export async function takeTurnsAlong<T extends { readonly name: string }>(
  { points }: Axis,
  contenders: readonly T[],
  rounds: number,
  measure: (contender: T, x: number) => Promise<number>,
): Promise<readonly Series[]> {
  const turns = points.flatMap((x) => contenders.map((contender) => ({ name: `${contender.name} at ${x}`, contender, x })))
  const measured = await takeTurns(turns, rounds, ({ contender, x }) => measure(contender, x))
  return contenders.map(({ name }) => ({ name, figures: new Map(points.map((x) => [x, measured.get(`${name} at ${x}`) ?? []])) }))
}

/** Compares the end of the axis with its reference, round by round. */
export function judgeLine({ name, title, unit, better, axis }: Line, series: readonly Series[]): LineResult {
  const [ours, control] = series
  const at = (x: number): readonly number[] => {
    const figures = ours?.figures.get(x) ?? []
    return control ? ratiosOf(figures, control.figures.get(x) ?? []) : figures
  }
  const spread = spreadOf(ratiosOf(at(axis.points.at(-1) ?? NaN), at(axis.reference)))
  const target = better === 'lower' ? { atMost: FLAT_WITHIN } : { atLeast: 1 / FLAT_WITHIN }
  return {
    name,
    title,
    unit,
    axis,
    series: series.map(({ name, figures }) => ({ name, points: Array.from(figures, ([x, rounds]) => ({ x, spread: spreadOf(rounds) })) })),
    flatness: { against: control?.name, ...target, spread, met: isMet(target, spread.median) },
  }
}
