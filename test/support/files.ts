// SPDX-License-Identifier: MIT

/** What lies in the folder of a store. @module */

import { readdirSync } from 'node:fs'

/** The names of all files of uploads, in order: without the folders in which processes keep what they need themselves. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name !== '.in-use' && name !== '.locks').sort()
}
