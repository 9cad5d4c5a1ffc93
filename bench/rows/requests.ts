// SPDX-License-Identifier: MIT

/**
 * What requests without much of a body cost.
 *
 * @module
 */

import { createUpload, doAll, repeat, repeatHead } from '../client.ts'
import { withContenders, type Contender, type ContenderDescription } from '../contender.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

const LONGHAUL: ContenderDescription = { name: 'longhaul', program: 'longhaul' }
const TUS_SERVER: ContenderDescription = { name: '@tus/server', program: 'tus-node-server' }
const BARE_STAT: ContenderDescription = { name: 'bare stat', program: 'bare', words: ['stat'] }
const BARE_CREATE: ContenderDescription = { name: 'bare create', program: 'bare', words: ['create'] }
/** Asked for in turn: requests for one and the same upload would wait for each other. */
const UPLOADS = 64

const TUS = { 'Tus-Resumable': '1.0.0' }
const METADATA = { 'Upload-Metadata': 'filename aG9saWRheS5qcGc=,filetype aW1hZ2UvanBlZw==' }
const KIB = Buffer.alloc(1024, 'longhaul')

export const rows: readonly Row[] = [
  {
    name: 'create',
    title: 'POST, an upload is created',
    unit: 'requests a CPU s',
    measure: (setting) =>
      measure(setting, [LONGHAUL, TUS_SERVER, BARE_CREATE], (contender, amount) =>
        repeat(contender, amount, 'POST', '/files/', { ...TUS, ...METADATA, 'Upload-Length': '1000000' }),
      ),
    targets: [{ against: '@tus/server', atLeast: 4 }],
  },
  {
    name: 'small',
    title: 'POST with 1 KiB: created, stored, finished',
    unit: 'requests a CPU s',
    measure: (setting) =>
      measure(setting, [LONGHAUL, TUS_SERVER], (contender, amount) =>
        repeat(
          contender,
          amount,
          'POST',
          '/files/',
          { ...TUS, ...METADATA, 'Upload-Length': '1024', 'Content-Type': 'application/offset+octet-stream' },
          KIB,
        ),
      ),
    targets: [{ against: '@tus/server', atLeast: 4 }],
  },
  {
    name: 'head',
    title: 'HEAD of an unfinished upload',
    unit: 'requests a CPU s',
    measure: (setting) => measure(setting, [LONGHAUL, TUS_SERVER, BARE_STAT], repeatHead),
    targets: [
      { against: '@tus/server', atLeast: 3 },
      { against: 'bare stat', atLeast: 0.6 },
    ],
  },
]

async function measure(
  { directory, rounds, quick }: Setting,
  descriptions: readonly ContenderDescription[],
  ask: (contender: Contender, amount: number, paths: readonly string[]) => Promise<void>,
): Promise<Measured> {
  const amount = quick ? 160 : 4000
  return withContenders(descriptions, directory, (contenders) => takeTurns(contenders, rounds, async (contender) => {
    const paths = contender.name.startsWith('bare')
      ? ['/']
      : await doAll(Array.from({ length: UPLOADS }), 1, () => createUpload(contender, 1_000_000))
    const cpu = await contender.cpuSeconds(() => ask(contender, amount, paths))
    contender.clear()
    return amount / cpu
  }))
}
