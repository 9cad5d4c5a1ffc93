// SPDX-License-Identifier: MIT

/**
 * What a slow connection takes of the server's memory.
 *
 * Each turn has a process of its own, as memory that was needed once is hardly given back. At most four
 * rounds count: each lasts half a minute, and they differ little.
 *
 * @module
 */

import { setTimeout as delay } from 'node:timers/promises'
import { createUpload, doAll, sendBody } from '../client.ts'
import { withContender, type Contender, type ContenderDescription } from '../contender.ts'
import { OpenPatch, untilStored } from '../open-patch.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

/** How many at once. */
export const UPLOADS = 2000
const MAX_ROUNDS = 4
const ANNOUNCED_BYTES = 1_000_000
/** Each client sends a piece a second; a tenth of them do at each tick. */
const PIECE_BYTES = 128
const TICK_MS = 100
const GROUPS = 10
const SECONDS = 5

/** As the README advises for longhaul, and as `npm start` does. */
export const SMALL_SEMI_SPACE = ['--max-semi-space-size=2']

export const rows: readonly Row[] = [
  {
    name: 'memory',
    title: `Resident memory, each of ${UPLOADS} slow uploads, ${SMALL_SEMI_SPACE}`,
    unit: 'KiB',
    measure: (setting) => measureMemory(setting, withFlags(SMALL_SEMI_SPACE)),
    targets: [{ against: '@tus/server', atMost: 0.6 }],
  },
  {
    name: 'memory-default',
    title: `Resident memory, each of ${UPLOADS} slow uploads, Node's defaults`,
    unit: 'KiB',
    measure: (setting) => measureMemory(setting, withFlags([])),
    targets: [{ against: '@tus/server', atMost: 0.6 }],
  },
]

function withFlags(flags: readonly string[]): readonly ContenderDescription[] {
  return [
    { name: 'longhaul', program: 'longhaul', flags },
    { name: '@tus/server', program: 'tus-node-server', flags },
  ]
}

/** The KiB that each slow upload takes. */
export async function measureMemory(
  { directory, rounds, quick }: Setting,
  descriptions: readonly ContenderDescription[],
): Promise<Measured> {
  const uploads = quick ? 100 : UPLOADS
  return takeTurns(descriptions, Math.min(rounds, MAX_ROUNDS), (description) => withContender(description, directory, async (contender) => {
    await warmUp(contender)
    const before = contender.residentKib()
    const patches = await doAll(Array.from({ length: uploads }), 50, () => OpenPatch.begin(contender, ANNOUNCED_BYTES))
    try {
      await trickle(patches, quick ? 1 : SECONDS)
      const kib = (contender.residentKib() - before) / uploads
      for (const { path, sentBytes } of patches) await untilStored(contender, path, sentBytes)
      return kib
    } finally {
      for (const patch of patches) patch.close()
    }
  }))
}

/** What is made only once is made before. */
async function warmUp(contender: Contender): Promise<void> {
  for (let i = 0; i < 10; i++) await sendBody(contender, await createUpload(contender, ANNOUNCED_BYTES), ANNOUNCED_BYTES)
}

async function trickle(patches: readonly OpenPatch[], seconds: number): Promise<void> {
  for (let tick = 0; tick < seconds * GROUPS; tick++) {
    await Promise.all(patches.filter((_, i) => i % GROUPS === tick % GROUPS).map((patch) => patch.send(PIECE_BYTES)))
    await delay(TICK_MS)
  }
}
