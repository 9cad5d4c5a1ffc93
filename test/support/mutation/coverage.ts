// SPDX-License-Identifier: MIT

/** Which lines of `lib` a test has run, from what V8 wrote into the folder `NODE_V8_COVERAGE`. @module */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

interface Report {
  readonly result: readonly { readonly url: string; readonly functions: readonly { readonly ranges: readonly Range[] }[] }[]
}

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

/**
 * The lines that ran, counted from 1, by the path of the file below `root`; of all processes that wrote into `folder`.
 * They must have run the sources themselves: Node strips types in such a way that all places stay the same.
 */
export function coveredLines(folder: string, root: string): Map<string, Set<number>> {
  const lib = pathToFileURL(join(root, 'lib/')).href
  const covered = new Map<string, Set<number>>()
  for (const name of readdirSync(folder)) {
    const report = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report
    for (const { url, functions } of report.result.filter(({ url }) => url.startsWith(lib))) {
      const file = `lib/${url.slice(lib.length)}`
      const ran = paint(functions.flatMap(({ ranges }) => ranges))
      const lines = covered.get(file) ?? new Set()
      covered.set(file, lines)
      let offset = 0
      for (const [index, text] of readFileSync(fileURLToPath(url), 'utf8').split('\n').entries()) {
        if (ran.subarray(offset + text.search(/\S|$/), offset + text.length).includes(1)) lines.add(index + 1)
        offset += text.length + 1
      }
    }
  }
  return covered
}

/** For each character 1 if it ran: the smallest range around it decides. */
function paint(ranges: readonly Range[]): Uint8Array {
  const ran = new Uint8Array(Math.max(0, ...ranges.map(({ endOffset }) => endOffset)))
  const size = ({ startOffset, endOffset }: Range): number => endOffset - startOffset
  for (const { startOffset, endOffset, count } of ranges.toSorted((a, b) => size(b) - size(a))) {
    ran.fill(count > 0 ? 1 : 0, startOffset, endOffset)
  }
  return ran
}
