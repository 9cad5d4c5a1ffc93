// SPDX-License-Identifier: MIT

/**
 * What the program costs as it ships: `npm start`, with its lock files, its log and its flushes, against @tus/server as that ships.
 *
 * @module
 */

import { fileURLToPath } from 'node:url'
import type { ContenderDescription } from '../contender.ts'
import { KINDS, measureLoad, type Load } from '../load.ts'
import type { Row, Setting, Target } from '../row.ts'
import { measureMemory, SMALL_SEMI_SPACE, UPLOADS } from './memory.ts'
import { measureThroughput } from './throughput.ts'

const GIB = 1024 ** 3
const RATE_PER_SECOND = 500
const TUS_SERVER: ContenderDescription = { name: '@tus/server', program: 'tus-node-server' }
/** With the flag for Node that `npm start` gives to longhaul: it saves memory in both. */
const TUS_SERVER_SMALL: ContenderDescription = { ...TUS_SERVER, name: `@tus/server, ${SMALL_SEMI_SPACE}`, flags: SMALL_SEMI_SPACE }
/** The project, seen from where this file is compiled to. */
const PROJECT = fileURLToPath(new URL('../../../..', import.meta.url))

/** Rows of one kind of request: with a server that has all it can do, and with one that has little to do. */
interface Pair {
  readonly kind: keyof typeof KINDS
  readonly title: string
  /** Handlers that make the calls which cannot be saved, and nothing else. */
  readonly limits: readonly string[]
  readonly saturated: readonly Bar[]
  readonly atRate: readonly Bar[]
}

/** How many times as many requests a CPU second as @tus/server. */
type Bar = Pick<Target, 'atLeast' | 'on'>

const PAIRS: readonly Pair[] = [
  { kind: 'options', title: 'OPTIONS', limits: ['discard'], saturated: [{ atLeast: 2 }], atRate: [{ atLeast: 1.1 }] },
  { kind: 'head', title: 'HEAD', limits: ['stat'], saturated: [{ atLeast: 3.5 }], atRate: [{ atLeast: 1.3 }] },
  { kind: 'create', title: 'POST', limits: ['create'], saturated: [{ atLeast: 1.8 }], atRate: [{ atLeast: 1.5 }] },
  {
    kind: 'small',
    title: 'POST with 1 KiB',
    limits: ['small', 'small-flushed'],
    // On a disk our flushes cost what they cost, and @tus/server has none.
    saturated: [{ atLeast: 2, on: 'tmpfs' }, { atLeast: 1, on: 'disk' }],
    atRate: [{ atLeast: 1.3 }],
  },
  { kind: 'patch', title: 'PATCH with 1 KiB', limits: ['append'], saturated: [{ atLeast: 2.5 }], atRate: [{ atLeast: 1.5 }] },
]

export const rows: readonly Row[] = [
  ...PAIRS.map((pair) => requestRow(pair, { amount: 2000 })),
  ...PAIRS.map((pair) => requestRow(pair, { amount: 600, ratePerSecond: RATE_PER_SECOND })),
  {
    name: 'shipped-large',
    title: 'One large PATCH',
    unit: 'CPU s a GiB',
    measure: (setting) =>
      measureThroughput(setting, [...programs(setting), TUS_SERVER, bare('writev')], {
        uploads: 1,
        length: setting.quick ? GIB / 64 : GIB / 2,
      }),
    targets: [{ against: TUS_SERVER.name, atMost: 0.5 }],
  },
  {
    name: 'shipped-memory',
    title: `Resident memory, each of ${UPLOADS} slow uploads`,
    unit: 'KiB',
    measure: (setting) => measureMemory(setting, [...programs(setting), TUS_SERVER, TUS_SERVER_SMALL]),
    targets: [{ against: TUS_SERVER.name, atMost: 0.7 }],
  },
]

/** This build as `npm start` runs it, and the other one that is asked for. So many processes each. */
export function programs({ against }: Setting, processes = 1): readonly ContenderDescription[] {
  const program: ContenderDescription = { name: 'longhaul', root: PROJECT, processes }
  return against === undefined ? [program] : [program, { name: 'longhaul, other build', root: against, processes }]
}

function bare(way: string): ContenderDescription {
  return { name: `bare ${way}`, program: 'bare', words: [way] }
}

function requestRow({ kind, title, limits, saturated, atRate }: Pair, { amount, ratePerSecond }: Omit<Load, 'kind'>): Row {
  const isSaturated = ratePerSecond === undefined
  return {
    name: `shipped-${kind}${isSaturated ? '' : `-${ratePerSecond}`}`,
    title: isSaturated ? title : `${title}, ${ratePerSecond} a second`,
    unit: 'requests a CPU s',
    measure: (setting) =>
      measureLoad(setting, {
        contenders: [...programs(setting), TUS_SERVER, ...limits.map(bare)],
        load: { kind: KINDS[kind], amount, ratePerSecond },
        figureOf: (cpuMicroseconds) => 1e6 / cpuMicroseconds,
      }),
    targets: (isSaturated ? saturated : atRate).map((bar) => ({ against: TUS_SERVER.name, ...bar })),
  }
}
