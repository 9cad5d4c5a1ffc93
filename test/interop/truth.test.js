// SPDX-License-Identifier: MIT

/** All of it at once: a browser, the page, nginx as the documentation configures it, and the program. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { launchChromium } from './browser/chromium.js'
import { openUploadPage } from './browser/upload-page.js'
import { startNginx } from './nginx.js'
import { npmStart } from './npm-start.js'
import { fixedPort } from './operating.js'
import { filesOf, MB, temporaryFolder } from './uploading.js'

const NAME = 'holiday.mp4'
const SIZE = 50 * MB
/** A good connection, so that there is a middle to meddle with. */
const BYTES_PER_SECOND = 8 * MB

test('50 MB from Chromium through nginx to a program that is restarted twice, with the plug pulled three times, arrive whole, and nobody saw an error', { timeout: 180_000 }, async (t) => {
  const dir = temporaryFolder(t)
  const file = join(temporaryFolder(t), NAME)
  writeFileSync(file, randomBytes(SIZE))
  const port = await fixedPort()
  let program = await npmStart(t, { dir, port })
  const nginx = await startNginx(t, { upstreamPort: port })
  const browser = await launchChromium()
  t.after(() => browser.close())
  const uploads = await openUploadPage(t, browser, `http://127.0.0.1:${nginx.port}/`)
  await uploads.limitSpeed(BYTES_PER_SECOND)

  const pullThePlug = async () => {
    await uploads.press(NAME, 'Pull the plug')
    const { sentBytes, safeBytes } = await uploads.readUnplugged(NAME)
    t.diagnostic(`plug pulled: ${sentBytes} bytes sent, ${safeBytes} safe`)
    assert.ok(safeBytes > 0 && safeBytes < SIZE)
    await uploads.press(NAME, 'Resume')
  }
  const restart = async () => {
    assert.deepEqual(await program.stop(), { code: 0, signal: null })
    program = await npmStart(t, { dir, port })
  }

  await uploads.choose(file)
  for (const [percent, meddle] of [[10, pullThePlug], [25, restart], [45, pullThePlug], [60, restart], [80, pullThePlug]]) {
    await uploads.untilMidway(NAME, percent)
    await meddle()
  }
  assert.equal((await uploads.untilFinished(NAME)).safePercent, 100)

  const [stored] = filesOf(dir).filter((name) => !name.endsWith('.info'))
  assert.equal(sha256(readFileSync(join(dir, stored))), sha256(readFileSync(file)))
  uploads.assertNoErrorEver()
  t.diagnostic(`the page said: ${[...new Set(uploads.shown.map(({ message }) => message.replace(/[\d.]+ (?=[kM]?B|s )/g, '… ')))].join(' | ')}`)
})

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
