// SPDX-License-Identifier: MIT

/**
 * A client comes back for its upload while the server still holds the connection that it had before: how
 * long it waits for HEAD and for the PATCH that sends the rest, and what that costs the server.
 *
 * @module
 */

import { offsetOf, sendBody } from '../client.ts'
import { withContenders } from '../contender.ts'
import { OpenPatch, storedBytes, untilStored } from '../open-patch.ts'
import type { Measured, Row, Setting } from '../row.ts'
import { takeTurnsTogether, together } from '../together.ts'

const SENT_BYTES = 100_000
const REST_BYTES = 1000
const CONTENDERS = [
  { name: 'longhaul', program: 'longhaul' },
  { name: '@tus/server', program: 'tus-node-server' },
]

export const rows: readonly Row[] = [
  ...together([
    { name: 'hand-over', title: 'Back, and the old connection is silent: HEAD and PATCH', unit: 'ms', targets: [{ atMost: 50 }] },
    { name: 'hand-over-cpu', title: 'Back, and the old connection is silent: HEAD and PATCH', unit: 'CPU ms', targets: [] },
  ], (setting) => measure(setting, () => {})),
  ...together([
    { name: 'hand-over-reset', title: 'Back right after a reset: HEAD and PATCH', unit: 'ms', targets: [{ atMost: 50 }] },
    { name: 'hand-over-reset-cpu', title: 'Back right after a reset: HEAD and PATCH', unit: 'CPU ms', targets: [] },
  ], (setting) => measure(setting, (old) => old.reset())),
]

async function measure({ directory, rounds }: Setting, vanish: (old: OpenPatch) => void): Promise<readonly Measured[]> {
  return withContenders(CONTENDERS, directory, (contenders) => takeTurnsTogether(contenders, rounds, async (contender) => {
    const old = await OpenPatch.begin(contender, SENT_BYTES + REST_BYTES)
    await old.send(SENT_BYTES)
    await untilStored(contender, old.path, SENT_BYTES)
    vanish(old)
    let ms = NaN
    const cpu = await contender.cpuSeconds(async () => {
      const startMs = performance.now()
      const offset = await offsetOf(contender, old.path)
      await sendBody(contender, old.path, SENT_BYTES + REST_BYTES - offset, { 'Upload-Offset': String(offset) })
      ms = performance.now() - startMs
    })
    const stored = storedBytes(contender, old.path)
    if (stored !== SENT_BYTES + REST_BYTES) throw new Error(`${contender.name} has ${stored} bytes of an upload that it took the rest of`)
    old.close()
    contender.clear()
    return [ms, cpu * 1000]
  }))
}
