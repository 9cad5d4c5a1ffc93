// SPDX-License-Identifier: MIT

/**
 * What it costs that two processes serve one directory, as they ship: the CPU of both.
 *
 * @module
 */

import type { ContenderDescription } from '../contender.ts'
import { KINDS, measureLoad, type Load } from '../load.ts'
import type { Measured, Row, Setting } from '../row.ts'
import { programs } from './shipped.ts'

const ONE_PROCESS = 'longhaul, one process'
const TITLES = { head: 'HEAD', patch: 'PATCH with 1 KiB', small: 'POST with 1 KiB' }
type Kind = keyof typeof TITLES

export const rows: readonly Row[] = [
  ...(['head', 'patch', 'small'] as const).map((kind): Row => ({
    name: `shipped-two-sticky-${kind}`,
    title: `${TITLES[kind]}, two processes, each client stays with one`,
    unit: 'CPU µs a request',
    measure: (setting) => measure(setting, kind, 'sticky'),
    targets: [{ against: ONE_PROCESS, atMost: 1.3 }],
  })),
  ...(['head', 'patch', 'small'] as const).map((kind): Row => ({
    name: `shipped-two-alternating-${kind}`,
    title: `${TITLES[kind]}, two processes, each request at the other one`,
    unit: 'CPU µs a request',
    measure: (setting) => measure(setting, kind, 'alternating'),
    targets: [],
  })),
]

function measure(setting: Setting, kind: Kind, route: Load['route']): Promise<Measured> {
  const [program, ...others] = programs(setting, 2)
  const one = programs(setting).slice(0, 1).map((each) => ({ ...each, name: ONE_PROCESS }))
  return measureLoad(setting, {
    contenders: [program as ContenderDescription, ...one, ...others],
    load: { kind: KINDS[kind], amount: 1000, route },
    figureOf: (cpuMicroseconds) => cpuMicroseconds,
  })
}
