// SPDX-License-Identifier: MIT

/**
 * What the small primitives cost: a reader in front of a body, and a signal that follows another.
 *
 * @module
 */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { sendBody } from '../client.ts'
import { withContenders } from '../contender.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'
import { takeTurnsTogether, together } from '../together.ts'

const MIB = 1024 ** 2
/** How many a turn has, one after the other: one alone is read in a fraction of a second. */
const BODIES = 4
const PROGRAM = fileURLToPath(new URL('../programs/signals.js', import.meta.url))
const READERS = [
  { name: 'HappyReader', program: 'reader', words: ['happily'] },
  { name: 'read directly', program: 'reader', words: ['directly'] },
]
const SIGNALS = [
  { name: 'delayedSignal', way: 'delayedSignal' },
  { name: 'AbortSignal.any', way: 'any' },
]

export const rows: readonly Row[] = [
  {
    name: 'happy-reader',
    title: 'A body of 512 MiB is read and forgotten',
    unit: 'CPU s',
    measure: measureReaders,
    targets: [{ against: 'read directly', atMost: 1.1 }],
  },
  ...together([
    { name: 'delayed-signal', title: 'A signal that follows another is made, listened to and let go', unit: 'ns', targets: [] },
    // Whatever is kept for each would be more: a pointer has 8 bytes.
    { name: 'delayed-signal-heap', title: 'What is left of it on the heap while the other lives', unit: 'bytes', targets: [{ atMost: 1 }] },
  ], measureSignals),
]

async function measureReaders({ directory, rounds, quick }: Setting): Promise<Measured> {
  const length = quick ? 8 * MIB : 512 * MIB
  return withContenders(READERS, directory, (contenders) => takeTurns(contenders, rounds, async (contender) => {
    const cpu = await contender.cpuSeconds(async () => {
      for (let i = 0; i < BODIES; i++) await sendBody(contender, '/', length)
    })
    return cpu / BODIES
  }))
}

/** Each turn has a process of its own: what one leaves on the heap would slow the next. */
async function measureSignals({ rounds, quick }: Setting): Promise<readonly Measured[]> {
  const amount = quick ? 10_000 : 200_000
  return takeTurnsTogether(SIGNALS, rounds, async ({ way }) => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', PROGRAM, way, String(amount)])
    const { nanoseconds, bytes } = JSON.parse(stdout) as { nanoseconds: number; bytes: number }
    return [nanoseconds / amount, bytes / amount]
  })
}
