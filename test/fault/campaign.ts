// SPDX-License-Identifier: MIT

/**
 * A campaign: one kind of fault, repeated for a number of rounds from a seed.
 *
 * In `npm test` each campaign is short. `npm run test:fault` runs them long (see `run.ts`) and gathers
 * what each reports in the table of the README.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { Random } from './random.ts'

/** What a campaign is given. */
export interface Campaign {
  readonly t: TestContext
  readonly random: Random
  readonly rounds: number
  /** Whether this is the long form. */
  readonly long: boolean
  /** Writes a row of the table, and fails if anything was lost. */
  readonly report: (row: Row) => void
}

/** A row of the table. */
export interface Row {
  /** A few words, as the README shows them. */
  readonly fault: string
  /** How many faults there really were. */
  readonly rounds: number
  /** `undefined` where no upload is at stake. */
  readonly acknowledgedBytes?: number
  readonly lostBytes?: number
  /** What a flood cost; such a row belongs to the second table. */
  readonly toll?: Toll
}

/** What a flood costs a server and its other clients. */
export interface Toll {
  /** The highest resident memory, above that at rest. */
  readonly peakMemoryBytes: number
  /** The most open descriptors, above those at rest. */
  readonly descriptors: number
  /** The longest time for which the event loop did not turn. */
  readonly stallMs: number
  /** The longest that a client outside the flood waited for an answer. */
  readonly slowestAnswerMs: number
}

/** Set by `run.ts`; without them this is `npm test`. */
const { FAULT_SEED, FAULT_ROUNDS, FAULT_REPORT } = process.env
const seed = Number(FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31))
const long = FAULT_ROUNDS !== undefined

/** How long a campaign may take, in milliseconds. */
const SHORT_TIMEOUT_MS = 110_000
const LONG_TIMEOUT_MS = 3_600_000

/**
 * Registers a campaign as a test whose name tells its seed, with its number of rounds within `npm test`
 * and in the long form.
 */
export function campaign(
  promise: string,
  rounds: { readonly short: number; readonly long: number },
  run: (campaign: Campaign) => Promise<void>,
): void {
  const count = !long ? rounds.short : FAULT_ROUNDS === '' ? rounds.long : Number(FAULT_ROUNDS)
  test(`${promise} (seed ${seed})`, { timeout: long ? LONG_TIMEOUT_MS : SHORT_TIMEOUT_MS }, async (t) => {
    const report = (row: Row): void => {
      t.diagnostic(JSON.stringify(row))
      if (FAULT_REPORT !== undefined) appendFileSync(FAULT_REPORT, `${JSON.stringify(row)}\n`)
      assert.equal(row.lostBytes ?? 0, 0, `${row.fault}: acknowledged bytes were lost`)
    }
    await run({ t, random: new Random(seed), rounds: count, long, report })
  })
}
