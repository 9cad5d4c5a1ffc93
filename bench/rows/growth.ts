// SPDX-License-Identifier: MIT

/**
 * What longhaul costs as uploads become larger, more at once, and more in the directory.
 *
 * There are half as many rounds as for other rows: a point of 8 GiB takes its time.
 *
 * @module
 */

import { randomBytes, randomInt } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { createUpload, doAll, repeat, sendBody } from '../client.ts'
import { withContenders, type Contender, type ContenderDescription } from '../contender.ts'
import { takeTurnsAlong, type Axis, type Line, type Series } from '../growth.ts'
import type { Setting } from '../row.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const TUS = { 'Tus-Resumable': '1.0.0' }

const LONGHAUL: ContenderDescription = { name: 'longhaul', program: 'longhaul' }
const BARE_WRITEV: ContenderDescription = { name: 'bare writev', program: 'bare', words: ['writev'] }

/**
 * What a request costs by itself is a good part of what 1 MiB costs. At 64 MiB it no longer counts, and what grows with the bytes would
 * show behind it.
 */
const SIZE: Axis = {
  label: 'size of an upload',
  unit: 'bytes',
  points: [MIB, 16 * MIB, 64 * MIB, 256 * MIB, GIB, 8 * GIB],
  reference: 64 * MIB,
}
/** At all points as many uploads, and as large, so that only what is under way at once differs. */
const CONNECTIONS: Axis = { label: 'connections at once', unit: 'count', points: [1, 10, 100, 1000], reference: 1 }
/** Among 100, requests that are under way at once are often for the same upload, and wait for each other; among 1000 they seldom are. */
const STORED: Axis = { label: 'uploads in the directory', unit: 'count', points: [100, 1000, 10_000, 100_000, 200_000], reference: 1000 }

export const lines: readonly Line[] = [
  {
    name: 'growth-size',
    title: 'PATCH, by the size of the upload',
    unit: 'CPU s a GiB',
    better: 'lower',
    axis: SIZE,
    measure: measureSizes,
  },
  {
    name: 'growth-connections',
    title: 'PATCHes of 1 MiB, by connections at once',
    unit: 'CPU s a GiB',
    better: 'lower',
    axis: CONNECTIONS,
    measure: measureConnections,
  },
  {
    name: 'growth-head',
    title: 'HEAD, by uploads in the directory',
    unit: 'requests a CPU s',
    better: 'higher',
    axis: STORED,
    measure: (setting) =>
      measureStores(setting, ({ contender, ids }, amount) =>
        repeat(contender, amount, 'HEAD', () => `/files/${ids[randomInt(ids.length)]}`, TUS),
      ),
  },
  {
    name: 'growth-create',
    title: 'POST, by uploads in the directory',
    unit: 'requests a CPU s',
    better: 'higher',
    axis: STORED,
    measure: (setting) =>
      measureStores(setting, ({ contender }, amount) =>
        repeat(contender, amount, 'POST', '/files/', { ...TUS, 'Upload-Length': '1000000' }),
      ),
  },
]

async function measureSizes({ directory, rounds, quick }: Setting): Promise<readonly Series[]> {
  return withContenders([LONGHAUL, BARE_WRITEV], directory, (contenders) =>
    takeTurnsAlong(SIZE, contenders, Math.ceil(rounds / 2), (contender, x) =>
      cpuOfAGiB(contender, { amount: Math.max(1, (256 * MIB) / x), length: quick ? x / 64 : x, atOnce: 1 }),
    ),
  )
}

async function measureConnections({ directory, rounds, quick }: Setting): Promise<readonly Series[]> {
  return withContenders([LONGHAUL], directory, (contenders) =>
    takeTurnsAlong(CONNECTIONS, contenders, Math.ceil(rounds / 2), (contender, x) =>
      cpuOfAGiB(contender, { amount: 1000, length: quick ? MIB / 64 : MIB, atOnce: x }),
    ),
  )
}

/** CPU seconds a GiB for so many uploads as large as that, each over a connection of its own. */
async function cpuOfAGiB(
  contender: Contender,
  { amount, length, atOnce }: { readonly amount: number; readonly length: number; readonly atOnce: number },
): Promise<number> {
  const numbers = Array.from({ length: amount }, (_, i) => i)
  const paths = await doAll(numbers, 16, async (i) => (contender.name.startsWith('bare') ? `/${i}` : createUpload(contender, length)))
  const cpu = await contender.cpuSeconds(async () => void (await doAll(paths, atOnce, (path) => sendBody(contender, path, length))))
  contender.clear()
  return cpu / ((amount * length) / GIB)
}

/** A server whose directory holds uploads from before. */
interface Store {
  readonly contender: Contender
  readonly ids: readonly string[]
}

/** Each point has a server and a directory of its own; what was created while it was measured is removed. */
async function measureStores(
  { directory, rounds, quick }: Setting,
  ask: (store: Store, amount: number) => Promise<void>,
): Promise<readonly Series[]> {
  const amount = quick ? 160 : 2000
  return withContenders(STORED.points.map(() => LONGHAUL), directory, async (contenders) => {
    const stores = new Map<number, Store>()
    for (const [i, contender] of contenders.entries()) {
      const x = STORED.points[i] as number
      stores.set(x, { contender, ids: await fill(contender, quick ? Math.ceil(x / 100) : x) })
    }
    return takeTurnsAlong(STORED, [LONGHAUL], Math.ceil(rounds / 2), async (_, x) => {
      const store = stores.get(x) as Store
      const cpu = await store.contender.cpuSeconds(() => ask(store, amount))
      removeOthers(store)
      return amount / cpu
    })
  })
}

/** Has the server create one upload, and copies its files under other ids: quicker than asking for 200 000 of them. */
async function fill(contender: Contender, amount: number): Promise<readonly string[]> {
  const first = basename(await createUpload(contender, 1_000_000))
  const sidecar = readFileSync(join(contender.directory, `${first}.info`), 'utf8')
  const ids = Array.from({ length: amount - 1 }, () => randomBytes(16).toString('hex'))
  for (const id of ids) {
    writeFileSync(join(contender.directory, id), '')
    writeFileSync(join(contender.directory, `${id}.info`), sidecar.replace(first, id))
  }
  return [first, ...ids]
}

function removeOthers({ contender, ids }: Store): void {
  const kept = new Set(ids)
  for (const name of readdirSync(contender.directory)) {
    if (!name.startsWith('.') && !kept.has(name.replace('.info', ''))) rmSync(join(contender.directory, name))
  }
}
