// SPDX-License-Identifier: MIT

/** Folders that are gone when their test is. @module */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** Makes an empty folder and removes it after the test. Where a test failed, a process may still be writing there: that ends soon. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'longhaul-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20 }))
  return folder
}
