// SPDX-License-Identifier: MIT

/**
 * Measures the rows that are named, or all of them, and prints their figures and ratios.
 *
 * @module
 */

import { parseArgs } from 'node:util'
import { judge } from './row.ts'
import { rows as throughput } from './rows/throughput.ts'
import { rows as requests } from './rows/requests.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '10' },
    quick: { type: 'boolean', default: false },
    dir: { type: 'string', default: '/dev/shm' },
  },
})
for (const row of [...throughput, ...requests].filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const result = judge(row, await row.measure({ directory: values.dir, rounds: Number(values.rounds), quick: values.quick }))
  console.log(`${result.title} (${result.unit})`)
  for (const { name, spread } of result.contenders) console.log(`  ${name.padEnd(16)} ${spread.median.toPrecision(4)}`)
  for (const { against, ratio, met, atMost, atLeast } of result.comparisons) console.log(`  / ${against.padEnd(16)} ${ratio.median.toFixed(3)} (${ratio.q1.toFixed(3)}..${ratio.q3.toFixed(3)}) ${atMost ?? ''}${atLeast ?? ''} ${met ?? ''}`)
}
