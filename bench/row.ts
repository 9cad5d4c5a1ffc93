// SPDX-License-Identifier: MIT

/**
 * Rows of the benchmark: figures of several contenders from rounds that take turns, and their ratios.
 *
 * @module
 */

/** A row before it is measured. */
export interface Row {
  /** As it is asked for on the command line. */
  readonly name: string
  readonly title: string
  readonly unit: string
  /** Ready to be measured round after round; the first is longhaul. */
  readonly measure: (setting: Setting) => Promise<Measured>
  /** The medians must reach them. A row without any only reports. */
  readonly targets: readonly Target[]
}

/** What the command line says of all rows. */
export interface Setting {
  /** Where contenders keep their files. */
  readonly directory: string
  readonly rounds: number
  /** Less of everything, to see that a row works. Its figures say nothing. */
  readonly quick: boolean
  /** Another build of longhaul, which rows of the program measure as well. */
  readonly against: string | undefined
}

/** What uploads are stored on. */
export type Storage = 'tmpfs' | 'disk'

/** What is to be reached: by longhaul's figure over that of another, or by longhaul's figure itself. */
export interface Target {
  /** Whose figure longhaul's is divided by; absent: longhaul's figure as it is, in the row's unit. */
  readonly against?: string | undefined
  readonly atMost?: number | undefined
  readonly atLeast?: number | undefined
  /** Where it is to be reached; absent: everywhere. */
  readonly on?: Storage | undefined
}

/** The figures of each contender, round by round; longhaul comes first. */
export type Measured = ReadonlyMap<string, readonly number[]>

/** The middle half of some figures. */
export interface Spread {
  readonly q1: number
  readonly median: number
  readonly q3: number
}

/** A row that was measured. */
export interface RowResult {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly contenders: readonly { readonly name: string; readonly spread: Spread }[]
  readonly comparisons: readonly Comparison[]
}

/** longhaul against one other, or against a figure. */
export interface Comparison extends Target {
  /** Of the ratio in each round, or of longhaul's own figure. */
  readonly spread: Spread
  /** `undefined`: nothing was to be reached. */
  readonly met: boolean | undefined
}

/** Has everybody take a turn in each round, in an order that turns too, after one round that does not count. */
export async function takeTurns<T extends { readonly name: string }>(
  contenders: readonly T[],
  rounds: number,
  measure: (contender: T) => Promise<number>,
): Promise<Measured> {
  const figures = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const contender = contenders[(i + round + 1) % contenders.length] as T
      const figure = await measure(contender)
      if (round >= 0) figures.get(contender.name)?.push(figure)
    }
  }
  return figures
}

/**
 * Compares the first contender with each of the others, round by round, and then with the figures it must reach itself.
 * A target against somebody who was not measured is a `RangeError`: it must not pass for one that was met.
 */
export function judge({ name, title, unit, targets: all }: Row, measured: Measured, storage: Storage = 'tmpfs'): RowResult {
  const targets = all.filter(({ on = storage }) => on === storage)
  const [[, ours] = ['', []], ...others] = measured
  const stray = targets.find(({ against }) => against !== undefined && !others.some(([other]) => other === against))
  if (stray) throw new RangeError(`Cannot judge ${name} as the target must be against who was measured: received ${stray.against}`)
  const judged = (spread: Spread, target: Target): Comparison => ({ ...target, spread, met: isMet(target, spread.median) })
  return {
    name,
    title,
    unit,
    contenders: Array.from(measured, ([name, figures]) => ({ name, spread: spreadOf(figures) })),
    comparisons: [
      ...others.map(([against, theirs]) =>
        judged(spreadOf(ratiosOf(ours, theirs)), targets.find((each) => each.against === against) ?? { against }),
      ),
      ...targets.filter(({ against }) => against === undefined).map((target) => judged(spreadOf(ours), target)),
    ],
  }
}

/** The ratios of figures that belong to the same rounds. */
export function ratiosOf(figures: readonly number[], others: readonly number[]): readonly number[] {
  return figures.map((figure, round) => figure / (others[round] ?? NaN))
}

/** Median and quartiles, between neighbours where they fall between. */
export function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b)
  const at = (q: number): number => {
    const position = q * (sorted.length - 1)
    const below = sorted[Math.floor(position)] ?? NaN
    const above = sorted[Math.ceil(position)] ?? NaN
    return below + (above - below) * (position - Math.floor(position))
  }
  return { q1: at(0.25), median: at(0.5), q3: at(0.75) }
}

/** Whether a figure reaches a target, or `undefined` where there is nothing to reach. What is not a number reaches nothing. */
export function isMet({ atMost, atLeast }: Target, figure: number): boolean | undefined {
  if (atMost === undefined && atLeast === undefined) return undefined
  return figure <= (atMost ?? Infinity) && figure >= (atLeast ?? -Infinity)
}
