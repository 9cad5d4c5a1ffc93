// SPDX-License-Identifier: MIT

/**
 * What it costs the server to store a byte.
 *
 * @module
 */

import { createUpload, sendBody } from '../client.ts'
import { withContenders, type ContenderDescription } from '../contender.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

const GIB = 1024 ** 3

const LONGHAUL: ContenderDescription = { name: 'longhaul', program: 'longhaul' }
const TUS_SERVER: ContenderDescription = { name: '@tus/server', program: 'tus-node-server' }
const BARE = ['writev', 'pipeline', 'discard'].map((way) => ({ name: `bare ${way}`, program: 'bare', words: [way] }))

export const rows: readonly Row[] = [
  {
    name: 'throughput',
    title: 'One large PATCH',
    unit: 'CPU s a GiB',
    measure: (setting) =>
      measureThroughput(setting, [LONGHAUL, TUS_SERVER, ...BARE], { uploads: 1, length: setting.quick ? GIB / 64 : GIB }),
    targets: [
      { against: '@tus/server', atMost: 0.5 },
      { against: 'bare pipeline', atMost: 0.65 },
      { against: 'bare writev', atMost: 1.1 },
    ],
  },
  {
    name: 'throughput-16',
    title: '16 uploads at once',
    unit: 'CPU s a GiB',
    measure: (setting) =>
      measureThroughput(setting, [LONGHAUL, TUS_SERVER, ...BARE], { uploads: 16, length: setting.quick ? GIB / 1024 : GIB / 16 }),
    targets: [{ against: '@tus/server', atMost: 0.5 }],
  },
]

/** The CPU seconds of the server for each GiB, where so many uploads of one length are sent at once. */
export async function measureThroughput(
  { directory, rounds }: Setting,
  descriptions: readonly ContenderDescription[],
  { uploads, length }: { readonly uploads: number; readonly length: number },
): Promise<Measured> {
  return withContenders(descriptions, directory, (contenders) => takeTurns(contenders, rounds, async (contender) => {
    const paths = await Promise.all(
      Array.from({ length: uploads }, (_, i) => (contender.name.startsWith('bare') ? `/${i}` : createUpload(contender, length))),
    )
    const cpu = await contender.cpuSeconds(async () => void (await Promise.all(paths.map((path) => sendBody(contender, path, length)))))
    contender.clear()
    return cpu / ((uploads * length) / GIB)
  }))
}
