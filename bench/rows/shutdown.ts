// SPDX-License-Identifier: MIT

/**
 * SIGTERM while four clients would go on uploading for ever: how long until the process has ended, how many
 * clients are told, and what is lost of what their systems had taken when they were told or cut off.
 *
 * At most five rounds count: in each, one server has to be waited for that never ends.
 *
 * @module
 */

import { setTimeout as delay } from 'node:timers/promises'
import { withContender, type ContenderDescription } from '../contender.ts'
import { OpenPatch, storedBytes } from '../open-patch.ts'
import type { Measured, Row, Setting } from '../row.ts'
import { takeTurnsTogether, together } from '../together.ts'

const CLIENTS = 4
const MAX_ROUNDS = 5
const ENDLESS_BYTES = 64 * 1024 ** 3
/** Each client sends 64 KiB as often as this. */
const PAUSE_MS = 5
/** For how long, before the signal comes. */
const UNDER_WAY_MS = 500
/** Who has not ended by then is killed. */
const CAP_MS = 10_000

const stopped = (tool: string, name = tool): ContenderDescription => ({
  name: `@tus/server, ${name}`,
  program: 'tus-node-server',
  words: ['--stop', tool],
})
const CONTENDERS: readonly ContenderDescription[] = [
  { name: 'longhaul', program: 'longhaul' },
  stopped('http-terminator'),
  stopped('stoppable'),
  stopped('close', 'close()'),
]

const TITLE = `SIGTERM during ${CLIENTS} endless uploads`

export const rows: readonly Row[] = together([
  {
    name: 'shutdown',
    title: `${TITLE}: until the process has ended, or was killed after ${CAP_MS / 1000} s`,
    unit: 's',
    targets: [{ atMost: 1 }],
  },
  { name: 'shutdown-loss', title: `${TITLE}: what is lost of what the clients sent`, unit: 'bytes', targets: [{ atMost: 0 }] },
  { name: 'shutdown-told', title: `${TITLE}: clients that get an answer`, unit: `of ${CLIENTS}`, targets: [{ atLeast: CLIENTS }] },
], measure)

async function measure({ directory, rounds, quick }: Setting): Promise<readonly Measured[]> {
  return takeTurnsTogether(CONTENDERS, Math.min(rounds, MAX_ROUNDS), (description) =>
    withContender(description, directory, async (contender) => {
      const patches = await Promise.all(Array.from({ length: CLIENTS }, () => OpenPatch.begin(contender, ENDLESS_BYTES)))
      const sending = patches.map((patch) => patch.sendOn(PAUSE_MS))
      await delay(UNDER_WAY_MS)
      const seconds = await contender.terminate(quick ? 1500 : CAP_MS)
      await Promise.all(sending)
      // of a piece that was cut some may be stored
      const lost = patches.reduce((sum, { path, sentBytes }) => sum + Math.max(0, sentBytes - storedBytes(contender, path)), 0)
      const answers = (await Promise.all(patches.map(({ answered }) => answered))).filter((answer) => answer !== undefined)
      const strange = answers.find(({ status }) => status !== 503)
      if (strange) throw new Error(`${contender.name} ended an upload with ${strange.head}`)
      return [seconds, lost, answers.length]
    }),
  )
}
