// SPDX-License-Identifier: MIT

/**
 * What is lost of an upload that breaks off: bytes that the client's system had taken, and that the
 * server does not have afterwards, so that they must be sent again.
 *
 * @module
 */

import { offsetOf } from '../client.ts'
import { withContender, withContenders, type Contender, type ContenderDescription } from '../contender.ts'
import { OpenPatch, storedBytes } from '../open-patch.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

const MB = 1_000_000
/** What is sent of each upload, and what was announced. */
const SENT_BYTES = 10 * MB
const ANNOUNCED_BYTES = 20 * MB
/** How many a round has, one after the other. */
const UPLOADS = 5
/** Nobody sends any more: a server that has not ended by then waits for ever. */
const CAP_MS = 2000

const LONGHAUL: ContenderDescription = { name: 'longhaul', program: 'longhaul' }
const TUS_SERVER: ContenderDescription = { name: '@tus/server', program: 'tus-node-server' }
const TUS_SERVER_CLOSE: ContenderDescription = { name: '@tus/server, close()', program: 'tus-node-server', words: ['--stop', 'close'] }
const BARE_NET: ContenderDescription = { name: 'bare net', program: 'net' }

export const rows: readonly Row[] = [
  {
    name: 'loss-leave',
    title: 'The client ends (FIN) after 10 MB: what is lost',
    unit: 'bytes of 10 MB',
    measure: (setting) => measureCuts(setting, async (patch) => {
      await patch.leave()
      return (stored) => patch.sentBytes - stored
    }),
    targets: [{ atMost: 0 }],
  },
  {
    name: 'loss-reset',
    title: 'The connection is reset (RST) after 10 MB: what is saved',
    unit: 'MB of 10 MB',
    measure: (setting) => measureCuts(setting, async (patch) => {
      patch.reset()
      return (stored) => stored / MB
    }),
    targets: [{ against: 'bare net', atLeast: 0.9 }],
  },
  {
    name: 'loss-stop',
    title: 'The server gets SIGTERM right after 10 MB: what is lost',
    unit: 'bytes of 10 MB',
    measure: measureStops,
    targets: [{ atMost: 0 }],
  },
]

/** Cuts uploads off, asks the server where they are, and takes the mean of what `cut` makes of that. */
async function measureCuts(
  { directory, rounds, quick }: Setting,
  cut: (patch: OpenPatch) => Promise<(storedBytes: number) => number>,
): Promise<Measured> {
  const uploads = quick ? 1 : UPLOADS
  return withContenders([LONGHAUL, TUS_SERVER, BARE_NET], directory, (contenders) => takeTurns(contenders, rounds, async (contender) => {
    let sum = 0
    for (let i = 0; i < uploads; i++) {
      const patch = await sendHalf(contender)
      const figureOf = await cut(patch)
      const told = await offsetOf(contender, patch.path)
      const stored = storedBytes(contender, patch.path)
      if (told !== stored) throw new Error(`${contender.name} says that it has ${told} bytes, and has ${stored}`)
      sum += figureOf(told)
    }
    contender.clear()
    return sum / uploads
  }))
}

async function measureStops({ directory, rounds, quick }: Setting): Promise<Measured> {
  const descriptions = [LONGHAUL, TUS_SERVER, TUS_SERVER_CLOSE, BARE_NET]
  return takeTurns(descriptions, rounds, (description) => withContender(description, directory, async (contender) => {
    const patch = await sendHalf(contender)
    await contender.terminate(quick ? 200 : CAP_MS)
    patch.close()
    return patch.sentBytes - storedBytes(contender, patch.path)
  }))
}

async function sendHalf(contender: Contender): Promise<OpenPatch> {
  const patch = await OpenPatch.begin(contender, ANNOUNCED_BYTES)
  await patch.send(SENT_BYTES)
  return patch
}
