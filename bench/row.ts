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
  readonly targets: readonly Target[]
}

/** What the command line says of all rows. */
export interface Setting {
  /** Where contenders keep their files. */
  readonly directory: string
  readonly rounds: number
  /** Less of everything, to see that a row works. Its figures say nothing. */
  readonly quick: boolean
}

/** What is to be reached: longhaul's figure over that of another. */
export interface Target {
  readonly against: string
  readonly atMost?: number | undefined
  readonly atLeast?: number | undefined
}

/** The figures of each contender, round by round. */
export type Measured = ReadonlyMap<string, readonly number[]>

/** The middle half of some figures. */
export interface Spread {
  readonly q1: number
  readonly median: number
  readonly q3: number
}

/** A row that was measured. */
export interface RowResult {
  readonly title: string
  readonly unit: string
  readonly contenders: readonly { readonly name: string; readonly spread: Spread }[]
  readonly comparisons: readonly Comparison[]
}

/** longhaul against one other. */
export interface Comparison extends Target {
  readonly ratio: Spread
  /** `undefined`: nothing was to be reached. */
  readonly met: boolean | undefined
}

/** Has everybody take a turn in each round, in an order that turns too, after one round that does not count. */
export async function takeTurns<T extends { readonly name: string }>(contenders: readonly T[], rounds: number, measure: (contender: T) => Promise<number>): Promise<Measured> {
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

/** Compares the first contender with the others, round by round. */
export function judge(row: Row, measured: Measured): RowResult {
  const [[ourName, ours] = ['', []], ...others] = measured
  const compare = (against: string, theirs: readonly number[]): Comparison => {
    const ratio = spreadOf(ours.map((figure, i) => figure / (theirs[i] ?? NaN)))
    const target = row.targets.find((each) => each.against === against)
    return { against, atMost: target?.atMost, atLeast: target?.atLeast, ratio, met: target && isMet(target, ratio.median) }
  }
  return {
    title: row.title,
    unit: row.unit,
    contenders: [[ourName, ours] as const, ...others].map(([name, figures]) => ({ name, spread: spreadOf(figures) })),
    comparisons: others.map(([name, figures]) => compare(name, figures)),
  }
}

/** Median and quartiles, between neighbours where they fall between. */
function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b)
  const at = (q: number): number => {
    const position = q * (sorted.length - 1)
    const below = sorted[Math.floor(position)] ?? NaN
    const above = sorted[Math.ceil(position)] ?? NaN
    return below + (above - below) * (position - Math.floor(position))
  }
  return { q1: at(0.25), median: at(0.5), q3: at(0.75) }
}

function isMet({ atMost = Infinity, atLeast = -Infinity }: Target, figure: number): boolean {
  return figure <= atMost && figure >= atLeast
}
