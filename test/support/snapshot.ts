// SPDX-License-Identifier: MIT

/** All that is in a folder, in a form that `assert.deepEqual` compares: to show that nothing has changed. @module */

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Everything in a folder but the marks of processes, to be compared: names with sizes and contents. */
export function snapshot(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => !name.startsWith('.in-use')).sort()
  return new Map(names.map((name) => {
    const path = join(folder, name)
    const entry = statSync(path)
    return [name, entry.isDirectory() ? 'a folder' : `${entry.size} bytes: ${readFileSync(path, 'latin1')}`]
  }))
}
