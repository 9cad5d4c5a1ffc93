// SPDX-License-Identifier: MIT

/** The package where a test runner gives it globals of its own, as Jest does. @module */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from './uploading.js'

test('In a realm whose Error is another one, an upload is locked, refused, resumed, read, removed and shut down as anywhere', { timeout: 60_000 }, async (t) => {
  const dir = temporaryFolder(t)
  const script = fileURLToPath(new URL('realm.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', '--experimental-vm-modules', script, dir])
  assert.deepEqual(JSON.parse(stdout), { statuses: [201, 204, 409, 204, 404, 204, 404], content: 'helloworld', forced: null })
  assert.deepEqual([readdirSync(dir).filter((name) => !name.startsWith('.')), readdirSync(join(dir, '.locks'))], [[], []])
})
