// SPDX-License-Identifier: MIT

/**
 * Rows that come out of one measurement, such as how long something takes and what is lost by it.
 *
 * @module
 */

import { takeTurns, type Measured, type Row, type Setting } from './row.ts'

/** Rows of which `measure` finds the figures, in their order. It runs once, with the setting of the row that is asked first. */
export function together(
  rows: readonly Omit<Row, 'measure'>[],
  measure: (setting: Setting) => Promise<readonly Measured[]>,
): readonly Row[] {
  let measured: Promise<readonly Measured[]> | undefined
  return rows.map((row, index) => ({
    ...row,
    measure: async (setting) => (await (measured ??= measure(setting)))[index] as Measured,
  }))
}

/** As `takeTurns`, where each turn gives several figures. */
export async function takeTurnsTogether<T extends { readonly name: string }>(
  contenders: readonly T[],
  rounds: number,
  measure: (contender: T) => Promise<readonly number[]>,
): Promise<readonly Measured[]> {
  const turns = new Map(contenders.map(({ name }) => [name, [] as (readonly number[])[]]))
  await takeTurns(contenders, rounds, async (contender) => {
    turns.get(contender.name)?.push(await measure(contender))
    return NaN
  })
  const counted = Array.from(turns, ([name, all]) => [name, all.slice(-rounds)] as const) // `takeTurns` has warmed up before
  const amount = counted[0]?.[1][0]?.length ?? 0
  return Array.from({ length: amount }, (_, i) => new Map(counted.map(([name, all]) => [name, all.map((figures) => figures[i] ?? NaN)])))
}
